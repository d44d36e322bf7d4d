# SPDX-License-Identifier: Apache-2.0
"""Texts for benchmarks: the same on every machine, of mixed lengths, as request bodies.

usage: bench_texts.py COUNT MODEL > bodies.jsonl
"""

import json
import random
import sys

WORDS = """the of and to in is that for it as was with be by on not he his but at are this have
from had an they which one you were her all she there would their we him been has when who will more
no if out so said what up its about into than them can only other new some could time these two may
then do first any my now such like our over man me even most made after also did many before must
through back years where much your way well down should because each just those people how too
state good very make world still own see men work long get here between both life being under never
day same another know while last might us great old year off come since against go came right used
take three tokenization embedding retrieval serverless gateway batching latency
throughput""".split()
# Words per text and how often: short queries, sentences, paragraphs, a few long passages.
LENGTHS = ((4, 8, 35), (9, 24, 40), (25, 80, 20), (81, 180, 5))


def texts(count, seed=1):
    """`count` texts, none equal to another."""
    rng = random.Random(seed)
    weights = [weight for _, _, weight in LENGTHS]
    for i in range(count):
        low, high, _ = rng.choices(LENGTHS, weights)[0]
        yield " ".join(rng.choices(WORDS, k=rng.randint(low, high))) + f" {i}"


def bodies(count, model, seed=1):
    """Request bodies of one text each, as JSON lines."""
    return "".join(json.dumps({"model": model, "input": text}) + "\n"
                   for text in texts(count, seed))


if __name__ == "__main__":
    sys.stdout.write(bodies(int(sys.argv[1]), sys.argv[2]))
