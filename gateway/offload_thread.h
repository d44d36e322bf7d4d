// SPDX-License-Identifier: Apache-2.0
#pragma once
// OffloadThread: an Offload that is a thread of its own.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "gateway/offload.h"

namespace sluice {

class OffloadThread final : public Offload {
 public:
  OffloadThread();
  // Finishes the job it is at and drops those that wait.
  ~OffloadThread() override;
  void run(std::function<void()> job) override;

 private:
  void work();

  std::mutex mutex_;  // guards jobs_ and stopping_
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sluice
