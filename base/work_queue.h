// SPDX-License-Identifier: Apache-2.0
#pragma once
// WorkQueue: how a thread that may sleep waits for work. Any number of threads put and take, in
// order. Loops use a Mailbox instead, since they wait for sockets too.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "base/time.h"

namespace sluice {

template <typename T>
class WorkQueue {
 public:
  // Adds `work` and wakes one thread that waits in take(). From any thread.
  void put(T work) {
    {
      const std::lock_guard lock(mutex_);
      works_.push_back(std::move(work));
    }
    changed_.notify_one();
  }

  // Waits for work and takes it; nothing once the queue is closed and empty. From any thread.
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !works_.empty(); });
    if (works_.empty()) return std::nullopt;
    std::optional<T> work(std::move(works_.front()));
    works_.pop_front();
    return work;
  }

  // Takes work if there is any, without waiting. From any thread.
  std::optional<T> try_take() {
    const std::lock_guard lock(mutex_);
    if (works_.empty()) return std::nullopt;
    std::optional<T> work(std::move(works_.front()));
    works_.pop_front();
    return work;
  }

  // Lets take() return nothing once the queue is empty. What waits can still be taken; nothing may
  // be put any more.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    closing_.notify_all();
  }

  // Closes, and returns what waits instead of leaving it to take().
  std::deque<T> close_and_take_all() {
    std::deque<T> rest;
    {
      const std::lock_guard lock(mutex_);
      rest.swap(works_);
    }
    close();
    return rest;
  }

  // Waits until the queue is closed, but no longer than `duration`.
  void wait_closed(Duration duration) {
    std::unique_lock lock(mutex_);
    closing_.wait_for(lock, std::chrono::nanoseconds(duration.ns), [&] { return closed_; });
  }

 private:
  std::mutex mutex_;  // guards works_ and closed_
  std::condition_variable changed_;
  std::condition_variable closing_;  // apart, so that put() never wakes one that waits for the end
  std::deque<T> works_;
  bool closed_ = false;
};

}  // namespace sluice
