// SPDX-License-Identifier: Apache-2.0
#pragma once
// From configuration to running models: reads each model's folder, starts its engines, and gives
// the gateway what it needs to know of them.

#include <functional>
#include <memory>
#include <vector>

#include "backends/engine.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "gateway/api.h"
#include "gateway/config.h"
#include "gateway/devices.h"

namespace sluice {

// All models of a process. The engines stop their threads when destroyed.
struct LoadedModels {
  std::vector<ServedModel> served;               // by ModelIndex
  std::vector<std::unique_ptr<Engine>> engines;  // by BackendIndex, in the order of the file
  std::vector<Device> devices;                   // the GPUs among them
};

// Loads and warms every model of `config`, so that the first request is as fast as the next. Takes
// about as long as reading the weights. `sink` gets the engines' reports; `clock` tells them how
// long they were busy. Fails with a message that names model, file and field. Where a GPU is asked
// for and there is none, the CPU runs the model, and one line of the log says so.
Result<LoadedModels> load_models(const Config& config, const EngineSink& sink,
                                 const std::function<Instant()>& clock, Log& log);

}  // namespace sluice
