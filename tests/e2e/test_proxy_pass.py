# SPDX-License-Identifier: Apache-2.0
"""What cannot be merged goes through an endpoint's stand-in as if it were not there."""

import asyncio
import base64
import gzip
import hashlib
import http.client
import os
import socket
import threading
import unittest

import openai
from server import LIMIT_S, Server, main, wait_until
from upstream import Upstream
from wire import Closed, Wire, get, post


def proxy(upstream, *flags):
    return Server("--upstream", upstream.url, *flags, model=None)


class RawUpstream:
    """One connection at a time is handed to `serve(connection)`."""

    def __init__(self, serve):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.serve = serve

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.settimeout(LIMIT_S)
            with connection:
                try:
                    self.serve(connection)
                except OSError:
                    pass

    def __enter__(self):
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def head_from(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    return data


class Chat(unittest.TestCase):
    def test_a_chat_streams_word_by_word(self):
        with Upstream(delay_s=0.02) as upstream, proxy(upstream) as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="k", max_retries=0)
            words = "one two three four".split()
            stream = client.chat.completions.create(
                model="m", stream=True, messages=[{"role": "user", "content": " ".join(words)}])
            self.assertEqual([c.choices[0].delta.content for c in stream], words)
            plain = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "a b"}])
            self.assertEqual(plain.choices[0].message.content, "a b")
            self.assertEqual([m.id for m in client.models.list()], ["m"])

    def test_many_asynchronous_streams_at_once(self):
        with Upstream(delay_s=0.005) as upstream, proxy(upstream) as server:
            async def one(client, i):
                text = " ".join(f"{i}w{n}" for n in range(5))
                stream = await client.chat.completions.create(
                    model="m", stream=True, messages=[{"role": "user", "content": text}])
                return text, " ".join([c.choices[0].delta.content async for c in stream])

            async def run():
                async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k",
                                              max_retries=0) as client:
                    return await asyncio.gather(*(one(client, i) for i in range(50)))

            for asked, got in asyncio.run(run()):
                self.assertEqual(asked, got)

    def test_a_chunk_is_not_held_back_until_the_next(self):
        seen = threading.Event()

        def serve(connection):
            head_from(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
            self.assertTrue(seen.wait(LIMIT_S))
            connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\nX-Sum: 3\r\n\r\n")

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            wire.send(post({}, path="/stream"))
            wire._until(b"data: 1\n\n")
            seen.set()
            self.assertIn(b"data: 2", wire._until(b"X-Sum: 3\r\n\r\n"))


class Untouched(unittest.TestCase):
    def test_methods_paths_queries_and_bodies(self):
        with Upstream() as upstream, proxy(upstream) as server:
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                body = os.urandom(1000)
                status, headers, echoed = server.get("/any%20path?a=1&a=2", admin=False,
                                                     method=method, body=body)
                self.assertEqual((status, echoed), (200, body))
                self.assertEqual(headers["x-seen-path"], "/any%20path?a=1&a=2")
                self.assertEqual(headers["x-seen-method"], method)

    def test_bodyless_answers(self):
        with Upstream() as upstream, proxy(upstream) as server, Wire(server.port) as wire:
            self.assertEqual(wire.send(get("/empty")).answer().status, 204)
            answer = wire.send(get("/unchanged")).answer()
            self.assertEqual((answer.status, answer.headers["etag"]), (304, '"1"'))
            answer = wire.send(get("/bytes/12345", method="HEAD")).answer(to_head=True)
            self.assertEqual((answer.status, answer.headers["content-length"]), (200, "12345"))
            self.assertEqual(wire.send(get("/nowhere")).answer().status, 404)

    def test_a_compressed_body_and_a_chunked_one(self):
        with Upstream() as upstream, proxy(upstream) as server, Wire(server.port) as wire:
            packed = gzip.compress(b'{"input":"a"}')
            answer = wire.send(post(packed, headers=["Content-Encoding: gzip"])).answer()
            self.assertEqual(answer.status, 400)  # the endpoint's own word: it got the bytes
            wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
            self.assertEqual(wire.answer().body, b"abcde")

    def test_header_order_and_duplicates_are_kept_and_hops_end(self):
        got = []

        def serve(connection):
            got.append(head_from(connection))
            connection.sendall(b"HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nX-B: 1\r\nSet-Cookie: b\r\n"
                               b"Connection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok")

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            wire.send(b"GET /p HTTP/1.1\r\nHost: a\r\nB: 1\r\nA: 2\r\nB: 3\r\n"
                      b"Connection: keep-alive, X-Gone\r\nX-Gone: 1\r\nTE: trailers\r\n\r\n")
            head = wire._until(b"\r\n\r\nok").decode()
            self.assertEqual([h for h in head.split("\r\n") if ":" in h][:3],
                             ["Set-Cookie: a", "X-B: 1", "Set-Cookie: b"])
            self.assertTrue(head.startswith("HTTP/1.1 200 Fine\r\n"), head)
            self.assertNotIn("X-Hop", head)
        sent = got[0].decode()
        self.assertIn("B: 1\r\nA: 2\r\nB: 3\r\n", sent)
        self.assertIn(f"Host: 127.0.0.1:{upstream.port}\r\n", sent)
        self.assertNotIn("X-Gone", sent)
        self.assertNotIn("TE:", sent)

    def test_an_expected_100_comes_and_interim_answers_pass(self):
        def serve(connection):
            head_from(connection)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                               b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            wire.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                      b"Expect: 100-continue\r\n\r\n")
            self.assertEqual(wire.answer().status, 100)
            wire.send(b"ab")
            self.assertEqual(wire.answer().status, 103)
            self.assertEqual(wire.answer().status, 200)


