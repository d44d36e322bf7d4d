# SPDX-License-Identifier: Apache-2.0
"""The embedded model gives the vectors of sentence-transformers, in float32 and bfloat16.

    compare_sentence_transformers.py EMBED_PROGRAM MODEL_FOLDER

Needs the packages sentence-transformers and torch, which are too large for every test run; so this
is run by hand when the engine changes. Prints the smallest and the mean cosine and the largest
difference of a component, and fails below the limits the project promises.
"""

import json
import random
import subprocess
import sys

import numpy
import torch
from sentence_transformers import SentenceTransformer

TEXTS = 400
COSINE_MIN = 0.9999
ALONE_COSINE_MIN = 0.999999
WORDS = """the a of to and in is it was for on are as with his they at be this have from or one had
by word but not what all were we when your can said there use an each which she do how their if
will up other about out many then them these so some her would make like him into time has look two
more write go see number no way could people my than first water been call who oil its now find
long down day did get come made may part embedding vector serverless batch gateway latency queue
deadline token transformer attention probability museum volcano treaty enzyme quarterly""".split()
SCRAPS = ["", " ", "!", "?!?!", "naïve café", "Größe", "東京タワー", "Привет мир", "🙂🙃", "\t\n",
          "a" * 99, "a" * 150, "x = [1, 2, 3]; // comment", "[SEP]", "1,234.56 $", "e\u0301",
          "SELECT * FROM t WHERE a='b'", "https://example.org/a?b=c&d=e", "\u200b", "نص عربي"]


def texts(seed=3):
    """Short and long, plain and hostile."""
    rng = random.Random(seed)
    made = list(SCRAPS)
    made += [" ".join(rng.choices(WORDS, k=k)) for k in (200, 254, 255, 400)]  # about the limit
    while len(made) < TEXTS:
        words = rng.choices(WORDS, k=max(1, int(rng.expovariate(1 / 30))))
        if rng.random() < 0.3:
            words.insert(rng.randrange(len(words) + 1), rng.choice(SCRAPS))
        if rng.random() < 0.1:
            words = ["".join(chr(rng.randrange(33, 0x2FFF)) for _ in range(rng.randrange(1, 20)))]
        made.append(" ".join(words))
    return made


def embed(program, folder, precision, ids):
    lines = "".join(json.dumps(row) + "\n" for row in ids)
    done = subprocess.run([program, folder, precision], input=lines.encode(), check=True,
                          stdout=subprocess.PIPE)
    return numpy.frombuffer(done.stdout, dtype="<f4").reshape(len(ids), -1).astype("f8")


def cosines(a, b):
    return (a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)


def main():
    program, folder = sys.argv[1:3]
    torch.set_num_threads(1)
    model = SentenceTransformer(folder, device="cpu")
    inputs = texts()
    ids = [model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"]
           for text in inputs]
    expected = model.encode(inputs, batch_size=32, convert_to_numpy=True).astype("f8")
    failed = False
    print(f"{len(ids)} texts, {sum(map(len, ids))} tokens, longest {max(map(len, ids))}")
    for precision in ("f32", "bf16"):
        ours = embed(program, folder, precision, ids)
        cosine = cosines(ours, expected)
        print(f"{precision}: cosine min {cosine.min():.7f} mean {cosine.mean():.7f}, "
              f"largest difference {abs(ours - expected).max():.2e}")
        alone = numpy.concatenate([embed(program, folder, precision, [row]) for row in ids[:24]])
        cosine_alone = cosines(ours[:24], alone)
        print(f"{precision}: alone against in the batch: cosine min {cosine_alone.min():.9f}")
        failed |= cosine.min() < COSINE_MIN or cosine_alone.min() < ALONE_COSINE_MIN
    print("FAILED" if failed else "ok")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
