# SPDX-License-Identifier: Apache-2.0
"""An endpoint that sluice stands in front of: OpenAI, TEI and Cohere shapes, a chat that streams,
and paths that misbehave on demand. It counts what it is asked, so that a test can say how many
calls a number of requests became.

An answer is a function of the text alone, so whoever gets it can be told from everybody else.
"""

import base64
import hashlib
import http.server
import json
import struct
import threading
import time

WIDTH = 8


def vector_of(text):
    """The embedding of a text: float32 values that differ for different texts."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return [struct.unpack("<f", struct.pack("<f", b / 255 - 0.5))[0] for b in digest[:WIDTH]]


def score_of(query, document):
    return hashlib.sha256((query + "\0" + document).encode()).digest()[0] / 256


def tokens_of(text):
    return max(1, len(text.split()))


class Fault(Exception):
    """Answers with `status` instead."""

    def __init__(self, status, body=None, headers=None):
        super().__init__(status)
        self.status = status
        self.body = body if body is not None else {"error": {"message": f"fault {status}"}}
        self.headers = headers or {}


class Upstream:
    """A server on a free port of loopback; use as a context manager.

    `delay_s`: how long a call takes. `fault`: called with each (path, body) before its answer; may
    raise Fault, return the bytes of a whole answer to be sent raw, or return None.
    """

    def __init__(self, delay_s=0.0, fault=None, port=0, ssl_context=None):
        self.delay_s = delay_s
        self.fault = fault or (lambda path, body: None)
        self.calls = []  # (path, items, headers by their names in lower case)
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            upstream = outer

            def log_message(self, *args):
                pass

            def setup(self):
                super().setup()
                self.wfile = self.connection.makefile("wb", buffering=65536)

            def do_POST(self):
                handle_post(self)

            def do_GET(self):
                handle_get(self)

            do_HEAD = do_GET
            do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512
            allow_reuse_address = True

        self.server = Threads(("127.0.0.1", port), Handler)
        if ssl_context is not None:
            self.server.socket = ssl_context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        scheme = "http" if ssl_context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def count(self, path=None):
        """Calls so far, of `path` or of all."""
        with self.lock:
            return sum(1 for call in self.calls if path is None or call[0] == path)

    def items(self):
        with self.lock:
            return [call[1] for call in self.calls]

    def forget(self):
        with self.lock:
            self.calls.clear()


def read_body(handler):
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        parts = []
        while True:
            size = int(handler.rfile.readline().split(b";")[0], 16)
            if size == 0:
                while handler.rfile.readline() not in (b"\r\n", b""):
                    pass
                return b"".join(parts)
            parts.append(handler.rfile.read(size))
            handler.rfile.readline()
    return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))


def send(handler, status, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in (headers or {"Content-Type": "application/json"}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)
    handler.wfile.flush()


def headers_of(handler):
    return {name.lower(): value for name, value in handler.headers.items()}


def handle_post(handler):
    upstream = handler.upstream
    path = handler.path.split("?")[0]
    body = read_body(handler)
    answer = ROUTES.get(path)
    try:
        parsed = json.loads(body) if answer is not None else None
        items = len(items_of(path, parsed)) if parsed is not None else 0
    except (ValueError, TypeError, KeyError):
        return send(handler, 400, {"error": {"message": "no JSON"}})
    with upstream.lock:
        upstream.calls.append((path, items, headers_of(handler)))
    if upstream.delay_s:
        time.sleep(upstream.delay_s)  # the time a model would take, not a wait for something
    try:
        raw = upstream.fault(path, parsed if parsed is not None else body)
        if raw is not None:
            handler.wfile.write(raw)
            handler.wfile.flush()
            handler.close_connection = True
            return None
        if answer is not None:
            return send(handler, 200, answer(parsed))
    except Fault as fault:
        return send(handler, fault.status, fault.body,
                    {"Content-Type": "application/json", **fault.headers})
    if path == "/v1/chat/completions":
        return chat(handler, json.loads(body))
    return send(handler, 200, body, {"Content-Type": handler.headers.get("Content-Type", "x/y"),
                                     "X-Seen-Path": handler.path, "X-Seen-Method": handler.command,
                                     "X-Twice": "1"})


def handle_get(handler):
    path = handler.path.split("?")[0]
    with handler.upstream.lock:
        handler.upstream.calls.append((path, 0, headers_of(handler)))
    if path == "/v1/models":
        return send(handler, 200, {"object": "list", "data": [
            {"id": "m", "object": "model", "created": 0, "owned_by": "x"}]})
    if path == "/empty":
        handler.send_response(204)
        handler.end_headers()
        return handler.wfile.flush()
    if path == "/unchanged":
        handler.send_response(304)
        handler.send_header("ETag", '"1"')
        handler.end_headers()
        return handler.wfile.flush()
    if path.startswith("/bytes/"):
        return send_bytes(handler, int(path.split("/")[2]))
    return send(handler, 404, {"detail": "Not Found"})


def send_bytes(handler, size):
    """A body of `size` bytes in pieces, as fast as it is taken."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.send_header("Content-Length", str(size))
    handler.end_headers()
    block = bytes(range(256)) * 256
    while size > 0 and handler.command != "HEAD":
        handler.wfile.write(block[:size])
        size -= len(block)
    handler.wfile.flush()


