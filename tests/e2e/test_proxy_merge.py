# SPDX-License-Identifier: Apache-2.0
"""In front of an endpoint, requests that ask for the same thing in the same way share calls, and
each caller gets what it would have got alone."""

import asyncio
import concurrent.futures
import json
import random
import threading
import unittest

import openai
from server import Server, main, wait_until
from upstream import Fault, Upstream, embeddings, score_of, text_of, vector_of
from wire import Wire, post


def proxy(upstream, *flags):
    return Server("--upstream", upstream.url, *flags, model=None)


def ask(server, path, body, headers=()):
    """One request on its own connection: (status, headers, parsed body)."""
    with Wire(server.port) as wire:
        answer = wire.send(post(body, path=path, headers=headers)).answer()
    return answer.status, answer.headers, json.loads(answer.body)


def together(functions):
    """Calls all at once, from threads that wait for each other; their results in order."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        return function()

    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


class Merging(unittest.TestCase):
    def test_many_callers_share_few_calls_and_each_gets_its_own(self):
        # So long that even a slow client keeps 64 requests under way.
        with Upstream(delay_s=0.2) as upstream, proxy(upstream) as server:
            client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k", max_retries=0)

            async def one(gate, i):
                async with gate:
                    return await client.embeddings.create(model="m", input=f"text {i:03}")

            async def all_of_them():
                gate = asyncio.Semaphore(64)
                return await asyncio.gather(*(one(gate, i) for i in range(512)))

            answers = asyncio.run(all_of_them())
            for i, answer in enumerate(answers):
                self.assertEqual(answer.data[0].embedding, vector_of(f"text {i:03}"))
                self.assertEqual(answer.usage.prompt_tokens, 2)
                self.assertEqual(answer.model, "m")
            self.assertLessEqual(upstream.count("/v1/embeddings"), 100)
            self.assertEqual(sum(upstream.items()), 512)

    def test_no_call_mixes_credentials_models_or_unknown_headers(self):
        with Upstream(delay_s=0.05) as upstream, proxy(upstream, "--slots", "1") as server:
            kinds = [({"model": "m"}, ["Authorization: Bearer 1"]),
                     ({"model": "m"}, ["Authorization: Bearer 2"]),
                     ({"model": "n"}, ["Authorization: Bearer 1"]),
                     ({"model": "m", "dimensions": 4}, ["Authorization: Bearer 1"]),
                     ({"model": "m"}, ["Authorization: Bearer 1", "X-Odd: 1"])]
            functions = []
            for n in range(40):
                body, headers = kinds[n % len(kinds)]
                functions.append(lambda body=body, headers=headers, n=n: ask(
                    server, "/v1/embeddings", {**body, "input": f"t{n}"}, headers))
            for n, (status, _, answer) in enumerate(together(functions)):
                self.assertEqual(status, 200, answer)
                wanted = vector_of(f"t{n}")[:4 if n % len(kinds) == 3 else None]
                self.assertEqual(answer["data"][0]["embedding"], wanted)
                self.assertEqual(answer["model"], kinds[n % len(kinds)][0]["model"])
            seen = {(h.get("authorization"), h.get("x-odd")) for _, _, h in upstream.calls}
            self.assertEqual(seen, {("Bearer 1", None), ("Bearer 2", None), ("Bearer 1", "1")})

    def test_random_mixes_get_what_they_would_have_got_alone(self):
        rng = random.Random(4)
        with Upstream(delay_s=0.002) as upstream, proxy(upstream) as server:
            bodies = []
            for _ in range(300):
                texts = ["".join(rng.choices("abc é\"\\\n", k=rng.randint(1, 30)))
                         for _ in range(rng.randint(1, 5))]
                body = {"model": rng.choice("mn"),
                        "input": texts[0] if len(texts) == 1 and rng.random() < 0.7 else texts}
                if rng.random() < 0.5:
                    body["encoding_format"] = rng.choice(["float", "base64"])
                if rng.random() < 0.2:
                    body["dimensions"] = 4
                if rng.random() < 0.1:
                    body["input"] = [rng.randint(0, 9) for _ in range(3)]
                bodies.append(body)
            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                got = list(pool.map(lambda body: ask(server, "/v1/embeddings", body), bodies))
            for body, (status, _, answer) in zip(bodies, got):
                self.assertEqual(status, 200, answer)
                alone = embeddings(body)
                answer.pop("usage"), alone.pop("usage")
                self.assertEqual(answer, alone)

    def test_a_bad_request_is_told_alone_and_hurts_nobody(self):
        def fault(path, body):
            if any(text_of(item) == "bad" for item in body["input"]):
                raise Fault(422, {"error": {"message": "cannot embed bad", "type": "t",
                                            "param": "input", "code": None}})

        with Upstream(delay_s=0.02, fault=fault) as upstream, proxy(upstream) as server:
            texts = [f"t{i}" for i in range(32)]
            texts[13] = "bad"
            got = together([lambda t=t: ask(server, "/v1/embeddings", {"model": "m", "input": [t]})
                            for t in texts])
            for text, (status, _, answer) in zip(texts, got):
                if text == "bad":
                    self.assertEqual(status, 422)
                    self.assertEqual(answer["error"]["message"], "cannot embed bad")
                else:
                    self.assertEqual(status, 200, answer)
                    self.assertEqual(answer["data"][0]["embedding"], vector_of(text))

    def test_a_wrong_answer_is_an_error_and_never_a_guess(self):
        wrong = iter([
            {"object": "list", "model": "m", "data": []},
            {"object": "list", "model": "m", "data": [
                {"index": 7, "embedding": [1.0], "object": "embedding"}]},
            {"object": "list", "model": "m", "data": [
                {"index": 0, "embedding": "x", "object": "embedding"}]},
            ["no object"],
        ])

        def fault(path, body):
            raise Fault(200, next(wrong))

        with Upstream(fault=fault) as upstream, proxy(upstream) as server:
            for _ in range(4):
                status, headers, answer = ask(server, "/v1/embeddings",
                                              {"model": "m", "input": "a"})
                self.assertEqual(status, 502)
                self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
                self.assertTrue(headers["x-request-id"])
            self.assertEqual(upstream.count(), 4)

    def test_what_is_busy_is_asked_again_and_what_stays_busy_is_503(self):
        left = [2]

        def fault(path, body):
            if left[0] > 0:
                left[0] -= 1
                raise Fault(503)

        with Upstream(fault=fault) as upstream, proxy(upstream) as server:
            left[0] = 1
            status, _, answer = ask(server, "/v1/embeddings", {"model": "m", "input": "a"})
            self.assertEqual(status, 200, answer)
            self.assertEqual(upstream.count(), 2)
            left[0] = 1000
            status, _, _ = ask(server, "/v1/embeddings", {"model": "m", "input": "a"})
            self.assertEqual(status, 503)

    def test_no_endpoint_is_502_and_its_return_is_noticed(self):
        with Upstream() as first:
            port = first.port
        with Server("--upstream", f"http://127.0.0.1:{port}", model=None) as server:
            status, _, answer = ask(server, "/v1/embeddings", {"model": "m", "input": "a"})
            self.assertEqual(status, 502)
            self.assertIn("error", answer)
            with Upstream(port=port):
                def served():
                    return ask(server, "/v1/embeddings", {"model": "m", "input": "a"})[0] == 200
                wait_until(served, "the endpoint is used again", 12)


class OtherDialects(unittest.TestCase):
    def test_tei(self):
        with Upstream(delay_s=0.02) as upstream, \
                proxy(upstream, "--dialect", "tei") as server:
            got = together([lambda i=i: ask(server, "/embed", {"inputs": [f"a{i}", f"b{i}"]})
                            for i in range(24)])
            for i, (status, _, answer) in enumerate(got):
                self.assertEqual(status, 200)
                self.assertEqual(answer, [vector_of(f"a{i}"), vector_of(f"b{i}")])
            self.assertLess(upstream.count("/embed"), 20)
            status, _, answer = ask(server, "/rerank", {"query": "q", "texts": ["x", "y", "z"]})
            self.assertEqual(status, 200)
            self.assertEqual({r["index"]: r["score"] for r in answer},
                             {i: score_of("q", t) for i, t in enumerate("xyz")})

    def test_cohere(self):
        with Upstream(delay_s=0.02) as upstream, \
                proxy(upstream, "--dialect", "cohere") as server:
            got = together([lambda i=i: ask(server, "/v2/rerank", {
                "model": "r", "query": "q", "documents": [f"a{i}", f"b{i}"], "top_n": 1})
                for i in range(24)])
            for i, (status, _, answer) in enumerate(got):
                self.assertEqual(status, 200, answer)
                scores = [score_of("q", f"a{i}"), score_of("q", f"b{i}")]
                self.assertEqual(len(answer["results"]), 1)
                self.assertEqual(answer["results"][0]["relevance_score"], max(scores))
            self.assertLess(upstream.count("/v2/rerank"), 20)

    def test_kserve_v1(self):
        with Upstream(delay_s=0.02) as upstream, \
                proxy(upstream, "--dialect", "kserve-v1") as server:
            got = together([lambda i=i: ask(server, "/v1/models/m:predict", {"instances": [i, [i]]})
                            for i in range(24)])
            for i, (status, _, answer) in enumerate(got):
                self.assertEqual(status, 200, answer)
                self.assertEqual(answer["predictions"], [{"seen": i}, {"seen": [i]}])
            self.assertLess(upstream.count("/v1/models/m:predict"), 20)


if __name__ == "__main__":
    main()
