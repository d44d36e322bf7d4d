# SPDX-License-Identifier: Apache-2.0
"""A sluice process under test, and what the tests share: options, waiting, metrics, the echo model.

Nothing here waits for luck: every wait is for a condition, with a limit far above what a sanitizer
build on a busy machine needs, so that a limit reached is a failure and not a slow day.
"""

import argparse
import http.client
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

LIMIT_S = 60.0  # of every wait
SANITIZER_REPORTS = (
    "ERROR: AddressSanitizer",
    "ERROR: LeakSanitizer",
    "WARNING: ThreadSanitizer",
    "ThreadSanitizer: data race",
    "runtime error:",
    "ASSERT failed",
)
OPTIONS = argparse.Namespace(sluice="", model="")


def main():
    """Reads --sluice and --model, runs the tests of the calling file and exits 0 or 1."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--sluice", required=True, help="the binary under test")
    parser.add_argument("--model", default="", help="folder of a real model; without it, only echo")
    parser.add_argument("tests", nargs="*", help="names of single tests")
    parser.parse_args(namespace=OPTIONS)
    OPTIONS.sluice = os.path.abspath(OPTIONS.sluice)
    if OPTIONS.model and not os.path.isfile(os.path.join(OPTIONS.model, "config.json")):
        sys.exit(f"--model: no model in {OPTIONS.model}; run scripts/get_minilm.sh")
    unittest.main(argv=[sys.argv[0], *OPTIONS.tests], verbosity=2)


def needs_model(test):
    """Decorator: the test needs --model."""

    def wrapped(self):
        if not OPTIONS.model:
            self.skipTest("no --model given")
        test(self)

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


def wait_until(condition, what, limit_s=LIMIT_S):
    """Returns condition() once it is true; fails after the limit, saying `what` did not come."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_s:.0f} s in vain: {what}")
        time.sleep(0.005)


class Metrics:
    """One reading of /metrics, strictly parsed."""

    SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
    LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')

    def __init__(self, text):
        self.samples = {}
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ", 3)
                self.types[name] = kind
            if not line or line.startswith("#"):
                continue
            match = self.SAMPLE.match(line)
            if not match:
                raise AssertionError(f"/metrics: not a sample: {line!r}")
            name, labels, value = match.groups()
            pairs = frozenset(self.LABEL.findall(labels or ""))
            if (name, pairs) in self.samples:
                raise AssertionError(f"/metrics: twice in one answer: {line!r}")
            self.samples[name, pairs] = float(value)

    def sum(self, name, **labels):
        """The sum over all series of `name` that carry `labels`; an error if there is no such."""
        wanted = set(labels.items())
        found = [v for (n, pairs), v in self.samples.items() if n == name and wanted <= pairs]
        if not found:
            raise AssertionError(f"/metrics has no {name} {labels}")
        return sum(found)


class Server:
    """A running sluice; a context manager that stops it with SIGTERM and looks at how it ended."""

    def __init__(self, *arguments, model="echo", config=None, listen="127.0.0.1:0"):
        self.stderr = tempfile.NamedTemporaryFile(prefix="sluice-stderr-", suffix=".txt")
        self.config_file = None
        command = [OPTIONS.sluice, "serve", "--listen", listen, "--admin", "127.0.0.1:0"]
        if config is None:
            command += ["--model", model] if model else []
        else:
            self.config_file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
            self.config_file.write(config)
            self.config_file.flush()
            command += ["--config", self.config_file.name]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.stderr)
        try:
            self.port = self._port_after(b"listening on http://127.0.0.1:")
            self.admin_port = self._port_after(b"admin on http://127.0.0.1:")
            self.wait_ready()
        except BaseException:
            self.kill()
            self._show_stderr()
            raise
        self.start_rss_bytes = self._status_bytes("VmRSS")
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"

    def _port_after(self, prefix):
        line = b""
        end = time.monotonic() + LIMIT_S
        while not line.endswith(b"\n"):
            left = max(0, end - time.monotonic())
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            byte = os.read(self.process.stdout.fileno(), 1) if ready else b""
            if not byte:
                raise AssertionError(f"stdout ended or hung after {line!r}, before {prefix!r}")
            line += byte
        if not line.startswith(prefix) or not line[len(prefix):-1].isdigit():
            raise AssertionError(f"stdout: {line!r}, expected {prefix!r} and a port")
        return int(line[len(prefix):])

    def get(self, path, admin=True, method="GET", body=None, headers=None):
        """One request on its own connection: (status, headers as a dict in lower case, body)."""
        port = self.admin_port if admin else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return response.status, names, response.read()
        finally:
            connection.close()

    def wait_ready(self):
        wait_until(lambda: self._exited() or self.get("/readyz")[0] == 200, "/readyz answers 200")

    def _exited(self):
        if self.process.poll() is not None:
            raise AssertionError(f"sluice ended early with {self.process.returncode}")
        return False

    def _status_bytes(self, field):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise AssertionError(f"/proc has no {field}")

    def peak_rss_bytes(self):
        """The most memory it has had resident since its start."""
        return self._status_bytes("VmHWM")

    def metrics(self):
        status, _, body = self.get("/metrics")
        if status != 200:
            raise AssertionError(f"/metrics answered {status}")
        return Metrics(body.decode())

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait_exit(self, limit_s=LIMIT_S):
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"sluice did not end within {limit_s:.0f} s") from None

    def stderr_text(self):
        with open(self.stderr.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _show_stderr(self):
        sys.stderr.write("--- stderr of sluice, last part ---\n" + self.stderr_text()[-6000:])

    def wait_draining(self):
        wait_until(lambda: "draining" in self.stderr_text(), "the log says that it drains")

    def check_end(self, code=0):
        """Waits for the end and holds exit code, stdout and stderr to what they must be."""
        problems = []
        returned = self.wait_exit()
        if returned != code:
            problems.append(f"exit code {returned}, expected {code}")
        rest = self.process.stdout.read()
        if rest:
            problems.append(f"stdout has more than its two lines: {rest[:200]!r}")
        problems += [r for r in SANITIZER_REPORTS if r in self.stderr_text()]
        if problems:
            self._show_stderr()
            raise AssertionError("; ".join(problems))

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None and self.process.poll() is None:
                self.signal(signal.SIGTERM)
                self.check_end()
            elif kind is not None:
                self._show_stderr()
        finally:
            self.kill()
            self.stderr.close()
            if self.config_file:
                self.config_file.close()


def config_yaml(top="", limits="", model="echo", model_extra=""):
    """A configuration file for one model; the parts are YAML lines, indented as they need."""
    limits_block = f"limits:\n{limits}" if limits else ""
    return (f"{top}\n{limits_block}\nmodels:\n  - name: echo\n{model_extra}\n"
            f"    backends:\n      - {{ kind: local, path: \"{model}\" }}\n")


def distance(a, b):
    """The largest difference of two vectors' numbers; infinite where their lengths differ."""
    if len(a) != len(b):
        return float("inf")
    return max((abs(x - y) for x, y in zip(a, b)), default=0.0)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]
