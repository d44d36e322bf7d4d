#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes vocab.txt, tokenizer.jsonl and tokenizer_pairs.jsonl beside itself: a small vocabulary and
what Hugging Face's `tokenizers` package (pip install tokenizers==0.23.3) makes of hostile texts
with it.

tokenizer.jsonl has one JSON value per line. An object starts a part: the flags, the limit in
tokens, and `words`, the FNV-1a hash of the words made of q, c, q for every code point c. An array
is a case of that part: the text, its ids, and 1 if it was cut. The texts follow from a seed and are
made by tests/e2e/tokenizer_differential.py.

tokenizer_pairs.jsonl has a pair per line: two texts, the limit, 1 if cut at the start, the tokens
with 2^30 added to those of the second segment, and 1 if something was cut.
"""

import itertools
import json
import os
import sys

from tokenizers import BertWordPieceTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from tokenizer_differential import CJK, ENGLISH, MARKS, SPECIAL, ZWJ, Texts  # noqa: E402

PARTS = [  # clean_text, handle_chinese_chars, strip_accents, lowercase, limit, number of texts
    (True, True, None, True, 64, 600),  # an uncased model
    (True, True, False, False, 64, 120),  # a cased one
    (True, False, True, False, 64, 90),
    (False, True, False, True, 64, 90),
    (False, False, True, True, 8, 90),
]


def vocabulary():
    """Characters of every kind, so that little is hidden by [UNK], and some English."""
    letters = [chr(c) for c in range(0x21, 0x7F)]
    blocks = [
        (0xA1, 0x180),
        (0x250, 0x2B0),
        (0x2B9, 0x2C0),
        (0x384, 0x3CF),
        (0x430, 0x460),
        (0x5D0, 0x5EB),
        (0x621, 0x64B),
        (0x904, 0x940),
        (0x9BE, 0x9D8),
        (0x1100, 0x1113),
        (0x1161, 0x1176),
        (0x11A8, 0x11C3),
        (0x2018, 0x2027),
        (0x3001, 0x3020),
        (0x302A, 0x3030),
        (0x3041, 0x3060),
        (0x4E00, 0x4E20),
        (0xAC00, 0xAC08),
        (0x1AB0, 0x1AD0),
        (0x8D3, 0x8E4),
        (0x1F600, 0x1F610),
        (0x1D157, 0x1D173),
        (0x10A0D, 0x10A10),
    ]
    several = [chr(c) for a, b in blocks for c in range(a, b)]
    several += ["\u0307", "\u200d", "\ufffd", "\u4e4e", "\U00020122", "\u1806", "\u2260", "\u0130"]
    words = sorted({w.lower() for w in ENGLISH if w.isalpha()})
    tails = ["s", "ing", "ed", "er", "tion", "ization", "able", "ly", "ment", "bel", "iev", "ev"]
    heads = [
        "un",
        "inter",
        "national",
        "token",
        "em",
        "bed",
        "server",
        "through",
        "gate",
        "The",
        "aa",
    ]
    pieces = (
        ["[PAD]"]
        + ["[unused%d]" % i for i in range(1, 100)]
        + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    )
    pieces += letters + several + words + heads
    pieces += [
        "##" + x for x in letters + several + tails + ["less", "national", "put", "way", "aa"]
    ]
    return list(dict.fromkeys(pieces))


def every_block():
    """Three texts for each 128 code points below U+20000, and a few beyond."""
    starts = list(range(0, 0x20000, 0x80)) + [
        0x20000,
        0x2A680,
        0x2A700,
        0x2B780,
        0x2B820,
        0x2B920,
        0x2CE80,
        0x2F800,
        0x2FA00,
        0x30000,
        0xE0000,
        0xE0100,
        0xF0000,
        0x10FF80,
    ]
    return [
        "".join("a" + chr(c) for c in range(start + 3, start + 0x80, 25))
        for start in starts
        if not 0xD800 <= start < 0xE000
    ]


def lengths():
    """Words around the longest that is not unknown."""
    letters = ("a", "\u00e9", "e\u0301", "\U0001d165", "\uac00", "\u0130")
    words = [letter * n for letter in letters for n in (99, 100, 101, 102, 201)]
    return words + ["a" * n + "!" + "a" * (100 - n) for n in (0, 50, 100)]


def rules():
    """One text for each rule that is easily forgotten."""
    edges = [
        "the " * n + end for n in (61, 62, 63) for end in ("", ".", " ", "\u0301", "zq", "[SEP]")
    ]
    return (
        edges
        + SPECIAL
        + ZWJ
        + [
            "",
            " ",
            "\t\r\n",
            "\u0000",
            "\ufffd",
            "\u0301",
            "Hello, World!",
            "don't stop",
            "unbelievable",
            "tokenization tokenizations",
            "caf\u00e9 cafe\u0301 CAF\u00c9",
            "\u0130stanbul \u0131",
            "a[SEP]b[MASK] [CLS]",
            "\ud55c\uad6d\uc5b4",
            "\u1112\u1161\u11ab",
            "\u2260 \u226e \u037e \u1fef",
            "\u4e00\u4e01a\u4e02",
            "\uf900\ufa0e\U0002f800",
            "\u03a3\u03b1\u03c2 \u039f\u0394\u039f\u03a3",
            "q\U0001d165\u302e\u0301\U0001d16d",
            "q\u302e\U0001d165",
            "q\u302e\u0000\U0001d165",
            "q\u302e\u034f\U0001d165",
            "q\u302e\u200d\U0001d165",
            "q\U0001d15fq\u302e",
            "\u0f73\u0f71\u0344",
            "\u1acc\u1abf\u0345\u1ac5",
            "x\u00a0y\u2003z\u3000w\u0085v\u000bu\u200bt",
            "\ufb01 \u00df \u1e9e",
        ]
    )


def words_hash(tokenizer):
    """FNV-1a, 64 bits, of the words of q, c, q; 0xFF follows each, 0xFE each code point."""
    value = 0xCBF29CE484222325
    normalize = tokenizer.normalizer.normalize_str
    split = tokenizer.pre_tokenizer.pre_tokenize_str
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        words = split(normalize("q" + chr(c) + "q"))
        for byte in b"".join(word.encode() + b"\xff" for word, _ in words) + b"\xfe":
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return "%016x" % value


def write_pairs(pieces):
    """Lengths on both sides of every edge of the truncation, then mixed texts."""
    make = Texts(20240301)
    lines = []
    for limit, left in itertools.product((4, 5, 6, 11, 12), (False, True)):
        tokenizer = BertWordPieceTokenizer({piece: i for i, piece in enumerate(pieces)})
        tokenizer._tokenizer.enable_truncation(limit, direction="left" if left else "right")
        counts = sorted({0, 1, limit // 2 - 2, limit // 2 - 1, limit // 2, limit - 3, limit + 1})
        words = [" ".join(ENGLISH[: max(n, 0)]) for n in counts]
        texts = list(itertools.product(words, words))
        texts += [(make.text()[:20], make.text()[:20]) for _ in range(3)]
        for first, second in texts:
            encoding = tokenizer.encode(first, second)
            tokens = [i + (t << 30) for i, t in zip(encoding.ids, encoding.type_ids)]
            lines.append(
                [first, second, limit, int(left), tokens, int(bool(encoding.overflowing))]
            )
    with open(os.path.join(HERE, "tokenizer_pairs.jsonl"), "w", encoding="ascii") as file:
        file.write("".join(json.dumps(x, separators=(",", ":")) + "\n" for x in lines))


def main():
    pieces = vocabulary()
    with open(os.path.join(HERE, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("".join(piece + "\n" for piece in pieces))
    make = Texts(20240229)
    lines = []
    for clean, chinese, strip, lower, limit, count in PARTS:
        tokenizer = BertWordPieceTokenizer(
            {piece: i for i, piece in enumerate(pieces)},
            clean_text=clean,
            handle_chinese_chars=chinese,
            strip_accents=strip,
            lowercase=lower,
        )
        tokenizer.enable_truncation(limit)
        lines.append(
            {
                "clean_text": clean,
                "handle_chinese_chars": chinese,
                "lowercase": lower,
                "strip_accents": lower if strip is None else strip,
                "limit": limit,
                "words": words_hash(tokenizer),
            }
        )
        texts = rules() + (lengths() + every_block() if strip is None else [])
        short = (text for text in iter(make.text, None) if len(text) <= 60)
        texts += itertools.islice(short, count)
        for text in texts:
            encoding = tokenizer.encode(text)
            lines.append([text, encoding.ids, int(bool(encoding.overflowing))])
    with open(os.path.join(HERE, "tokenizer.jsonl"), "w", encoding="ascii") as file:
        file.write("".join(json.dumps(x, separators=(",", ":")) + "\n" for x in lines))
    write_pairs(pieces)
    print("%d pieces, %d lines" % (len(pieces), len(lines)))


if __name__ == "__main__":
    main()
