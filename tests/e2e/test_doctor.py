# SPDX-License-Identifier: Apache-2.0
"""`sluice doctor` tells endpoints where merging is safe from those where it is not, by its exit
code: 0 safe, 1 not safe or not found out, 2 asked wrongly."""

import random
import subprocess
import tempfile
import unittest

from oip_server import OipUpstream
from server import LIMIT_S, OPTIONS, SANITIZER_REPORTS, main
from upstream import Fault, Upstream, embed, embeddings, rerank


def doctor(*flags):
    """(exit code, what it wrote to stdout, and to stderr)."""
    ended = subprocess.run([OPTIONS.sluice, "doctor", *flags], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
    for report in SANITIZER_REPORTS:
        if report in ended.stderr:
            raise AssertionError(ended.stderr)
    return ended.returncode, ended.stdout, ended.stderr


class Doctor(unittest.TestCase):
    def examine(self, fault, *flags, dialect="openai"):
        with Upstream(fault=fault) as upstream:
            return doctor("--upstream", upstream.url, "--dialect", dialect, *flags)

    def refuted(self, fault, *flags, dialect="openai"):
        code, out, err = self.examine(fault, *flags, dialect=dialect)
        self.assertEqual(code, 1, out + err)
        self.assertIn("NOT SAFE to merge: ", out + err)
        return out + err

    def undecided(self, fault, *flags, dialect="openai"):
        """The endpoint does not answer even a request alone, which says nothing about merging."""
        code, out, err = self.examine(fault, *flags, dialect=dialect)
        self.assertEqual(code, 1, out + err)
        self.assertIn("NOT FOUND OUT whether it is safe to merge: asked alone: ", out)
        self.assertNotIn("NOT SAFE", out + err)
        return out


class Safe(Doctor):
    def test_endpoints_whose_answers_depend_on_their_item_alone(self):
        for dialect, path in (("openai", "/v1/embeddings"), ("tei", "/embed"),
                              ("cohere", "/v1/rerank")):
            with self.subTest(dialect=dialect), Upstream() as upstream:
                code, out, err = doctor("--upstream", upstream.url, "--dialect", dialect,
                                        "--rounds", "5", "--model", "m")
                self.assertEqual(code, 0, out + err)
                self.assertIn("SAFE to merge", out)
                self.assertNotIn("NOT SAFE", out)
                self.assertIn("largest distance of numbers: 0", out)
                asked = upstream.count(path)
                self.assertEqual(asked, upstream.count())
                items = upstream.items()
                alone = items.count(1)
                self.assertEqual(items, [1] * alone + [alone] * 5)

    def test_samples_headers_and_path_of_ones_own(self):
        with Upstream() as upstream, tempfile.NamedTemporaryFile("w") as samples:
            samples.write('{"instances": [1, 2]}\n\n{"instances": [[3]]}\n')
            samples.flush()
            code, out, err = doctor("--upstream", upstream.url, "--dialect", "kserve-v1",
                                    "--path", "/v1/models/m:predict", "--sample", samples.name,
                                    "--header", "Authorization: Bearer k")
            self.assertEqual(code, 0, out + err)
            self.assertEqual(upstream.items(), [2, 1, 3, 3, 3])
            self.assertEqual({h.get("authorization") for _, _, h in upstream.calls}, {"Bearer k"})

    def test_the_open_inference_protocol(self):
        with OipUpstream() as upstream, tempfile.NamedTemporaryFile("w") as samples:
            for i in range(3):
                samples.write('{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], '
                              f'"data": [{i}, 0.5]}}]}}\n')
            samples.flush()
            code, out, err = doctor("--upstream", upstream.url, "--dialect", "oip-v2", "--path",
                                    "/v2/models/rows/infer", "--sample", samples.name)
            self.assertEqual(code, 0, out + err)
            self.assertEqual(upstream.items(), [1, 1, 1, 3, 3, 3])

    def test_noise_below_the_tolerance(self):
        noise = random.Random(7)

        def fault(path, body):
            answer = embed(body)
            raise Fault(200, [[x + noise.uniform(0, 1e-3) for x in v] for v in answer])

        code, out, err = self.examine(fault, "--tolerance", "0.01", dialect="tei")
        self.assertEqual(code, 0, out + err)
        self.refuted(fault, "--tolerance", "0.00001", dialect="tei")


class NotSafe(Doctor):
    def test_answers_that_depend_on_company(self):
        def fault(path, body):
            answer = embed(body)
            raise Fault(200, [[x / len(answer) for x in vector] for vector in answer])

        self.assertIn("depend on who else is in the call", self.refuted(fault, dialect="tei"))

        def relative(path, body):
            answer = rerank(body)
            best = max(r["relevance_score"] for r in answer["results"])
            for result in answer["results"]:
                result["relevance_score"] /= best
            raise Fault(200, answer)

        self.refuted(relative, dialect="cohere")

    def test_the_wrong_order(self):
        self.refuted(lambda path, body: (_ for _ in ()).throw(Fault(200, embed(body)[::-1])),
                     dialect="tei")

    def test_the_wrong_count(self):
        for change in (lambda data: data[:1], lambda data: data + data[:1], lambda data: []):
            def fault(path, body, change=change):
                answer = embeddings(body)
                if len(answer["data"]) > 1:
                    answer["data"] = change(answer["data"])
                    raise Fault(200, answer)

            self.assertIn("merged", self.refuted(fault))

    def test_another_shape_in_company(self):
        def fault(path, body):
            answer = embed(body)
            raise Fault(200, [vector[:4] for vector in answer] if len(answer) > 1 else answer)

        self.assertIn("another shape", self.refuted(fault, dialect="tei"))

    def test_refusals_of_merged_calls_and_of_all(self):
        def only_one(path, body):
            if len(body["input"]) > 1:
                raise Fault(422, {"error": {"message": "one at a time"}})

        self.assertIn("one at a time", self.refuted(only_one))

        def nobody(path, body):
            raise Fault(401, {"error": {"message": "no key"}})

        self.assertIn("no key", self.undecided(nobody))

    def test_a_path_that_is_not_there(self):
        def elsewhere(path, body):
            raise Fault(404, {"detail": "Not Found"})

        said = self.undecided(elsewhere)
        self.assertIn("Not Found", said)
        self.assertIn("--path", said)
        self.assertIn("http://127.0.0.1:", said)  # which endpoint it was

    def test_an_answer_that_is_no_json_or_cut(self):
        self.undecided(lambda path, body: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        self.undecided(lambda path, body: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")

    def test_nobody_there(self):
        with Upstream() as gone:
            url = gone.url
        code, out, err = doctor("--upstream", url)
        self.assertEqual(code, 1, out + err)
        self.assertIn("asked alone", out + err)


class AskedWrongly(Doctor):
    def test_flags(self):
        good = ["--upstream", "http://127.0.0.1:1"]
        for flags, named in (([], "--upstream"),
                             (["--upstream", "nowhere"], "--upstream"),
                             ([*good, "--dialect", "latin"], "--dialect"),
                             ([*good, "--rounds", "0"], "--rounds"),
                             ([*good, "--rounds", "101"], "--rounds"),
                             ([*good, "--rounds", "x"], "--rounds"),
                             ([*good, "--tolerance", "2"], "--tolerance"),
                             ([*good, "--tolerance", "nan"], "--tolerance"),
                             ([*good, "--header", "no colon"], "--header"),
                             ([*good, "--header", "Host: x"], "--header"),
                             ([*good, "--header", "A: b\r\nC: d"], "--header"),
                             ([*good, "--sample", "/nonexistent"], "--sample"),
                             ([*good, "--path", "no/slash"], "--path"),
                             ([*good, "--dialect", "kserve-v1"], "--sample"),
                             ([*good, "--wrong", "1"], "--wrong"),
                             ([*good, "extra"], "extra")):
            with self.subTest(flags=flags):
                code, out, err = doctor(*flags)
                self.assertEqual(code, 2, out + err)
                self.assertIn(named, err)
                self.assertEqual(out, "")

    def test_samples(self):
        for lines, named in ((['{"input": "a", "model": "m"}'], "at least two"),
                             (['{"input": "a", "model": "m"}', "{"], "a sample: "),
                             (['{"input": "a", "model": "m"}', '{"model": "m"}'], "input"),
                             (['{"input": "a", "model": "m"}', '{"input": "b", "model": "n"}'],
                              "the samples differ")):
            with self.subTest(lines=lines), Upstream() as upstream, \
                    tempfile.NamedTemporaryFile("w") as samples:
                samples.write("\n".join(lines))
                samples.flush()
                code, out, err = doctor("--upstream", upstream.url, "--sample", samples.name)
                self.assertEqual(code, 2, out + err)
                self.assertIn(named, err)
                self.assertEqual(out, "")
                self.assertEqual(upstream.count(), 0)


if __name__ == "__main__":
    main()
