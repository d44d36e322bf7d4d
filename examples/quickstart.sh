#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian 12 to a first batched answer: installs what is missing, builds, fetches the
# real all-MiniLM-L6-v2, serves it, and sends it real sentences over many connections, with batching
# and without. Costs seconds the second time.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "what is needed"
scripts/setup.sh --build
scripts/get_minilm.sh

say "build (build/release)"
log=build/quickstart.build.log
{ cmake --preset release -DBUILD_TESTING=OFF && cmake --build --preset release --target sluice; } \
  >"$log" 2>&1 || {
  tail -n 40 "$log" >&2
  exit 1
}
build/release/sluice --version

work=$(mktemp -d)
servers=()
finish() {
  for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${servers[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

# serve NAME FLAG...: starts a server; its addresses will stand in $work/NAME, its process id in
# $work/NAME.pid.
serve() {
  local name=$1
  shift
  build/release/sluice serve --model build/models/all-MiniLM-L6-v2 --listen 127.0.0.1:0 \
    --admin 127.0.0.1:0 "$@" >"$work/$name" 2>"$work/$name.log" &
  servers+=($!)
  echo $! >"$work/$name.pid"
}

say "sluice serve --model build/models/all-MiniLM-L6-v2"
serve batched
serve single --batch-items-max 1
for name in batched single; do
  until [[ $(wc -l <"$work/$name") -ge 2 ]]; do
    jobs -r | grep -q . || break
    sleep 0.05
  done
  if [[ $(wc -l <"$work/$name") -lt 2 ]]; then
    cat "$work/$name.log" >&2
    exit 1
  fi
done
cat "$work/batched"

python3 examples/quickstart/client.py examples/quickstart/sentences.txt \
  --batched "$work/batched" --single "$work/single"

cat <<'END'

Next: start it yourself and ask it something.
  build/release/sluice serve --model build/models/all-MiniLM-L6-v2
  curl http://127.0.0.1:8080/v1/embeddings -H 'content-type: application/json' \
    -d '{"model":"all-MiniLM-L6-v2","input":"a sluice holds the flow"}'
END
