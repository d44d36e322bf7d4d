#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the Python environment of Infinity in build/infinity-venv and prints where its interpreter
# is. Says first what it takes, and fails if the disk has not that much. Costs nothing when it is
# there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build
requirements=$here/requirements-infinity.txt

mkdir -p "$build"
if ! cmp -s "$requirements" "$build/infinity-venv/requirements.txt"; then
  echo "Infinity goes into build/infinity-venv: 4.9 GB, for PyPI's torch brings CUDA along" >&2
  mib_free=$(df --output=avail --block-size=1M "$build" | tail -n 1)
  if [[ $mib_free -lt 8000 ]]; then
    echo "setup_infinity: that needs 8,000 MiB while it is made; build/ has $mib_free" >&2
    exit 1
  fi
fi
# Without pip's cache, which would keep all of it a second time.
PIP_NO_CACHE_DIR=1 exec "$here/setup_venv.sh" "$build/infinity-venv" "$requirements"
