# SPDX-License-Identifier: Apache-2.0
"""Rows: sluice in front of an HTTP endpoint, beside nginx as a plain hop to the same one.

The hop under measurement has the server's core; the endpoint and the load generator share the
other. What is compared is the hop's CPU time, which does not depend on who waits for whom, and
how much later than from the endpoint itself an answer comes.
"""

import contextlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile

from bench_servers import Nginx, Sluice, free_port, load, post_once

median = statistics.median
SLOTS = 4
# An endpoint whose calls take 20 ms each, as many at a time as the hop has slots.
SLOW_ENDPOINT = """
models:
  - name: echo
    backends:
""" + SLOTS * '      - { kind: local, path: "echo:a=20ms" }\n'
STREAMS = 1000


class Place:
    """A URL with a process behind it, as load() takes it."""

    def __init__(self, server, path):
        self.pid = server.pid
        self.url = f"http://127.0.0.1:{server.port}{path}"


class Port:
    """An endpoint that is not started here."""

    def __init__(self, port):
        self.port = port


def ratio_text(ours, theirs):
    ratios = [a / b for a, b in zip(ours, theirs)]
    return f"{median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})"


def all_good(report):
    """Ends the program unless every request was answered 200."""
    if set(report["by_status"]) != {"200"} or report["failed"]:
        sys.exit(f"not all requests were answered 200: {report}")
    return report


def calls_of(server):
    """Requests that a sluice has answered, without those of this function, which it counts too."""
    server.scrapes = getattr(server, "scrapes", -1) + 1
    return counter(server, "sluice_requests_total") - server.scrapes


def counter(server, name):
    """The sum of one counter's samples on the admin port."""
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(v) for v in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def front(options, endpoint):
    return Sluice(options, None, "--upstream", f"http://127.0.0.1:{endpoint.port}", "--dialect",
                  "openai", "--slots", str(SLOTS))


def in_turns(options, hops, path, *arguments):
    """CPU µs per request and rates of the hops, one list each."""
    cpu, rates = [[] for _ in hops], [[] for _ in hops]
    for _ in range(options.rounds):
        for i, hop in enumerate(hops):
            report = all_good(load(options, Place(hop, path), *arguments, "--connections", "64",
                                   "--duration", options.seconds, "--warmup", 0.5))
            cpu[i].append(report["cpu_us_per_request"])
            rates[i].append(report["rate"])
    return cpu, rates


def cpu_row(table, what, cpu, rates, reach):
    table.row(f"{what}: CPU µs per request", f"{median(cpu[0]):.2f}",
              f"nginx {median(cpu[1]):.2f}", ratio_text(*cpu), reach)
    table.row("the same: requests/s", f"{median(rates[0]):,.0f}", f"nginx {median(rates[1]):,.0f}",
              ratio_text(*rates))


def lone_row(options, table, places, body):
    """What a hop adds to a lone request, at the median and at the 99th percentile."""
    seen = {"p50": ([], [], []), "p99": ([], [], [])}
    for _ in range(options.rounds):
        for i, place in enumerate(places):
            report = all_good(load(options, place, "-d", body, "--connections", "1", "--duration",
                                   options.seconds, "--warmup", 0.5))
            for name, lists in seen.items():
                lists[i].append(report["latency_us"][name])
    for name, (direct, ours, theirs) in seen.items():
        added = [median(a - b for a, b in zip(hop, direct)) for hop in (ours, theirs)]
        table.row(f"lone OpenAI request: {name} µs over direct ({median(direct):.0f})",
                  f"+{added[0]:.0f}", f"nginx +{added[1]:.0f}", f"{added[0] / added[1]:.2f}×",
                  "≤ 1.2×")


