#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes a Python environment and prints where its interpreter is: that of the end-to-end tests in
# build/e2e-venv, or another in VENV of what a file lists. Costs nothing when it is there already;
# several may run at once.
#
#   setup_venv.sh [VENV [REQUIREMENTS]]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${1:-$root/build/e2e-venv}
requirements=${2:-$here/requirements.txt}
stamp=$venv/requirements.txt

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
# The stamp is written last, so an interrupted installation is begun again.
if ! cmp -s "$requirements" "$stamp"; then
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    -r "$requirements" >&2
  cp "$requirements" "$stamp"
fi
echo "$venv/bin/python"
