# SPDX-License-Identifier: Apache-2.0
# sluice::flags: language level, warnings, sanitizers, and the tools that make a build faster.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

add_library(sluice_flags INTERFACE)
add_library(sluice::flags ALIAS sluice_flags)
target_include_directories(sluice_flags INTERFACE ${PROJECT_SOURCE_DIR})  # "batcher/row.h"
target_link_libraries(sluice_flags INTERFACE Threads::Threads)
# Warnings are for our own code, so they travel with the target and not with the directory.
target_compile_options(sluice_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wconversion;-Wnon-virtual-dtor>")
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(sluice_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wthread-safety>")
else()
  # GCC 12 sees overruns inside its own std::string that are not there (its bugs 105329, 105651).
  target_compile_options(sluice_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow>")
endif()
if(SLUICE_WERROR)
  target_compile_options(sluice_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Werror>")
endif()

# Sanitizers are for every object, also the C sources of llhttp.
if(SLUICE_SANITIZE)
  add_compile_options(-fsanitize=${SLUICE_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SLUICE_SANITIZE})
endif()
if(SLUICE_LIBFUZZER)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# A faster linker and a compiler cache, where there are any. Over all files it is the compiler that
# links, and with Debian 12's mold it sometimes fails at that.
find_program(SLUICE_MOLD mold)
find_program(SLUICE_LLD ld.lld)
if(CMAKE_INTERPROCEDURAL_OPTIMIZATION)
  # the default linker
elseif(SLUICE_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(SLUICE_LLD)
  add_link_options(-fuse-ld=lld)
endif()
find_program(SLUICE_CCACHE ccache)
if(SLUICE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # A precompiled header changes its time stamp, not its meaning, from build to build.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${SLUICE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${SLUICE_CCACHE})
endif()
