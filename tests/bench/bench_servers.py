# SPDX-License-Identifier: Apache-2.0
"""Servers under measurement, each pinned to the server cores, and the load generator's call."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

START_LIMIT_S = 300
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def raise_descriptor_limit():
    """As many descriptors as the system allows; child processes inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def post_once(url, body):
    """The body of the answer to one POST; ends the program if that is not a 200."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    if response.status != 200:
        sys.exit(f"{url} answered {response.status}: {data[:300]!r}")
    return data


def status_of(port, path):
    """The status of one GET, or 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def wait_for(condition, what, process, pause_s):
    end = time.monotonic() + START_LIMIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"{what}: it did not start (exit code {process.poll()})")
        time.sleep(pause_s)


def load(options, server, *arguments):
    """Runs the load generator against `server` and returns its report."""
    command = ["taskset", "-c", options.load_cores, options.load, "--json", "--url", server.url,
               "--pid", str(server.pid), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


class Process:
    """A started server; a context manager that stops it. `cores`: the server's own without any."""

    def __init__(self, options, command, environment=None, cores=None, **more):
        raise_descriptor_limit()
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["taskset", "-c", cores or options.server_cores, *command], stdin=subprocess.DEVNULL,
            env=None if environment is None else {**os.environ, **environment}, **more)
        self.pid = self.process.pid

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Sluice(Process):
    """sluice with one model, or without (None) what `arguments` say. `ready_s`: from the process's
    start to the first 200 on /readyz."""

    def __init__(self, options, model, *arguments, cores=None):
        served = ["--model", model] if model else []
        super().__init__(options, [options.sluice, "serve", *served, "--listen", "127.0.0.1:0",
                                   "--admin", "127.0.0.1:0", *arguments],
                         cores=cores, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ports = []
        for line in self.process.stdout:
            ports.append(int(line.rsplit(b":", 1)[1]))
            if len(ports) == 2:
                break
        if len(ports) < 2:
            sys.exit(f"sluice with {model} {arguments} ended with {self.process.wait()}")
        wait_for(lambda: status_of(ports[1], "/readyz") == 200, "sluice", self.process, 0.001)
        self.ready_s = time.monotonic() - self.began
        self.port, self.admin_port = ports
        self.url = f"http://127.0.0.1:{self.port}/v1/embeddings"

    def stop(self):
        super().stop()
        self.process.stdout.close()


class Nginx(Process):
    """nginx with one worker that answers `body` to everything, or is a plain hop to the port
    `hop_to` with kept-alive connections and its usual buffering."""

    CONFIG = """worker_processes 1; daemon off; pid {d}/pid; error_log {d}/error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_timeout 300s; keepalive_requests 1000000000;
  client_body_temp_path {d}/a; proxy_temp_path {d}/b; fastcgi_temp_path {d}/c;
  uwsgi_temp_path {d}/d; scgi_temp_path {d}/e;
  {upstream}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ {location} }}
  }}
}}
"""
    HOP = 'proxy_pass http://hop; proxy_http_version 1.1; proxy_set_header Connection "";'

    def __init__(self, options, body=b"", hop_to=0, cores=None):
        text = body.decode().strip("\n")
        if "'" in text or "$" in text or "\\" in text:
            sys.exit("the answer cannot stand in nginx.conf as it is")
        location = f"default_type application/json; return 200 '{text}';"
        upstream = ""
        if hop_to:
            location = self.HOP
            upstream = f"upstream hop {{ server 127.0.0.1:{hop_to}; keepalive 2048;" \
                       " keepalive_requests 1000000000; }"
        self.folder = tempfile.mkdtemp(prefix="sluice-bench-nginx-")
        port = self.port = free_port()
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(self.CONFIG.format(d=self.folder, port=port, upstream=upstream,
                                          location=location))
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        super().__init__(options, [binary, "-c", config, "-e", self.folder + "/start.log"],
                         cores=cores)
        self.url = f"http://127.0.0.1:{port}/v1/embeddings"
        wait_for(lambda: status_of(port, "/") > 0, "nginx", self.process, 0.01)
        # The worker does the work; the master only watches it.
        children = f"/proc/{self.pid}/task/{self.pid}/children"
        with open(children, encoding="ascii") as file:
            self.pid = int(file.read().split()[0])

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder)


class Infinity:
    """Infinity (PyPI) with its torch engine. It starts slowly, so one process serves all rounds and
    is stopped with SIGSTOP while others are measured."""

    def __init__(self, options):
        venv = os.path.join(ROOT, "build", "infinity-venv")
        self.binary = os.path.join(venv, "bin", "infinity_emb")
        self.options = options
        self.running = None
        subprocess.run([os.path.join(ROOT, "tests", "e2e", "setup_infinity.sh")], check=True,
                       stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def serving(self, name):
        if self.running is None:
            self._start(name)
        else:
            os.kill(self.pid, signal.SIGCONT)
        try:
            yield self
        finally:
            os.kill(self.pid, signal.SIGSTOP)

    def _start(self, name):
        port = free_port()
        threads = str(len(os.sched_getaffinity(0)) if "," in self.options.server_cores
                      or "-" in self.options.server_cores else 1)
        self.running = Process(
            self.options,
            [self.binary, "v2", "--model-id", self.options.model, "--served-model-name", name,
             "--engine", "torch", "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1",
             "--port", str(port), "--batch-size", "64", "--log-level", "warning"],
            environment={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
                         "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=sys.stderr)
        self.pid = self.running.pid
        self.url = f"http://127.0.0.1:{port}/embeddings"
        wait_for(lambda: status_of(port, "/health") == 200, "Infinity", self.running.process, 0.2)

    def stop(self):
        if self.running is not None:
            os.kill(self.pid, signal.SIGCONT)
            self.running.stop()
