#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything about gpu/ that needs a GPU, in one command: builds, checks every kernel against double
# precision, runs the sanitizers, compares with transformers, measures. Needs the CUDA Toolkit and a
# C++ compiler; python3 with torch and transformers for the comparison.
#   gpu/check.sh [--quick] [--model DIR] [--no-compile] [--time-kernels]
# Writes to $OUT (default build/gpu-check). Ends with 0 if nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
quick= model= compile= times=
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=1 ;;
    --model) model=$2; shift ;;
    --no-compile) compile=--no-compile ;;
    --time-kernels) times=time ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
  shift
done
out=${OUT:-build/gpu-check}
work=build/gpu-check-work
mkdir -p "$out" "$work"
cuda=${CUDA_HOME:-/usr/local/cuda}
PATH=$PATH:$cuda/bin
failed=0
now() { date +%s; }
begun=$(now)
step() { echo "== $* (at $(($(now) - begun)) s)"; }
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,memory.used --format=csv,noheader

capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
step "build for sm_$capability"
for name in row gemm norm attention output; do
  nvcc -std=c++20 -I. -O3 -lineinfo -gencode "arch=compute_$capability,code=sm_$capability" \
    -fatbin "gpu/${name}_kernels.cu" -o "$work/$name.fatbin" &
done
nvcc -std=c++20 -I. -O3 -lineinfo -gencode arch=compute_90a,code=sm_90a \
  -fatbin gpu/wide_kernels.cu -o "$work/wide.fatbin" &
for source in base/error.cc gpu/*.cc gpu/check/*.cc; do
  g++ -std=c++2b -O2 -DNDEBUG -I. -I"$cuda/include" -c "$source" \
    -o "$work/$(basename "$source" .cc).o" &
done
wait
g++ -c -I"$work" -Wa,-I"$work" gpu/images.S -o "$work/images_data.o" || exit 1
common="$work/error.o $work/images_data.o"
for source in gpu/*.cc; do common="$common $work/$(basename "$source" .cc).o"; done
checks=
for source in gpu/check/check_*.cc; do checks="$checks $work/$(basename "$source" .cc).o"; done
# shellcheck disable=SC2086
g++ -o "$work/kernels" "$work/kernels_main.o" "$work/time_kernels.o" $checks $common \
  -ldl -pthread &&
  g++ -o "$work/forward" "$work/forward_main.o" $common -ldl -pthread || exit 1

step "kernels against double precision"
"$work/kernels" ${quick:+quick} $times || failed=1

if [ -z "$quick" ] && command -v compute-sanitizer >/dev/null; then
  step "sanitizers on a small batch"
  python3 gpu/check/small.py "$work/small.bin" "$work/small_batch.bin"
  for tool in memcheck racecheck synccheck initcheck; do
    timeout 60 compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 \
      "$work/forward" "$work/small.bin" "$work/small_batch.bin" one >"$work/$tool.log" 2>&1 &&
      echo "$tool: clean" || { echo "$tool: FAILED"; tail -20 "$work/$tool.log"; failed=1; }
  done
fi

step "against transformers"
# shellcheck disable=SC2086
PYTHONUNBUFFERED=1 python3 gpu/check/compare.py "$work/forward" "$work/compare" \
  ${model:+--model "$model"} ${quick:+--quick} $compile --json "$out/gpu_check.json" || failed=1
step "done, failed: $failed"
exit $failed
