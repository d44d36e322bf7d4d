# SPDX-License-Identifier: Apache-2.0
"""The admin listener, the same paths on the main listener, and the command line."""

import json
import subprocess
import tempfile
import unittest

from server import OPTIONS, Server, main, wait_until
from wire import Wire, embed

GOOD = """listen: 127.0.0.1:0
limits: { bytes_held_max: 1GiB, connections_max: 100 }
models:
  - name: small
    batch: { items_max: 32, wait_max: 0ms }
    queue: { items_max: 1000, deadline: 10s }
    backends:
      - { kind: local, path: echo }
"""


def run(*arguments):
    """(exit code, stdout, stderr) of `sluice ARGUMENTS`."""
    done = subprocess.run([OPTIONS.sluice, *arguments], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def check(text):
    """`sluice check` of a file with this text."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        code, out, err = run("check", "--config", file.name)
        return code, out + err


class Admin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())

    def test_health_and_readiness_answer_on_both_listeners(self):
        for admin in (True, False):
            for path in ("/healthz", "/readyz"):
                self.assertEqual(self.server.get(path, admin)[0], 200, (path, admin))
                self.assertEqual(self.server.get(path, admin, "HEAD")[0], 200, (path, admin))
        self.assertEqual(self.server.get("/health", False)[0], 200)

    def test_the_admin_listener_serves_no_model(self):
        body = json.dumps({"model": "echo", "input": "x"})
        self.assertEqual(self.server.get("/v1/embeddings", True, "POST", body)[0], 404)

    def test_unknown_paths_and_methods_are_refused(self):
        self.assertEqual(self.server.get("/nothing")[0], 404)
        status, headers, _ = self.server.get("/metrics", method="POST", body="")
        self.assertEqual(status, 405)
        self.assertIn("GET", headers["allow"])

    def test_metrics_are_prometheus_text_with_every_promised_series(self):
        with Wire(self.server.port) as wire:
            self.assertEqual(wire.send(embed("x")).answer().status, 200)
            now = wait_until(
                lambda: (m := self.server.metrics()).sum("sluice_requests_total", code="200") > 0
                and m, "the answer is counted")
            self.assertGreaterEqual(now.sum("sluice_connections"), 1)
        for name in ("sluice_batches_total", "sluice_queue_items", "sluice_queue_bytes",
                     "sluice_bytes_held", "sluice_cancelled_total", "sluice_expired_total",
                     "sluice_rejected_total", "sluice_requests_in_flight", "sluice_build_info"):
            now.sum(name)
        for stage in ("read", "queue", "batch", "backend", "write"):
            wait_until(lambda s=stage: self.server.metrics().sum(
                "sluice_stage_seconds_count", stage=s) > 0, f"stage {stage} is measured")
        self.assertGreaterEqual(now.sum("sluice_batch_items_sum"), 1)
        now.sum("sluice_batch_tokens_count")
        for name, kind in (("sluice_requests_total", "counter"),
                           ("sluice_batch_items", "histogram"),
                           ("sluice_stage_seconds", "histogram"),
                           ("sluice_queue_items", "gauge")):
            self.assertEqual(now.types[name], kind)
        status, headers, _ = self.server.get("/metrics", admin=False)
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain"))

    def test_histograms_add_up(self):
        now = self.server.metrics()
        buckets = {}
        for (name, labels), value in now.samples.items():
            if name.endswith("_bucket"):
                le = float(dict(labels)["le"])
                key = name[:-7], frozenset(p for p in labels if p[0] != "le")
                buckets.setdefault(key, []).append((le, value))
        self.assertTrue(buckets)
        for (name, labels), points in buckets.items():
            values = [value for _, value in sorted(points)]
            self.assertEqual(values, sorted(values), name)
            self.assertEqual(max(points)[0], float("inf"), name)
            self.assertEqual(values[-1], now.samples[name + "_count", labels], name)


class CommandLine(unittest.TestCase):
    def test_version(self):
        code, out, err = run("--version")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^sluice \d+\.\d+\.\d+")

    def test_the_version_in_the_metrics_is_the_same(self):
        version = run("--version")[1].split()[1]
        with Server() as server:
            self.assertEqual(server.metrics().sum("sluice_build_info", version=version), 1)

    def test_help_names_the_commands(self):
        code, out, _ = run("--help")
        self.assertEqual(code, 0)
        self.assertIn("serve", out)
        self.assertIn("check", out)
        self.assertIn("--listen", run("serve", "--help")[1])

    def test_an_unknown_flag_names_the_nearest(self):
        code, out, err = run("serve", "--model", "echo", "--lisen", "127.0.0.1:0")
        self.assertNotEqual(code, 0)
        self.assertEqual(out, "")
        self.assertIn("--lisen", err)
        self.assertIn("--listen", err.replace("--lisen", ""))

    def test_an_unknown_command_is_refused(self):
        code, _, err = run("srve")
        self.assertNotEqual(code, 0)
        self.assertIn("serve", err.replace("srve", ""))

    def test_bad_values_are_refused(self):
        for flags in (("--listen", "nonsense"), ("--io-threads", "0"), ("--model", "echo:c=1ms"),
                      ("--batch-items-max", "-1"), ("--model", "/nonexistent/folder")):
            with self.subTest(flags=flags):
                model = () if "--model" in flags else ("--model", "echo")
                code, out, err = run("serve", "--listen", "127.0.0.1:0", "--admin", "off", *model,
                                     *flags)
                self.assertNotEqual(code, 0)
                self.assertEqual(out, "")
                self.assertTrue(err)

    def test_a_taken_port_is_named(self):
        with Server() as server:
            code, out, err = run("serve", "--model", "echo", "--admin", "off",
                                 "--listen", f"127.0.0.1:{server.port}")
            self.assertNotEqual(code, 0)
            self.assertEqual(out, "")
            self.assertIn(str(server.port), err)

    def test_check_accepts_a_good_file(self):
        code, text = check(GOOD)
        self.assertEqual(code, 0, text)

    def test_check_names_line_column_and_the_nearest_key(self):
        for bad, place, word in (
            (GOOD.replace("items_max: 32", "item_max: 32"), ":5:", "items_max"),
            (GOOD.replace("limits:", "limit:"), ":2:", "limits"),
            (GOOD.replace("1GiB", "1GiX"), ":2:", "bytes_held_max"),
            (GOOD.replace("deadline: 10s", "deadline: 10"), ":6:", "deadline"),
            (GOOD.replace("kind: local", "kind: remote"), ":8:", "kind"),
            (GOOD.replace("path: echo", "path: echo, path: echo"), ":8:", "path"),
        ):
            with self.subTest(place=place, word=word):
                code, text = check(bad)
                self.assertEqual(code, 1, text)
                self.assertIn(place, text)
                self.assertIn(word, text)

    def test_check_refuses_broken_yaml_and_a_missing_file(self):
        self.assertEqual(check("models: [")[0], 1)
        code, _, err = run("check", "--config", "/nonexistent.yaml")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent.yaml", err)

    def test_a_file_can_be_served_and_flags_win_over_it(self):
        with Server("--model-name", "other", config=GOOD) as server:
            names = json.loads(server.get("/v1/models", admin=False)[2])
            self.assertEqual([m["id"] for m in names["data"]], ["other"])


if __name__ == "__main__":
    main()
