# SPDX-License-Identifier: Apache-2.0
"""Clients that other people wrote get through sluice what they get from the endpoint itself, in
fewer calls: those of Triton, Hugging Face and Cohere, and h2load. Their paths to a model inside."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

import cohere
import huggingface_hub
import numpy
import tritonclient.http as triton
from oip_server import OipUpstream
from server import LIMIT_S, OPTIONS, Server, distance, main, needs_model
from upstream import Upstream, vector_of

DELAY_S = 0.2  # so long that what is asked meanwhile piles up, even from a slow client


def proxy(upstream, dialect):
    return Server("--upstream", upstream.url, "--dialect", dialect, "--slots", "1", model=None)


def together(functions):
    """Calls all at once, from threads that wait for each other; their results in order."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        return function()

    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


class Triton(unittest.TestCase):
    COUNT = 24

    def client(self, server, concurrency=1):
        client = triton.InferenceServerClient(
            url=f"127.0.0.1:{server.port}", concurrency=concurrency,
            connection_timeout=LIMIT_S, network_timeout=LIMIT_S)
        self.addCleanup(client.close)
        return client

    @staticmethod
    def tensors(i, binary):
        """Inputs of 1 to 3 rows, other numbers and words for each i."""
        rows = 1 + i % 3
        x = numpy.arange(rows * 4, dtype=numpy.float32).reshape(rows, 4) / 7 + i
        words = numpy.array([[f"word {i} {r}".encode(), b"" if r else b"x" * i]
                             for r in range(rows)], dtype=object)
        inputs = [triton.InferInput("x", x.shape, "FP32"),
                  triton.InferInput("words", words.shape, "BYTES")]
        inputs[0].set_data_from_numpy(x, binary_data=binary)
        inputs[1].set_data_from_numpy(words, binary_data=binary)
        return inputs

    def infer_many(self, server, binary):
        """COUNT requests at once; their results as the client reads them."""
        client = self.client(server, self.COUNT)
        outputs = [triton.InferRequestedOutput(name, binary_data=binary)
                   for name in ("y", "reversed")]
        asked = [client.async_infer("rows", self.tensors(i, binary), outputs=outputs,
                                    request_id=f"id-{i}") for i in range(self.COUNT)]
        return [one.get_result() for one in asked]

    def test_binary_and_json_tensors_are_answered_as_by_the_server_itself(self):
        for binary in (True, False):
            with self.subTest(binary=binary), OipUpstream(DELAY_S) as upstream, \
                    proxy(upstream, "oip-v2") as server:
                merged = self.infer_many(server, binary)
                calls = upstream.count()
                self.assertLess(calls, self.COUNT)
                self.assertEqual(sum(upstream.items()), 2 * self.COUNT)
                for i, (one, alone) in enumerate(zip(merged, self.infer_many(upstream, binary))):
                    self.assertEqual(one.get_response()["id"], f"id-{i}")
                    self.assertEqual(one.get_response(), alone.get_response())
                    for name in ("y", "reversed"):
                        self.assertTrue((one.as_numpy(name) == alone.as_numpy(name)).all())
                        self.assertEqual(len(one.as_numpy(name)), 1 + i % 3)
                self.assertEqual(upstream.count(), calls + self.COUNT)  # alone: a call each

    def test_a_server_that_takes_json_only_gets_binary_tensors_as_json(self):
        with OipUpstream(DELAY_S) as upstream, proxy(upstream, "oip-v2-json") as server:
            merged = self.infer_many(server, True)
            self.assertLess(upstream.count(), self.COUNT)
            for _, _, headers in upstream.calls:
                self.assertNotIn("inference-header-content-length", headers)
                self.assertEqual(headers["content-type"], "application/json")
            for one, alone in zip(merged, self.infer_many(upstream, True), strict=True):
                for name in ("y", "reversed"):
                    self.assertTrue((one.as_numpy(name) == alone.as_numpy(name)).all())

    def test_what_is_no_inference_goes_through(self):
        with OipUpstream() as upstream, proxy(upstream, "oip-v2") as server:
            client = self.client(server)
            self.assertTrue(client.is_server_live())
            self.assertEqual(client.get_model_metadata("rows"),
                             self.client(upstream).get_model_metadata("rows"))

    def test_errors_are_those_of_the_server(self):
        with OipUpstream() as upstream, proxy(upstream, "oip-v2") as server:
            said = []
            for one in (server, upstream):
                with self.assertRaises(triton.InferenceServerException) as caught:
                    self.client(one).infer("nobody", self.tensors(1, True))
                said.append((caught.exception.status(), caught.exception.message()))
            self.assertEqual(said[0], said[1])


