// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_engine.h"

#include <algorithm>
#include <utility>

#include "backends/engine_echo.h"

namespace sluice::sim {

void SimEngine::check(const EngineJob& job) {
  size_t bytes = 0;
  for (const Slice& row : job.rows) bytes += row.size();
  if (busy_ && !told_) violation_("two batches at once for an engine with one slot");
  if (next_) violation_("three batches at once for an engine with one slot");
  if (job.rows.empty()) violation_("an empty batch");
  if (job.rows.size() > options_.items_max) violation_("a batch with more items than items_max");
  if (bytes > options_.bytes_max && job.rows.size() > 1)
    violation_("a batch with more bytes than bytes_max");
}

void SimEngine::submit(EngineJob job) {
  check(job);
  if (busy_) {
    next_ = std::move(job);
  } else {
    start(std::move(job));
  }
}

void SimEngine::start(EngineJob job) {
  busy_ = true;
  told_ = false;
  ++batches_;
  rows_ += job.rows.size();
  const auto n = static_cast<int64_t>(job.rows.size());
  Duration took = options_.a + options_.b * n;
  if (world_.prng().chance(options_.slow)) took = took * 50;
  if (tells_ending() && ending_) {
    const Duration lead = std::min(options_.lead, took);
    world_.after(took - lead, [this, call = job.call] {
      told_ = true;
      ending_(call);
    });
  }
  world_.after(took, [this, job = std::move(job), took] { end(job, took); });
}

void SimEngine::end(const EngineJob& job, Duration took) {
  busy_ = false;
  told_ = false;
  sink_(answer(job, took));
  if (next_) start(*std::exchange(next_, std::nullopt));
}

EngineDone SimEngine::answer(const EngineJob& job, Duration took) {
  EngineDone done;
  done.call = job.call;
  done.busy = took;
  if (world_.prng().chance(options_.error)) {
    done.outputs = Error{.code = Code::kInternal, .message = "the engine has failed"};
    return done;
  }
  std::vector<Slice> outputs;
  for (const Slice& row : job.rows) {
    const auto vector = echo_vector(row.view());
    outputs.push_back(
        Slice::copy_of({reinterpret_cast<const char*>(vector.data()), sizeof vector}));
  }
  if (world_.prng().chance(options_.wrong)) {
    if (world_.prng().chance(0.5)) {
      outputs.pop_back();
    } else {
      outputs.push_back(outputs.front());
    }
  }
  done.outputs = std::move(outputs);
  return done;
}

}  // namespace sluice::sim
