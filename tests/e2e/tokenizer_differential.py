#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our tokenizer with the `tokenizers` package, text by text; any difference fails.

usage: tokenizer_differential.py TOKENIZE FOLDER [--count N] [--pairs N] [--seed S] [--limit L]
                                 [--all-code-points] [--visible]

TOKENIZE is the program made of tests/tools/tokenize_main.cc; FOLDER holds tokenizer.json. The texts
follow from the seed. A real vocabulary hides most of the normalization behind [UNK]; --visible
repeats the comparison with every character below U+20000 as a piece, under each set of flags.
Pairs are compared with their segments, cut at either end, at odd and even limits, the smallest too.
Needs: pip install tokenizers==0.23.3
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

ENGLISH = """the of and to in a is that for it as was with be by on not he his but at are this have
from or had an they which one you were her all she there would their we him been has when who will
more no if out so said what up its about into than them can only other new some could time these two
may then do first any my now such like our over man me even most made after also did many before
must through back years where much your way well down should because each just those people mr
how too tokenization embedding unbelievably internationalization serverless gateway throughput
2024 3.14 don't it's co-operate e-mail x86_64 http://example.com/a?b=c user@host.org $100 50%
#tag C++""".split()
SPECIAL = [
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[PAD]",
    "[UNK]",
    "[cls]",
    "[SEP",
    "[[SEP]]",
    "[SEP][SEP]",
    "[unused1]",
    "##s",
    "##",
    "[SE\u0000P]",
    "[\u0301SEP]",
]
ZWJ = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f44d\U0001f3fd",
    "\U0001f1e9\U0001f1ea",
    "\u2764\ufe0f",
    "1\ufe0f\u20e3",
]
MARKS = [
    c
    for a, b in (
        (0x300, 0x370),
        (0x483, 0x488),
        (0x591, 0x5C8),
        (0x64B, 0x660),
        (0x8D3, 0x900),
        (0x1AB0, 0x1AD0),
        (0x1DC0, 0x1E00),
        (0x20D0, 0x20F1),
        (0x302A, 0x3030),
        (0x1D165, 0x1D173),
        (0x16FF0, 0x16FF2),
        (0xF71, 0xF85),
        (0x93C, 0x94E),
        (0xFE20, 0xFE30),
        (0x10A0D, 0x10A40),
        (0x11A34, 0x11A48),
    )
    for c in range(a, b)
]
BLANKS = (
    " \t\n\r\u000b\u000c\u0085\u00a0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
)
CJK = [
    (0x4E00, 0xA000),
    (0x3400, 0x4DC0),
    (0x20000, 0x2A6E0),
    (0x2A700, 0x2CEB0),
    (0xF900, 0xFB00),
    (0x2F800, 0x2FA20),
    (0x3040, 0x3100),
    (0xAC00, 0xD7A4),
    (0x1100, 0x1200),
]
LATIN = [(0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x1E00, 0x2000), (0x370, 0x530)]


