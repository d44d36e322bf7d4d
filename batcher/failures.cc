// SPDX-License-Identifier: Apache-2.0
#include "batcher/failures.h"

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace sluice {
namespace {

struct Line {
  const char* name;
  FailurePolicy policy;
};

// In the order of Failure.
constexpr std::array<Line, kFailures> kTable = {{
    {"unreachable", {.retry = Retry::kNow, .counts = true}},
    {"busy",
     {.retry = Retry::kBackoff, .needs_budget = true, .counts = true, .code = Code::kUnavailable}},
    {"throttled",
     {.retry = Retry::kBackoff, .needs_budget = true, .shrinks = true, .code = Code::kUnavailable}},
    {"broken",
     {.retry = Retry::kNow,
      .needs_repeatable = true,
      .needs_budget = true,
      .counts = true,
      .keeps_internal = true}},
    {"cut",
     {.retry = Retry::kBackoff,
      .needs_repeatable = true,
      .needs_budget = true,
      .counts = true,
      .keeps_timeout = true}},
    {"rejected", {.split = Split::kRequests, .as_it_came = true}},
    {"denied", {.as_it_came = true}},
    {"too_large", {.split = Split::kBytes, .as_it_came = true}},
    {"wrong_answer", {}},
    {"final", {.as_it_came = true, .is_silent = true}},
}};

const Line& line_of(Failure failure) {
  const auto index = static_cast<size_t>(failure);
  ASSERT(index < kTable.size());
  return kTable[index];
}

}  // namespace

FailurePolicy policy_of(Failure failure, const BackendOptions& options) {
  FailurePolicy policy = line_of(failure).policy;
  if (failure == Failure::kBroken && options.bisect_5xx) {
    // What a row can bring about says nothing about the backend.
    policy.split = Split::kRequests;
    policy.counts = false;
  }
  return policy;
}

Error client_error(const FailurePolicy& policy, const Error& error) {
  if (policy.as_it_came) return error;
  const bool keeps = (policy.keeps_internal && error.code == Code::kInternal) ||
                     (policy.keeps_timeout && error.code == Code::kTimeout);
  Error out{.code = keeps ? error.code : policy.code, .message = error.message};
  if (out.code == Code::kUnavailable) out.retry_after = std::max(error.retry_after, seconds(1));
  return out;
}

const char* to_text(Failure failure) { return line_of(failure).name; }

}  // namespace sluice
