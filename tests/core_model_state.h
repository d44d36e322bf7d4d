// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a CoreModel keeps, in the simplest way there is, and sums over it.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "batcher/core.h"
#include "batcher/failures.h"
#include "batcher/queue.h"
#include "tests/core_model_health.h"

namespace sluice {

class CoreModelState {
 protected:
  static constexpr CallId kWaiting = 0;
  static constexpr CallId kDone = UINT64_MAX;
  struct Row {
    CallId where = kWaiting;
    uint32_t attempts = 0;
    // While it waits after a failure: it pauses until some instant between these, or goes out with
    // a half of the call that is named.
    Instant pause_min = {};
    Instant pause_max = {};
    CallId split_from = 0;
    std::string outcome = {};  // what it must be answered with; "!" and a message for an error
  };
  struct Open {
    Request request;
    Weight weight;
    Order order;
    Instant deadline;
    bool oversize = false;
    bool alone = false;
    std::set<CallId> calls = {};  // it had rows in
    std::vector<Row> rows = {};
  };
  struct Running {
    StartCall start;
    bool aborted = false;
    bool ending = false;  // it has said so
  };
  // What a request must be answered with: an error's code, or the outcomes of its rows.
  struct Expected {
    std::optional<Code> code;
    std::vector<std::string> outcomes = {};
    bool may_be_hopeless = false;  // or it is told that its deadline cannot be met
    std::optional<Duration> retry_after = {};
  };
  // A failed call that was taken apart.
  struct SplitCall {
    int halves = 2;           // that have not started
    size_t requests_max = 0;  // in each
  };
  // Model, key, and the tenant if it travels alone: what must not mix.
  using RoomName = std::tuple<ModelIndex, std::string, std::optional<uint64_t>>;

  explicit CoreModelState(const CoreOptions& options)
      : options_(options), warm_(options.backends.size(), true), health_(options) {}

  void complain(const std::string& what) { complaints_.push_back(what); }
  const BatchLimits& limits(const Open& open) const {
    return options_.models[open.request.model].batch;
  }
  static std::string text(const Outcome& outcome) {
    return outcome.ok() ? std::string(outcome.value().bytes.view()) : "!" + outcome.error().message;
  }
  static RoomName room_of(const Open& open) {
    return {open.request.model, open.request.key,
            open.alone ? std::optional(open.request.tenant) : std::nullopt};
  }

  // All that waits, in line or not.
  static Weight waiting(const Open& open) {
    Weight weight;
    for (size_t i = 0; i < open.rows.size(); ++i) {
      if (open.rows[i].where == kWaiting) weight += weight_of(open.request.rows[i]);
    }
    return weight;
  }
  // What is in line for certain.
  Weight in_line(const Open& open) const {
    Weight weight;
    for (size_t i = 0; i < open.rows.size(); ++i) {
      const Row& row = open.rows[i];
      if (row.where == kWaiting && row.split_from == 0 && row.pause_max <= now_) {
        weight += weight_of(open.request.rows[i]);
      }
    }
    return weight;
  }
  static bool has_split(const Open& open) {
    return std::any_of(open.rows.begin(), open.rows.end(),
                       [](const Row& row) { return row.where == kWaiting && row.split_from != 0; });
  }
  Weight in_flight() const {
    Weight weight;
    for (const auto& [id, call] : calls_) weight += call.start.weight;
    return weight;
  }
  // Whether `backend` has a slot free and is warm, whatever its breaker says.
  bool has_slot(BackendIndex backend) const {
    uint32_t used = 0;
    uint32_t ending = 0;
    for (const auto& [id, call] : calls_) {
      if (call.start.backend != backend) continue;
      ++used;
      ending += call.ending;
    }
    const uint32_t slots = health_.slots(backend);
    const bool late = options_.backends[backend].late_binding;
    return warm_[backend] && used < slots + (late ? std::min(ending, slots) : 0);
  }
  bool may_call(BackendIndex backend) const {
    return has_slot(backend) && health_.lets(backend, now_);
  }
  size_t waiters(const StartCall& start) const {
    size_t count = 0;
    for (const CallRow& row : start.rows) {
      const auto open = open_.find(row.request);
      if (open != open_.end()) count += open->second.rows[row.index].where == start.call;
    }
    return count;
  }
  static size_t requests_in(const StartCall& start) {
    std::set<RequestId> ids;
    for (const CallRow& row : start.rows) ids.insert(row.request);
    return ids.size();
  }
  // Models with something that may leave at once, as far as is certain.
  std::set<ModelIndex> models_that_may_leave() const {
    struct Line {
      Weight weight;
      Instant due = kNever;
    };
    std::set<ModelIndex> models;
    std::map<RoomName, Line> lines;
    for (const auto& [id, open] : open_) {
      if (has_split(open)) models.insert(open.request.model);
      const Weight waits = in_line(open);
      if (waits.items == 0) continue;
      Line& line = lines[room_of(open)];
      line.weight += waits;
      const Duration wait_max = limits(open).wait_max;
      line.due =
          std::min(line.due, open.request.arrived +
                                 std::min(wait_max, open.request.wait_max.value_or(wait_max)));
    }
    for (const auto& [name, line] : lines) {
      const ModelIndex model = std::get<0>(name);
      const bool held =
          !draining_ && now_ < line.due && !broken_limit(line.weight, options_.models[model].batch);
      if (!held) models.insert(model);
    }
    return models;
  }

  void answer(RequestId id, Code code, std::optional<Duration> retry_after = {}) {
    expected_[id] = {.code = code, .retry_after = retry_after};
    open_.erase(id);
  }

  const CoreOptions options_;
  std::vector<bool> warm_;
  CoreHealthModel health_;
  bool draining_ = false;
  Instant now_;
  uint64_t arrivals_ = 0;
  std::map<RequestId, Open> open_;
  std::map<CallId, Running> calls_;
  std::map<CallId, SplitCall> splits_;
  std::map<RequestId, Expected> expected_;  // replies that this step must give
  std::set<CallId> ended_;                  // calls that ended in this step
  std::vector<std::string> complaints_;
};

}  // namespace sluice
