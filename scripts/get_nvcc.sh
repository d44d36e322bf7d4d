#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches nvcc into DIR, by default build/nvcc, unless there is one on PATH or in
# /usr/local/cuda/bin. It compiles the GPU's kernels to PTX for the tests that interpret them; a GPU
# or a driver is not needed. It comes from PyPI, from NVIDIA's own wheels, pinned by hash: x86-64
# Linux only. Costs a fraction of a second when it is there already.
set -euo pipefail
out=${1:-$(dirname "$0")/../build/nvcc}

# One wheel per line: its sha256, name and version.
readonly wheels="\
56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03 nvidia-cuda-nvcc==13.0.88
2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4 nvidia-cuda-crt==13.0.88
c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0 nvidia-nvvm==13.0.88
7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 nvidia-cuda-runtime==13.0.96
e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649 nvidia-cuda-cccl==13.0.85"

for nvcc in nvcc /usr/local/cuda/bin/nvcc "$out/bin/nvcc"; do
  if command -v "$nvcc" >/dev/null && "$nvcc" --version >/dev/null 2>&1; then
    echo "nvcc: $(command -v "$nvcc")"
    exit 0
  fi
done
if [[ $(uname -sm) != "Linux x86_64" ]]; then
  echo "nvcc: none here, and none to fetch for $(uname -sm): tests of compiled kernels are left out"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
while read -r hash wheel; do
  echo "$wheel --hash=sha256:$hash"
done <<<"$wheels" >"$work/requirements.txt"
echo "nvcc: fetching version 13.0 (100 MB)"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  --only-binary :all: --require-hashes -r "$work/requirements.txt" --target "$work/packages"

# The folder moves into place whole, so that one that is there is complete.
toolkit=$work/packages/nvidia/cu13
"$toolkit/bin/nvcc" --version >/dev/null
mkdir -p "$(dirname "$out")"
rm -rf "$out.part" "$out"
cp -r "$toolkit" "$out.part"
mv "$out.part" "$out"
echo "nvcc: $out/bin/nvcc"
