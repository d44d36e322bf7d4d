// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of Core: what it keeps, and what each function does to it. core.cc decides,
// core_failures.cc says what follows from failed calls, core_books.cc keeps the books consistent.
// Nobody else includes this.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "batcher/admission.h"
#include "batcher/core.h"
#include "batcher/failures.h"
#include "batcher/heap.h"
#include "batcher/live.h"
#include "batcher/offenders.h"
#include "batcher/rooms.h"
#include "batcher/service.h"
#include "batcher/slots.h"

namespace sluice {

// What is kept of one model: what waits for it, and what was measured of it.
struct Model {
  // `options_given` outlives the Model.
  Model(const ModelOptions& options_given, uint64_t& steps, size_t keys_max)
      : options(options_given),
        rooms(options.batch, steps, keys_max),
        service(options.backends.size()) {
    ASSERT(!options.backends.empty());
  }

  // Tokens where they are counted, else items.
  double units(const Weight& weight) const {
    const bool in_tokens = options.batch.tokens_max > 0 && weight.tokens > 0;
    return static_cast<double>(in_tokens ? weight.tokens : weight.items);
  }
  // The p99 of the fastest backend for one call of `weight`; nullopt while one is not known.
  std::optional<Duration> p99(Instant now, const Weight& weight) const {
    std::optional<Duration> best;
    for (const ServiceModel& backend : service) {
      const std::optional<Duration> time = backend.p99(now, units(weight));
      if (!time) return std::nullopt;
      if (!best || *time < *best) best = time;
    }
    return best;
  }

  const ModelOptions& options;
  Rooms rooms;
  std::vector<ServiceModel> service;  // parallel to options.backends
  DrainRate drain_rate;
  double units_left = 0;    // by calls started in this step
  bool wants_warm = false;  // somebody who could not wait would have liked a warm backend
};

struct Core::State {
  explicit State(CoreOptions options_given)
      : options(std::move(options_given)),
        slots(options.backends),
        deadlines(stats.steps),
        offenders(options.offenders_max),
        prng(options.seed) {
    stats.backends.resize(options.backends.size());
    for (const ModelOptions& model : options.models) {
      for (const BackendIndex backend : model.backends) ASSERT(backend < options.backends.size());
      models.push_back(std::make_unique<Model>(model, stats.steps, options.keys_max));
    }
  }

  // Events, one by one; see row.h for what they mean. Unknown and late ones change nothing.
  void on(Arrived& event);
  void on(Cancelled& event);
  void on(CallStarted& event);
  void on(CallEnding& event);
  void on(CallDone& event);
  void on(Warmth& event);
  void on(Draining& event);

  // Answers everyone whose deadline has come, waiting or in flight, with 504.
  void expire();
  // Fills every free slot that something ready waits for, then wakes backends where all sleep.
  void dispatch();
  // Gives `backend` the next batch of `model`. REQUIRES: it has a slot free, something is ready
  void start_call(Model& model, ModelIndex index, BackendIndex backend);
  // Brings the measurements and the stats up to date at the end of a step.
  void measure();

  // What admission must know about `request`, which weighs `weight`.
  Situation situation(const Request& request, const Weight& weight) const;
  // Answers a request that may not wait.
  void refuse_request(const Request& request, Refused refused);
  // Makes a Live of a request that may wait; it waits for nothing yet.
  Live& open(Request request, const Weight& weight);
  // The key under which `live` waits: its own, and its tenant's where that travels alone.
  static std::string room_key(const Live& live);
  // A piece of rows [first, first + count) of `live`, in its place by age; it waits nowhere yet.
  Piece& make_piece(Live& live, uint32_t first, uint32_t count, uint32_t attempts);
  // Takes what `share` names into `call`; appends its rows to `rows`.
  void board(Call& call, const Share& share, std::vector<CallRow>& rows);
  // Takes a segment out of a call that has ended. nullptr if its request has left.
  Live* land(Call& call, size_t segment);
  // One outcome per row of `segment`. Answers the request if it was the last; `live` is gone then.
  void deliver(Live& live, const Segment& segment, std::span<Outcome> outcomes);
  // Answers a request with what came of the call it was in.
  void fail(Live& live, Error error);

  // What `call`, which has ended, tells about its backend: slots, breaker. True if it was a failed
  // probe. `failure` is nullopt if it went well.
  bool note_health(const Call& call, std::optional<Failure> failure, bool was_aborted);
  // `call` has failed: its rows wait again, or it is split, or its requests are answered.
  void on_failure(Call& call, const Error& error, Failure failure);
  // When the rows of `segment` may be sent again if `policy` is to send them again; nullopt if they
  // may not: too many attempts, or its deadline comes first.
  std::optional<Duration> pause_of(const Segment& segment, const FailurePolicy& policy,
                                   const Error& error) const;
  // The rows of `segment` wait again, for at most `pause` before they line up; `unit` is chance.
  void wait_again(Live& live, const Segment& segment, BackendIndex failed_on, Duration pause,
                  Duration pause_min, double unit);
  // Makes parties of the two halves of `call`.
  void split(Call& call, Split how);
  // A probe of `backend` has failed: answers all who wait for a model that nothing else can be done
  // for, but for those whose rows were `probing`.
  void give_up_waiting(BackendIndex backend, const std::unordered_set<RequestId>& probing);
  // Answers a request and forgets it.
  void reply(Live& live, Result<std::vector<Outcome>> outcomes);
  // Takes a request out of everything; calls that nobody waits for any more are aborted.
  void forget(Live& live);

  const CoreOptions options;
  CoreStats stats;
  std::vector<std::unique_ptr<Model>> models;
  Slots slots;
  std::unordered_map<RequestId, std::unique_ptr<Live>> requests;
  std::unordered_map<CallId, std::unique_ptr<Call>> calls;
  Heap<Live, &Live::deadline_place> deadlines;
  Offenders offenders;
  Prng prng;
  bool draining = false;
  uint64_t sequence = 0;  // of arrivals; the tie between equal instants
  CallId last_call = 0;

  // Of the step that runs.
  Instant now;
  std::vector<Action>* actions = nullptr;
  std::vector<Action> replies;  // after the calls: the device must not wait for them
  std::vector<Share> shares;
};

}  // namespace sluice
