// SPDX-License-Identifier: Apache-2.0
#pragma once
// Offload: where an I/O thread sends work that takes too long for it, such as tokenising a body of
// megabytes. One job at a time, in order.

#include <functional>

namespace sluice {

class Offload {
 public:
  virtual ~Offload() = default;
  // Runs `job` soon on another thread; from any thread. The job reports by mail.
  virtual void run(std::function<void()> job) = 0;
};

}  // namespace sluice
