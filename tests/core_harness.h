// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Core in a test's hand: short ways to say what happens, and what followed from it by kind.

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "batcher/core.h"

namespace sluice {

// One model on one backend with one slot; a test changes what it is about.
inline CoreOptions one_model() {
  CoreOptions options;
  options.models.resize(1);
  options.models[0].name = "model";
  options.models[0].backends = {0};
  options.models[0].batch.tokens_max = 0;
  options.backends.push_back({"backend", 1});
  return options;
}

// `count` rows of `bytes` bytes and `tokens` tokens each.
inline std::vector<Row> rows_of(size_t count, size_t bytes = 1, uint32_t tokens = 0) {
  const Slice payload = Slice::copy_of(std::string(bytes, 'x'));
  return std::vector<Row>(count, Row{.payload = payload, .tokens = tokens});
}

// A request of `count` rows, otherwise plain.
inline Request request_of(RequestId id, Instant arrived, size_t count = 1) {
  Request request;
  request.id = id;
  request.arrived = arrived;
  request.rows = rows_of(count);
  return request;
}

// As many good outcomes as `call` has rows, each naming its request and row.
inline std::vector<Outcome> outcomes_for(const StartCall& call) {
  std::vector<Outcome> outcomes;
  for (const CallRow& row : call.rows) {
    outcomes.emplace_back(
        Output(Slice::copy_of(std::to_string(row.request) + ":" + std::to_string(row.index))));
  }
  return outcomes;
}

// A call by its name alone, to end it.
inline StartCall call_named(CallId id) {
  StartCall call;
  call.call = id;
  return call;
}

// The core, the time, and what the last step did.
struct CoreHarness {
  explicit CoreHarness(CoreOptions options) : core(std::move(options)) {}

  // One step at `now` with `events`.
  void step(std::vector<Event> events = {}) {
    calls.clear();
    replies.clear();
    aborts.clear();
    prewarms.clear();
    std::vector<Action> actions;
    core.step(now, events, actions);
    for (Action& action : actions) {
      if (auto* call = std::get_if<StartCall>(&action)) calls.push_back(std::move(*call));
      if (auto* reply = std::get_if<Reply>(&action)) replies.push_back(std::move(*reply));
      if (auto* abort = std::get_if<AbortCall>(&action)) aborts.push_back(abort->call);
      if (auto* prewarm = std::get_if<Prewarm>(&action)) prewarms.push_back(prewarm->backend);
    }
  }
  // A plain request of `count` rows arrives now.
  void arrive(RequestId id, size_t count = 1) { arrive(request_of(id, now, count)); }
  void arrive(Request request) { step_one(Arrived{std::move(request)}); }
  void cancel(RequestId id) { step_one(Cancelled{id}); }
  // `call` ends well now.
  void finish(StartCall call) {
    step_one(CallDone{call.call, outcomes_for(call), Failure::kFinal, {}});
  }
  // `call` ends with `code` for all its rows.
  void fail(StartCall call, Code code, bool retryable) {
    const Failure failure = retryable ? Failure::kBroken : Failure::kFinal;
    step_one(CallDone{call.call, Error{.code = code, .message = "as told"}, failure, {}});
  }
  // `call` ends with a failure of this kind.
  void fail_as(const StartCall& call, Failure failure, Error error = {.message = "as told"}) {
    step_one(CallDone{call.call, std::move(error), failure, {}});
  }
  // Time passes to the next wake-up, where a step is made.
  void wake() {
    now = core.next_wake().value();
    step();
  }
  void step_one(Event event) {
    std::vector<Event> events;
    events.emplace_back(std::move(event));
    step(std::move(events));
  }

  Core core;
  Instant now = Instant{} + seconds(1000);
  std::vector<StartCall> calls;
  std::vector<Reply> replies;
  std::vector<CallId> aborts;
  std::vector<BackendIndex> prewarms;
};

// The requests whose rows `call` carries, in order, one entry per row.
inline std::vector<RequestId> members(const StartCall& call) {
  std::vector<RequestId> ids;
  for (const CallRow& row : call.rows) ids.push_back(row.request);
  return ids;
}

}  // namespace sluice
