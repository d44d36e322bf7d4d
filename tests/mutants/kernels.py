#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants bugs in the GPU's kernels, one at a time: each must be caught by the kernels' tests, which
run what nvcc makes of them on the interpreter.

Usage: kernels.py --tests PROGRAM --ptx FOLDER [--build DIR] [--jobs N] [--every N] [--only WORD]

PROGRAM is gpu_tests, FOLDER the PTX it was built with. The bugs are: every barrier and every wait
of gpu/*.cu and *.cuh taken out in turn, found by their names, and what kernels.list says, whose
format is that of run.py's groups. A bug is compiled for one generation after another until the
tests of one catch it; where the PTX does not change, that generation does not have it. The kernels
that only sm_90a can run are left out, for the interpreter does not know their instructions.
Exits 1 if anything was not caught; 77 if there is no nvcc.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zlib

import run

ROOT = run.ROOT
LIST = run.HERE / "kernels.list"
UNITS = ["row", "gemm", "norm", "attention", "output"]
GENERATIONS = ["80", "90", "75"]
LEFT_OUT = {"strip.cuh", "wide_product.cuh", "wide_kernels.cu"}
# A statement that brings threads, copies or blocks together, or orders memory.
BARRIER = re.compile(r"\b(__syncthreads\(\)|__syncwarp\(\)|copies_wait<[^;]*>\(\)"
                     r"|cluster_arrive\(\)|cluster_wait\(\)|wait_for_previous\(\)"
                     r"|__threadfence(_system)?\(\));")
# What of the tests has to do with a unit.
CASES = {"row": "*embedding and layer norm*", "attention": "*attention is right*",
         "output": "*pooling*", "gemm": "*products that*,*every tile*", "norm": "*every tile*"}
SECONDS_MAX = 120


def barriers():
    """A mutant for each barrier, by the number of its line."""
    for path in sorted((ROOT / "gpu").glob("*.cu*")):
        if path.name in LEFT_OUT:
            continue
        for at, line in enumerate(path.read_text().splitlines()):
            code = line.split("//")[0]
            for found in BARRIER.finditer(code):
                if "__device__" in code:
                    continue
                without = code[:found.start()] + ";" + code[found.end():]
                yield f"gpu/{path.name}", at, without, f"no {found.group(1)} in line {at + 1}"


def listed():
    """The mutants of the list, as barriers() gives them."""
    for block in run.blocks_of(LIST.read_text()):
        about = run.fields_of(block)
        file = about["file"].strip()
        out = [line[2:].strip() for line in block if line.startswith("- ")]
        into = [line[1:].strip() for line in block if line.startswith("+")]
        lines = (ROOT / file).read_text().splitlines()
        at = [i for i, line in enumerate(lines) if line.strip() == out[0]]
        if len(out) != 1 or len(at) != 1:
            sys.exit(f"{LIST.name}: not one line of {file}: {out}")
        yield file, at[0], "\n".join(into), about["why"].strip()


def includes(path):
    """The names of gpu/ that a file includes, and those they include."""
    names = set()
    todo = [path]
    while todo:
        for name in re.findall(r'#include "gpu/([^"]+)"', todo.pop().read_text()):
            if name not in names:
                names.add(name)
                todo.append(ROOT / "gpu" / name)
    return names


def code_of(ptx):
    """PTX without what only says where it comes from."""
    lines = re.sub(r"//[^\n]*", "", ptx.read_text()).splitlines()
    return [line for line in lines if not re.match(r"\s*(\.loc|\.file|\.section|$)", line)]


class Planter:
    def __init__(self, options, folder):
        self.nvcc = options.nvcc
        self.tests = os.path.abspath(options.tests)
        self.ptx = pathlib.Path(options.ptx).resolve()
        self.folder = folder
        self.units = {}  # by the names of what they are made of
        for unit in UNITS:
            source = ROOT / "gpu" / f"{unit}_kernels.cu"
            for name in includes(source) | {source.name}:
                self.units.setdefault(f"gpu/{name}", []).append(unit)

    def compile(self, unit, generation, tree, target):
        command = [self.nvcc, "-std=c++17", f"-arch=sm_{generation}", "-lineinfo", "-ptx",
                   f"-I{tree}", f"-I{ROOT}", str(tree / "gpu" / f"{unit}_kernels.cu"),
                   "-o", str(target)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def passes(self, units, folder):
        """Whether the tests of these units pass in a folder that has kernels_with_bugs, or not."""
        cases = ",".join(sorted({CASES[unit] for unit in units}))
        command = [self.tests, "--source-file=*gpu_kernels_test.cc", f"--test-case={cases}",
                   "--abort-after=1"]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS_MAX,
                                  cwd=folder)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def verdict(self, number, mutant):
        file, at, text, _ = mutant
        folder = self.folder / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        tree = folder / "tree"
        (tree / "gpu").mkdir(parents=True)
        for path in (ROOT / "gpu").glob("*.*"):
            if path.suffix in (".cu", ".cuh", ".h"):
                shutil.copy(path, tree / "gpu")
        lines = (ROOT / file).read_text().splitlines()
        lines[at] = text
        (tree / file).write_text("\n".join(lines) + "\n")
        verdict = "NOWHERE IN THE CODE"
        for generation in GENERATIONS:
            ptx = folder / generation / "kernels_with_bugs"
            shutil.copytree(self.ptx, ptx, ignore=shutil.ignore_patterns("ptxas", "*.d", "*.txt"))
            changed = []
            for unit in self.units[file]:
                target = ptx / f"{unit}_kernels.sm_{generation}.ptx"
                if not self.compile(unit, generation, tree, target):
                    return "DOES NOT COMPILE"
                if code_of(target) != code_of(self.ptx / target.name):
                    changed.append(unit)
            if not changed:
                continue
            verdict = "SURVIVED"
            if not self.passes(changed, ptx.parent):
                shutil.rmtree(folder)
                return "caught"
        return verdict


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "nvcc")
    parser.add_argument("--tests", required=True)
    parser.add_argument("--ptx", required=True)
    parser.add_argument("--build", default=str(ROOT / "build" / "mutants"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--every", type=int, default=1, metavar="N",
                        help="plant each N-th bug only; which ones changes with the kernels")
    parser.add_argument("--only", default="", help="only those with this in their line")
    options = parser.parse_args()
    if not shutil.which(options.nvcc):
        print("no nvcc: no kernels to plant bugs in")
        return 77
    start = time.monotonic()
    planter = Planter(options, pathlib.Path(options.build).resolve() / "kernels")
    planter.folder.mkdir(parents=True, exist_ok=True)
    if not planter.passes(UNITS, planter.folder):
        sys.exit("the tests fail as they are")
    mutants = list(barriers()) + list(listed())
    first = zlib.crc32("".join(text for _, _, text, _ in mutants).encode()) % options.every
    mutants = [one for one in mutants[first::options.every]
               if options.only in " ".join(map(str, one))]
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(lambda one: planter.verdict(*one), enumerate(mutants))
        for (file, at, _, why), verdict in zip(mutants, verdicts):
            print(f"{verdict:20} {file}:{at + 1}: {why}", flush=True)
            missed += verdict != "caught"
    print(f"{len(mutants) - missed} of {len(mutants)} planted bugs caught in "
          f"{time.monotonic() - start:.0f} s")
    return 1 if missed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
