// SPDX-License-Identifier: Apache-2.0
#pragma once
// FallbackEngine: a device with a spare engine of the same model beside it. The spare answers while
// the device's weights are out, the batches at which the device fails, and everything once the
// device is lost. So whoever submits a job sees one engine that answers it, later or slower.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "backends/engine.h"
#include "base/result.h"
#include "base/time.h"

namespace sluice {

// Why the spare answered a batch.
enum class FallbackReason : uint8_t {
  kUnloaded,  // the device's weights were out, or on their way back
  kFailed,    // the device had the batch and failed at it
  kLost,      // the device had failed for good before
};
inline constexpr size_t kFallbackReasons = 3;

// Rows and outputs are those of the two engines.
class FallbackEngine final : public Engine {
 public:
  // How it behaves.
  struct Options {
    // The weights leave the device when it has had nothing to do for so long; 0: never.
    Duration unload_after;
    std::function<Instant()> now;  // from any thread. REQUIRED.
  };
  // `done` as described at Engine.
  FallbackEngine(Options options, EngineSink done);
  // Stops the device, then the spare; jobs that wait are answered with kUnavailable.
  ~FallbackEngine() override;

  // What the two engines are to be made with. They hold this engine's address.
  EngineSink device_sink();
  EngineSink spare_sink();
  // Takes both; once, before anything else is called. Their outputs have the same width.
  void take(std::unique_ptr<DeviceEngine> device, std::unique_ptr<Engine> spare);

  // A batch that goes to the spare, which is slower, is cut into parts of about the same size: at
  // most as many as the spare can run at a time. On the thread that calls rest().
  void submit(EngineJob job) override;
  uint32_t slots() const override;
  // As the device does. If that fails with two jobs, the spare has the parts of both.
  bool tells_ending() const override { return device_->tells_ending(); }
  void on_ending(const EndingSink& ending) override { device_->on_ending(ending); }

  // Unloads the device if it has been idle for long enough. Returns when to ask again, at the
  // latest; nothing if there will never be a reason.
  std::optional<Instant> rest(Instant now);

  // Batches that the spare was given, by why; from any thread.
  uint64_t batches(FallbackReason reason) const {
    return batches_[static_cast<size_t>(reason)].load(std::memory_order_relaxed);
  }
  const DeviceEngine& device() const { return *device_; }

 private:
  // A job that is not answered yet.
  struct Job {
    std::vector<Slice> rows;
    // Of the spare's parts.
    std::vector<Slice> outputs;
    std::optional<Error> error;
    size_t parts_left = 0;
    Duration device_busy, spare_busy;
  };
  // A part of a job, which the spare has.
  struct Part {
    CallId call = 0;
    size_t first = 0;  // row of the job
    size_t rows = 0;
  };

  void device_done(EngineDone done);
  void spare_done(EngineDone done);
  void to_spare(CallId call, FallbackReason reason);
  std::vector<EngineJob> cut(CallId call);
  void finish(EngineDone done);

  const Options options_;
  const EngineSink done_;
  std::unique_ptr<Engine> spare_;
  std::unique_ptr<DeviceEngine> device_;
  size_t parts_max_ = 1;
  std::atomic<bool> stopping_ = false;
  std::array<std::atomic<uint64_t>, kFallbackReasons> batches_ = {};

  std::mutex mutex_;  // guards what follows; never held while another engine is called
  std::unordered_map<CallId, Job> jobs_;
  std::unordered_map<CallId, Part> parts_;  // by the id under which the spare has it
  CallId next_part_ = 0;
  Instant used_;  // when a job last came or ended
};

}  // namespace sluice
