# SPDX-License-Identifier: Apache-2.0
"""The model that MLServer runs in peers_mlserver.py: for each input x an output x_out of the same
type, row by row: numbers doubled, booleans the other way round, words reversed. A row's answer
depends on that row alone. It refuses a number 13, and is slow, so that requests pile up."""

import asyncio

from mlserver import MLModel
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse, ResponseOutput

DELAY_S = 0.1


def answer_of(datatype, element):
    if datatype == "BYTES":
        return element[::-1]
    if datatype == "BOOL":
        return not element
    if element == 13:
        raise InferenceError("13 is refused")
    return 2 * element


def flat(data):
    for element in data:
        if isinstance(element, list):
            yield from flat(element)
        else:
            yield element


class Rows(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        await asyncio.sleep(DELAY_S)
        outputs = []
        for tensor in payload.inputs:
            datatype = tensor.datatype  # its name
            data = [answer_of(datatype, element) for element in flat(tensor.data)]
            outputs.append(ResponseOutput(name=tensor.name + "_out", shape=tensor.shape,
                                          datatype=tensor.datatype, data=data))
        return InferenceResponse(model_name=self.name, outputs=outputs)
