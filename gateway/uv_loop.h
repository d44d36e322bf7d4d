// SPDX-License-Identifier: Apache-2.0
#pragma once
// UvLoop: the real world as one thread sees it, on libuv. Its .cc is the only user of libuv and the
// only reader of the clock in the program.
//
// What it costs: a request on a kept-alive connection is one recv and one send, plus a share of one
// epoll_wait; read interest stays on, and bytes are sent once, at the end of the turn, whatever
// wrote them. An idle connection holds a few hundred bytes, for the read buffer is the loop's. An
// idle loop sleeps: one timerfd stands for all timers and is set only when the earliest deadline
// comes forward. The system's own sockets are used, not uv_tcp_t: libuv from 1.45 accepts one
// connection per turn, and its write requests would be an allocation per answer.

#include <cstdint>
#include <functional>
#include <memory>

#include "base/log.h"
#include "base/loop.h"

namespace sluice {

class UvLoop final : public Loop {
 public:
  // A loop that is not running. `log` hears of what has no other way out, such as running out of
  // file descriptors; it outlives the loop.
  explicit UvLoop(Log& log);
  // Waits for the system to be through with look-ups of names that were cancelled under way.
  // REQUIRES: not running, no Stream, Listener, Timer or Pending of it left, and no other thread
  // will call wake() or stop() any more.
  ~UvLoop() override;
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  // A reading of the monotonic clock, for threads without a loop that must measure how long their
  // work took. From any thread.
  static Instant clock();

  // Runs turns on the calling thread until stop(); it may be run again later.
  void run();
  // From any thread: makes run() return at the end of a turn; if it is not running, the next run()
  // returns at once.
  void stop();
  // Calls `callback` on the loop's thread each time the process gets `signal`, until the loop is
  // destroyed. Set before run().
  void on_signal(int signal, std::function<void()> callback);

  // Turns in which something happened, and returns from waiting, the idle ones among them. For
  // tests and metrics; on the loop's thread or while it is not running.
  uint64_t turns() const;
  uint64_t polls() const;

  Instant now() const override;
  int64_t unix_seconds() const override;
  std::unique_ptr<Timer> timer(std::function<void()> callback) override;
  Result<std::unique_ptr<Listener>> listen(const Address& address, bool shared,
                                           ListenerEvents& events) override;
  std::unique_ptr<Pending> connect(
      const Address& address, std::function<void(Result<std::unique_ptr<Stream>>)> done) override;
  std::unique_ptr<Pending> resolve(
      const std::string& host, std::function<void(Result<std::vector<std::string>>)> done) override;
  void wake() override;
  void on_wake(std::function<void()> handler) override;
  void on_turn(std::function<void()> handler) override;

  // The insides, which the .cc defines.
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
