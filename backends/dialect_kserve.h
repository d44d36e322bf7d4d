// SPDX-License-Identifier: Apache-2.0
#pragma once
// KServe v1, which is also TensorFlow Serving's REST protocol (kserve.github.io, data plane v1):
// POST /v1/models/NAME:predict with {"instances":[…]} is answered by {"predictions":[…]}.
//
// Instances are the rows. Other members ("signature_name", …) are in the key and in the call; what
// an answer holds beside its predictions goes to each caller as it came (if a request was answered
// in several calls: what came with its first row). The column form, {"inputs":…}, is not merged:
// what it holds are tensors by name, of which only the model knows how they are batched. Nor are an
// empty list and one of more than codec::kItemsMax instances (Asked::pass_through).
// As an upstream it is also asked for vectors and classes: instances are texts, and predictions
// vectors or labels with scores; it has no parameters for these.

#include "backends/dialect.h"

namespace sluice {

// "kserve-v1". Never ends; may be used on any thread.
const Dialect& kserve_dialect();

}  // namespace sluice
