// SPDX-License-Identifier: Apache-2.0
#pragma once
// How long the echo engine is busy, as users write it behind the model's name.

#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace sluice {

// A batch of n rows takes per_batch + n * per_item.
struct EchoTimes {
  Duration per_batch;
  Duration per_item;
};

// Reads "echo" or "echo:a=2ms,b=0.1ms": a is per batch, b per item, either or both, as decimal
// numbers with the unit ns, us, ms or s, at most an hour each. kInvalid with what is wrong
// otherwise.
Result<EchoTimes> parse_echo_spec(std::string_view spec);

}  // namespace sluice
