# SPDX-License-Identifier: Apache-2.0
"""Model servers that other people wrote, from PyPI, each in the environment that tests/run.sh peers
makes for it."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from server import LIMIT_S, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "..", "build")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Peer:
    """A server's process; a context manager. Subclasses say what `command` is and which path
    answers 200 once it is ready."""

    READY = "/"

    def __init__(self, command, port, folder=None, environment=None):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.NamedTemporaryFile(prefix="peer-", suffix=".txt")
        if not os.path.exists(command[0]):
            raise AssertionError(f"there is no {command[0]}: tests/run.sh peers makes it")
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**os.environ, **(environment or {})})

    def get(self, path, method="GET", body=None):
        """(status, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"it ended early with {self.process.returncode}")
        try:
            return self.get(self.READY)[0] == 200
        except OSError:
            return False

    def __enter__(self):
        try:
            wait_until(self._ready, f"{type(self).__name__} is ready")
        except BaseException:
            self.stop()
            with open(self.log.name, encoding="utf-8", errors="replace") as file:
                sys.stderr.write("--- the peer's log, last part ---\n" + file.read()[-4000:])
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S / 4)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Infinity(Peer):
    """Infinity with its torch engine and one model, which `name` stands for."""

    READY = "/health"

    def __init__(self, model, name):
        port = free_port()
        super().__init__(
            [os.path.join(BUILD, "infinity-venv", "bin", "infinity_emb"), "v2",
             "--model-id", os.path.abspath(model), "--served-model-name", name,
             "--engine", "torch", "--device", "cpu", "--dtype", "float32",
             "--no-bettertransformer", "--host", "127.0.0.1", "--port", str(port),
             "--log-level", "warning"], port,
            environment={"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""})

    def calls(self):
        """Requests for embeddings so far, as it counts them itself."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith('http_requests_total{handler="/embeddings"'))


class MlServer(Peer):
    """MLServer with the model of mlserver_rows.py, called rows."""

    READY = "/v2/models/rows/ready"

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        port, grpc, self.metrics_port = free_port(), free_port(), free_port()
        self._write("settings.json", {
            "debug": False, "host": "127.0.0.1", "http_port": port, "grpc_port": grpc,
            "metrics_port": self.metrics_port, "parallel_workers": 0})
        self._write("model-settings.json", {"name": "rows", "implementation": "mlserver_rows.Rows"})
        shutil.copy(os.path.join(HERE, "mlserver_rows.py"), self.folder.name)
        super().__init__([os.path.join(BUILD, "mlserver-venv", "bin", "mlserver"), "start", "."],
                         port, folder=self.folder.name)

    def _write(self, name, content):
        with open(os.path.join(self.folder.name, name), "w", encoding="utf-8") as file:
            json.dump(content, file)

    def calls(self):
        """Inferences so far, as it counts them itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=LIMIT_S)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith("model_infer_request_success_total")
                   or line.startswith("model_infer_request_failure_total"))

    def stop(self):
        super().stop()
        self.folder.cleanup()
