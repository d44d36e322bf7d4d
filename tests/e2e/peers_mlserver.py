# SPDX-License-Identifier: Apache-2.0
"""MLServer behind sluice, asked by Triton's client. MLServer takes tensors as JSON only: in the
dialect oip-v2-json, a client that sends binary tensors is served all the same."""

import subprocess
import tempfile
import unittest

import numpy
import tritonclient.http as triton
from peer_servers import MlServer
from server import LIMIT_S, OPTIONS, Server, main

TYPES = {"BOOL": numpy.bool_, "UINT8": numpy.uint8, "UINT16": numpy.uint16,
         "UINT32": numpy.uint32, "UINT64": numpy.uint64, "INT8": numpy.int8,
         "INT16": numpy.int16, "INT32": numpy.int32, "INT64": numpy.int64,
         "FP16": numpy.float16, "FP32": numpy.float32, "FP64": numpy.float64}
COUNT = 24


def array_of(datatype, rows, seed):
    if datatype == "BYTES":
        return numpy.array([[f"wörd {seed} {r}".encode(), b"" if r else b"x" * seed]
                            for r in range(rows)], dtype=object)
    if datatype == "BOOL":
        return numpy.arange(rows * 3).reshape(rows, 3) % 3 == seed % 3
    numbers = numpy.arange(rows * 3).reshape(rows, 3) + 14 + seed  # doubled, all fit 8 bits
    return (numbers / 7 if datatype[:2] == "FP" else numbers).astype(TYPES[datatype])


def answer_of(datatype, array):
    if datatype == "BYTES":
        turned = [word.decode()[::-1].encode() for word in array.reshape(-1)]
        return numpy.array(turned, dtype=object).reshape(array.shape)
    return ~array if datatype == "BOOL" else array * 2


def inputs_of(arrays, binary):
    inputs = []
    for datatype, array in arrays.items():
        one = triton.InferInput("x" + datatype.lower(), array.shape, datatype)
        one.set_data_from_numpy(array, binary_data=binary)
        inputs.append(one)
    return inputs


class Behind(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.peer = cls.enterClassContext(MlServer())
        cls.server = cls.enterClassContext(Server(
            "--upstream", cls.peer.url, "--dialect", "oip-v2-json", "--slots", "1", model=None))

    def client(self, peer, concurrency=1):
        client = triton.InferenceServerClient(
            url=f"127.0.0.1:{peer.port}", concurrency=concurrency, connection_timeout=LIMIT_S,
            network_timeout=LIMIT_S)
        self.addCleanup(client.close)
        return client

    def check(self, result, arrays):
        for datatype, array in arrays.items():
            got = result.as_numpy("x" + datatype.lower() + "_out")
            if datatype == "BYTES":  # from JSON the client makes text
                got = numpy.array([word.encode() for word in got.reshape(-1)],
                                  dtype=object).reshape(got.shape)
            self.assertEqual(got.shape, array.shape, datatype)
            self.assertTrue((got == answer_of(datatype, array)).all(), (datatype, got))

    def infer_many(self, binary):
        """COUNT requests of 1 to 3 rows of all datatypes at once; how many calls they became."""
        client = self.client(self.server, COUNT)
        calls = self.peer.calls()
        asked = []
        for i in range(COUNT):
            datatypes = [*TYPES, "BYTES"]
            if not binary:
                datatypes.remove("FP16")  # the client sends it as binary data only
            arrays = {datatype: array_of(datatype, 1 + i % 3, i) for datatype in datatypes}
            asked.append((arrays, client.async_infer("rows", inputs_of(arrays, binary),
                                                     request_id=f"id-{i}")))
        for i, (arrays, one) in enumerate(asked):
            result = one.get_result()
            self.assertEqual(result.get_response()["id"], f"id-{i}")
            self.check(result, arrays)
        return self.peer.calls() - calls

    def test_binary_tensors_of_every_datatype_are_served(self):
        self.assertLessEqual(self.infer_many(True), COUNT / 2)

    def test_json_tensors_too(self):
        self.assertLessEqual(self.infer_many(False), COUNT / 2)

    def test_asked_by_itself_it_refuses_binary_tensors(self):
        """If it no longer does, oip-v2-json is not needed for it."""
        with self.assertRaises(triton.InferenceServerException):
            self.client(self.peer).infer("rows", inputs_of({"INT8": array_of("INT8", 1, 1)}, True))

    def test_one_that_the_model_refuses_leaves_the_others_unharmed(self):
        client = self.client(self.server, COUNT)
        bad = COUNT // 2
        asked = []
        for i in range(COUNT):
            array = numpy.array([[13 if i == bad else 20 + i]], dtype=numpy.int32)
            asked.append((array, client.async_infer("rows", inputs_of({"INT32": array}, True))))
        for i, (array, one) in enumerate(asked):
            if i == bad:
                with self.assertRaises(triton.InferenceServerException) as caught:
                    one.get_result()
                self.assertEqual(caught.exception.status(), "400")
                self.assertEqual(caught.exception.message(), "13 is refused")
            else:
                self.check(one.get_result(), {"INT32": array})

    def test_what_json_cannot_hold_is_refused_to_its_sender_alone(self):
        client = self.client(self.server, COUNT)
        calls = self.peer.calls()
        asked = []
        for i in range(COUNT):
            value = numpy.nan if i == 5 else i + 0.5
            array = numpy.array([[value]], dtype=numpy.float32)
            asked.append((array, client.async_infer("rows", inputs_of({"FP32": array}, True))))
        for i, (array, one) in enumerate(asked):
            if i == 5:
                with self.assertRaises(triton.InferenceServerException) as caught:
                    one.get_result()
                self.assertEqual(caught.exception.status(), "400")
                self.assertIn("inputs[0]", caught.exception.message())
            else:
                self.check(one.get_result(), {"FP32": array})
        self.assertLess(self.peer.calls() - calls, COUNT)

    def test_errors_and_what_is_no_inference_are_those_of_the_server(self):
        said = []
        for peer in (self.server, self.peer):
            with self.assertRaises(triton.InferenceServerException) as caught:
                self.client(peer).infer(
                    "nobody", inputs_of({"INT8": array_of("INT8", 1, 1)}, False))
            said.append((caught.exception.status(), caught.exception.message()))
        self.assertEqual(said[0], said[1])
        through, direct = self.client(self.server), self.client(self.peer)
        self.assertTrue(through.is_server_live() and through.is_server_ready())
        self.assertTrue(through.is_model_ready("rows"))
        self.assertFalse(through.is_model_ready("nobody"))
        self.assertEqual(through.get_server_metadata(), direct.get_server_metadata())
        self.assertEqual(through.get_model_metadata("rows"), direct.get_model_metadata("rows"))

    def doctor(self, dialect, *samples):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(samples))
            file.flush()
            return subprocess.run(
                [OPTIONS.sluice, "doctor", "--upstream", self.peer.url, "--dialect", dialect,
                 "--path", "/v2/models/rows/infer", "--sample", file.name],
                capture_output=True, text=True, timeout=LIMIT_S, check=False)

    def test_doctor_finds_it_safe(self):
        sample = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [%s]}]}'
        for dialect in ("oip-v2", "oip-v2-json"):
            said = self.doctor(dialect, sample % "1, 2.5", sample % "3, -1", sample % "0, 0.1")
            self.assertEqual(said.returncode, 0, said)
            self.assertIn("\nSAFE to merge", said.stdout)


if __name__ == "__main__":
    main()