class Texts:
    """Hostile texts, each a mix of a few kinds of pieces."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def scalar(self, low=0, high=0x110000):
        while True:
            c = self.random.randrange(low, high)
            if not 0xD800 <= c < 0xE000:
                return chr(c)

    def of(self, ranges):
        return self.scalar(*self.random.choice(ranges))

    def many(self, low, high, make):
        return "".join(make() for _ in range(self.random.randint(low, high)))

    def anywhere(self):
        """A code point of a random block; near the start, where most is assigned, more often."""
        top = self.random.choice(
            [0x100, 0x800, 0x3100, 0x10000, 0x10000, 0x20000, 0x20000, 0x110000]
        )
        return self.scalar(0, top)

    def block(self):
        start = ord(self.anywhere()) & ~0x7F
        return self.many(
            1,
            12,
            lambda: (
                self.scalar(start, start + 0x80) if not 0xD780 <= start < 0xE000 else self.of(CJK)
            ),
        )

    def marks(self):
        base = self.random.choice([lambda: "", lambda: "a", lambda: self.of(LATIN), self.anywhere])
        return self.many(
            1,
            4,
            lambda: base()
            + self.many(
                0,
                6,
                lambda: (
                    chr(self.random.choice(MARKS))
                    if self.random.random() < 0.8
                    else self.random.choice("\u0000\u034f\u200d\u0ec8\u0041\u4e00\u0345")
                ),
            ),
        )

    def word(self):
        length = self.random.choice([1, 2, 3, 5, 8, 13, 30, 99, 100, 101, 102, 300])
        letter = self.random.choice(
            [
                lambda: self.random.choice("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789"),
                lambda: "a",
                lambda: self.of(LATIN),
                lambda: self.of(CJK[6:]),
                lambda: "\U0001d165",
                self.anywhere,
                lambda: "e\u0301",
                lambda: "\u0130",
            ]
        )
        return "".join(letter() for _ in range(length))

    def english(self):
        return " ".join(self.random.choice(ENGLISH) for _ in range(self.random.randint(1, 60)))

    def text(self):
        kinds = [
            self.anywhere,
            self.block,
            self.marks,
            self.word,
            self.english,
            lambda: self.random.choice(SPECIAL),
            lambda: self.random.choice(ZWJ),
            lambda: self.many(1, 3, lambda: self.random.choice(BLANKS)),
            lambda: self.many(
                1, 4, lambda: self.random.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
            ),
            lambda: self.many(1, 10, lambda: self.of(CJK)),
            lambda: self.many(1, 10, lambda: self.of(LATIN)),
            lambda: self.scalar(),
            lambda: chr(self.random.randrange(0x20)),
        ]
        chosen = self.random.sample(kinds, self.random.randint(1, 4))
        return self.many(
            1, self.random.choice([1, 3, 10, 40]), lambda: self.random.choice(chosen)()
        )

    def edge(self, limit):
        """One token a word, so that the number of tokens is at the limit or beside it."""
        count = limit - 2 + self.random.randint(-2, 2)
        tail = self.random.choice(["", " ", ".", "\u0301", "\u200b", "[SEP]", "\u4e00", "zzzqqqxx"])
        return " ".join(["the"] * max(count, 0)) + tail


def every_code_point():
    for c in range(0x110000):
        if not 0xD800 <= c < 0xE000:
            yield "q" + chr(c) + "q"


SECOND_SEGMENT = 1 << 30


def ours(args, folder, texts, limit, left):
    """(cut, ids, segments) for each text, or pair of texts, by our program."""
    pairs = isinstance(texts[0], tuple)
    flat = [part for pair in texts for part in pair] if pairs else texts
    data = b"".join(struct.pack("<I", len(t)) + t for t in (x.encode() for x in flat))
    command = [args.tokenize, folder, str(limit)] + ["pairs"] * pairs + ["left"] * left
    result = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    lines = result.stdout.decode().splitlines()
    assert len(lines) == len(texts), (len(lines), len(texts))
    for line in lines:
        cut, *tokens = map(int, line.split())
        yield bool(cut), [t % SECOND_SEGMENT for t in tokens], [t // SECOND_SEGMENT for t in tokens]


def compare(args, folder, texts, limit=None, left=False):
    """Number of texts, or pairs, that differ in ids, segments or in being cut; shows a few."""
    limit = limit or args.limit
    reference = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    reference.no_padding()
    reference.enable_truncation(limit, direction="left" if left else "right")
    different = 0
    for start in range(0, len(texts), 10000):
        some = texts[start : start + 10000]
        for text, theirs, mine in zip(
            some, reference.encode_batch(some), ours(args, folder, some, limit, left)
        ):
            expected = (bool(theirs.overflowing), theirs.ids, theirs.type_ids)
            if mine == expected:
                continue
            different += 1
            if different <= 5:
                print(
                    "DIFFERENT at %d%s: %s\n  tokenizers %s\n  ours       %s"
                    % (limit, " left" if left else "", json.dumps(text), expected, mine)
                )
    return different


def compare_pairs(args, make):
    """args.pairs pairs, spread over limits and both ends to cut at, and single texts cut left."""
    limits = [args.limit, args.limit - 1, 33, 32, 11, 10, 6, 5, 4]
    different = 0
    for i in range(2 * len(limits)):
        limit = limits[i // 2]
        half = max(limit // 2, 4)
        texts = []
        for _ in range(args.pairs // (2 * len(limits)) + 1):
            kind = make.random.randrange(4)
            texts.append(
                (make.text(), make.text())
                if kind == 0
                else (make.edge(half), make.edge(half + make.random.randrange(3)))
                if kind == 1
                else (make.edge(limit + make.random.randrange(6)), make.edge(limit))
                if kind == 2
                else make.random.sample([make.edge(half // 2), make.edge(limit)], 2)
            )
        texts = [tuple(pair) for pair in texts]
        different += compare(args, args.folder, texts, limit, left=i % 2 == 1)
        different += compare(args, args.folder, [a for a, _ in texts], limit, left=True)
    return different


def compare_visible(args, texts):
    """The same, with characters as vocabulary, for each set of flags."""
    with open(os.path.join(args.folder, "tokenizer.json"), encoding="utf-8") as file:
        content = json.load(file)
    pieces = [x for x in content["model"]["vocab"] if x.startswith("[") or x.startswith("##")]
    scalars = [chr(c) for c in range(0x20000) if not 0xD800 <= c < 0xE000]
    pieces = dict.fromkeys(pieces[:1000] + scalars + ["##" + c for c in scalars])
    content["model"]["vocab"] = {piece: i for i, piece in enumerate(pieces)}
    for token in content["added_tokens"]:
        token["id"] = content["model"]["vocab"][token["content"]]
    for name, token in content["post_processor"]["special_tokens"].items():
        token["ids"] = [content["model"]["vocab"][name]]
    different = 0
    for i in range(24):
        flags = {
            "clean_text": i % 2 == 0,
            "handle_chinese_chars": i // 2 % 2 == 0,
            "lowercase": i // 4 % 2 == 0,
            "strip_accents": [None, True, False][i // 8],
        }
        content["normalizer"].update(flags)
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
                json.dump(content, file)
            found = compare(args, folder, texts[i::24])
        if found:
            print("with", flags)
        different += found
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tokenize")
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=256)
    parser.add_argument("--all-code-points", action="store_true")
    parser.add_argument("--visible", action="store_true")
    args = parser.parse_args()
    make = Texts(args.seed)
    texts = [make.edge(args.limit) if i % 20 == 0 else make.text() for i in range(args.count)]
    texts += list(every_code_point()) if args.all_code_points else []
    different = compare(args, args.folder, texts)
    if args.visible:
        different += compare_visible(args, texts)
    different += compare_pairs(args, make)
    print("%d texts and %d pairs compared, %d different" % (len(texts), args.pairs, different))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
