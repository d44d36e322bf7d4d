// SPDX-License-Identifier: Apache-2.0
#pragma once
// OffloadThread: an Offload that is a thread of its own.

#include <functional>
#include <thread>

#include "base/work_queue.h"
#include "gateway/offload.h"

namespace sluice {

class OffloadThread final : public Offload {
 public:
  OffloadThread();
  // Finishes the job it is at and drops those that wait.
  ~OffloadThread() override;
  void run(std::function<void()> job) override;

 private:
  WorkQueue<std::function<void()>> jobs_;
  std::thread thread_;
};

}  // namespace sluice
