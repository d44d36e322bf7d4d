# SPDX-License-Identifier: Apache-2.0
"""A model server of the Open Inference Protocol v2 with the binary tensor extension, strict about
what it is sent: shapes, sizes, bytes left over. Its model "rows" answers for each row by that row
alone: y = 2x + the row's sum, and the words reversed. Needs numpy."""

import json
import math
import struct
import time

import numpy
import upstream
from upstream import Fault

TYPES = {"FP32": numpy.float32, "INT64": numpy.int64}
TAIL = "Inference-Header-Content-Length"


class OipUpstream(upstream.Upstream):
    """Upstream that serves the model; `calls` holds ("/v2/models/rows/infer", rows, headers)."""

    def __init__(self, delay_s=0.0):
        super().__init__(delay_s)
        handler = self.server.RequestHandlerClass
        handler.do_POST = handle_post
        handler.do_GET = handle_get


def handle_get(handler):
    answers = {
        "/v2/health/live": b"",
        "/v2/models/rows": {"name": "rows", "versions": ["1"], "platform": "python",
                            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}],
                            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, -1]}]},
    }
    if handler.path not in answers:
        return upstream.send(handler, 404, {"error": "no such path"})
    return upstream.send(handler, 200, answers[handler.path])


def handle_post(handler):
    body = upstream.read_body(handler)
    try:
        if handler.path != "/v2/models/rows/infer":
            raise Fault(404, {"error": f"no such path: {handler.path}"})
        asked, tensors = read_request(body, handler.headers.get(TAIL))
        rows = len(next(iter(tensors.values())))
        with handler.upstream.lock:
            handler.upstream.calls.append((handler.path, rows, upstream.headers_of(handler)))
        time.sleep(handler.upstream.delay_s)  # the time a model would take
        data, json_size = write_answer(asked, tensors)
    except Fault as fault:
        return upstream.send(handler, fault.status, fault.body)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        return upstream.send(handler, 400, {"error": repr(error)})
    headers = {"Content-Type": "application/json"}
    if json_size != len(data):
        headers = {"Content-Type": "application/octet-stream", TAIL: str(json_size)}
    return upstream.send(handler, 200, data, headers)


def check(condition, message):
    if not condition:
        raise Fault(400, {"error": message})


def read_request(body, json_size):
    """(the JSON, name → array) of a request."""
    size = len(body) if json_size is None else int(json_size)
    asked, rest = json.loads(body[:size]), body[size:]
    tensors = {}
    for tensor in asked["inputs"]:
        shape = tensor["shape"]
        binary = tensor.get("parameters", {}).get("binary_data_size")
        if binary is None:
            array = numpy.array(tensor["data"], TYPES.get(tensor["datatype"], object))
        else:
            check(binary <= len(rest), f"{tensor['name']}: bytes are missing")
            array, rest = from_bytes(tensor["datatype"], rest[:binary]), rest[binary:]
        check(array.size == math.prod(shape), f"{tensor['name']}: does not fit its shape")
        check(tensor["name"] not in tensors, f"{tensor['name']}: twice")
        tensors[tensor["name"]] = array.reshape(shape)
    check(not rest, "bytes are left over")
    check(len({len(array) for array in tensors.values()}) == 1, "the inputs' rows disagree")
    return asked, tensors


def from_bytes(datatype, data):
    if datatype != "BYTES":
        return numpy.frombuffer(data, TYPES[datatype])
    words = []
    while data:
        size, = struct.unpack_from("<I", data)
        check(len(data) >= 4 + size, "an element is cut off")
        words.append(data[4:4 + size])
        data = data[4 + size:]
    return numpy.array(words, object)


def answers_of(tensors):
    """(name, datatype, array) of each output."""
    if "x" in tensors:
        x = tensors["x"]
        yield "y", "FP32", 2 * x + x.sum(axis=1, keepdims=True, dtype=numpy.float32)
    if "words" in tensors:
        words = tensors["words"]
        texts = [w if isinstance(w, str) else w.decode() for w in words.reshape(-1)]
        back = [text[::-1].encode() for text in texts]
        yield "reversed", "BYTES", numpy.array(back, object).reshape(words.shape)


def write_answer(asked, tensors):
    """(body, bytes of its JSON): binary where the request wants it."""
    wanted = {o["name"]: o.get("parameters", {}) for o in asked.get("outputs", [])}
    every = asked.get("parameters", {}).get("binary_data_output", False)
    outputs, tail = [], b""
    for name, datatype, array in answers_of(tensors):
        if wanted and name not in wanted:
            continue
        output = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if wanted.get(name, {}).get("binary_data", every):
            data = array.tobytes() if datatype != "BYTES" else b"".join(
                struct.pack("<I", len(w)) + w for w in array.reshape(-1))
            output["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            flat = array.reshape(-1).tolist()
            output["data"] = flat if datatype != "BYTES" else [w.decode() for w in flat]
        outputs.append(output)
    answer = {"model_name": "rows", "model_version": "1", "outputs": outputs}
    if "id" in asked:
        answer["id"] = asked["id"]
    head = json.dumps(answer).encode()
    return head + tail, len(head)
