// SPDX-License-Identifier: Apache-2.0
#include "gateway/offload_thread.h"

#include <utility>

namespace sluice {

OffloadThread::OffloadThread() : thread_([this] { work(); }) {}

OffloadThread::~OffloadThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  ready_.notify_one();
  thread_.join();
}

void OffloadThread::run(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
}

void OffloadThread::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace sluice
