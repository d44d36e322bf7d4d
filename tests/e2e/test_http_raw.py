# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 byte by byte: what a browser never sends, and what must come back."""

import gzip
import json
import unittest

from echo import echo_vector
from server import Server, distance, main, wait_until
from wire import Closed, Wire, embed, get, post


class Raw(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())

    def wire(self):
        return Wire(self.server.port)

    def check_embedding(self, answer, text):
        self.assertEqual(answer.status, 200, answer)
        vector = answer.json()["data"][0]["embedding"]
        self.assertLess(distance(vector, echo_vector(text)), 1e-7, answer)

    def check_error(self, answer, status, word=""):
        self.assertEqual(answer.status, status, answer)
        error = answer.json()["error"]
        self.assertEqual({"message", "type", "param", "code"}, set(error))
        self.assertIn(word.lower(), (error["message"] + str(error["param"])).lower())
        return error

    def check_refused_and_closed(self, data, status):
        with self.wire() as wire:
            answer = wire.send(data).answer()
            self.check_error(answer, status)
            self.assertEqual(answer.headers.get("connection"), "close")
            wire.expect_closed()

    # Framing

    def test_pipelined_requests_are_answered_in_order(self):
        with self.wire() as wire:
            texts = [f"pipelined {i}" for i in range(20)]
            wire.send(b"".join(embed(text) for text in texts))
            for text in texts:
                self.check_embedding(wire.answer(), text)

    def test_pipelined_errors_and_other_paths_keep_their_place(self):
        with self.wire() as wire:
            wire.send(embed("a") + get("/nothing") + post({"input": "x"}) + get("/v1/models")
                      + embed("b"))
            self.check_embedding(wire.answer(), "a")
            self.check_error(wire.answer(), 404)
            self.check_error(wire.answer(), 400, "model")
            self.assertEqual(wire.answer().status, 200)
            self.check_embedding(wire.answer(), "b")

    def test_a_request_may_come_byte_by_byte(self):
        with self.wire() as wire:
            for byte in embed("slow"):
                wire.send(bytes([byte]))
            self.check_embedding(wire.answer(), "slow")

    def test_a_chunked_body_may_come_byte_by_byte(self):
        body = json.dumps({"model": "echo", "input": "chunked"}).encode()
        chunks = b"".join(b"%x;name=value\r\n%c\r\n" % (1, byte) for byte in body)
        head = (b"POST /v1/embeddings HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n")
        with self.wire() as wire:
            for byte in head + chunks + b"0\r\nTrailer: x\r\n\r\n":
                wire.send(bytes([byte]))
            self.check_embedding(wire.answer(), "chunked")
            self.check_embedding(wire.send(embed("next")).answer(), "next")

    def test_expect_continue_is_answered_before_the_body(self):
        whole = embed("continue", headers=("Expect: 100-continue",))
        head, body = whole.split(b"\r\n\r\n", 1)
        with self.wire() as wire:
            self.assertEqual(wire.send(head + b"\r\n\r\n").answer().status, 100)
            self.check_embedding(wire.send(body).answer(), "continue")

    def test_http_1_0_closes_unless_asked_to_stay(self):
        with self.wire() as wire:
            self.check_embedding(wire.send(embed("old", version="1.0")).answer(), "old")
            wire.expect_closed()
        with self.wire() as wire:
            for text in ("old", "older"):
                wire.send(embed(text, version="1.0", headers=("Connection: keep-alive",)))
                answer = wire.answer()
                self.check_embedding(answer, text)
                self.assertEqual(answer.headers.get("connection", "").lower(), "keep-alive")

    def test_connection_close_is_honoured(self):
        with self.wire() as wire:
            answer = wire.send(embed("bye", headers=("Connection: close",))).answer()
            self.check_embedding(answer, "bye")
            self.assertEqual(answer.headers.get("connection"), "close")
            wire.expect_closed()

    def test_head_has_the_headers_of_get_and_no_body(self):
        with self.wire() as wire:
            full = wire.send(get("/v1/models")).answer()
            bare = wire.send(get("/v1/models", "HEAD")).answer(to_head=True)
            self.assertEqual(bare.status, 200)
            self.assertEqual(bare.headers["content-length"], full.headers["content-length"])
            self.check_embedding(wire.send(embed("after")).answer(), "after")

    def test_every_answer_has_a_date_and_an_id_of_its_own(self):
        with self.wire() as wire:
            answers = [wire.send(embed("x")).answer() for _ in range(3)]
            answers.append(wire.send(get("/nothing")).answer())
            for answer in answers:
                self.assertIn("date", answer.headers)
            self.assertEqual(len({answer.headers.get("x-request-id") for answer in answers}), 4)

    # Malformed

    def test_garbage_behind_a_request_does_not_cost_its_answer(self):
        with self.wire() as wire:
            wire.send(embed("good") + b"\x01\x02garbage\r\n\r\n")
            self.check_embedding(wire.answer(), "good")
            self.assertEqual(wire.answer().status, 400)
            wire.expect_closed()

    def test_what_can_be_read_two_ways_is_refused(self):
        line = b"POST /v1/embeddings HTTP/1.1\r\n"
        body = b'{"model":"echo","input":"x"}'
        length = b"Content-Length: %d\r\n" % len(body)
        for name, data in {
            "length and chunked": line + b"Host: a\r\n" + length
            + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "two lengths": line + b"Host: a\r\n" + length + b"Content-Length: 3\r\n\r\n" + body,
            "a signed length": line + b"Host: a\r\nContent-Length: +5\r\n\r\nhello",
            "an unknown coding last": line + b"Host: a\r\nTransfer-Encoding: chunked, identity\r\n"
            b"\r\n0\r\n\r\n",
            "an empty coding": line + b"Host: a\r\nTransfer-Encoding:\r\n\r\n",
            "no host": line + length + b"\r\n" + body,
            "two hosts": line + b"Host: a\r\nHost: b\r\n" + length + b"\r\n" + body,
            "a bare CR": line + b"Host: a\rX: b\r\n" + length + b"\r\n" + body,
            "a NUL": line + b"Host: a\r\nX: a\x00b\r\n" + length + b"\r\n" + body,
            "a folded header": line + b"Host: a\r\nX: a\r\n b\r\n" + length + b"\r\n" + body,
            "a blank before the colon": line + b"Host : a\r\n" + length + b"\r\n" + body,
            "HTTP/0.9": b"GET /v1/models\r\n\r\n",
            "HTTP/2.0": b"GET /v1/models HTTP/2.0\r\nHost: a\r\n\r\n",
            "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64,
            "a bad chunk size": line + b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        }.items():
            with self.subTest(name), self.wire() as wire:
                answer = wire.send(data).answer()
                self.assertIn(answer.status, (400, 501, 505), answer)
                if name not in ("an unknown coding last", "HTTP/2.0", "the preface of HTTP/2"):
                    self.assertEqual(answer.status, 400, answer)
                self.assertEqual(answer.headers.get("connection"), "close")
                wire.expect_closed()

    # Routes

    def test_an_unknown_path_is_404_in_openais_shape(self):
        with self.wire() as wire:
            self.check_error(wire.send(get("/v1/nothing")).answer(), 404, "/v1/nothing")
            self.check_error(wire.send(post({}, path="/")).answer(), 404)
            self.check_embedding(wire.send(embed("still open")).answer(), "still open")

    def test_a_wrong_method_is_405_and_says_what_is_allowed(self):
        with self.wire() as wire:
            answer = wire.send(get("/v1/embeddings")).answer()
            self.check_error(answer, 405)
            self.assertEqual(answer.headers["allow"], "POST")
            answer = wire.send(post({}, path="/v1/models")).answer()
            self.check_error(answer, 405)
            self.assertIn("GET", answer.headers["allow"])

    def test_a_query_does_not_change_the_route(self):
        with self.wire() as wire:
            wire.send(post({"model": "echo", "input": "q"}, path="/v1/embeddings?a=b"))
            self.check_embedding(wire.answer(), "q")

    def test_absolute_form_is_the_same_resource(self):
        with self.wire() as wire:
            wire.send(get("http://test/v1/models"))
            self.assertEqual(wire.answer().status, 200)

    # Bodies

    def test_an_encoded_body_is_refused_clearly(self):
        body = gzip.compress(b'{"model":"echo","input":"x"}')
        with self.wire() as wire:
            answer = wire.send(post(body, headers=("Content-Encoding: gzip",))).answer()
            self.check_error(answer, 415, "encoding")

    def test_broken_json_is_refused(self):
        for name, body in {
            "nothing": b"",
            "not JSON": b"hello",
            "cut": b'{"model":"echo","input":"x"',
            "two documents": b'{"model":"echo","input":"x"}{}',
            "an array": b'["echo"]',
            "a duplicate key": b'{"model":"echo","input":"x","input":"y"}',
            "a duplicate key, escaped": b'{"model":"echo","input":"x","\\u0069nput":"y"}',
            "a lone surrogate": b'{"model":"echo","input":"\\ud800"}',
            "a lone low surrogate": b'{"model":"echo","input":"\\udc00 x"}',
            "a lone surrogate in a field of no interest":
                b'{"model":"echo","input":"x","user":"\\ud800"}',
            "invalid UTF-8": b'{"model":"echo","input":"\xff\xfe"}',
            "an overlong form": b'{"model":"echo","input":"\xc0\xaf"}',
            "UTF-8 of a surrogate": b'{"model":"echo","input":"\xed\xa0\x80"}',
            "a raw control character": b'{"model":"echo","input":"a\nb"}',
            "a bad escape": b'{"model":"echo","input":"\\x"}',
            "a bad number": b'{"model":"echo","input":"x","dimensions":01}',
            "a trailing comma": b'{"model":"echo","input":["x",]}',
            "deep nesting": b'{"model":"echo","input":' + b"[" * 100000 + b"]" * 100000 + b"}",
            "deep nesting, unclosed": b'{"model":"echo","input":' + b"[" * 100000,
            "a byte order mark in UTF-16": '{"model":"echo","input":"x"}'.encode("utf-16"),
            "an unknown field": b'{"model":"echo","input":"x","nonsense":1}',
        }.items():
            with self.subTest(name), self.wire() as wire:
                self.check_error(wire.send(post(body)).answer(), 400)
                self.check_embedding(wire.send(embed("after")).answer(), "after")

    def test_all_of_unicode_comes_back(self):
        for text in ("\u0000", "\u001f\u007f", "\ud7ff\ue000\uffff", "\U0010ffff", "a\u0301"):
            raw = json.dumps({"model": "echo", "input": text}, ensure_ascii=False).encode()
            with self.subTest(text=ascii(text)), self.wire() as wire:
                self.check_embedding(wire.send(embed(text)).answer(), text)
                self.check_embedding(wire.send(post(raw)).answer(), text)

    def test_a_body_of_megabytes_is_answered(self):
        texts = ["y" * 10_000 + str(i) for i in range(300)]
        with self.wire() as wire:
            answer = wire.send(post({"model": "echo", "input": texts})).answer()
            self.assertEqual(answer.status, 200, answer)
            data = answer.json()["data"]
            self.assertEqual([item["index"] for item in data], list(range(300)))
            for i in (0, 150, 299):
                self.assertLess(distance(data[i]["embedding"], echo_vector(texts[i])), 1e-7)

    # Leaving

    def test_a_client_that_leaves_early_harms_nobody(self):
        request = embed("x")
        for cut in (0, 1, 20, request.index(b"\r\n\r\n") + 4, len(request) - 1):
            with self.wire() as wire:
                wire.send(request[:cut])
        with self.wire() as wire:
            wire.send(request[:-1]).finish_sending()
            try:
                self.assertEqual(wire.answer().status, 400)
            except Closed:
                pass
        with self.wire() as wire:
            self.check_embedding(wire.send(embed("others")).answer(), "others")
        wait_until(lambda: self.server.metrics().sum("sluice_requests_in_flight") == 0,
                   "nothing is in flight")
        wait_until(lambda: self.server.metrics().sum("sluice_bytes_held") == 0,
                   "no bytes are held")


if __name__ == "__main__":
    main()
