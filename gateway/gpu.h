// SPDX-License-Identifier: Apache-2.0
#pragma once
// The GPU under a local model, as far as this program was built with the CUDA engine and this
// machine has one. The .cc is the only place of the gateway that knows whether it was.

#include <cstdint>
#include <functional>
#include <memory>

#include "backends/engine.h"
#include "backends/model_folder.h"
#include "base/result.h"
#include "base/time.h"
#include "batcher/core.h"

namespace sluice {

// A model's engine on GPU `index`, as the driver numbers them. Batches within `batch` are one
// submission each, up to 32768 tokens. `folder` is read only in here. Errors, each in one sentence:
// kNotFound without the CUDA engine, a driver or any GPU; kInvalid if the GPU or its kernels cannot
// do this model; kUnavailable for want of memory, saying how much was needed and is free, or of a
// GPU `index`; kInternal for what else fails.
Result<std::unique_ptr<DeviceEngine>> make_gpu(const ModelFolder& folder, const BatchLimits& batch,
                                               uint32_t index, std::function<Instant()> now,
                                               EngineSink done);

}  // namespace sluice
