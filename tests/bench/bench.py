#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of the README: sluice beside nginx (and Infinity) in the same run, as Markdown.

usage: bench.py --sluice build/release/sluice --load build/release/tests/sluice_load
                [--stream build/release/tests/stream_bench] [--only proxy]
                [--model build/models/all-MiniLM-L6-v2] [--infinity] [--rounds 5] [--seconds 3]

The server gets one core and the load generator another; A and B take turns, so that a machine that
slows down slows both. Needs nginx; --infinity also PyPI (it makes build/infinity-venv, several GB).
"""

import argparse
import os
import statistics
import sys
import tempfile

import bench_proxy
from bench_servers import Infinity, Nginx, Sluice, load, post_once, rss_bytes
from bench_texts import bodies


def median(values):
    return statistics.median(values)


class Table:
    """Rows of a Markdown table, printed as they come."""

    def __init__(self):
        print("| what | sluice | peer | ratio or difference | reach |\n|---|---|---|---|---|",
              flush=True)

    def row(self, what, ours, peer="", against="", reach=""):
        print(f"| {what} | {ours} | {peer} | {against} | {reach} |", flush=True)


def body_of(size):
    """An embeddings request of exactly `size` bytes."""
    empty = '{"model":"echo","input":""}'
    return empty.replace('""}', '"' + "x" * (size - len(empty)) + '"}')


def beside_nginx(options, table):
    """CPU per request at 64 connections and the latency of a lone request, beside nginx."""
    body = body_of(300)
    with Sluice(options, "echo") as ours:
        answer = post_once(ours.url, body)
        with Nginx(options, answer) as theirs:
            if len(post_once(theirs.url, body)) != len(answer):
                sys.exit("nginx does not answer as many bytes as sluice")
            cpu, rates, lone = ([], []), ([], []), ([], [])
            for _ in range(options.rounds):
                for i, server in enumerate((ours, theirs)):
                    many = load(options, server, "-d", body, "--connections", "64",
                                "--duration", options.seconds, "--warmup", 0.5)
                    cpu[i].append(many["cpu_us_per_request"])
                    rates[i].append(many["rate"])
                    one = load(options, server, "-d", body, "--connections", "1",
                               "--duration", options.seconds, "--warmup", 0.5)
                    lone[i].append(one["latency_us"]["p50"])
    ratios = [a / b for a, b in zip(*cpu)]
    table.row("echo, 64 connections, 300-byte body: CPU µs per request",
              f"{median(cpu[0]):.2f}", f"nginx {median(cpu[1]):.2f}",
              f"{median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})", "≤ 1.5×")
    table.row("the same: requests/s on one core", f"{median(rates[0]):,.0f}",
              f"nginx {median(rates[1]):,.0f}", f"{median(rates[0]) / median(rates[1]):.2f}×")
    over = [a - b for a, b in zip(*lone)]
    table.row("lone request, echo: p50 µs", f"{median(lone[0]):.1f}",
              f"nginx {median(lone[1]):.1f}",
              f"+{median(over):.1f} ({min(over):.1f} to {max(over):.1f})", "≤ 100 over nginx")


def idle_memory(options, table):
    with Sluice(options, "echo") as ours:
        table.row("echo, idle: resident MB", f"{rss_bytes(ours.pid) / 1e6:.1f}", reach="≤ 15")
    with Sluice(options, "echo") as ours:
        held = load(options, ours, "-d", body_of(300), "--keep-idle", options.idle_connections,
                    "--duration", 2)
        table.row(f"{held['idle_connections']:,} idle keep-alive connections: bytes each",
                  f"{held['bytes_per_connection']:.0f}", reach="≤ 4096")
    with Nginx(options, b"x" * 300) as theirs:
        held = load(options, theirs, "-d", body_of(300), "--keep-idle", options.idle_connections,
                    "--duration", 2)
        table.row("the same with nginx", "", f"{held['bytes_per_connection']:.0f}")


def model_start(options, table):
    """Start to ready, and memory after load."""
    times = []
    for _ in range(max(3, options.rounds)):
        with Sluice(options, options.model, "--precision", "f32") as ours:
            times.append(ours.ready_s)
            resident = rss_bytes(ours.pid)
    weights = os.path.getsize(os.path.join(options.model, "model.safetensors"))
    table.row("MiniLM F32 after load: resident MB", f"{resident / 1e6:.1f}",
              against=f"weights + {(resident - weights) / 1e6:.1f}", reach="≤ weights + 60")
    table.row("start to ready with MiniLM: ms", f"{median(times) * 1e3:.0f}",
              against=f"{min(times) * 1e3:.0f} to {max(times) * 1e3:.0f}", reach="≤ 1000")


def model_over_http(options, table):
    """Sequences per second of mixed texts, 64 in flight."""
    name = os.path.basename(os.path.normpath(options.model))
    peer = Infinity(options) if options.infinity else None
    rates = {"f32": [], "bf16": [], "infinity": []}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(bodies(4096, name))
        file.flush()

        def measure(server):
            result = load(options, server, "--bodies", file.name, "--connections", "64",
                          "--duration", max(options.seconds, 5), "--warmup", 2)
            if set(result["by_status"]) != {"200"}:
                sys.exit(f"not all requests were answered 200: {result}")
            return result["rate"]

        try:
            for _ in range(max(1, options.rounds // 2)):
                for precision in ("f32", "bf16"):
                    with Sluice(options, options.model, "--precision", precision) as ours:
                        rates[precision].append(measure(ours))
                if peer:
                    with peer.serving(name):
                        rates["infinity"].append(measure(peer))
        finally:
            if peer:
                peer.stop()
    theirs = median(rates["infinity"]) if rates["infinity"] else 0
    for precision, reach in (("f32", "≥ 4×"), ("bf16", "≥ 7×")):
        ours = median(rates[precision])
        table.row(f"MiniLM {precision.upper()} over HTTP, 64 in flight, mixed texts: sequences/s",
                  f"{ours:.0f}", f"Infinity {theirs:.0f}" if theirs else "",
                  f"{ours / theirs:.1f}×" if theirs else "", reach)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sluice", required=True)
    parser.add_argument("--load", required=True)
    parser.add_argument("--stream", default="", help="stream_bench; without it, no streams")
    parser.add_argument("--model", default="")
    parser.add_argument("--infinity", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--idle-connections", type=int, default=5000)
    parser.add_argument("--server-cores", default="0", help="as taskset takes them")
    parser.add_argument("--load-cores", default="1")
    parser.add_argument("--only", default="", help="nginx, memory, proxy, start or http")
    options = parser.parse_args()
    parts = {"nginx": beside_nginx, "memory": idle_memory, "proxy": bench_proxy.rows}
    if options.model:
        parts |= {"start": model_start, "http": model_over_http}
    table = Table()
    for name, part in parts.items():
        if options.only in ("", name):
            part(options, table)


if __name__ == "__main__":
    main()
