# SPDX-License-Identifier: Apache-2.0
"""Many requests in flight become few batches, and each caller still gets its own answer."""

import asyncio
import json
import os
import random
import unittest

import openai
from echo import echo_vector
from server import OPTIONS, Server, cosine, distance, main, needs_model, wait_until
from wire import Wire, embed

REQUESTS = 512
IN_FLIGHT = 64
# Long enough that 64 callers written in Python are all waiting again when the next batch leaves,
# which makes the model the bottleneck and not the client.
SLOW = "echo:a=100ms"


def mean_batch(before, after):
    items = after.sum("sluice_batch_items_sum") - before.sum("sluice_batch_items_sum")
    batches = after.sum("sluice_batch_items_count") - before.sum("sluice_batch_items_count")
    return items / batches


async def ask_all(server, model, texts, cancel=lambda i: None):
    """Asks for each text alone, IN_FLIGHT at a time, with the openai client. Returns the vectors;
    None for those whose cancel(i) gave the seconds after which the caller left, and who did."""
    gate = asyncio.Semaphore(IN_FLIGHT)
    client = openai.AsyncOpenAI(
        base_url=server.url + "/v1", api_key="any", max_retries=0, timeout=60)

    async def ask(i, text):
        async with gate:
            request = client.embeddings.create(
                model=model, input=text, encoding_format="float")
            try:
                answer = await asyncio.wait_for(request, cancel(i))
            except TimeoutError:
                return None
            assert [item.index for item in answer.data] == [0]
            return answer.data[0].embedding

    async with client:
        return await asyncio.gather(*(ask(i, text) for i, text in enumerate(texts)))


class Concurrency(unittest.TestCase):
    def check_own(self, texts, vectors):
        for text, vector in zip(texts, vectors):
            if vector is not None:
                self.assertLess(distance(vector, echo_vector(text)), 1e-7, text)

    def check_drained(self, server):
        wait_until(lambda: server.metrics().sum("sluice_requests_in_flight") == 0,
                   "no request is in flight any more")
        now = server.metrics()
        self.assertEqual(now.sum("sluice_queue_items"), 0)
        self.assertEqual(now.sum("sluice_queue_bytes"), 0)
        wait_until(lambda: server.metrics().sum("sluice_bytes_held") == 0,
                   "no bytes are held any more")

    def test_512_requests_at_64_in_flight_are_batched_and_each_gets_its_own(self):
        with Server(model=SLOW) as server:
            before = server.metrics()
            texts = [f"request {i}" for i in range(REQUESTS)]
            vectors = asyncio.run(ask_all(server, "echo", texts))
            self.assertNotIn(None, vectors)
            self.check_own(texts, vectors)
            after = server.metrics()
            self.assertGreaterEqual(after.sum("sluice_requests_total", code="200"), REQUESTS)
            self.assertEqual(after.sum("sluice_batch_items_sum"), REQUESTS)
            self.assertGreaterEqual(mean_batch(before, after), 8)
            self.check_drained(server)

    def test_four_io_threads_share_one_queue_and_each_caller_gets_its_own(self):
        with Server("--io-threads", "4", model=SLOW) as server:
            before = server.metrics()
            texts = [f"request {i}" for i in range(REQUESTS)]
            vectors = asyncio.run(ask_all(server, "echo", texts))
            self.assertNotIn(None, vectors)
            self.check_own(texts, vectors)
            self.assertGreaterEqual(mean_batch(before, server.metrics()), 8)
            self.check_drained(server)

    def test_with_half_of_the_callers_cancelled_the_others_get_their_own(self):
        with Server(model=SLOW) as server:
            rng = random.Random(3)
            texts = [f"request {i}" for i in range(REQUESTS)]
            patience = {i: rng.uniform(0, 0.15) for i in range(1, REQUESTS, 2)}
            vectors = asyncio.run(ask_all(server, "echo", texts, patience.get))
            self.check_own(texts, vectors)
            self.assertNotIn(None, vectors[::2])
            self.assertIn(None, vectors)
            wait_until(lambda: server.metrics().sum("sluice_cancelled_total") > 0,
                       "a cancelled request is counted")
            self.check_drained(server)

    def test_rows_of_callers_that_left_the_queue_never_reach_the_model(self):
        config = ("models:\n  - name: echo\n    batch: { items_max: 1 }\n    backends:\n"
                  "      - { kind: local, path: \"echo:a=1500ms\" }\n")
        with Server(config=config) as server:
            # The first keeps the model busy; the others wait behind it, and all but the last leave.
            wires = [Wire(server.port).send(embed("caller 0"))]
            wait_until(lambda: server.metrics().sum("sluice_requests_in_flight") == 1
                       and server.metrics().sum("sluice_queue_items") == 0,
                       "the first request is with the model")
            wires += [Wire(server.port).send(embed(f"caller {i}")) for i in range(1, 18)]
            wait_until(lambda: server.metrics().sum("sluice_requests_in_flight") == 18,
                       "all requests have arrived")
            for wire in wires[1:17]:
                wire.close()
            wait_until(lambda: server.metrics().sum("sluice_cancelled_total") >= 15,
                       "those that left are counted")
            for i in (0, 17):
                answer = wires[i].answer()
                self.assertEqual(answer.status, 200, answer)
                vector = answer.json()["data"][0]["embedding"]
                self.assertLess(distance(vector, echo_vector(f"caller {i}")), 1e-7)
                wires[i].close()
            self.check_drained(server)
            # 18 batches would be needed for all; a slow machine may have started one that left.
            self.assertLessEqual(server.metrics().sum("sluice_batch_items_count"), 4)

    @needs_model
    def test_a_text_has_the_same_vector_alone_and_in_any_company(self):
        name = os.path.basename(os.path.normpath(OPTIONS.model))
        words = "river stone cloud engine paper night market signal garden winter".split()
        rng = random.Random(5)
        texts = [" ".join(rng.choices(words, k=rng.choice((1, 5, 12, 40)))) + f" {i}"
                 for i in range(96)]
        with Server("--precision", "f32", model=OPTIONS.model) as server:
            before = server.metrics()
            vectors = asyncio.run(ask_all(server, name, texts))
            self.assertGreater(mean_batch(before, server.metrics()), 1.5)
            for i in range(0, len(texts), 6):
                body = json.dumps({"model": name, "input": texts[i]})
                status, _, answer = server.get("/v1/embeddings", False, "POST", body)
                self.assertEqual(status, 200, answer)
                alone = json.loads(answer)["data"][0]["embedding"]
                self.assertGreaterEqual(cosine(alone, vectors[i]), 0.999999, texts[i])
            self.check_drained(server)


if __name__ == "__main__":
    main()
