#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes backends/unicode_data.inc: what a BERT tokenizer does with each code point.

Hugging Face's BertTokenizerFast mixes Unicode tables of several ages, most of them old, so no
Unicode library gives the same ids. This script asks the `tokenizers` package (pip install
tokenizers==0.23.3) about each of the 1,112,064 code points, one property at a time, and packs the
answers:

  classes       distinct sets of properties, at most 256
  stages        code point / 256 -> group of 16 blocks -> block of 16 code points -> class, for code
                points below the table's end; a third stage saves 7 KB over two
  ranges        (first, class) for the code points beyond it, which are few and uniform
  bare forms    canonical decomposition without marks: runs of code points that have one, and their
                16-bit targets in order; targets that are longer or beyond 16 bits live in a list,
                named by 0xD800 + index

usage: make_unicode_tables.py [output file]
"""

import functools
import os
import sys

from tokenizers import normalizers, pre_tokenizers

CONTROL, SPACE, PUNCTUATION, CJK, MARK, BARE = 1, 2, 4, 8, 16, 32
BLOCK = 16
TABLE_END = 0x20000
HANGUL = range(0xAC00, 0xAC00 + 11172)
DOTTED_CAPITAL_I = 0x130


def normalizer(**flags):
    every = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**every, **flags}).normalize_str


CLEAN = normalizer(clean_text=True)
CHINESE = normalizer(handle_chinese_chars=True)
STRIP = normalizer(strip_accents=True)
LOWER = normalizer(lowercase=True)
NFD = normalizers.NFD().normalize_str
SPLIT = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def code_points():
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def combining_ranks():
    """code point -> rank of its canonical combining class, 1 and up; absent for starters."""
    lowest, highest = "\u0334", "\u0345"  # combining classes 1 and 240
    marks = []
    for c in code_points():
        x = chr(c)
        if NFD(x) == x and (NFD(highest + x) == x + highest or NFD(x + lowest) == lowest + x):
            if x not in (lowest, highest):
                marks.append(x)
    marks += [lowest, highest]

    def compare(a, b):
        if a != b and NFD(a + b) == b + a:
            return 1
        return -1 if a != b and NFD(b + a) == a + b else 0

    marks.sort(key=functools.cmp_to_key(compare))
    ranks, rank = {}, 1
    for previous, x in zip([marks[0]] + marks, marks):
        rank += compare(previous, x) != 0
        ranks[ord(x)] = rank
    return ranks


def describe(c, ranks, bare):
    """The properties of one code point as (flags, rank, distance to its lower case)."""
    x = chr(c)
    flags, rank = 0, ranks.get(c, 0)
    cleaned, words = CLEAN(x), len(SPLIT("q" + x + "q"))
    flags |= CONTROL if cleaned == "" else 0
    flags |= SPACE if words == 2 else 0
    flags |= PUNCTUATION if words == 3 else 0
    flags |= CJK if CHINESE(x) == " " + x + " " else 0
    assert cleaned in ("", x) or (cleaned == " " and words == 2), hex(c)
    stripped, decomposed = STRIP(x), NFD(x)
    if stripped == "":
        flags |= MARK
        # All of it is dropped, so only this matters: a starter inside ends a run of marks.
        rank = min(ranks.get(ord(y), 0) for y in decomposed)
    elif stripped != x:
        assert ranks.get(ord(decomposed[0]), 0) == 0, hex(c)
        if c in HANGUL:
            assert stripped == decomposed
        else:
            flags |= BARE
            bare[c] = [ord(y) for y in stripped]
    lowered = LOWER(x)
    if c == DOTTED_CAPITAL_I:
        assert lowered == "i\u0307"
        lowered = "i"
    assert len(lowered) == 1, hex(c)
    return flags, rank, ord(lowered) - c


def check_hangul():
    for c in HANGUL:
        i = c - 0xAC00
        parts = [0x1100 + i // 588, 0x1161 + i % 588 // 28] + ([0x11A7 + i % 28] if i % 28 else [])
        assert NFD(chr(c)) == "".join(map(chr, parts)), hex(c)


def pack_bare(bare):
    """-> runs (first code point, first target), targets, and the list of long targets."""
    runs, targets, longs = [], [], []
    for c in sorted(bare):
        if c - 1 not in bare:
            runs.append((c, len(targets)))
        sequence = bare[c]
        if len(sequence) == 1 and sequence[0] < 0x10000:
            targets.append(sequence[0])
        else:
            assert len(sequence) <= 3
            targets.append(0xD800 + len(longs))
            longs.append(sequence + [0] * (3 - len(sequence)))
    assert len(longs) < 0x800
    return runs, targets, longs


def pack_stages(of):
    """-> three stages; each lists blocks of BLOCK entries of the next one."""
    stages = [of[:TABLE_END]]
    while len(stages) < 3:
        blocks, indices = {}, []
        below = stages[0]
        for start in range(0, len(below), BLOCK):
            indices.append(blocks.setdefault(tuple(below[start : start + BLOCK]), len(blocks)))
        stages[0] = [x for block in blocks for x in block]
        stages.insert(0, indices)
    return stages


def rows(values, width=100):
    line, lines = " ", []
    for v in values:
        if len(line) + len(str(v)) + 2 > width:
            lines.append(line)
            line = " "
        line += " %s," % v
    return "\n".join(lines + [line])


def main():
    path = (
        sys.argv[1]
        if len(sys.argv) > 1
        else os.path.join(
            os.path.dirname(os.path.abspath(__file__)), "..", "backends", "unicode_data.inc"
        )
    )
    check_hangul()
    ranks, bare, classes, of = combining_ranks(), {}, {}, [0] * 0x110000
    nothing = (0, 0, 0)
    classes[nothing] = 0
    for c in code_points():
        of[c] = classes.setdefault(describe(c, ranks, bare), len(classes))
    assert len(classes) <= 256
    first, second, third = pack_stages(of)
    assert max(first) < 256
    ranges = [
        (c, of[c]) for c in range(TABLE_END, 0x110000) if c == TABLE_END or of[c] != of[c - 1]
    ]
    runs, targets, longs = pack_bare(bare)
    sizes = [
        len(first),
        2 * len(second),
        len(third),
        8 * len(classes),
        8 * len(ranges),
        8 * len(runs),
        2 * len(targets),
        12 * len(longs),
    ]
    print(
        "%d bytes: stages %d + %d + %d, classes %d, ranges %d, bare forms %d + %d + %d"
        % (sum(sizes), *sizes)
    )
    assert sum(sizes) < 20000
    with open(path, "w") as out:
        out.write(
            TEMPLATE
            % {
                "classes": rows("{%d, %d, %d}" % x for x in classes),
                "first": rows(first),
                "second": rows(second),
                "third": rows(third),
                "ranges": rows("{0x%X, %d}" % r for r in ranges),
                "runs": rows("{0x%X, %d}" % r for r in runs),
                "targets": rows("0x%X" % t for t in targets),
                "longs": rows("{0x%X, 0x%X, 0x%X}" % tuple(s) for s in longs),
            }
        )


TEMPLATE = """// SPDX-License-Identifier: Apache-2.0
// Generated by scripts/make_unicode_tables.py; do not edit. Included by unicode_tables.cc only.
// clang-format off

// {flags, combining rank, distance to the lower case}
constexpr CodePointClass kClasses[] = {
%(classes)s
};

// Code points [256 i, 256 i + 256) as an index into groups of 16 in kSecondStage.
constexpr uint8_t kFirstStage[] = {
%(first)s
};

// 16 code points each, as an index into groups of 16 in kThirdStage.
constexpr uint16_t kSecondStage[] = {
%(second)s
};

// The class of each code point, as an index into kClasses.
constexpr uint8_t kThirdStage[] = {
%(third)s
};

// The code points beyond the stages: the class from `first` up to the next range.
constexpr Range kRanges[] = {
%(ranges)s
};

// Runs of code points that have a bare form; `index` is that of the first in kBareTargets.
constexpr Range kBareRuns[] = {
%(runs)s
};

// Their bare forms; 0xD800 + i stands for kBareLong[i].
constexpr uint16_t kBareTargets[] = {
%(targets)s
};

constexpr char32_t kBareLong[][3] = {
%(longs)s
};
"""

if __name__ == "__main__":
    main()
