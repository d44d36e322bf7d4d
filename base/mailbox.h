// SPDX-License-Identifier: Apache-2.0
#pragma once
// Mailbox: the only way from thread to thread, and the only user of moodycamel's ConcurrentQueue.
// Many senders, one receiver. Order is kept per sender only; nothing may rely on more.
//
// The queue orders its memory with fences, which ThreadSanitizer does not model. So each hand-over
// is told to it here, and tests/tsan.supp silences the queue's inside: a real use after hand-over
// is still seen.

#include <concurrentqueue/concurrentqueue.h>

#include <functional>
#include <utility>

#if defined(__SANITIZE_THREAD__)
#define SLUICE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLUICE_TSAN 1
#endif
#endif
#if defined(SLUICE_TSAN)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace sluice {

template <typename T>
class Mailbox {
 public:
  // `wake` is called after each post, on the sender's thread; it must make the receiver call
  // take() until it is empty, and may be called more often than needed.
  explicit Mailbox(std::function<void()> wake) : wake_(std::move(wake)) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // From any thread. Takes `message`; the sender must not touch anything it gave away.
  void post(T message) {
#if defined(SLUICE_TSAN)
    __tsan_release(this);
#endif
    queue_.enqueue(std::move(message));
    wake_();
  }

  // On the receiver's thread: moves the next message to `message`, or returns false if there is
  // none now.
  bool take(T& message) {
    if (!queue_.try_dequeue(message)) return false;
#if defined(SLUICE_TSAN)
    __tsan_acquire(this);
#endif
    return true;
  }

 private:
  moodycamel::ConcurrentQueue<T> queue_;
  std::function<void()> wake_;
};

}  // namespace sluice
