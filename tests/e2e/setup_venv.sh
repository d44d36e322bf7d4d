#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the Python environment of the end-to-end tests in build/e2e-venv and prints where its
# interpreter is. Costs nothing when it is there already; several may run at once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${1:-$root/build/e2e-venv}
stamp=$venv/requirements.txt

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
# The stamp is written last, so an interrupted installation is begun again.
if ! cmp -s "$here/requirements.txt" "$stamp"; then
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    -r "$here/requirements.txt" >&2
  cp "$here/requirements.txt" "$stamp"
fi
echo "$venv/bin/python"