def merged(options, table, body):
    with Sluice(options, "echo", cores=options.load_cores) as endpoint, \
            front(options, endpoint) as ours, Nginx(options, hop_to=endpoint.port) as theirs:
        if post_once(ours.url, body) != post_once(endpoint.url, body):
            sys.exit("the merged answer is not the endpoint's")
        post_once(theirs.url, body)
        cpu, rates = in_turns(options, (ours, theirs), "/v1/embeddings", "-d", body)
        cpu_row(table, "OpenAI requests merged, 64 in flight, 300 bytes", cpu, rates, "≤ 0.6×")
        calls = calls_of(endpoint)
        answers = all_good(load(options, Place(ours, "/v1/embeddings"), "-d", body,
                                "--connections", "64", "--requests", 50000))["answered"]
        calls = calls_of(endpoint) - calls
        table.row("the same: requests per upstream call", f"{answers / calls:.1f}", "1")
        lone_row(options, table, (Place(endpoint, "/v1/embeddings"),
                                  Place(ours, "/v1/embeddings"), Place(theirs, "/v1/embeddings")),
                 body)


def calls_saved(options, table, body):
    with contextlib.ExitStack() as open_:
        config = open_.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml"))
        config.write(SLOW_ENDPOINT)
        config.flush()
        endpoint = open_.enter_context(Sluice(options, None, "--config", config.name,
                                              cores=options.load_cores))
        ours = open_.enter_context(front(options, endpoint))
        counts, walls = [], []
        for _ in range(options.rounds):
            before = calls_of(endpoint)
            report = all_good(load(options, Place(ours, "/v1/embeddings"), "-d", body,
                                   "--connections", "64", "--requests", 512))
            counts.append(calls_of(endpoint) - before)
            walls.append(report["window_s"])
        table.row(f"512 requests, 64 in flight, 20 ms per call, {SLOTS} slots: upstream calls",
                  f"{median(counts):.0f}", "without merging 512",
                  f"{min(counts):.0f} to {max(counts):.0f}, in {median(walls) * 1e3:.0f} ms",
                  "≤ 40")


def passed_on(options, table):
    with Nginx(options, b"x" * 1024, cores=options.load_cores) as endpoint, \
            front(options, endpoint) as ours, Nginx(options, hop_to=endpoint.port) as theirs:
        cpu, rates = in_turns(options, (ours, theirs), "/kilobyte")
        cpu_row(table, "passed through, 64 connections, 1 KB", cpu, rates, "≤ 1.0×")


def streamed(options, table):
    """Streams through each hop; the program is endpoint and clients at once."""
    def run(port, to=None):
        command = ["taskset", "-c", options.load_cores, options.stream, "--listen", str(port),
                   "--connect", str(to.port if to else port), "--streams", str(STREAMS),
                   "--seconds", str(max(3, int(options.seconds)))]
        if to:
            command += ["--pid", str(to.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    added, cpu, memory = ([], []), ([], []), ([], [])
    for _ in range(options.rounds):
        endpoint = Port(free_port())
        direct = run(endpoint.port)
        for i, make in enumerate((lambda: front(options, endpoint),
                                  lambda: Nginx(options, hop_to=endpoint.port))):
            with make() as hop:
                report = run(endpoint.port, hop)
            added[i].append((report["p99_us"] - direct["p99_us"]) / 1e3)
            cpu[i].append(report["cpu_us_per_chunk"])
            memory[i].append(report["bytes_per_stream"])
    what = f"{STREAMS:,} streams at 20 chunks/s"
    table.row(f"{what}: p99 of a chunk, ms over direct", f"{median(added[0]):.2f}",
              f"nginx {median(added[1]):.2f}", f"{min(added[0]):.2f} to {max(added[0]):.2f}",
              "≤ 2")
    table.row("the same: CPU µs per chunk", f"{median(cpu[0]):.2f}", f"nginx {median(cpu[1]):.2f}",
              ratio_text(*cpu))
    table.row("the same: bytes of memory per stream", f"{median(memory[0]):,.0f}",
              f"nginx {median(memory[1]):,.0f}", "", "≤ 65,536")


def rows(options, table):
    empty = '{"model":"echo","input":""}'
    body = empty.replace('""}', '"' + "x" * (300 - len(empty)) + '"}')
    merged(options, table, body)
    calls_saved(options, table, body)
    passed_on(options, table)
    if options.stream:
        streamed(options, table)
