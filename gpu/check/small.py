# SPDX-License-Identifier: Apache-2.0
"""Writes a two-layer model of random weights and a batch of 65 + 64 + 1 tokens, in the formats of
forward_main.cc, for the sanitizers.

    small.py MODEL BATCHES
"""

import random
import struct
import sys

HIDDEN, HEADS, WIDE, VOCABULARY, POSITIONS, LAYERS = 128, 4, 256, 100, 128, 2


def main():
    random.seed(1)
    with open(sys.argv[1], "wb") as file:
        file.write(struct.pack("<9I", LAYERS, HIDDEN, HEADS, WIDE, VOCABULARY, POSITIONS, 2, 0,
                               POSITIONS))
        file.write(struct.pack("<fII", 1e-12, 0, 1))

        def tensor(count, middle=0.0, spread=0.1):
            values = [random.gauss(middle, spread) for _ in range(count)]
            file.write(struct.pack(f"<I{count}f", count, *values))

        def linear(outputs, inputs):
            tensor(outputs * inputs)
            tensor(outputs)

        def norm():
            tensor(HIDDEN, 1.0)
            tensor(HIDDEN)

        for rows in (VOCABULARY, POSITIONS, 2):
            tensor(rows * HIDDEN, spread=1.0)
        norm()
        for _ in range(LAYERS):
            for _ in range(4):
                linear(HIDDEN, HIDDEN)
            norm()
            linear(WIDE, HIDDEN)
            linear(HIDDEN, WIDE)
            norm()
    with open(sys.argv[2], "wb") as file:
        lengths = [65, 64, 1]
        file.write(struct.pack("<I", len(lengths)))
        for length in lengths:
            row = [random.randrange(VOCABULARY) for _ in range(length)]
            file.write(struct.pack(f"<I{length}I", length, *row))


if __name__ == "__main__":
    main()
