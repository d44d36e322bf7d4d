# SPDX-License-Identifier: Apache-2.0
"""The openai Python client, synchronous and asynchronous, works against sluice unchanged."""

import asyncio
import base64
import json
import os
import struct
import unittest

import openai
from echo import echo_vector
from server import OPTIONS, Server, cosine, distance, main, needs_model


def client_of(server, kind=openai.OpenAI):
    return kind(base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60)


class EchoClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        cls.client = client_of(cls.server)

    def embed(self, texts, **more):
        return self.client.embeddings.create(model="echo", input=texts, **more)

    def refused(self, status, **body):
        """The error object of a request that must be refused with `status`."""
        body.setdefault("model", "echo")
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client.post("/embeddings", body=body, cast_to=object)
        self.assertEqual(caught.exception.status_code, status, caught.exception.message)
        error = caught.exception.response.json()["error"]
        self.assertEqual({"message", "type", "param", "code"}, set(error))
        self.assertTrue(error["message"])
        return error

    def test_one_text_as_the_client_asks_by_default(self):
        answer = self.embed("hello")
        self.assertEqual(answer.object, "list")
        self.assertEqual(answer.model, "echo")
        self.assertEqual([d.index for d in answer.data], [0])
        self.assertEqual(answer.data[0].object, "embedding")
        self.assertEqual(distance(answer.data[0].embedding, echo_vector("hello")), 0)
        self.assertGreater(answer.usage.prompt_tokens, 0)
        self.assertEqual(answer.usage.prompt_tokens, answer.usage.total_tokens)

    def test_a_list_is_answered_in_order(self):
        texts = ["a", "bb", "", "ünïcödé 漢字 🙂", "a", 'quote " and \\ and \n', "x" * 5000]
        answer = self.embed(texts)
        self.assertEqual([d.index for d in answer.data], list(range(len(texts))))
        for text, item in zip(texts, answer.data):
            self.assertEqual(distance(item.embedding, echo_vector(text)), 0, text[:20])

    def test_base64_and_float_are_the_same_numbers(self):
        as_float = self.embed(["one", "two"], encoding_format="float")
        as_base64 = self.embed(["one", "two"], encoding_format="base64")
        for text, number, packed in zip(["one", "two"], as_float.data, as_base64.data):
            self.assertIsInstance(number.embedding, list)
            data = packed.embedding
            if isinstance(data, str):
                data = struct.unpack(f"<{len(echo_vector(text))}f", base64.b64decode(data))
            self.assertLess(distance(number.embedding, data), 1e-7)
            self.assertEqual(distance(list(data), echo_vector(text)), 0)

    def test_token_arrays_are_inputs(self):
        one = self.embed([1, 2, 3])
        many = self.embed([[1, 2, 3], [4]])
        self.assertEqual(len(one.data), 1)
        self.assertEqual(len(many.data), 2)
        self.assertEqual(one.data[0].embedding, many.data[0].embedding)
        self.assertNotEqual(many.data[0].embedding, many.data[1].embedding)

    def test_usage_is_each_callers_own(self):
        alone = [self.embed(text).usage.prompt_tokens for text in ("a", "a longer text")]
        both = self.embed(["a", "a longer text"]).usage.prompt_tokens
        self.assertEqual(both, sum(alone))

    def test_user_is_accepted(self):
        self.assertEqual(len(self.embed("x", user="somebody").data), 1)

    def test_models_are_listed_and_retrieved(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["echo"])
        model = self.client.models.retrieve("echo")
        self.assertEqual((model.id, model.object), ("echo", "model"))
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.models.retrieve("nobody")
        self.assertIn("nobody", caught.exception.message)

    def test_an_unknown_model_is_not_found_and_named(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.embeddings.create(model="text-embedding-9", input="x")
        self.assertIn("text-embedding-9", caught.exception.message)
        self.assertEqual(caught.exception.param, "model")
        self.assertEqual(caught.exception.code, "model_not_found")
        self.assertEqual(caught.exception.type, "invalid_request_error")

    def test_2048_inputs_are_answered_and_2049_refused(self):
        answer = self.embed([str(i) for i in range(2048)], encoding_format="float")
        self.assertEqual(len(answer.data), 2048)
        for i in (0, 1, 1023, 2047):
            self.assertLess(distance(answer.data[i].embedding, echo_vector(str(i))), 1e-7)
        error = self.refused(400, input=[str(i) for i in range(2049)])
        self.assertEqual(error["param"], "input")
        self.assertIn("2048", error["message"])

    def test_a_wrong_body_is_refused_and_the_field_named(self):
        for param, body in (
            ("input", {"input": []}),
            ("input", {"input": 3}),
            ("input", {"input": None}),
            ("input", {"input": {"text": "x"}}),
            ("input", {"input": ["x", 3]}),
            ("input", {"input": [[1], "x"]}),
            ("input", {"input": [1, 2.5]}),
            ("input", {"input": [[]]}),
            ("input", {"input": [True]}),
            ("input", {}),
            ("model", {"model": 7, "input": "x"}),
            ("encoding_format", {"input": "x", "encoding_format": "hex"}),
            ("encoding_format", {"input": "x", "encoding_format": 1}),
            ("dimensions", {"input": "x", "dimensions": 0}),
            ("dimensions", {"input": "x", "dimensions": -1}),
            ("dimensions", {"input": "x", "dimensions": "8"}),
            ("dimensions", {"input": "x", "dimensions": 1.5}),
            ("dimensions", {"input": "x", "dimensions": 100000}),
            ("user", {"input": "x", "user": 5}),
        ):
            with self.subTest(body=str(body)):
                error = self.refused(400, **body)
                self.assertEqual(error["param"], param, error)
                self.assertEqual(error["type"], "invalid_request_error")

    def test_dimensions_cut_and_rescale(self):
        full = self.embed("cut me", encoding_format="float").data[0].embedding
        cut = self.embed("cut me", dimensions=3, encoding_format="float").data[0].embedding
        self.assertEqual(len(cut), 3)
        length = sum(x * x for x in full[:3]) ** 0.5
        self.assertLess(distance(cut, [x / length for x in full[:3]]), 1e-6)

    def test_the_asynchronous_client_gets_each_its_own(self):
        async def run():
            async with client_of(self.server, openai.AsyncOpenAI) as client:
                texts = [f"text {i}" for i in range(64)]
                answers = await asyncio.gather(
                    *(client.embeddings.create(model="echo", input=text) for text in texts))
                return zip(texts, answers)

        for text, answer in asyncio.run(run()):
            self.assertEqual(distance(answer.data[0].embedding, echo_vector(text)), 0, text)

    def test_response_headers_say_what_happened(self):
        raw = self.client.embeddings.with_raw_response.create(model="echo", input="x")
        self.assertEqual(raw.headers["content-type"].split(";")[0], "application/json")
        self.assertGreaterEqual(int(raw.headers["x-sluice-batch-items"]), 1)
        self.assertIn("queue", raw.headers["server-timing"])
        self.assertIn("x-request-id", raw.headers)


class ModelClient(unittest.TestCase):
    """A real model: all-MiniLM-L6-v2."""

    @classmethod
    def setUpClass(cls):
        if not OPTIONS.model:
            raise unittest.SkipTest("no --model given")
        cls.server = cls.enterClassContext(Server(model=OPTIONS.model, *("--precision", "f32")))
        cls.client = client_of(cls.server)
        cls.name = os.path.basename(os.path.normpath(OPTIONS.model))

    def embed(self, texts, **more):
        return self.client.embeddings.create(model=self.name, input=texts, **more)

    @needs_model
    def test_the_model_is_called_by_its_folder(self):
        self.assertEqual([m.id for m in self.client.models.list()], [self.name])

    @needs_model
    def test_vectors_have_length_one_and_near_texts_are_near(self):
        texts = ["How do I reset my password?", "I forgot my login password.", "The cat sat down."]
        vectors = [d.embedding for d in self.embed(texts).data]
        for vector in vectors:
            self.assertEqual(len(vector), 384)
            self.assertAlmostEqual(sum(x * x for x in vector), 1.0, places=4)
        self.assertGreater(cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2]) + 0.2)

    @needs_model
    def test_token_arrays_give_the_vector_of_their_text(self):
        # "hello world" is 7592 2088 in this vocabulary; [CLS] and [SEP] are 101 and 102.
        text = self.embed("hello world")
        bare = self.embed([7592, 2088])
        framed = self.embed([[101, 7592, 2088, 102]])
        self.assertGreater(cosine(text.data[0].embedding, bare.data[0].embedding), 0.999999)
        self.assertGreater(cosine(text.data[0].embedding, framed.data[0].embedding), 0.999999)
        self.assertEqual(text.usage.prompt_tokens, 4)
        self.assertEqual(bare.usage.prompt_tokens, 4)

    @needs_model
    def test_a_long_text_is_cut_and_the_answer_says_so(self):
        raw = self.client.embeddings.with_raw_response.create(
            model=self.name, input=["word " * 2000, "short"])
        self.assertEqual(raw.headers.get("x-sluice-truncated"), "1")
        with open(os.path.join(OPTIONS.model, "sentence_bert_config.json")) as file:
            limit = json.load(file)
        self.assertEqual(raw.parse().usage.prompt_tokens, limit["max_seq_length"] + 3)

    @needs_model
    def test_a_token_id_out_of_range_and_bad_dimensions_are_refused(self):
        for body, param in (({"input": [[1, 99999999]]}, "input"), ({"input": [[-1]]}, "input"),
                            ({"input": "x", "dimensions": 100}, "dimensions")):
            with self.subTest(body=body), self.assertRaises(openai.BadRequestError) as caught:
                self.client.post("/embeddings", body={"model": self.name, **body}, cast_to=object)
            self.assertEqual(caught.exception.param, param)

    @needs_model
    def test_an_empty_text_has_a_vector(self):
        self.assertEqual(len(self.embed("").data[0].embedding), 384)


if __name__ == "__main__":
    main()
