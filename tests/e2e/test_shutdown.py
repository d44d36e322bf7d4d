# SPDX-License-Identifier: Apache-2.0
"""SIGTERM loses nothing that was accepted; a second signal ends at once.

A process that was killed does not stand in the way of the next."""

import signal
import threading
import time
import unittest

from echo import echo_vector
from server import Server, distance, main, wait_until
from wire import Answer, Closed, Wire, embed


def in_flight(server):
    return server.metrics().sum("sluice_requests_in_flight")


class Caller(threading.Thread):
    """Sends one request after the other until the server refuses; keeps what came of each."""

    def __init__(self, port, name):
        super().__init__()
        self.port = port
        self.label = name
        self.answered = 0
        self.problems = []
        self.unanswered_at = []  # when a request was sent that got no answer

    def run(self):
        wire = None
        for i in range(10**6):
            text = f"{self.label} {i}"
            try:
                wire = wire or Wire(self.port)
            except ConnectionRefusedError:
                return
            except OSError as error:  # e.g. reset while still in the accept queue
                self.problems.append(f"connect: {error!r}")
                return
            sent_at = time.monotonic()
            try:
                answer = wire.send(embed(text)).answer()
            except (Closed, BrokenPipeError, ConnectionResetError):
                self.unanswered_at.append(sent_at)
                return
            self.check(answer, text)
            if answer.status != 200:
                return
            if answer.headers.get("connection") == "close":
                wire.close()
                wire = None

    def check(self, answer: Answer, text):
        if answer.status == 200:
            self.answered += 1
            vector = answer.json()["data"][0]["embedding"]
            if distance(vector, echo_vector(text)) > 1e-7:
                self.problems.append(f"{text!r} got another's vector")
        elif answer.status == 503:
            if answer.headers.get("connection") != "close":
                self.problems.append("503 without Connection: close")
        else:
            self.problems.append(f"answered {answer}")


class Shutdown(unittest.TestCase):
    def test_everything_in_flight_at_sigterm_is_answered(self):
        with Server(model="echo:a=400ms") as server:
            wires = [Wire(server.port).send(embed(f"caller {i}")) for i in range(48)]
            wait_until(lambda: in_flight(server) == 48, "all requests have been accepted")
            server.signal(signal.SIGTERM)
            for i, wire in enumerate(wires):
                answer = wire.answer()
                self.assertEqual(answer.status, 200, answer)
                vector = answer.json()["data"][0]["embedding"]
                self.assertLess(distance(vector, echo_vector(f"caller {i}")), 1e-7)
                self.assertEqual(answer.headers.get("connection"), "close")
                wire.expect_closed()
                wire.close()
            server.check_end()

    def test_sigterm_under_load_loses_none(self):
        with Server(model="echo:a=20ms") as server:
            callers = [Caller(server.port, f"caller {i}") for i in range(32)]
            for caller in callers:
                caller.start()
            wait_until(lambda: sum(c.answered for c in callers) >= 200, "200 answers")
            terminated_at = time.monotonic()
            server.signal(signal.SIGTERM)
            for caller in callers:
                caller.join(60)
                self.assertFalse(caller.is_alive(), "a caller still waits for its answer")
                self.assertEqual(caller.problems, [])
                # What was sent around the signal, on a connection the server was just closing, was
                # not accepted. What was sent well before it was.
                early = [t for t in caller.unanswered_at if t < terminated_at - 0.5]
                self.assertEqual(early, [], "an accepted request got no answer")
            server.check_end()

    def test_while_draining_it_is_not_ready_and_takes_nothing_new(self):
        with Server(model="echo:a=1500ms") as server, Wire(server.port) as wire:
            wire.send(embed("slow"))
            wait_until(lambda: in_flight(server) == 1, "the request has been accepted")
            server.signal(signal.SIGTERM)
            server.wait_draining()
            status, _, body = server.get("/readyz")
            self.assertEqual(status, 503, body)
            self.assertEqual(server.get("/healthz")[0], 200)
            try:
                with Wire(server.port) as late:
                    answer = late.send(embed("late")).answer()
                    self.assertEqual(answer.status, 503, answer)
                    self.assertEqual(answer.headers.get("connection"), "close")
            except (Closed, ConnectionError):
                pass  # refused is as good
            self.assertEqual(wire.answer().status, 200)
            server.check_end()

    def test_idle_connections_do_not_delay_the_end(self):
        with Server() as server:
            wires = [Wire(server.port).send(embed("once")) for _ in range(8)]
            for wire in wires:
                self.assertEqual(wire.answer().status, 200)
            silent = Wire(server.port)
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            for wire in wires:
                wire.expect_closed()
                wire.close()
            server.check_end()
            self.assertLess(time.monotonic() - began, 25, "it waited for its drain limit")
            silent.close()

    def test_a_second_signal_ends_at_once(self):
        with Server(model="echo:a=50s") as server, Wire(server.port) as wire:
            wire.send(embed("very slow"))
            wait_until(lambda: in_flight(server) == 1, "the request has been accepted")
            server.signal(signal.SIGTERM)
            server.wait_draining()
            server.signal(signal.SIGTERM)
            server.wait_exit(20)

    def test_draining_has_a_limit(self):
        with Server("--drain-max", "200ms", model="echo:a=50s") as server, \
                Wire(server.port) as wire:
            wire.send(embed("very slow"))
            wait_until(lambda: in_flight(server) == 1, "the request has been accepted")
            server.signal(signal.SIGTERM)
            server.wait_exit(20)

    def test_sigint_ends_it_like_sigterm(self):
        with Server() as server:
            server.signal(signal.SIGINT)
            server.check_end()

    def test_after_sigkill_the_same_port_can_be_served_again(self):
        with Server(model="echo:a=50ms") as first:
            port = first.port
            wires = [Wire(port).send(embed("lost")) for _ in range(8)]
            first.signal(signal.SIGKILL)
            first.wait_exit()
            for wire in wires:
                wire.expect_closed()
                wire.close()
        with Server(listen=f"127.0.0.1:{port}") as second, Wire(second.port) as wire:
            self.assertEqual(second.port, port)
            self.assertEqual(wire.send(embed("again")).answer().status, 200)


if __name__ == "__main__":
    main()