def chunk(handler, data):
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
    handler.wfile.flush()


def chat(handler, asked):
    """A chat completion, streamed word by word if that is asked for."""
    words = asked["messages"][-1]["content"].split(" ")
    base = {"id": "c", "created": 0, "model": asked["model"]}
    if not asked.get("stream"):
        return send(handler, 200, {**base, "object": "chat.completion", "choices": [
            {"index": 0, "finish_reason": "stop",
             "message": {"role": "assistant", "content": " ".join(words)}}]})
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for word in words:
        delta = {**base, "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        chunk(handler, b"data: " + json.dumps(delta).encode() + b"\n\n")
        if handler.upstream.delay_s:
            time.sleep(handler.upstream.delay_s)
    chunk(handler, b"data: [DONE]\n\n")
    handler.wfile.write(b"0\r\n\r\n")
    return handler.wfile.flush()


def listed(value):
    """What one field holds as a list of items: a string, strings, token ids, lists of ids."""
    if isinstance(value, str):
        return [value]
    if value and all(isinstance(item, int) for item in value):
        return [value]
    return value


def items_of(path, body):
    if path in ("/v1/embeddings", "/classify"):
        return listed(body["input"])
    if path == "/embed":
        return listed(body["inputs"])
    if path == "/predict":
        return body["inputs"] if isinstance(body["inputs"], list) else [body["inputs"]]
    if path == "/rerank":
        return body.get("documents") or body.get("texts")
    if path in ("/v1/rerank", "/v2/rerank"):
        return body["documents"]
    return body["instances"]


def text_of(item):
    if isinstance(item, dict):
        return item["text"]
    return item if isinstance(item, str) else json.dumps(item)


def embeddings(body):
    items = items_of("/v1/embeddings", body)
    data = []
    for index, item in enumerate(items):
        vector = vector_of(text_of(item))[:body.get("dimensions", WIDTH)]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(tokens_of(text_of(item)) for item in items)
    return {"object": "list", "model": body["model"], "data": data,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def embed(body):
    return [vector_of(text_of(item)) for item in items_of("/embed", body)]


def rerank(body):
    documents = body.get("documents") or body.get("texts")
    scores = [(score_of(body["query"], text_of(d)), i) for i, d in enumerate(documents)]
    if "texts" in body:
        return [{"index": i, "score": s} for s, i in sorted(scores, key=lambda x: (-x[0], x[1]))]
    results = [{"index": i, "relevance_score": s}
               for s, i in sorted(scores, key=lambda x: (-x[0], x[1]))][:body.get("top_n")]
    return {"id": "r", "results": results, "meta": {"api_version": {"version": "2"}}}


def predict(body):
    return {"predictions": [{"seen": item} for item in body["instances"]]}


ROUTES = {
    "/v1/embeddings": embeddings,
    "/embed": embed,
    "/rerank": rerank,
    "/v1/rerank": rerank,
    "/v2/rerank": rerank,
    "/v1/models/m:predict": predict,
}
