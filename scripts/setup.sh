#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that Sluice needs and that are not there yet; calls apt-get only if
# something is missing. Works as root or with sudo. For the tests also nvcc, into build/nvcc, if
# there is none.
#
#   scripts/setup.sh            to build and to test
#   scripts/setup.sh --build    to build and run only
#   scripts/setup.sh --bench    all that, and what the benchmarks compare with
set -euo pipefail

# One line per package: who needs it, its name, and why.
readonly packages="\
build  g++                     the compiler
build  cmake                   the build
build  ninja-build             runs what CMake writes
build  pkgconf                 tells CMake where libuv and prometheus-cpp are
build  ccache                  a second build costs seconds
build  mold                    links several times faster than the default linker
build  libuv1-dev              sockets and timers
build  node-llhttp             HTTP/1.1 parser, as C sources
build  libsimdjson-dev         JSON parser
build  libssl-dev              TLS towards endpoints
build  libconcurrentqueue-dev  mail between threads
build  libspdlog-dev           log lines
build  prometheus-cpp-dev      text format of /metrics
build  libcli11-dev            command line
build  libyaml-cpp-dev         configuration file
build  libdnnl-dev             matrix products on the CPU
build  doctest-dev             the tests
build  python3                 fetches the model; the quickstart's client
build  python3-venv            pip, away from the system's Python
build  ca-certificates         TLS to PyPI
test   curl                    end-to-end tests
test   nghttp2-client          h2load, a load generator that is not ours
test   clang-19                the compiler of preset asan
test   libclang-rt-19-dev      libFuzzer and the sanitizers of that compiler
test   clang-tidy-19           function size, names, suspicious code
test   clang-format-19         layout of the code
bench  nginx-light             a static answer to compare with"

groups="build test"
for argument in "$@"; do
  case $argument in
    --build) groups="build" ;;
    --bench) groups="build test bench" ;;
    *)
      echo "usage: scripts/setup.sh [--build|--bench]" >&2
      exit 2
      ;;
  esac
done

missing=()
while read -r group package _; do
  [[ " $groups " == *" $group "* ]] || continue
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done <<<"$packages"
get_nvcc() {
  [[ " $groups " != *" test "* ]] || "$(dirname "$0")/get_nvcc.sh"
}
if [[ ${#missing[@]} -eq 0 ]]; then
  get_nvcc
  exit 0
fi

echo "setup: installing ${missing[*]}"
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: neither root nor sudo; please install: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
install_missing() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
    --no-install-recommends "${missing[@]}" </dev/null
}
known() { apt-cache policy "${missing[@]}" 2>/dev/null | grep -c 'Candidate: [^(]' || true; }

# The package lists are fetched only if they do not know what is missing, or are out of date.
if [[ $(known) -eq ${#missing[@]} ]] && install_missing; then
  get_nvcc
  exit 0
fi
"${as_root[@]}" apt-get update --quiet=2 </dev/null
install_missing
get_nvcc
