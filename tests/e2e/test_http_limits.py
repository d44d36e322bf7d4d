# SPDX-License-Identifier: Apache-2.0
"""Limits and times: clients that are slow, large, many, impatient or gone."""

import time
import unittest

from echo import echo_vector
from server import Server, config_yaml, distance, main, wait_until
from wire import Closed, Wire, embed, get, post


def check_error(test, answer, status):
    test.assertEqual(answer.status, status, answer)
    test.assertEqual({"message", "type", "param", "code"}, set(answer.json()["error"]))


class ShortTimes(unittest.TestCase):
    """A server whose patience is 300 ms."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server(config=config_yaml(
            limits="  header_timeout: 300ms\n  body_timeout: 300ms\n  idle_timeout: 300ms\n")))

    def wire(self):
        return Wire(self.server.port)

    def test_a_head_that_does_not_arrive_ends_the_connection(self):
        with self.wire() as wire:
            began = time.monotonic()
            wire.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: te")
            try:
                check_error(self, wire.answer(), 408)
            except Closed:
                pass
            wire.expect_closed()
            self.assertGreater(time.monotonic() - began, 0.25)

    def test_a_head_that_trickles_in_is_as_late_as_one_that_does_not_come(self):
        with self.wire() as wire:
            wire.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: test\r\n")
            began = time.monotonic()
            wire.socket.settimeout(0.05)
            try:
                while time.monotonic() - began < 30:
                    wire.send(b"X: y\r\n")
                    try:
                        if not wire.socket.recv(65536):
                            break
                    except TimeoutError:
                        pass
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.assertLess(time.monotonic() - began, 30)

    def test_a_body_that_does_not_arrive_is_answered_408(self):
        with self.wire() as wire:
            wire.send(embed("slow")[:-3])
            answer = wire.answer()
            check_error(self, answer, 408)
            self.assertEqual(answer.headers.get("connection"), "close")
            wire.expect_closed()

    def test_an_idle_connection_is_closed_without_a_word(self):
        with self.wire() as wire:
            self.assertEqual(wire.send(embed("x")).answer().status, 200)
            wire.expect_closed()
        with self.wire() as wire:
            wire.expect_closed()


class Limits(unittest.TestCase):
    def test_a_declared_body_above_the_limit_is_refused_at_once(self):
        with Server(config=config_yaml(limits="  body_bytes_max: 4KiB\n")) as server:
            with Wire(server.port) as wire:
                wire.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: test\r\nContent-Length: 4097\r\n"
                          b"\r\n")
                answer = wire.answer()
                check_error(self, answer, 413)
                self.assertEqual(answer.headers.get("connection"), "close")
                wire.expect_closed()
            with Wire(server.port) as wire:
                wire.send(embed("x" * 4096, headers=("Expect: 100-continue",))
                          .split(b"\r\n\r\n")[0] + b"\r\n\r\n")
                check_error(self, wire.answer(), 413)
            with Wire(server.port) as wire:
                wire.send(b"POST /v1/embeddings HTTP/1.1\r\nHost: test\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n")
                try:
                    for _ in range(64):
                        wire.send(b"100\r\n" + b" " * 256 + b"\r\n")
                except (BrokenPipeError, ConnectionResetError):
                    pass
                check_error(self, wire.answer(), 413)
            with Wire(server.port) as wire:
                self.assertEqual(wire.send(embed("x" * 3000)).answer().status, 200)

    def test_heads_above_their_limits_are_refused(self):
        with Server(config=config_yaml(
                limits="  line_bytes_max: 512B\n  headers_max: 16\n  headers_bytes_max: 4KiB\n"
        )) as server:
            for data in (get("/" + "a" * 2000),
                         get("/v1/models", headers=("Host: test", "X: " + "b" * 8000)),
                         get("/v1/models", headers=["Host: test"] + ["X: y"] * 40)):
                with Wire(server.port) as wire:
                    answer = wire.send(data).answer()
                    self.assertIn(answer.status, (414, 431), answer)
                    wire.expect_closed()

    def connected(self, server):
        """A connection on which a request was answered 200; None where there was no place."""
        wire = Wire(server.port)
        if wire.send(embed("in")).answer().status == 200:
            return wire
        wire.close()
        return None

    def test_connections_above_the_limit_wait_or_are_told_to(self):
        with Server(config=config_yaml(limits="  connections_max: 4\n")) as server:
            # Connections that asked whether it is ready may take a place until it sees them gone.
            wires = [wait_until(lambda: self.connected(server), "a place is free")
                     for _ in range(4)]
            with Wire(server.port) as late:
                late.send(embed("late"))
                late.socket.settimeout(0.3)
                # Either it is left in the system's queue or it is told to come back.
                try:
                    early = late.socket.recv(65536)
                except TimeoutError:
                    early = None
                late.socket.settimeout(60)
                for wire in wires:
                    wire.close()
                if early is None:
                    self.assertEqual(late.answer().status, 200)
                else:
                    self.assertTrue(early.startswith(b"HTTP/1.1 503"), early)
            wait_until(lambda: self.connected(server), "a place is free again").close()

    def test_a_full_queue_answers_429_and_says_when_to_return(self):
        with Server("--queue-items-max", "2", "--batch-items-max", "1",
                    model="echo:a=700ms") as server:
            wires = [Wire(server.port).send(embed(f"caller {i}")) for i in range(8)]
            answers = [wire.answer() for wire in wires]
            refused = [a for a in answers if a.status == 429]
            served = [a for a in answers if a.status == 200]
            self.assertEqual(len(refused) + len(served), 8, answers)
            self.assertGreaterEqual(len(served), 2)
            self.assertGreaterEqual(len(refused), 1)
            for answer in refused:
                check_error(self, answer, 429)
                self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
            for wire in wires:
                wire.close()
            now = server.metrics()
            self.assertEqual(now.sum("sluice_rejected_total", reason="full"), len(refused))


class Leaving(unittest.TestCase):
    def test_fin_while_waiting_is_a_cancel(self):
        with Server(model="echo:a=800ms") as server, Wire(server.port) as wire:
            wire.send(embed("first"))
            wait_until(lambda: server.metrics().sum("sluice_requests_in_flight") == 1,
                       "the request has been accepted")
            wire.finish_sending()
            wire.expect_closed()
            wait_until(lambda: server.metrics().sum("sluice_cancelled_total") == 1,
                       "the cancel is counted")

    def test_with_half_close_on_the_answer_still_comes(self):
        config = config_yaml(top="half_close: true", model="echo:a=200ms")
        with Server(config=config) as server, Wire(server.port) as wire:
            texts = ("patient", "pipelined and patient")
            wire.send(b"".join(embed(text) for text in texts)).finish_sending()
            for text in texts:
                try:
                    answer = wire.answer()
                except Closed:
                    self.fail(f"closed without the answer to {text!r}")
                self.assertEqual(answer.status, 200, answer)
                vector = answer.json()["data"][0]["embedding"]
                self.assertLess(distance(vector, echo_vector(text)), 1e-7)
            wire.expect_closed()
            self.assertEqual(server.metrics().sum("sluice_cancelled_total"), 0)

    def test_a_client_that_does_not_read_holds_up_nobody(self):
        with Server() as server, Wire(server.port) as stubborn:
            many = post({"model": "echo", "input": ["z"] * 2048})
            stubborn.socket.setblocking(False)
            sent = 0
            try:
                while sent < 64 * 1024 * 1024:
                    sent += stubborn.socket.send(many)
            except BlockingIOError:
                pass
            with Wire(server.port) as wire:
                for i in range(20):
                    self.assertEqual(wire.send(embed(f"other {i}")).answer().status, 200)


class Deadlines(unittest.TestCase):
    def test_a_deadline_is_answered_504_and_not_much_later(self):
        with Server(model="echo:a=5s") as server, Wire(server.port) as wire:
            began = time.monotonic()
            answer = wire.send(embed("x", headers=("x-sluice-deadline-ms: 200",))).answer()
            took = time.monotonic() - began
            check_error(self, answer, 504)
            self.assertLess(took, 4)
            # The connection lives on, and the next request is measured on its own.
            self.assertEqual(wire.send(get("/v1/models")).answer().status, 200)
            self.assertGreaterEqual(server.metrics().sum("sluice_expired_total")
                                    + server.metrics().sum("sluice_rejected_total"), 1)

    def test_behind_a_running_batch_it_is_answered_at_the_deadline(self):
        with Server(model="echo:a=3s") as server:
            with Wire(server.port) as first, Wire(server.port) as second:
                first.send(embed("first"))
                wait_until(lambda: server.metrics().sum("sluice_requests_in_flight") == 1,
                           "the first request has been accepted")
                began = time.monotonic()
                second.send(embed("second", headers=("x-sluice-deadline-ms: 300",)))
                check_error(self, second.answer(), 504)
                self.assertLess(time.monotonic() - began, 2.5)
                self.assertEqual(first.answer().status, 200)

    def test_a_deadline_that_can_be_met_changes_nothing(self):
        with Server(model="echo:a=20ms") as server, Wire(server.port) as wire:
            answer = wire.send(embed("x", headers=("x-sluice-deadline-ms: 50000",))).answer()
            self.assertEqual(answer.status, 200, answer)

    def test_a_bad_deadline_or_priority_is_refused_and_named(self):
        with Server() as server, Wire(server.port) as wire:
            for header in ("x-sluice-deadline-ms: soon", "x-sluice-deadline-ms: -1",
                           "x-sluice-deadline-ms: 1.5", "x-sluice-priority: high"):
                answer = wire.send(embed("x", headers=(header,))).answer()
                check_error(self, answer, 400)
                self.assertIn(header.split(":")[0], answer.json()["error"]["message"])

    def test_the_default_deadline_of_a_model_holds(self):
        config = config_yaml(model="echo:a=5s", model_extra="    queue: { deadline: 300ms }")
        with Server(config=config) as server, Wire(server.port) as wire:
            began = time.monotonic()
            check_error(self, wire.send(embed("x")).answer(), 504)
            self.assertLess(time.monotonic() - began, 4)


if __name__ == "__main__":
    main()
