// SPDX-License-Identifier: Apache-2.0
#pragma once
// The values that travel between I/O, the core and the backends: requests and their rows in,
// outcomes out. Plain data; they may cross threads.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/chunk.h"
#include "base/result.h"
#include "base/time.h"

namespace sluice {

// Names one request for the life of the process; chosen by the I/O side.
using RequestId = uint64_t;
// Names one call of a backend (one batch in flight); chosen by the core.
using CallId = uint64_t;
// Index into CoreOptions::models and CoreOptions::backends.
using ModelIndex = uint32_t;
using BackendIndex = uint32_t;

// How much of a batch something fills, in the three budgets that hold together.
struct Weight {
  uint64_t items = 0;
  uint64_t bytes = 0;
  uint64_t tokens = 0;
};

// One item of a request: what the backend gets, never looked into by the core. An item has up to
// two forms, of which a backend takes the one it understands.
struct Row {
  Slice payload;        // for engines: token ids or text; empty where the model has no engine
  Slice wire = {};      // for upstreams: the item as backends/operation.h says; may be empty
  uint32_t tokens = 0;  // what it costs of a token budget; 0 where tokens are not counted
  // For the codec that writes calls: what the caller would rather get. Not in the key, since either
  // form can be made of the other.
  uint8_t flags = 0;
};

// How Output::bytes are to be read.
enum class Form : uint8_t {
  kFloats,  // float32, little-endian
  kJson,    // one JSON value, checked
  kBytes,   // as the operation says
};

// What a backend made of one row.
struct Output {
  Output() = default;
  explicit Output(Slice all, Form form_given = Form::kFloats)
      : bytes(std::move(all)), form(form_given) {}
  Slice bytes;
  Form form = Form::kFloats;
  uint32_t tokens = 0;  // of usage, as far as the backend tells or its total was shared out
  Slice envelope = {};  // what the backend said beside the items, where that matters; see dialects
};

// One client's request, after HTTP and dialect and before any backend.
struct Request {
  RequestId id = 0;
  ModelIndex model = 0;
  std::string key;      // rows of requests with the same model and key may share a call
  uint64_t tenant = 0;  // whose fair share it takes (a fingerprint of the credentials); 0: of none
  int32_t priority =
      0;  // higher goes sooner; each level counts as CoreOptions::priority_step of age
  Instant arrived;
  // After this instant nobody waits for the answer. nullopt: the model's default holds.
  std::optional<Instant> deadline;
  // It waits for company no longer than this, nor than BatchLimits::wait_max. nullopt: that holds.
  std::optional<Duration> wait_max = {};
  std::vector<Row> rows;  // at least one
};

// What became of one row: its output, or why there is none.
using Outcome = Result<Output>;

// Why a call failed, as far as it decides what happens to its rows; failures.h has the table.
enum class Failure : uint8_t {
  kUnreachable,  // no connection, or reset before any byte of an answer
  kBusy,         // 408, 425, 503
  kThrottled,    // 429
  kBroken,       // 500 and other 5xx; an engine's error
  kCut,          // 502, 504, reset in mid-answer, timeout
  kRejected,     // 400, 404, 422 and other 4xx: some row may be at fault
  kDenied,       // 401, 403
  kTooLarge,     // 413, or a payload cap known beforehand
  kWrongAnswer,  // 200 with a wrong count, order or shape
  kFinal,        // never to be tried again, whoever is at fault
};
inline constexpr size_t kFailures = 10;

// Why a batch left when it did; a metric label.
enum class LeaveReason {
  kIdle,   // a slot was free and this was all that waited
  kItems,  // full: the next row would have broken the limit named
  kBytes,
  kTokens,
  kHeld,   // it was held for company, until that was due or not to be expected any more
  kQuiet,  // it could have been held, but no company was to be expected
  kSplit,  // a part of a failed call, which goes out by itself
  kDrain,  // the process is stopping
};
inline constexpr size_t kLeaveReasons = 8;

// How long a request spent where, and in what company.
struct Timings {
  Duration queued;               // arrival to the start of its first call
  Duration backend;              // start of its first call to the end of its last
  uint32_t calls = 0;            // calls its rows were spread over, retries included
  uint32_t batch_items = 0;      // items in the largest of those calls
  BackendIndex answered_by = 0;  // of the call that gave its last outcomes
};

// What the core is told.
struct Arrived {
  Request request;
};
// The client left; its rows leave too, and no Reply will come.
struct Cancelled {
  RequestId request = 0;
};
// A call has really begun on the backend (it may have waited for a connection or a worker).
struct CallStarted {
  CallId call = 0;
};
// A call is about to end: a backend that binds late (BackendOptions) may be given one more, which
// waits there for its turn. Said at most once; late news and repeated news change nothing.
struct CallEnding {
  CallId call = 0;
};
// A call has ended: one outcome per row in the order of StartCall, or one Error for all.
// Error::retry_after is what the backend asked for.
struct CallDone {
  CallId call = 0;
  Result<std::vector<Outcome>> outcomes = Error{};
  Failure failure = Failure::kFinal;  // with an Error
  // Time the backend worked on it, where known, else zero; of what was passed through, the time to
  // the head of its answer.
  Duration busy;
};
// Whether a backend can take calls at once.
struct Warmth {
  BackendIndex backend = 0;
  bool warm = true;
};
// From now on nothing new is accepted; what waits is finished.
struct Draining {};
using Event = std::variant<Arrived, Cancelled, CallStarted, CallEnding, CallDone, Warmth, Draining>;

// One row of a call, with the name of what it belongs to.
struct CallRow {
  RequestId request = 0;
  uint32_t index = 0;  // its place in Request::rows
  Slice payload;
  Slice wire = {};
  uint8_t flags = 0;
};

// What the core decides.
struct StartCall {
  CallId call = 0;
  BackendIndex backend = 0;
  ModelIndex model = 0;
  LeaveReason reason = LeaveReason::kIdle;
  Weight weight;
  std::string key;            // that its requests share
  std::vector<CallRow> rows;  // those of one request stand together
};
// Nobody waits for this call any more; its CallDone still comes.
struct AbortCall {
  CallId call = 0;
};
// The one answer of a request: an outcome per row in order, or one Error.
struct Reply {
  RequestId request = 0;
  Result<std::vector<Outcome>> outcomes = Error{};
  Timings timings;
};
// Wake a sleeping backend; work for it is coming.
struct Prewarm {
  BackendIndex backend = 0;
};
using Action = std::variant<StartCall, AbortCall, Reply, Prewarm>;

}  // namespace sluice
