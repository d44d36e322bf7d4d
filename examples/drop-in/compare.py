# SPDX-License-Identifier: Apache-2.0
"""Runs client.py against a model server directly and through sluice, in turns, and compares: calls
that the server got, time, processor time and answers. Exits 1 if an answer through sluice is
another one, or if nothing was merged."""

import argparse
import asyncio
import os
import re
import sys
import time
import urllib.request

from client import embed_all

AT_A_TIME = 64
REPEATS = 8  # how often a load holds each sentence
LOADS = 3  # of each kind, in turns; the fastest is shown, for a computer has other work too
DISTANCE_MAX = 1e-4  # of two numbers; what company changes in a float32 model is far less


def sample(url, name):
    """The sum of all series of /metrics that begin with `name`."""
    with urllib.request.urlopen(url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def calls_of(server):
    """Requests for embeddings that the model server has had, by its own count."""
    return sample(server, 'http_requests_total{handler="/embeddings"')


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(base_url, options, texts):
    """One load through `base_url`: vectors and figures."""
    pids = {"CPU server": options.server_pid, "CPU sluice": options.sluice_pid}
    calls = calls_of(options.server)
    batches = sample(options.admin, "sluice_batches_total")
    cpu = {name: cpu_seconds(pid) for name, pid in pids.items()}
    begin = time.monotonic()
    vectors = asyncio.run(embed_all(base_url, options.model, texts, AT_A_TIME))
    figures = {"seconds": time.monotonic() - begin}
    figures.update((name, cpu_seconds(pid) - cpu[name]) for name, pid in pids.items())
    figures["calls"] = calls_of(options.server) - calls
    figures["batches"] = sample(options.admin, "sluice_batches_total") - batches
    return vectors, figures


def compare(vectors, alone):
    """(identical answers, largest difference of a number, smallest cosine)."""
    identical, distance, least = 0, 0.0, 1.0
    for one, other in zip(vectors, alone, strict=True):
        identical += one == other
        distance = max(distance, max(abs(a - b) for a, b in zip(one, other, strict=True)))
        lengths = sum(a * a for a in one) * sum(b * b for b in other)
        least = min(least, sum(a * b for a, b in zip(one, other)) / lengths ** 0.5)
    return identical, distance, least


def show(requests, direct, through, texts):
    print(f"\n== {requests} requests of one sentence each, {AT_A_TIME} at a time; the fastest of "
          f"{LOADS} loads\n")
    print(f"  {'':<34}{'direct':>12}{'through sluice':>17}")
    rows = (("calls the server got", "calls", 0), ("seconds", "seconds", 2),
            ("processor seconds of the server", "CPU server", 2),
            ("processor seconds of sluice", "CPU sluice", 2))
    for title, key, digits in rows:
        print(f"  {title:<34}{direct[key]:>12.{digits}f}{through[key]:>17.{digits}f}")
    print("\n  Beside the answers to the same sentences asked one by one:")
    for title, form in (("answers identical to the bit", "{0}"), ("largest difference", "{1:.1e}"),
                        ("smallest cosine", "{2:.7f}")):
        print(f"  {title:<34}{form.format(*texts[0]):>12}{form.format(*texts[1]):>17}")
    print("\n  A float32 model rounds otherwise in other company, so the last bits of an answer "
          "depend on\n  what shares its batch: in the server's own batches as in those of sluice.")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentences")
    parser.add_argument("--model", required=True)
    parser.add_argument("--server", required=True, help="base URL of the model server")
    parser.add_argument("--server-pid", required=True, type=int)
    parser.add_argument("--sluice", required=True, help="what sluice has printed")
    parser.add_argument("--sluice-pid", required=True, type=int)
    options = parser.parse_args()
    printed = open(options.sluice, encoding="utf-8").read()
    url = re.search(r"listening on (\S+)", printed)[1]
    options.admin = re.search(r"admin on (\S+)", printed)[1]
    lines = open(options.sentences, encoding="utf-8").read().splitlines()
    sentences = [line for line in lines if line and not line.startswith("#")]
    texts = sentences * REPEATS

    alone = asyncio.run(embed_all(options.server, options.model, sentences, 1)) * REPEATS
    direct, through, of_direct, of_through = [], [], [], []
    for _ in range(LOADS):
        vectors, figures = measure(options.server, options, texts)
        direct.append(figures)
        of_direct += vectors
        vectors, figures = measure(url, options, texts)
        through.append(figures)
        of_through += vectors

    equal = [compare(vectors, alone * LOADS) for vectors in (of_direct, of_through)]
    show(len(texts), min(direct, key=lambda one: one["seconds"]),
         min(through, key=lambda one: one["seconds"]), equal)
    problems = []
    if equal[1][1] > DISTANCE_MAX:
        problems.append(f"answers differ by {equal[1][1]:.1e}, more than {DISTANCE_MAX:.0e}")
    for figures in through:
        if figures["calls"] != figures["batches"]:
            problems.append(f"the server counted {figures['calls']:.0f} calls, "
                            f"sluice {figures['batches']:.0f}")
        if figures["calls"] > len(texts) / 2:
            problems.append(f"{len(texts)} requests became {figures['calls']:.0f} calls")
    if any(figures["calls"] != len(texts) for figures in direct):
        problems.append("the server did not get a call for each direct request")
    if problems:
        sys.exit("drop-in: " + "; ".join(problems))
    print("\n  Equal answers, fewer calls.")


if __name__ == "__main__":
    main()
