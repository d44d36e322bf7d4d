// SPDX-License-Identifier: Apache-2.0
#include "batcher/admission.h"

#include "batcher/service.h"

namespace sluice {
namespace {

// Whether `more` finds no room beside `held`. Alone, anything fits.
bool crowded(uint64_t held, uint64_t more, uint64_t max) { return held > 0 && held + more > max; }

// The first limit in the way, or nullptr.
const char* full_message(const Situation& situation, const Weight& weight,
                         const QueueLimits& limits, const CoreOptions& options) {
  if (crowded(situation.waiting.items, weight.items, limits.items_max)) {
    return "The queue of this model is full.";
  }
  if (crowded(situation.waiting.bytes, weight.bytes, limits.bytes_max)) {
    return "The queue of this model holds as many bytes as it may.";
  }
  if (crowded(situation.tenant_items, weight.items, limits.tenant_items_max)) {
    return "Too many of your inputs are waiting.";
  }
  if (situation.held_bytes + weight.bytes > options.queued_bytes_max) {
    return "The gateway holds as many bytes as it may.";
  }
  if (!situation.key_waits && situation.keys >= options.keys_max) {
    return "Too many different kinds of requests are waiting.";
  }
  if (!situation.tenant_waits && situation.tenants >= options.tenants_max) {
    return "Too many clients are waiting.";
  }
  return nullptr;
}

}  // namespace

std::optional<Refused> refuse(const Situation& situation, const Weight& weight,
                              std::optional<Instant> deadline, const QueueLimits& limits,
                              const CoreOptions& options) {
  if (situation.draining) {
    return Refused{Refusal::kDraining,
                   {.code = Code::kUnavailable,
                    .message = "The gateway is shutting down.",
                    .retry_after = seconds(1)}};
  }
  if (deadline && *deadline <= situation.now) {
    return Refused{Refusal::kHopeless,
                   {.code = Code::kTimeout, .message = "The deadline has passed already."}};
  }
  if (deadline && situation.p99 && *situation.p99 > *deadline - situation.now) {
    return Refused{Refusal::kHopeless,
                   {.code = Code::kTimeout,
                    .message = "The deadline cannot be met: the model needs longer than that."}};
  }
  if (situation.opens_in) {
    return Refused{Refusal::kOpen,
                   {.code = Code::kUnavailable,
                    .message = "What runs this model does not answer.",
                    .retry_after = whole_seconds(*situation.opens_in)}};
  }
  if (weight.bytes > options.queued_bytes_max) {
    return Refused{
        Refusal::kFull,
        {.code = Code::kTooLarge, .message = "The request is larger than the gateway may hold."}};
  }
  const char* message = full_message(situation, weight, limits, options);
  if (message == nullptr) return std::nullopt;
  return Refused{
      Refusal::kFull,
      {.code = Code::kOverloaded, .message = message, .retry_after = situation.retry_after}};
}

}  // namespace sluice
