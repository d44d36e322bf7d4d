#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sluice in front of a model server that other people wrote: Infinity (PyPI) with the real
# all-MiniLM-L6-v2. The same program asks it directly and through sluice; only the base URL differs.
# Installs what is missing, ends what it started, and fails if an answer is another one or if
# nothing was merged.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "drop-in: $*" >&2
  exit 1
}

say "what is needed"
model=build/models/all-MiniLM-L6-v2
venv=build/infinity-venv
scripts/setup.sh --build
scripts/get_minilm.sh
python=$(tests/e2e/setup_venv.sh)
tests/e2e/setup_infinity.sh >/dev/null

sluice=build/release/sluice
[[ -x $sluice ]] || sluice=build/dev/sluice
if [[ ! -x $sluice ]]; then
  say "build (build/release)"
  sluice=build/release/sluice
  log=build/drop-in.build.log
  {
    cmake --preset release -DBUILD_TESTING=OFF &&
      cmake --build --preset release --target sluice
  } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    exit 1
  }
fi
"$sluice" --version

work=$(mktemp -d)
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT

# await PID LOG COMMAND...: until the command succeeds; fails with the log if the process ends
# first, or after a minute or more.
await() {
  local pid=$1 log=$2
  shift 2
  for _ in {1..600}; do
    ! "$@" >/dev/null 2>&1 || return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 20 "$log" >&2
  fail "did not start: $log"
}

say "infinity_emb v2 --model-id $model"
port=$("$python" -c '
import socket
with socket.create_server(("127.0.0.1", 0)) as free:
    print(free.getsockname()[1])')
server=http://127.0.0.1:$port
env HF_HUB_OFFLINE=1 DO_NOT_TRACK=1 CUDA_VISIBLE_DEVICES= "$venv/bin/infinity_emb" v2 \
  --model-id "$model" --served-model-name all-MiniLM-L6-v2 --engine torch --device cpu \
  --dtype float32 --no-bettertransformer --batch-size 64 --host 127.0.0.1 --port "$port" \
  --log-level warning >"$work/infinity.log" 2>&1 &
server_pid=$!
started+=("$server_pid")
await "$server_pid" "$work/infinity.log" "$python" -c \
  'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "$server/health"
echo "$server"

say "sluice doctor --upstream $server --path /embeddings"
"$sluice" doctor --upstream "$server" --path /embeddings --model all-MiniLM-L6-v2

say "sluice serve --upstream $server"
"$sluice" serve --upstream "$server" --listen 127.0.0.1:0 --admin 127.0.0.1:0 \
  >"$work/sluice" 2>"$work/sluice.log" &
sluice_pid=$!
started+=("$sluice_pid")
await "$sluice_pid" "$work/sluice.log" grep --quiet "admin on" "$work/sluice"
cat "$work/sluice"

"$python" examples/drop-in/compare.py examples/quickstart/sentences.txt --model all-MiniLM-L6-v2 \
  --server "$server" --server-pid "$server_pid" --sluice "$work/sluice" --sluice-pid "$sluice_pid"
