#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles every kernel of the GPU engine to machine code, for each generation that is released, and
# fails if one keeps values in memory because it has too few registers. Prints registers per kernel.
#
#   tests/ptxas.sh NVCC FOLDER
#
# FOLDER has NAME_kernels.sm_75.ptx, .sm_80 and .sm_90; wide has .sm_90a. The kernels differ between
# these, so a later generation is compiled from the PTX of the last of them before it. PTX that
# passed is not compiled again: what passed is remembered in FOLDER/ptxas. Exits 77 without ptxas.
set -euo pipefail
nvcc=$1
folder=$2
ptxas=$(dirname "$(realpath "$nvcc")")/ptxas
if [[ ! -x $ptxas ]]; then
  echo "ptxas.sh: $ptxas is not there; spills were not looked for"
  exit 77
fi
mkdir -p "$folder/ptxas"
version=$("$ptxas" --version | tail -n 1)

# Lines "REGISTERS STACK SPILLS KERNEL" out of what ptxas says about a file.
summary() {
  awk '/Compiling entry function/ { split($0, part, "\047"); kernel = part[2] }
       /bytes stack frame/ { stack = $1; spills = $5 + $9 }
       /Used [0-9]+ registers/ {
         match($0, /Used [0-9]+/)
         print substr($0, RSTART + 5, RLENGTH - 5), stack, spills, kernel
       }' "$1"
}

code=0
kernels=0
for pair in 75:75 80:80 80:86 80:89 90:90 90:100 90:120 90a:90a; do
  from=${pair%:*}
  to=${pair#*:}
  for ptx in "$folder"/*.sm_"$from".ptx; do
    key=$( (echo "$version $to"; cat "$ptx") | sha256sum | cut -c1-64)
    log=$folder/ptxas/$key
    if [[ ! -e $log ]]; then
      if ! "$ptxas" -O3 -v -arch="sm_$to" "$ptx" -o /dev/null >"$log.part" 2>&1; then
        cat "$log.part"
        echo "ptxas.sh: $ptx does not compile for sm_$to"
        exit 1
      fi
      summary "$log.part" >"$log.new"
      entries=$(grep -c '\.entry' "$ptx")
      if [[ $(wc -l <"$log.new") -ne $entries ]]; then
        echo "ptxas.sh: $entries kernels in $ptx, but ptxas speaks of $(wc -l <"$log.new")"
        exit 1
      fi
      mv "$log.new" "$log"
    fi
    while read -r registers stack spills kernel; do
      kernels=$((kernels + 1))
      echo "sm_$to $registers registers, $stack bytes of stack, $spills spilled: $kernel"
      [[ $spills -eq 0 ]] || code=1
    done <"$log"
  done
done
echo "$kernels kernels in machine code; $([[ $code -eq 0 ]] && echo none spills || echo some spill)"
[[ $kernels -gt 0 ]] || code=1
exit $code
