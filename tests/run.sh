#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests, from a fresh checkout on: installs what is missing, builds each preset named,
# and runs the tests of all of them in one ctest, whose summary is the last thing printed.
#
#   tests/run.sh                 what CI runs: dev asan tsan
#   tests/run.sh dev             one preset, with all its tests
#   tests/run.sh dev -L unit     anything from the first dash on goes to ctest
#   tests/run.sh peers           model servers that other people wrote, behind dev; 6 GB of disk
#
# A build that fails is a failed test, PRESET.build, whose output is the compiler's.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

# Tests of these only; those of configuration peers run only if it is named.
filter=()
if [[ ${1:-} == peers ]]; then
  shift
  filter=(--build-config peers --label-regex '^(peers|build)$')
  [[ $# -gt 0 && $1 != -* ]] || set -- dev "$@"
fi

presets=()
while [[ $# -gt 0 && $1 != -* ]]; do
  presets+=("$1")
  shift
done
[[ ${#presets[@]} -gt 0 ]] || presets=(dev asan tsan)
for preset in "${presets[@]}"; do
  case $preset in
    dev | asan | tsan | release | cuda) ;;
    *)
      echo "tests/run.sh: no preset $preset; there are dev asan tsan release cuda" >&2
      exit 2
      ;;
  esac
done

seconds_since() { echo "$((SECONDS - $1)) s"; }

start=$SECONDS
scripts/setup.sh
scripts/get_minilm.sh
tests/e2e/setup_venv.sh
if [[ ${#filter[@]} -gt 0 ]]; then
  tests/e2e/setup_infinity.sh
  tests/e2e/setup_venv.sh "$root/build/mlserver-venv" tests/e2e/requirements-mlserver.txt
fi
echo "set-up: $(seconds_since "$start")"

# One folder whose tests are those of all presets, and one test per build.
all=$root/build/all
mkdir -p "$all"
: >"$all/CTestTestfile.cmake"
for preset in "${presets[@]}"; do
  start=$SECONDS
  log=$all/$preset.build.log
  code=0
  { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$log" 2>&1 || code=$?
  echo "build $preset: $(seconds_since "$start"), exit code $code"
  [[ $code -eq 0 ]] || grep -E 'error|Error|FAILED' "$log" | head -40 || true
  {
    echo "add_test($preset.build sh -c \"tail -n 100 '$log'; exit $code\")"
    echo "set_tests_properties($preset.build PROPERTIES LABELS build)"
    [[ $code -ne 0 ]] || echo "subdirs(\"$root/build/$preset\")"
  } >>"$all/CTestTestfile.cmake"
done

exec ctest --test-dir "$all" --output-on-failure --no-tests=error --parallel "$(nproc)" \
  "${filter[@]}" "$@"
