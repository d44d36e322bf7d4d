// SPDX-License-Identifier: Apache-2.0
#include "gateway/offload_thread.h"

#include <optional>
#include <utility>

namespace sluice {

OffloadThread::OffloadThread()
    : thread_([this] {
        while (const std::optional<std::function<void()>> job = jobs_.take()) (*job)();
      }) {}

OffloadThread::~OffloadThread() {
  jobs_.close_and_take_all();
  thread_.join();
}

void OffloadThread::run(std::function<void()> job) { jobs_.put(std::move(job)); }

}  // namespace sluice
