# SPDX-License-Identifier: Apache-2.0
"""Infinity with the real MiniLM behind sluice: the openai client gets what it would get from
Infinity itself, in fewer calls, and everything that is no embedding goes through."""

import asyncio
import json
import subprocess
import unittest

import openai
from peer_servers import Infinity
from server import LIMIT_S, OPTIONS, Server, cosine, distance, main

MODEL = "all-MiniLM-L6-v2"
# What company changes in a float32 model; Infinity batches too, so its own answers vary like this.
ALLOWED = 1e-5


class Behind(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.infinity = cls.enterClassContext(Infinity(OPTIONS.model, MODEL))
        cls.server = cls.enterClassContext(
            Server("--upstream", cls.infinity.url, "--dialect", "openai", model=None))

    def client(self, peer, kind=openai.OpenAI):
        return kind(base_url=peer.url, api_key="any", max_retries=0, timeout=LIMIT_S)

    def check_equal(self, vector, wanted):
        self.assertLessEqual(distance(vector, wanted), ALLOWED)
        self.assertGreater(cosine(vector, wanted), 1 - 1e-6)

    def test_many_at_once_in_fewer_calls(self):
        texts = [f"text {i} " + "of some length " * (i % 7) + "é 漢字 🙂" for i in range(160)]

        async def ask(peer, format_):
            async with self.client(peer, openai.AsyncOpenAI) as client:
                answers = await asyncio.gather(*(client.embeddings.create(
                    model=MODEL, input=text, **format_) for text in texts))
            for answer in answers:
                self.assertEqual([item.index for item in answer.data], [0])
                self.assertEqual(answer.model, MODEL)
                self.assertGreater(answer.usage.total_tokens, 0)
            return [answer.data[0].embedding for answer in answers]

        alone = asyncio.run(ask(self.infinity, {}))
        for format_ in ({}, {"encoding_format": "float"}):
            with self.subTest(format=format_):
                calls = self.infinity.calls()
                through = asyncio.run(ask(self.server, format_))
                self.assertLessEqual(self.infinity.calls() - calls, len(texts) / 2)
                for vector, wanted in zip(through, alone, strict=True):
                    self.check_equal(vector, wanted)

    def test_a_list_of_texts(self):
        texts = ["one", "a longer text of several words", "é 漢字", "one"]
        data = [self.client(peer).embeddings.create(model=MODEL, input=texts).data
                for peer in (self.server, self.infinity)]
        self.assertEqual([item.index for item in data[0]], [0, 1, 2, 3])
        for through, wanted in zip(*data, strict=True):
            self.check_equal(through.embedding, wanted.embedding)

    def test_one_that_infinity_refuses_leaves_the_others_unharmed(self):
        texts = [f"neighbour {i}" for i in range(40)]
        texts[17] = "a" * 130_000  # beyond what a text may have there

        async def ask():
            async with self.client(self.server, openai.AsyncOpenAI) as client:
                return await asyncio.gather(*(client.embeddings.create(model=MODEL, input=text)
                                              for text in texts), return_exceptions=True)

        status, alone = self.infinity.get(
            *self.post(self.infinity, "/embeddings", {"model": MODEL, "input": [texts[17]]}))
        for i, answer in enumerate(asyncio.run(ask())):
            if i == 17:
                self.assertIsInstance(answer, openai.APIStatusError)
                self.assertEqual(answer.status_code, status)
                self.assertEqual(json.loads(answer.response.content), json.loads(alone))
            else:
                self.assertEqual(len(answer.data), 1, texts[i])

    def post(self, peer, path, body):
        data = json.dumps(body)
        if peer is self.infinity:
            return path, "POST", data
        return path, False, "POST", data, {"Content-Type": "application/json"}

    def test_everything_else_goes_through(self):
        self.assertEqual([model.id for model in self.client(self.server).models.list()], [MODEL])
        for path in ("/models", "/openapi.json", "/nothing"):
            status, body = self.infinity.get(path)
            through = self.server.get(path, admin=False)
            self.assertEqual(through[0], status, path)
            if path != "/models":  # it tells the time
                self.assertEqual(through[2], body, path)
        for path, body in (("/rerank", {"model": MODEL, "query": "q", "documents": ["a", "b"]}),
                           ("/classify", {"model": MODEL, "input": ["a"]})):
            status, answer = self.infinity.get(*self.post(self.infinity, path, body))
            through = self.server.get(*self.post(self.server, path, body))
            self.assertGreaterEqual(status, 400)  # the model can do neither
            self.assertEqual((through[0], through[2]), (status, answer), path)

    def doctor(self, *flags):
        return subprocess.run(
            [OPTIONS.sluice, "doctor", "--upstream", self.infinity.url, "--model", MODEL, *flags],
            capture_output=True, text=True, timeout=LIMIT_S, check=False)

    def test_doctor_finds_it_safe(self):
        said = self.doctor("--path", "/embeddings", "--rounds", "5")
        self.assertEqual(said.returncode, 0, said)
        self.assertIn("\nSAFE to merge", said.stdout)

    def test_doctor_does_not_call_a_wrong_path_unsafe(self):
        said = self.doctor("--path", "/v1/embeddings")
        self.assertNotEqual(said.returncode, 0, said)
        self.assertIn("404", said.stdout + said.stderr)
        self.assertNotIn("NOT SAFE", said.stdout + said.stderr)


if __name__ == "__main__":
    main()
