# SPDX-License-Identifier: Apache-2.0
"""Sluice on a GPU that is emulated: the kernels that nvcc made, run by an interpreter, behind the
real server. The program under test is sluice_emulated, whose machine has two GPUs; the second is
lost at its fourth batch."""

import concurrent.futures
import subprocess
import unittest

import openai
from server import OPTIONS, Server, cosine, main, wait_until

MODEL = "all-MiniLM-L6-v2"
WORDS = ("a sluice holds the flow of water and lets it through in one go while many small boats "
         "wait behind its gates for their turn to pass").split()
# A few dozen texts from one word to a hundred.
TEXTS = [" ".join(WORDS[(3 * i + j) % len(WORDS)] for j in range(1 + (i * i * 7) % 23))
         for i in range(35)] + [" ".join(WORDS[j % len(WORDS)] for j in range(100))]
COSINE_MIN = 0.9999


def serve(*arguments):
    return Server(*arguments, model=OPTIONS.model)


def embed(server, texts):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=120)
    answer = client.embeddings.create(model=MODEL, input=texts)
    return [item.embedding for item in answer.data]


def gpu(server, name, **labels):
    return server.metrics().sum("sluice_gpu_" + name, model=MODEL, **labels)


class EmulatedGpu(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with serve("--device", "cpu", "--precision", "f32") as server:
            cls.expected = dict(zip(TEXTS, embed(server, TEXTS)))

    def check(self, texts, vectors):
        self.assertEqual(len(texts), len(vectors))
        for text, vector in zip(texts, vectors):
            self.assertGreaterEqual(cosine(vector, self.expected[text]), COSINE_MIN, text[:40])

    def test_mixed_batches_are_one_submission_each_and_agree_with_the_cpu(self):
        with serve("--device", "cuda:0") as server:
            requests, left = [], TEXTS
            while left:
                size = 1 + len(requests) % 5
                requests.append(left[:size])
                left = left[size:]
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                answers = list(pool.map(lambda texts: embed(server, texts), requests))
            for texts, vectors in zip(requests, answers):
                self.check(texts, vectors)
            now = server.metrics()
            batches = now.sum("sluice_gpu_batches_total", model=MODEL, device="cuda:0")
            self.assertEqual(now.sum("sluice_gpu_submissions_total"), batches)
            self.assertEqual(now.sum("sluice_batches_total"), batches)
            self.assertGreater(batches, 1)
            self.assertLess(batches, len(requests), "requests shared batches")
            self.assertEqual(now.sum("sluice_batch_items_sum"), len(TEXTS))
            self.assertEqual(now.sum("sluice_gpu_fallback_batches_total"), 0)
            self.assertEqual(now.sum("sluice_gpu_weights_loaded"), 1)
            self.assertGreater(now.sum("sluice_gpu_busy_seconds_total"), 0)
            self.assertLessEqual(now.sum("sluice_gpu_graph_nodes", kind="kernel"), 48)
            self.assertEqual(now.sum("sluice_gpu_graph_nodes", kind="memcpy"), 1)

    def test_the_weights_leave_an_idle_gpu_and_come_back(self):
        with serve("--device", "cuda:0", "--unload-after", "300ms") as server:
            wait_until(lambda: gpu(server, "weights_loaded") == 0, "the weights leave")
            self.check(TEXTS[:3], embed(server, TEXTS[:3]))
            self.assertEqual(gpu(server, "fallback_batches_total", reason="unloaded"), 1)
            wait_until(lambda: gpu(server, "weight_loads_total") == 1, "the weights come back")

            def ask():
                self.check(TEXTS[3:5], embed(server, TEXTS[3:5]))
                return gpu(server, "batches_total") > 0

            wait_until(ask, "the GPU answers again")

    def test_a_gpu_that_is_lost_loses_no_request(self):
        with serve("--device", "cuda:1") as server:
            for i in range(6):
                self.check(TEXTS[i:i + 2], embed(server, TEXTS[i:i + 2]))
            self.assertEqual(gpu(server, "fallback_batches_total", reason="failed"), 1)
            self.assertGreaterEqual(gpu(server, "fallback_batches_total", reason="lost"), 1)
            self.assertEqual(gpu(server, "weights_loaded", device="cuda:1"), 0)
            self.assertEqual(server.metrics().sum("sluice_call_failures_total"), 0)

    def test_a_gpu_that_is_not_there_among_others_is_a_wrong_start(self):
        done = subprocess.run(
            [OPTIONS.sluice, "serve", "--model", OPTIONS.model, "--device", "cuda:7"],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("device cuda:7: there is no GPU 7, only 2 of them", done.stderr)


if __name__ == "__main__":
    main()