class Large(unittest.TestCase):
    def test_100_mb_each_way_in_bounded_memory(self):
        size = 100 * 1024 * 1024
        with Upstream() as upstream, proxy(upstream) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
            connection.request("GET", f"/bytes/{size}")
            response = connection.getresponse()
            got = 0
            while block := response.read(1 << 20):
                got += len(block)
            self.assertEqual(got, size)
            block = os.urandom(1 << 20)
            connection.request("POST", "/sink", body=(block for _ in range(size >> 20)),
                               headers={"Content-Length": str(size)})
            response = connection.getresponse()
            digest = hashlib.sha256()
            while part := response.read(1 << 20):
                digest.update(part)
            wanted = hashlib.sha256()
            for _ in range(size >> 20):
                wanted.update(block)
            self.assertEqual(digest.digest(), wanted.digest())
            connection.close()
            self.assertLess(server.peak_rss_bytes() - server.start_rss_bytes, 64 << 20)

    def test_a_client_that_does_not_read_stops_the_endpoint(self):
        with Upstream() as upstream, proxy(upstream) as server, Wire(server.port) as wire:
            before = server.metrics().sum("sluice_bytes_held")
            wire.send(get(f"/bytes/{50 << 20}"))
            wire._until(b"\r\n\r\n")
            held = server.metrics().sum("sluice_bytes_held") - before
            self.assertLess(held, 1 << 20)
            wire._exactly((50 << 20))


class Broken(unittest.TestCase):
    def test_an_answer_that_breaks_off_is_seen_to_break_off(self):
        def serve(connection):
            head_from(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            wire.send(get("/x"))
            with self.assertRaises(Closed):
                wire.answer()

    def test_garbage_instead_of_an_answer_is_502_and_no_second_try(self):
        tries = []

        def serve(connection):
            tries.append(head_from(connection))
            connection.sendall(b"SSH-2.0-what\r\n\r\n")

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            answer = wire.send(post({"n": 1}, path="/charge")).answer()
            self.assertEqual(answer.status, 502)
            self.assertIn("message", answer.json()["error"])
            self.assertEqual(len(tries), 1)

    def test_a_client_that_leaves_takes_its_request_along(self):
        left = threading.Event()

        def serve(connection):
            head_from(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            if connection.recv(1) == b"":
                left.set()

        with RawUpstream(serve) as upstream, proxy(upstream) as server:
            with Wire(server.port) as wire:
                wire.send(get("/x"))
                wire._until(b"1\r\na\r\n")
            self.assertTrue(left.wait(LIMIT_S))
            wait_until(lambda: server.metrics().sum("sluice_requests_in_flight") == 0, "all gone")


class Tunnel(unittest.TestCase):
    def test_a_websocket_is_tunnelled_both_ways(self):
        def serve(connection):
            head = head_from(connection)
            self.assertIn(b"Upgrade: websocket", head)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               b"Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nearly")
            while data := connection.recv(65536):
                connection.sendall(data[::-1])

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            key = base64.b64encode(os.urandom(16)).decode()
            wire.send(get("/ws", headers=("Host: a", "Upgrade: websocket", "Connection: Upgrade",
                                          f"Sec-WebSocket-Key: {key}")))
            self.assertIn(b"101", wire._until(b"\r\n\r\n"))
            self.assertEqual(wire._exactly(5), b"early")
            for word in (b"abc", b"\x00\xff" * 1000):
                wire.send(word)
                got = wire._exactly(len(word))
                self.assertEqual(sorted(got), sorted(word))
            wire.finish_sending()
            wire.expect_closed()

    def test_h2c_is_never_asked_for(self):
        got = []

        def serve(connection):
            got.append(head_from(connection))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        with RawUpstream(serve) as upstream, proxy(upstream) as server, \
                Wire(server.port) as wire:
            wire.send(get("/", headers=("Host: a", "Connection: Upgrade, HTTP2-Settings",
                                        "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")))
            self.assertEqual(wire.answer().status, 200)
        self.assertNotIn(b"h2c", got[0])
        self.assertNotIn(b"HTTP2-Settings", got[0])


class Shadow(unittest.TestCase):
    def test_nothing_is_merged_and_what_it_would_have_saved_is_told(self):
        with Upstream(delay_s=0.02) as upstream, proxy(upstream, "--merge", "shadow") as server:
            client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k", max_retries=0)

            async def run():
                return await asyncio.gather(*(client.embeddings.create(model="m", input=f"t{i}")
                                              for i in range(64)))

            asyncio.run(run())
            self.assertEqual(upstream.count("/v1/embeddings"), 64)
            metrics = server.metrics()
            self.assertEqual(metrics.sum("sluice_shadow_requests_total"), 64)
            self.assertLess(metrics.sum("sluice_shadow_calls_total"), 40)


if __name__ == "__main__":
    main()
