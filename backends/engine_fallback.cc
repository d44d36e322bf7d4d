// SPDX-License-Identifier: Apache-2.0
#include "backends/engine_fallback.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace sluice {

FallbackEngine::FallbackEngine(Options options, EngineSink done)
    : options_(std::move(options)), done_(std::move(done)) {
  ASSERT(options_.now && done_);
  used_ = options_.now();
}

FallbackEngine::~FallbackEngine() {
  stopping_ = true;
  // First, since it may just be handing a batch over.
  device_.reset();
  spare_.reset();
}

EngineSink FallbackEngine::device_sink() {
  return [this](EngineDone done) { device_done(std::move(done)); };
}

EngineSink FallbackEngine::spare_sink() {
  return [this](EngineDone done) { spare_done(std::move(done)); };
}

void FallbackEngine::take(std::unique_ptr<DeviceEngine> device, std::unique_ptr<Engine> spare) {
  ASSERT(device != nullptr && spare != nullptr && device_ == nullptr);
  device_ = std::move(device);
  spare_ = std::move(spare);
  parts_max_ = spare_->slots() / slots();
}

uint32_t FallbackEngine::slots() const { return std::min(device_->slots(), spare_->slots()); }

void FallbackEngine::submit(EngineJob job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_[job.call].rows = job.rows;
    used_ = options_.now();
  }
  switch (device_->absence()) {
    case Absence::kNone:
      device_->submit(std::move(job));
      return;
    case Absence::kUnloaded:
      device_->load();
      to_spare(job.call, FallbackReason::kUnloaded);
      return;
    case Absence::kLost:
      to_spare(job.call, FallbackReason::kLost);
      return;
  }
}

void FallbackEngine::device_done(EngineDone done) {
  // Rows that are at fault are so anywhere.
  const bool failed = !done.outputs.ok() && done.outputs.error().code != Code::kInvalid;
  if (!failed || stopping_) return finish(std::move(done));
  {
    const std::lock_guard lock(mutex_);
    jobs_.at(done.call).device_busy = done.busy;
  }
  to_spare(done.call, FallbackReason::kFailed);
}

void FallbackEngine::to_spare(CallId call, FallbackReason reason) {
  ++batches_[static_cast<size_t>(reason)];
  for (EngineJob& part : cut(call)) spare_->submit(std::move(part));
}

// Parts of about the same size: what a row costs goes by its bytes.
std::vector<EngineJob> FallbackEngine::cut(CallId call) {
  const std::lock_guard lock(mutex_);
  Job& job = jobs_.at(call);
  size_t bytes = 0;
  for (const Slice& row : job.rows) bytes += row.size();
  const size_t wanted = std::clamp<size_t>(job.rows.size(), 1, parts_max_);
  std::vector<EngineJob> parts;
  size_t first = 0;
  size_t taken = 0;
  while (parts.empty() || first < job.rows.size()) {
    EngineJob& part = parts.emplace_back();
    part.call = next_part_++;
    const size_t until = bytes * parts.size() / wanted;
    size_t end = first;
    const bool last = parts.size() == wanted;
    while (end < job.rows.size() && (end == first || taken < until || last)) {
      taken += job.rows[end].size();
      part.rows.push_back(job.rows[end++]);
    }
    parts_[part.call] = {call, first, end - first};
    first = end;
  }
  job.outputs.resize(job.rows.size());
  job.parts_left = parts.size();
  return parts;
}

void FallbackEngine::spare_done(EngineDone done) {
  EngineDone whole;
  {
    const std::lock_guard lock(mutex_);
    const auto found = parts_.find(done.call);
    ASSERT(found != parts_.end());
    const Part part = found->second;
    parts_.erase(found);
    Job& job = jobs_.at(part.call);
    if (!done.outputs.ok()) {
      job.error = done.outputs.error();
    } else if (done.outputs.value().size() != part.rows) {
      job.error = Error{Code::kInternal, "the spare engine gave another number of outputs"};
    } else {
      std::ranges::move(done.outputs.value(),
                        job.outputs.begin() + static_cast<std::ptrdiff_t>(part.first));
    }
    job.spare_busy = std::max(job.spare_busy, done.busy);
    if (--job.parts_left != 0) return;
    whole.call = part.call;
    whole.busy = job.device_busy + job.spare_busy;
    if (job.error) {
      whole.outputs = std::move(*job.error);
    } else {
      whole.outputs = std::move(job.outputs);
    }
  }
  finish(std::move(whole));
}

void FallbackEngine::finish(EngineDone done) {
  {
    const std::lock_guard lock(mutex_);
    // Before it is reported: then the caller may use the id again.
    jobs_.erase(done.call);
    used_ = options_.now();
  }
  done_(std::move(done));
}

std::optional<Instant> FallbackEngine::rest(Instant now) {
  if (options_.unload_after == Duration{}) return std::nullopt;
  const Absence absence = device_->absence();
  if (absence == Absence::kLost) return std::nullopt;
  {
    const std::lock_guard lock(mutex_);
    if (absence != Absence::kNone || !jobs_.empty()) return now + options_.unload_after;
    if (now < used_ + options_.unload_after) return used_ + options_.unload_after;
  }
  device_->unload();
  return now + options_.unload_after;
}

}  // namespace sluice
