// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of UvLoop, as its sockets see it: watching descriptors, the turn, the list of those
// who have something to send. It names no type of libuv, so that uv_loop.cc stays its only user.
// Everything but the atomics belongs to the loop's thread.

#include <netdb.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "gateway/timer_heap.h"
#include "gateway/uv_loop.h"

namespace sluice {

// What a watched descriptor is ready for, as bits.
inline constexpr int kReadable = 1;
inline constexpr int kWritable = 2;
inline constexpr int kUrgent = 8;  // urgent data, which we never read

// The owner of a Watch.
class Watched {
 public:
  // `events` are bits from above; `failed` means that the descriptor has an error, after which it
  // is watched no more. The owner may die of it.
  virtual void on_events(bool failed, int events) = 0;

 protected:
  ~Watched() = default;
};

// A descriptor that libuv watches. Made by Impl::watch(), freed some time after close_watch(),
// since libuv lets go of a handle only at the end of a turn.
struct Watch;
// Replaces the events waited for. Errors are told too, unless `events` is zero. Costs up to three
// system calls.
void watch_for(Watch& watch, int events);
// From now on `owner` is told.
void hand_over(Watch& watch, Watched& owner);
// Closes the descriptor now; the owner hears no more.
void close_watch(Watch* watch);
// Whether close_watch() was called: how an owner's function that called out learns, from a Watch it
// remembered, that the owner is dead. REQUIRES: the same turn.
bool is_closed(const Watch& watch);

// A name that libuv looks up. It frees itself once the system is through with it.
struct LookUp;
// Has the owner hear no more of it.
void cancel(LookUp* look_up);

// Who sends what it has been given at the end of the turn. It may die while it waits for that.
class Sender {
 public:
  // Sends. The owner of the stream may be told, and may destroy it, in here.
  virtual void flush() = 0;

  static constexpr size_t kNowhere = SIZE_MAX;
  size_t place = kNowhere;  // in Impl::senders, which keeps it

 protected:
  ~Sender() = default;
};

struct UvLoop::Impl {
  struct Handles;  // libuv's
  // A larger body takes several turns, which keeps a fast sender from starving the others.
  static constexpr size_t kReadBytes = 64 * 1024;

  explicit Impl(Log& the_log);
  ~Impl();

  // Watches `fd` for `events`. Null if the system cannot (errno says why); `fd` stays with the
  // caller then, else with the Watch.
  Watch* watch(int fd, int events, Watched& owner);

  // Looks the addresses of `host` up, without blocking, then calls `done` with them, or with the
  // reason why there are none; the addresses last as long as the call. Null if that cannot be
  // begun: `reason` says why then, and `done` is not called.
  LookUp* look_up(const std::string& host,
                  std::function<void(const char* reason, const addrinfo* found)> done,
                  std::string& reason);

  // Takes the time, once per return from waiting, when the first event is seen.
  void begin();
  // A timer of this loop that is not armed yet.
  std::unique_ptr<Timer> timer(std::function<void()> callback);
  // Says that something is being delivered, so that this turn will be finished.
  void happen() {
    begin();
    happened = true;
  }
  // Has sender.flush() called at the end of the turn, once.
  void send_later(Sender& sender);
  // Takes it back, when the sender dies.
  void forget(Sender& sender);

  // The phases of a turn, in order.
  void on_timerfd();
  void run_due_timers();
  void finish_poll();
  void flush_senders();
  void arm_timerfd();
  void wake();

  Log& log;
  std::unique_ptr<Handles> handles;
  std::function<void()> wake_handler = [] {};
  std::function<void()> turn_handler = [] {};

  Instant now;
  bool begun = false;     // `now` was taken since the last wait
  bool happened = false;  // something was delivered that no turn handler has seen
  uint64_t turns = 0;
  uint64_t polls = 0;
  int64_t unix_seconds = 0;
  uint64_t unix_seconds_poll = UINT64_MAX;  // `polls` when unix_seconds was taken

  TimerHeap timers;
  const void* running_timer = nullptr;  // set to null if it dies in its callback
  int timerfd = -1;
  Instant timerfd_when = kNever;  // what it is set to; never later than the earliest deadline

  std::vector<Sender*> senders;  // null where one died
  size_t owned = 0;              // streams, listeners and timers alive
  // For all connections: an idle one needs none.
  const std::unique_ptr<char[]> read_buffer{new char[kReadBytes]};

  // Any thread.
  std::atomic<bool> wake_pending = false;
  std::atomic<bool> stopping = false;
  std::atomic<std::thread::id> thread = {};  // that runs the loop, if any does
};

}  // namespace sluice
