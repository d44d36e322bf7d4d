#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time per token of our tokenizer and of the `tokenizers` package on the same texts.

usage: tokenizer_bench.py TOKENIZER_BENCH FOLDER TEXTS [LIMIT]

TOKENIZER_BENCH is the program made of tests/bench/tokenizer_bench.cc; TEXTS is a file of English
prose (LICENSE will do): its paragraphs are the texts. Needs: pip install tokenizers==0.23.3
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402 (the variable comes first)


def main():
    program, folder, source = sys.argv[1:4]
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else 256
    with open(source, encoding="utf-8") as file:
        texts = [" ".join(paragraph.split()) for paragraph in file.read().split("\n\n")]
    texts = [text for text in texts if text]
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    passes = []
    for _ in range(15):
        begin = time.perf_counter()
        tokens = sum(len(encoding) for encoding in tokenizer.encode_batch_fast(texts))
        passes.append(time.perf_counter() - begin)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as lines:
        lines.write("\n".join(texts))
        lines.flush()
        subprocess.run([program, folder, lines.name, str(limit)], check=True)
    print(
        "tokenizers: %.4f us per token (%d texts, %d tokens; one thread)"
        % (statistics.median(passes) * 1e6 / tokens, len(texts), tokens)
    )


if __name__ == "__main__":
    main()