class HuggingFace(unittest.TestCase):
    def test_feature_extraction(self):
        texts = [f"text {i} é" for i in range(24)]

        def ask(server, text):
            client = huggingface_hub.InferenceClient(model=server.url + "/embed", timeout=LIMIT_S)
            return client.feature_extraction(text, normalize=True).tolist()

        with Upstream(DELAY_S) as upstream, proxy(upstream, "tei") as server:
            merged = together([lambda t=t: ask(server, t) for t in texts])
            self.assertLess(upstream.count("/embed"), len(texts))
            self.assertEqual(sum(upstream.items()), len(texts))
            alone = together([lambda t=t: ask(upstream, t) for t in texts])
            self.assertEqual(merged, alone)
            self.assertEqual(merged[3], [vector_of(texts[3])])


class Cohere(unittest.TestCase):
    def test_rerank(self):
        def ask(server, i):
            client = cohere.ClientV2(api_key="k", base_url=server.url, timeout=LIMIT_S)
            answer = client.rerank(model="r", query="q", top_n=2,
                                   documents=[f"a{i}", f"b{i}", f"c{i}"])
            return [(r.index, r.relevance_score) for r in answer.results]

        count = 24
        with Upstream(DELAY_S) as upstream, proxy(upstream, "cohere") as server:
            merged = together([lambda i=i: ask(server, i) for i in range(count)])
            self.assertLess(upstream.count("/v2/rerank"), count)
            self.assertEqual(sum(upstream.items()), 3 * count)
            alone = together([lambda i=i: ask(upstream, i) for i in range(count)])
            self.assertEqual(merged, alone)
            self.assertEqual({len(results) for results in merged}, {2})


@unittest.skipUnless(shutil.which("h2load"), "needs h2load, of Debian's nghttp2-client")
class H2load(unittest.TestCase):
    def load(self, url, requests):
        """The statuses counted by 16 clients of HTTP/1.1, and the bytes of bodies they got."""
        with tempfile.TemporaryDirectory() as folder:
            body = os.path.join(folder, "body.json")
            with open(body, "w", encoding="utf-8") as file:
                json.dump({"model": "m", "input": "load"}, file)
            said = subprocess.run(
                ["h2load", "--h1", "-n", str(requests), "-c", "16", "-d", body,
                 "-H", "content-type: application/json", url + "/v1/embeddings"],
                capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
        data = re.search(r"\((\d+)\) data", said)
        self.assertTrue(codes and data, said)
        return [int(code) for code in codes.groups()], int(data.group(1))

    def test_every_request_is_served_in_fewer_calls(self):
        requests = 160
        with Upstream(0.05) as upstream, proxy(upstream, "openai") as server:
            codes, size = self.load(server.url, requests)
            self.assertEqual(codes, [requests, 0, 0, 0])
            self.assertEqual(sum(upstream.items()), requests)
            self.assertLess(upstream.count(), requests)
            one = server.get("/v1/embeddings", admin=False, method="POST",
                             body='{"model": "m", "input": "load"}',
                             headers={"Content-Type": "application/json"})[2]
            self.assertEqual(size, requests * len(one))


class Inside(unittest.TestCase):
    """A model in the process answers the paths of other dialects with the same numbers."""

    def ask(self, server, path, body):
        status, _, answer = server.get(path, admin=False, method="POST", body=json.dumps(body),
                                       headers={"Content-Type": "application/json"})
        return status, json.loads(answer)

    def compare(self, server, model, allowed):
        texts = ["one", "a longer text of several words", "é 漢字"]
        client = huggingface_hub.InferenceClient(model=server.url + "/embed", timeout=LIMIT_S)
        status, answer = self.ask(server, "/v1/embeddings", {"model": model, "input": texts})
        self.assertEqual(status, 200, answer)
        status, vectors = self.ask(server, "/embed", {"inputs": texts})
        self.assertEqual(status, 200, vectors)
        self.assertEqual(len(vectors), len(texts))
        for text, vector, item in zip(texts, vectors, answer["data"]):
            self.assertLessEqual(distance(vector, item["embedding"]), allowed)
            alone = client.feature_extraction(text)[0].tolist()
            self.assertLessEqual(distance(alone, vector), max(allowed, 1e-7))  # it has float32

    def refuses_to_rerank(self, server, model):
        for path, body in (("/v1/rerank", {"model": model, "query": "q", "documents": ["a"]}),
                           ("/v2/rerank", {"model": model, "query": "q", "documents": ["a"]}),
                           ("/rerank", {"query": "q", "texts": ["a"]})):
            status, answer = self.ask(server, path, body)
            self.assertEqual(status, 400, (path, answer))
            self.assertIn("rerank", json.dumps(answer), path)

    def test_echo(self):
        with Server() as server:
            self.compare(server, "echo", 1e-6)

    @needs_model
    def test_minilm(self):
        with Server(model=OPTIONS.model) as server:
            self.compare(server, os.path.basename(OPTIONS.model.rstrip("/")), 1e-5)
            self.refuses_to_rerank(server, os.path.basename(OPTIONS.model.rstrip("/")))


if __name__ == "__main__":
    main()
