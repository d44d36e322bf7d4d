#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants bugs, one at a time, and requires that the tests catch each: a test of the tests.

Usage: run.py [--build DIR] [--jobs N] [--every N] [GROUP...]

A group is a file GROUP.txt beside this one; without names, all of them run. It is made of blocks
with empty lines between them; lines that start with # are comments. The first block says what a
mutant's test program is made of, each word a path or a glob from the root of the tree:

    sources: base/error.cc batcher/*.cc
    tests: tests/main.cc tests/queue_test.cc
    flags: -I/usr/include/something          (optional; compiling)
    libraries: -luv                          (optional; linking)
    arguments: --test-case=*                 (optional; running)

Each further block is one mutant: its file, why it would be bad, the exact line to take out (without
its indentation; it must be there once) and what to put in, which may be several lines or none:

    file: batcher/queue.cc
    why: a batch may hold one item too many
    - if (weight.items > limits.items_max) return LeaveReason::kItems;
    + if (weight.items > limits.items_max + 1) return LeaveReason::kItems;

A mutant is caught if its program fails, is killed or hangs. One that does not compile, or whose
line is not there any more, is a mistake in the group. Exits 1 if anything was not caught.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ["-std=c++23", "-O1", "-pthread"]
SECONDS_MAX = 120  # a program that runs longer hangs


@dataclasses.dataclass
class Mutant:
    file: str
    why: str
    out: str
    into: list


@dataclasses.dataclass
class Group:
    name: str
    sources: list  # paths of .cc files from the root
    flags: list
    libraries: list
    arguments: list
    mutants: list


def blocks_of(text):
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    block = []
    for line in lines + [""]:
        if line:
            block.append(line)
        elif block:
            yield block
            block = []


def fields_of(block):
    return dict(line.split(":", 1) for line in block if not line.startswith(("- ", "+")))


def read_group(path):
    head, *rest = blocks_of(path.read_text())
    fields = fields_of(head)
    sources = []
    for pattern in (fields["sources"] + " " + fields["tests"]).split():
        found = sorted(str(one.relative_to(ROOT)) for one in ROOT.glob(pattern))
        if not found:
            sys.exit(f"{path.name}: nothing matches {pattern}")
        sources += [one for one in found if one not in sources]
    mutants = []
    for block in rest:
        about = fields_of(block)
        out = [line[2:].strip() for line in block if line.startswith("- ")]
        if len(out) != 1:
            sys.exit(f"{path.name}: a mutant takes out one line: {block}")
        into = [line[1:].strip() for line in block if line.startswith("+")]
        mutants.append(Mutant(about["file"].strip(), about["why"].strip(), out[0], into))
    words = {key: fields.get(key, "").split() for key in ("flags", "libraries", "arguments")}
    return Group(path.stem, sources, mutants=mutants, **words)


def mutated(mutant):
    """The text of the mutant's file with its bug in it; None if the line is not there once."""
    lines = (ROOT / mutant.file).read_text().splitlines()
    at = [i for i, line in enumerate(lines) if line.strip() == mutant.out]
    if len(at) != 1:
        return None
    return "\n".join(lines[: at[0]] + mutant.into + lines[at[0] + 1 :]) + "\n"


class Builder:
    """Compiles a group once; a mutant is then the objects that its file is part of, anew."""

    def __init__(self, group, folder):
        self.group = group
        self.folder = folder
        self.compiler = [os.path.basename(shutil.which("g++-12") or shutil.which("c++"))]
        if shutil.which("ccache"):
            self.compiler.insert(0, "ccache")

    def compile(self, source, target, overlay=None):
        """True if `source` compiles, where files of `overlay` hide those of the tree."""
        target.parent.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{ROOT}"]
        path = ROOT / source
        if overlay:
            includes.insert(0, f"-I{overlay}")
            if (overlay / source).exists():
                path = overlay / source
        command = self.compiler + FLAGS + self.group.flags + includes
        command += [f'-DSLUICE_SOURCE_DIR="{ROOT}"', "-MMD", "-c", str(path), "-o", str(target)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def base(self, source):
        return self.folder / "base" / (source + ".o")

    def depends(self, source, file):
        words = self.base(source).with_suffix(".d").read_text().split()
        return any(os.path.realpath(ROOT / word) == str(ROOT / file) for word in words)

    def link(self, objects, program):
        command = self.compiler[-1:] + ["-pthread"] + [str(one) for one in objects]
        command += ["-o", str(program)] + self.group.libraries
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def passes(self, program):
        command = [str(program), "--abort-after=1"] + self.group.arguments
        try:
            done = subprocess.run(command, capture_output=True, check=False, cwd=self.folder,
                                  timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def verdict(self, number, mutant):
        """What became of a mutant: caught, SURVIVED, or a mistake in the group."""
        text = mutated(mutant)
        if text is None:
            return "NO SUCH LINE"
        folder = self.folder / str(number)
        overlay = folder / "tree"
        (overlay / mutant.file).parent.mkdir(parents=True, exist_ok=True)
        (overlay / mutant.file).write_text(text)
        objects = []
        for source in self.group.sources:
            if not self.depends(source, mutant.file):
                objects.append(self.base(source))
                continue
            objects.append(folder / (source + ".o"))
            if not self.compile(source, objects[-1], overlay):
                return "DOES NOT COMPILE"
        program = folder / "program"
        if not self.link(objects, program):
            return "DOES NOT LINK"
        verdict = "SURVIVED" if self.passes(program) else "caught"
        shutil.rmtree(folder)
        return verdict


def run_group(group, folder, jobs):
    """Prints a line per mutant; returns how many were not caught."""
    shutil.rmtree(folder, ignore_errors=True)
    builder = Builder(group, folder)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        compiled = list(pool.map(lambda one: builder.compile(one, builder.base(one)),
                                 group.sources))
        for source, good in zip(group.sources, compiled):
            if not good:
                sys.exit(f"{group.name}: {source} does not compile as it is")
        program = folder / "program"
        if not builder.link([builder.base(one) for one in group.sources], program):
            sys.exit(f"{group.name}: does not link as it is")
        if not builder.passes(program):
            sys.exit(f"{group.name}: the tests fail as they are")

        verdicts = pool.map(lambda one: builder.verdict(*one), enumerate(group.mutants))
        missed = 0
        for mutant, verdict in zip(group.mutants, verdicts):
            print(f"{verdict:16} {mutant.file:24} {mutant.why}", flush=True)
            missed += verdict != "caught"
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "mutants"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--link", action="append", default=[],
                        help="an object or archive that every program is linked with")
    parser.add_argument("--every", type=int, default=1, metavar="N",
                        help="plant each N-th bug only; which ones changes with the group's text")
    parser.add_argument("groups", nargs="*")
    options = parser.parse_args()
    names = options.groups or sorted(path.stem for path in HERE.glob("*.txt"))
    start = time.monotonic()
    mutants = missed = 0
    for name in names:
        group = read_group(HERE / f"{name}.txt")
        group.libraries = [os.path.abspath(one) for one in options.link] + group.libraries
        first = zlib.crc32((HERE / f"{name}.txt").read_bytes()) % options.every
        group.mutants = group.mutants[first::options.every]
        mutants += len(group.mutants)
        missed += run_group(group, pathlib.Path(options.build).resolve() / name, options.jobs)
    print(f"{mutants - missed} of {mutants} planted bugs caught in "
          f"{time.monotonic() - start:.0f} s")
    return 1 if missed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
