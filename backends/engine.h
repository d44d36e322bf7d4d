// SPDX-License-Identifier: Apache-2.0
#pragma once
// Engine: a model inside this process. A batch of rows goes in, one answer per row comes out, by
// mail. It knows nothing of requests, dialects or HTTP.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/result.h"
#include "base/time.h"

namespace sluice {

// Names one call (one batch in flight); the caller chooses it, unique while the call runs.
using CallId = uint64_t;

// Marks a token of the second text of a pair (token type 1) in a row of a BERT engine. Rows without
// it are all of the first segment, and cost no second look at their tokens.
inline constexpr int32_t kSecondSegment = int32_t{1} << 30;

// One batch for an engine. A row is what the engine's model eats: one int32 per token, special
// tokens included, its id, with kSecondSegment added where that holds (BERT engines); or the bytes
// of the text (echo engine).
struct EngineJob {
  CallId call = 0;
  std::vector<Slice> rows;
};

// What became of an EngineJob: one output per row in the same order, or one Error for all. An
// output is float32: an encoder's vector, of the model's width, or a classifier's logits, one per
// label, before any sigmoid or softmax.
struct EngineDone {
  CallId call = 0;
  Result<std::vector<Slice>> outputs = Error{};
  Duration busy;  // time the model was busy with this batch, measured by the engine
};

// How an engine says that a job is about to end: called on its own thread; must only post mail.
using EndingSink = std::function<void(CallId)>;

// A batch of token sequences in, vectors out. Implementations own their threads.
class Engine {
 public:
  virtual ~Engine() = default;
  // Starts `job` and returns at once; never blocks. REQUIRES: fewer than slots() jobs unfinished,
  // those not counted that on_ending() was told of.
  // `done` given at construction is called exactly once per job, later, on a thread of the engine.
  virtual void submit(EngineJob job) = 0;
  // How many jobs may be unfinished at a time. Constant.
  virtual uint32_t slots() const = 0;
  // Whether it says of a job that it is about to end, and can be given another one then, which
  // waits for its turn: so that a device need not wait for it. Constant.
  virtual bool tells_ending() const { return false; }
  // Where it says so: `ending` is called at most once per job, before `done`, on a thread of the
  // engine, and must only post mail. Set once, before the first submit().
  virtual void on_ending(const EndingSink& /*ending*/) {}
};

// Whether a device can take batches now, and if not, why.
enum class Absence : uint8_t {
  kNone,      // it can
  kUnloaded,  // its weights are out; load() brings them back
  kLost,      // it has failed for good
};

// What a device has done since its engine was made.
struct DeviceStats {
  uint64_t batches = 0;        // that it was given
  uint64_t submissions = 0;    // calls of its driver that gave it work for them
  uint64_t weight_loads = 0;   // times its weights were loaded again
  uint32_t graph_kernels = 0;  // kernels of the recorded graph that has the most nodes
  uint32_t graph_copies = 0;   // and its copies
  Duration busy;               // from submissions to their results
};

// An engine on a device of its own, whose weights can be taken off it. Jobs may be submitted at any
// time: without weights they wait for them, and a device that is lost answers kUnavailable.
class DeviceEngine : public Engine {
 public:
  // From any thread.
  virtual Absence absence() const = 0;
  // Takes the weights off the device, after the jobs that were submitted before. absence() says so
  // at once. Nothing happens if the device is away already.
  virtual void unload() = 0;
  // Begins to bring them back; absence() says when they are there, and stays kUnloaded if there is
  // no memory for them now. Nothing happens if it has begun already.
  virtual void load() = 0;
  // From any thread.
  virtual DeviceStats stats() const = 0;
  // The device's name, e.g. "NVIDIA H100 80GB HBM3".
  virtual const std::string& device_name() const = 0;
};

// How an engine reports: called on its own thread; must only post mail.
using EngineSink = std::function<void(EngineDone)>;

}  // namespace sluice
