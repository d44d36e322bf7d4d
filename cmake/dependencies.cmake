# SPDX-License-Identifier: Apache-2.0
# Where each third-party library comes from: one imported target per library, all from the system's
# packages (scripts/setup.sh installs them). Nothing else in the build says where a library is.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# libuv: sockets and timers. Debian ships a .pc file and no CMake package.
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET GLOBAL libuv>=1.44)
add_library(libuv::libuv ALIAS PkgConfig::LIBUV)

# llhttp: the HTTP/1.1 parser. Debian 12 has its generated C sources in node-llhttp, Debian 13 a
# library in libllhttp-dev.
find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include PATH_SUFFIXES llhttp REQUIRED)
find_library(LLHTTP_LIBRARY llhttp)
find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
if(LLHTTP_LIBRARY)
  add_library(llhttp::llhttp UNKNOWN IMPORTED)
  set_target_properties(llhttp::llhttp PROPERTIES
    IMPORTED_LOCATION ${LLHTTP_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${LLHTTP_INCLUDE_DIR})
elseif(LLHTTP_SOURCE_DIR)
  add_library(sluice_llhttp STATIC
    ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c ${LLHTTP_SOURCE_DIR}/llhttp.c)
  target_include_directories(sluice_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  add_library(llhttp::llhttp ALIAS sluice_llhttp)
else()
  message(FATAL_ERROR "llhttp not found: install node-llhttp (Debian 12) or libllhttp-dev")
endif()

# simdjson: JSON. The code is written against 3.0.
find_package(simdjson 3.0 CONFIG REQUIRED)

# moodycamel's ConcurrentQueue, header only: mail between threads. It has no usable CMake package.
find_path(CONCURRENTQUEUE_INCLUDE_DIR concurrentqueue/concurrentqueue.h REQUIRED)
add_library(concurrentqueue::concurrentqueue INTERFACE IMPORTED)
set_target_properties(concurrentqueue::concurrentqueue PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES ${CONCURRENTQUEUE_INCLUDE_DIR})

# OpenSSL: TLS towards endpoints.
find_package(OpenSSL 3.0 REQUIRED)

# spdlog: log lines.
find_package(spdlog 1.10 CONFIG REQUIRED)

# prometheus-cpp's core: the text format of /metrics. Its CMake package drags in a web server.
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET GLOBAL prometheus-cpp-core>=1.0)
add_library(prometheus::core ALIAS PkgConfig::PROMETHEUS)

# CLI11, header only: the command line.
find_package(CLI11 2.1 CONFIG REQUIRED)

# yaml-cpp: the configuration file. Debian 12's CMake package names its target without a namespace.
find_package(yaml-cpp 0.7 CONFIG REQUIRED)
if(NOT TARGET yaml-cpp::yaml-cpp)
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()

# oneDNN: matrix products on the CPU. Debian 12's CMake package asks for OpenCL, which we do not
# use. Debian builds it on GCC's OpenMP, whose number of threads we set.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(dnnl::dnnl UNKNOWN IMPORTED)
set_target_properties(dnnl::dnnl PROPERTIES
  IMPORTED_LOCATION ${DNNL_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR}
  INTERFACE_LINK_LIBRARIES gomp)

# doctest, header only: the tests.
if(BUILD_TESTING)
  find_package(doctest 2.4 CONFIG REQUIRED)
endif()
