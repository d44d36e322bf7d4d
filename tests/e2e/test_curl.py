# SPDX-License-Identifier: Apache-2.0
"""curl works, with the commands that the README shows and with curl's own habits."""

import json
import os
import re
import shlex
import subprocess
import unittest

from echo import echo_vector
from server import Server, distance, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def curl(*arguments, stdin=b""):
    done = subprocess.run(["curl", "--silent", "--show-error", "--max-time", "60", *arguments],
                          input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"curl {arguments} ended with {done.returncode}: {done.stderr!r}")
    return done.stdout


def readme_commands():
    """The curl commands in the README's code (they begin a line), each as one line."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        lines = file.read().replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines
            if re.match(r"\s*(\$ )?curl\s", line)]


class Curl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        cls.url = cls.server.url

    def check_embedding(self, data, text):
        vector = json.loads(data)["data"][0]["embedding"]
        self.assertLess(distance(vector, echo_vector(text)), 1e-7)

    def test_the_commands_of_the_readme_work(self):
        self.assertTrue(readme_commands(), "the README shows no curl command")
        for command in readme_commands():
            with self.subTest(command):
                # The README speaks of the default ports and of a real model.
                command = command.split(" | ")[0]
                command = command.replace("127.0.0.1:8080", f"127.0.0.1:{self.server.port}")
                command = command.replace("localhost:8080", f"127.0.0.1:{self.server.port}")
                command = command.replace("127.0.0.1:9090", f"127.0.0.1:{self.server.admin_port}")
                command = command.replace("localhost:9090", f"127.0.0.1:{self.server.admin_port}")
                command = re.sub(r'("model"\s*:\s*")[^"]*"', r'\1echo"', command)
                self.assertTrue(curl("--fail", *shlex.split(command)[1:]))

    def test_one_text(self):
        data = curl(self.url + "/v1/embeddings", "-H", "Content-Type: application/json",
                    "-d", '{"model":"echo","input":"hello"}')
        self.check_embedding(data, "hello")

    def test_curls_own_content_type_is_no_obstacle(self):
        data = curl(self.url + "/v1/embeddings", "-d", '{"model":"echo","input":"form"}')
        self.check_embedding(data, "form")

    def test_a_chunked_upload_from_stdin(self):
        body = json.dumps({"model": "echo", "input": "streamed"}).encode()
        data = curl(self.url + "/v1/embeddings", "-X", "POST", "-T", "-", stdin=body)
        self.check_embedding(data, "streamed")

    def test_a_large_body_with_curls_own_expect(self):
        text = "long " * 500_000
        body = json.dumps({"model": "echo", "input": text}).encode()
        data = curl(self.url + "/v1/embeddings", "-H", "Content-Type: application/json",
                    "--data-binary", "@-", stdin=body)
        self.check_embedding(data, text)

    def test_models_health_and_metrics(self):
        models = json.loads(curl(self.url + "/v1/models"))
        self.assertEqual([m["id"] for m in models["data"]], ["echo"])
        self.assertEqual(json.loads(curl(self.url + "/v1/models/echo"))["id"], "echo")
        for base in (self.url, self.server.admin_url):
            curl("--fail", base + "/healthz")
            curl("--fail", base + "/readyz")
            self.assertIn(b"sluice_build_info", curl("--fail", base + "/metrics"))
        self.assertIn(b"200 OK", curl("--head", self.url + "/v1/models"))

    def test_two_requests_share_a_connection(self):
        out = curl("-w", "%{num_connects}\n", "-o", "/dev/null", self.url + "/v1/models",
                   "-o", "/dev/null", self.url + "/v1/models")
        self.assertEqual(out.split(), [b"1", b"0"])


if __name__ == "__main__":
    main()
