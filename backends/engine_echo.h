// SPDX-License-Identifier: Apache-2.0
#pragma once
// The echo engine: for tests and benchmarks of everything around a model. It keeps its one worker
// busy for a + b * n per batch of n rows and answers each text with eight numbers that depend on
// its bytes alone, so that a client can tell whether an answer is its own.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "backends/echo_times.h"
#include "backends/engine.h"
#include "base/result.h"
#include "base/time.h"
#include "base/work_queue.h"

namespace sluice {

// The vector of a text. With h = FNV-1a (64 bit: start 0xcbf29ce484222325, for each byte
// h = (h ^ byte) * 0x100000001b3) over its bytes, element k = 0 ... 7 is floor(z / 2^48) / 65536
// where z is SplitMix64's mix of h + (k + 1) * 0x9e3779b97f4a7c15:
//   z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9; z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
//   z = z ^ (z >> 31)
// all modulo 2^64. Each is in [0, 1) and exact in float32. Pure.
std::array<float, 8> echo_vector(std::string_view text);

// What an EchoEngine is made with.
struct EchoOptions {
  EchoTimes times;
  // Measures `busy`; called on the worker's thread. REQUIRED.
  std::function<Instant()> now;
  // Lets the worker wait; called only for a positive time. Empty: the thread waits, until
  // the engine is to end.
  std::function<void(Duration)> wait = {};
};

// One worker thread. Rows are the bytes of texts; outputs are eight float32 each.
class EchoEngine final : public Engine {
 public:
  static constexpr size_t kWidth = 8;

  // kInternal if no thread can be started. `done` as described at Engine.
  static Result<std::unique_ptr<EchoEngine>> make(EchoOptions options, EngineSink done);
  // Answers what was submitted, then ends its thread.
  ~EchoEngine() override;

  void submit(EngineJob job) override;
  uint32_t slots() const override { return 1; }

 private:
  EchoEngine(EchoOptions options, EngineSink done);
  void work();
  EngineDone answer(const EngineJob& job);

  // Constant after construction.
  const EchoOptions options_;
  const EngineSink done_;

  WorkQueue<EngineJob> jobs_;
  std::thread worker_;
};

}  // namespace sluice
