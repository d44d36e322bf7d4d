# SPDX-License-Identifier: Apache-2.0
"""Sends each sentence of a file to two servers, one request per sentence over many connections, and
shows which sentences are closest, and what batching did. Needs Python's standard library only."""

import argparse
import http.client
import json
import os
import re
import threading
import time
import urllib.parse
import urllib.request

CONNECTIONS = 64
REPEATS = 4  # how often a load holds each sentence, so that it lasts long enough to be timed
LOADS = 3  # of each server, in turns; the fastest counts, for a computer has other work too


def addresses(path):
    """The URLs of the two listeners, from the lines that a server has printed."""
    lines = open(path, encoding="utf-8").read()
    return re.search(r"listening on (\S+)", lines)[1], re.search(r"admin on (\S+)", lines)[1]


def model_of(url):
    with urllib.request.urlopen(url + "/v1/models") as answer:
        return json.load(answer)["data"][0]["id"]


def send_all(url, model, texts):
    """One request per text over CONNECTIONS connections; (vectors by text, seconds)."""
    waiting = list(enumerate(texts))
    vectors = [None] * len(texts)
    failures = []
    lock = threading.Lock()

    def work():
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
        while True:
            with lock:
                if not waiting:
                    return
                index, text = waiting.pop()
            request = json.dumps({"model": model, "input": text})
            connection.request("POST", "/v1/embeddings", request,
                               {"content-type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                failures.append(f"{answer.status}: {body[:200]!r}")
                return
            vectors[index] = body

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin
    if failures or None in vectors:
        raise SystemExit(f"a request failed: {(failures or ['no answer'])[0]}")
    return [json.loads(body)["data"][0]["embedding"] for body in vectors], seconds


def metrics(admin):
    """Each series of /metrics by its name and labels."""
    with urllib.request.urlopen(admin + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}


def cpu_seconds(pid):
    """The processor time that a process has used; it counts what other programs cannot disturb."""
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def grown(before, after, name):
    """How much the series that begin with `name` have grown, all labels together."""
    return sum(value - before.get(key, 0) for key, value in after.items() if key.startswith(name))


def measure(path, texts):
    """Sends the load to one server: its vectors and what its metrics say of it."""
    url, admin = addresses(path)
    pid = open(path + ".pid", encoding="utf-8").read().strip()
    model = model_of(url)
    before = metrics(admin)
    cpu = cpu_seconds(pid)
    vectors, seconds = send_all(url, model, texts)
    cpu = cpu_seconds(pid) - cpu
    after = metrics(admin)
    requests = grown(before, after, 'sluice_stage_seconds_count{stage="read"}')
    batches = grown(before, after, "sluice_batches_total")
    items = grown(before, after, "sluice_batch_items_sum")
    return vectors, {"requests": requests, "batches": batches,
                     "mean batch": items / max(batches, 1), "seconds": seconds,
                     "requests/s": requests / seconds, "CPU ms each": cpu * 1000 / requests}


def closest(sentences, vectors, count):
    """The `count` pairs of sentences whose vectors point the most the same way."""
    pairs = []
    for i, a in enumerate(vectors):
        for j in range(i + 1, len(vectors)):
            pairs.append((sum(x * y for x, y in zip(a, vectors[j])), i, j))
    return [(cosine, sentences[i], sentences[j]) for cosine, i, j in sorted(pairs)[::-1][:count]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sentences")
    parser.add_argument("--batched", required=True, help="what the server with batching printed")
    parser.add_argument("--single", required=True, help="what the server without batching printed")
    options = parser.parse_args()
    lines = open(options.sentences, encoding="utf-8").read().splitlines()
    sentences = [line for line in lines if line and not line.startswith("#")]
    texts = sentences * REPEATS

    batched, single = [], []
    for _ in range(LOADS):
        vectors, figures = measure(options.batched, texts)
        batched.append(figures)
        single.append(measure(options.single, texts)[1])
    batched, single = (min(loads, key=lambda figures: figures["seconds"])
                       for loads in (batched, single))

    print(f"\n== the closest of {len(sentences)} sentences (cosine)")
    for cosine, a, b in closest(sentences, vectors[:len(sentences)], 8):
        print(f"  {cosine:.3f}  {a}\n         {b}")

    print(f"\n== {len(texts)} requests of one sentence each, {CONNECTIONS} at a time")
    print(f"  {'':<12}{'batching':>12}{'no batching':>14}")
    for row, digits in (("requests", 0), ("batches", 0), ("mean batch", 1), ("seconds", 2),
                        ("requests/s", 0), ("CPU ms each", 2)):
        print(f"  {row:<12}{batched[row]:>12.{digits}f}{single[row]:>14.{digits}f}")


if __name__ == "__main__":
    main()
