// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Open Inference Protocol v2 as KServe, Triton and MLServer speak it over HTTP, with the binary
// tensor extension (github.com/kserve/open-inference-protocol; Triton's extension_binary_data.md).
//
// Requests are merged along dimension 0 of all inputs. What they must share for that is in the key:
// path, the list of inputs (name, datatype, the other dimensions, parameters; flat, nested or
// binary data), requested outputs, request parameters, members we do not know. Only "id" is the
// caller's own. The parameter "inputs" of the key is the list as oip_tensor.h describes tensors.
//
// A row (Row::wire, and Output::bytes with Form::kBytes) is as oip_rows.h has it, of
//   binary data   the bytes of that index; of BYTES with their lengths
//   flat JSON     the text of its elements: `1,2,3`
//   nested JSON   the item itself: `[1,2,3]`
// Numbers are printed anew only where binary data becomes JSON. Output::envelope is the answer's
// JSON with outputs described.
//
// Valid, but not merged (Asked::pass_through): inputs that disagree in dimension 0, have none, have
// a dimension that is 0, or more rows than codec::kItemsMax; shared memory; members of a sequence
// (parameters "sequence_…"); the raw form of a single input (Inference-Header-Content-Length: 0).
// Whether a model batches along dimension 0 at all cannot be seen in a request: an answer whose
// outputs have other extents than the call is an error, and such a model must not be merged.

#include "backends/dialect.h"

namespace sluice {

// "oip-v2". Never ends; may be used on any thread.
const Dialect& oip_dialect();

// "oip-v2-json": of servers without the binary tensor extension, such as MLServer. What clients
// send as binary data is merged and sent on as JSON (oip_text.h); outputs come back as JSON, which
// clients of the extension must take as well. Never ends; may be used on any thread.
const Dialect& oip_json_dialect();

}  // namespace sluice
