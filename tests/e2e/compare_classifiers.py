#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the logits of our CPU engine with those of `transformers`, for seeded classifiers.

usage: compare_classifiers.py [--golden FILE] FOLDER ROWS [FOLDER ROWS ...]

Each FOLDER and ROWS come from one run of the program made of tests/tools/classify_main.cc:
    classify_main FOLDER LABELS > ROWS
Fails if a logit differs by more than 1e-4. With --golden the logits of `transformers` go to FILE;
so tests/golden/classifier.jsonl was made, of one label and of three, in that order.
Needs: pip install torch transformers. Not part of the tests that run by themselves, which compare
with the file.
"""

import argparse
import json
import sys

import torch
import transformers

SECOND_SEGMENT = 1 << 30
DIFFERENCE_MAX = 1e-4


def theirs(model, tokens):
    """The logits of one row."""
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([[t % SECOND_SEGMENT for t in tokens]]),
            token_type_ids=torch.tensor([[t // SECOND_SEGMENT for t in tokens]]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
        ).logits[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--golden")
    parser.add_argument("folders_and_rows", nargs="+")
    args = parser.parse_args()
    lines = []
    worst = 0.0
    pairs = args.folders_and_rows
    for folder, rows in zip(pairs[::2], pairs[1::2], strict=True):
        model = transformers.BertForSequenceClassification.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        ).eval()
        exact = model.double()
        with open(rows, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                logits = theirs(exact, row["tokens"]).tolist()
                pairs_of_logits = zip(logits, row["logits"], strict=True)
                worst = max(worst, *(abs(a - b) for a, b in pairs_of_logits))
                lines.append({"tokens": row["tokens"], "logits": [round(x, 7) for x in logits]})
    if args.golden:
        with open(args.golden, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
    print(
        "transformers %s, torch %s: %d rows compared, largest difference of a logit %.2g"
        % (transformers.__version__, torch.__version__, len(lines), worst)
    )
    sys.exit(0 if lines and worst <= DIFFERENCE_MAX else 1)


if __name__ == "__main__":
    main()
