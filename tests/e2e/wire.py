# SPDX-License-Identifier: Apache-2.0
"""A client that sends exactly the bytes it is told to and reads the answers one by one.

http.client and the like tidy up what they send; these tests are about untidy clients.
"""

import json
import socket

LIMIT_S = 60.0


class Answer:
    """One HTTP response; header names in lower case."""

    def __init__(self, status, headers, body, version):
        self.status = status
        self.headers = headers
        self.body = body
        self.version = version

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


class Closed(AssertionError):
    """The stream ended (or was reset) where an answer was expected."""


class Wire:
    """One TCP connection to a server on this machine."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def finish_sending(self):
        """Sends FIN; the other direction stays open."""
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise AssertionError(f"no answer in {LIMIT_S:.0f} s; so far {self.buffer!r}") from None
        self.buffer += data
        return bool(data)

    def _until(self, mark):
        while mark not in self.buffer:
            if not self._more():
                raise Closed(f"closed; before that came {self.buffer!r}")
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def _exactly(self, size):
        while len(self.buffer) < size:
            if not self._more():
                raise Closed(f"closed within a body; before that came {self.buffer!r}")
        part, self.buffer = self.buffer[:size], self.buffer[size:]
        return part

    def answer(self, to_head=False):
        """Reads one response, interim ones (1xx) included."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = (lines[0] + " ").split(" ", 2)
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise AssertionError(f"not a status line: {lines[0]!r}")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            if name.lower() in headers and name.lower() in ("content-length", "connection"):
                raise AssertionError(f"header twice: {name}")
            headers[name.lower()] = value.strip()
        status = int(status)
        if to_head or status < 200 or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunked()
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            body = b""
            while self._more():
                pass
            body, self.buffer = self.buffer, b""
        return Answer(status, headers, body, version)

    def _chunked(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n"):
                    pass
                return body
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise AssertionError("a chunk does not end with CRLF")

    def expect_closed(self):
        """Waits for the end of the stream; anything that still comes is a failure."""
        while self._more():
            pass
        if self.buffer:
            raise AssertionError(f"after the last answer came {self.buffer!r}")


def post(body, path="/v1/embeddings", version="1.1", headers=()):
    """The bytes of a POST with a JSON body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/{version}", "Host: test", "Content-Type: application/json",
            f"Content-Length: {len(data)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def get(path, method="GET", version="1.1", headers=("Host: test",)):
    """The bytes of a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", *headers]).encode() + b"\r\n\r\n"


def embed(text, headers=(), version="1.1"):
    """The bytes of a request for one text's vector from the echo model."""
    return post({"model": "echo", "input": text}, headers=headers, version=version)
