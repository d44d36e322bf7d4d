# SPDX-License-Identifier: Apache-2.0
"""Without a GPU the same program says so in one line and runs the model on the CPU."""

import os
import unittest

from server import OPTIONS, Server, main

MODEL = "all-MiniLM-L6-v2"
# Also on a machine that has some, the driver shows none.
os.environ["CUDA_VISIBLE_DEVICES"] = ""


class NoGpu(unittest.TestCase):
    def served(self, device):
        """The lines of the log that are about GPUs, and /metrics, after an answer."""
        with Server("--device", device, model=OPTIONS.model) as server:
            status, _, _ = server.get("/v1/embeddings", admin=False, method="POST",
                                      body=f'{{"model": "{MODEL}", "input": "hello"}}',
                                      headers={"content-type": "application/json"})
            self.assertEqual(status, 200)
            lines = [l for l in server.stderr_text().splitlines() if "no GPU" in l]
            return lines, server.metrics()

    def test_auto_says_so_and_is_content(self):
        lines, metrics = self.served("auto")
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(" info ", lines[0])
        self.assertIn("no GPU; the CPU runs the model", lines[0])
        self.assertFalse([name for name, _ in metrics.samples if name.startswith("sluice_gpu")])

    def test_a_gpu_that_was_named_is_missed(self):
        lines, metrics = self.served("cuda")
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(" warning ", lines[0])
        self.assertIn("device=cuda:0", lines[0])
        self.assertEqual(
            metrics.sum("sluice_gpu_weights_loaded", model=MODEL, device="cuda:0"), 0)

    def test_the_cpu_is_not_asked_for_a_gpu(self):
        lines, _ = self.served("cpu")
        self.assertEqual(lines, [])


if __name__ == "__main__":
    main()
