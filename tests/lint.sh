#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Holds the code to .clang-tidy and .clang-format. Needs a configured build folder.
#
#   tests/lint.sh BUILD FOLDER...    e.g. tests/lint.sh build/dev base batcher
#
# A file that passed is not looked at again before it, a header or the rules change: what passed is
# remembered in BUILD/lint.
set -euo pipefail
build=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
mkdir -p "$build/lint"

headers=$(find base batcher backends gateway -name '*.h' -o -name '*.inc' | sort |
  xargs cat .clang-tidy | sha256sum)
files=()
for folder in "$@"; do
  for file in "$folder"/*.cc; do
    key=$(echo "$headers" | cat - "$file" | sha256sum | cut -c1-64)
    [[ -e $build/lint/$key ]] || files+=("$key $file")
  done
done

check() {
  local key=$1 file=$2
  # The compile commands are GCC's; clang does not know all of its warnings.
  if clang-tidy-19 --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option "$file" \
    2>"$build/lint/$key.log"; then
    touch "$build/lint/$key"
  else
    cat "$build/lint/$key.log"
    return 1
  fi
}
export -f check
export build
code=0
if [[ ${#files[@]} -gt 0 ]]; then
  printf '%s\n' "${files[@]}" | xargs -P "${LINT_JOBS:-1}" -L 1 bash -c 'check $0 $1' || code=1
fi
for folder in "$@"; do
  find "$folder" -name '*.cc' -o -name '*.h' | xargs clang-format-19 --dry-run --Werror || code=1
done
exit $code
