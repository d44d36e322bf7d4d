// SPDX-License-Identifier: Apache-2.0
#pragma once
// The world as one thread sees it: time, timers, sockets, and a wake-up from other threads. Two
// bodies: UvLoop (gateway/, the real world) and SimLoop (tests/sim/, virtual time). Everything but
// wake() belongs to the loop's own thread.
//
// A turn of the loop delivers what has happened (socket events, due timers), then runs the wake
// handler if wake() was called, then the turn handler once if anything ran. So whatever arrives
// together is seen together, before anybody decides.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/chunk.h"
#include "base/result.h"
#include "base/time.h"

namespace sluice {

// An address to listen on: an IPv4 or IPv6 literal and a port (0: any free one).
struct Address {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
};

// What happens on a stream. Called on the loop's thread, never from inside a call to the stream.
class StreamEvents {
 public:
  virtual ~StreamEvents() = default;
  // Bytes arrived; they are gone after the call.
  virtual void on_bytes(std::string_view bytes) = 0;
  // The peer sent FIN: no more bytes will come. Writing may go on.
  virtual void on_end() = 0;
  // All bytes given to write() were handed to the system.
  virtual void on_drained() = 0;
  // The stream is dead (reset, or an error): the last event. The owner destroys the Stream, which
  // is allowed from inside any of these calls.
  virtual void on_broken() = 0;
};

// One connected byte stream. Destroying it closes the connection at once and drops unsent bytes.
class Stream {
 public:
  virtual ~Stream() = default;
  // Who is told. REQUIRES: called before the turn in which the stream was accepted ends.
  virtual void set_events(StreamEvents* events) = 0;
  // Queues the bytes of `parts` in order; never blocks, never fails (a failure is on_broken later).
  // After shut_down() or on_broken() it does nothing.
  virtual void write(std::span<const Slice> parts) = 0;
  // Bytes given to write() that the system has not taken yet; in on_broken, those it never took.
  virtual size_t unsent_bytes() const = 0;
  // Stops and resumes on_bytes and on_end. Streams start reading.
  virtual void read(bool wanted) = 0;
  // Sends FIN once everything written is out. Reading goes on.
  virtual void shut_down() = 0;
  // The peer's address, e.g. "127.0.0.1:5123", for logs.
  virtual std::string peer() const = 0;
};

// Who gets the connections of a Listener. Called on the loop's thread.
class ListenerEvents {
 public:
  virtual ~ListenerEvents() = default;
  // Takes `stream`; dropping it closes the connection.
  virtual void on_accept(std::unique_ptr<Stream> stream) = 0;
};

// A listening socket; destroying it stops listening and refuses what was not accepted yet.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Address address() const = 0;  // with the port it really has
};

// One armed timer; destroying it disarms it. Its callback runs at most once, at `when` or later.
class Timer {
 public:
  virtual ~Timer() = default;
  // Disarms it and arms it again for `when`. Allowed from its own callback.
  virtual void again(Instant when) = 0;
  virtual void cancel() = 0;
};

// Something that was begun and will report once; destroying it cancels, and is allowed inside the
// report.
class Pending {
 public:
  virtual ~Pending() = default;
};

class Loop {
 public:
  virtual ~Loop() = default;
  // The time at the start of this turn; it does not move during a callback.
  virtual Instant now() const = 0;
  // Seconds since 1970, for Date headers and logs; taken once a turn.
  virtual int64_t unix_seconds() const = 0;
  // A timer that is not armed yet; again() arms it.
  virtual std::unique_ptr<Timer> timer(std::function<void()> callback) = 0;
  // Listens on `address`. With `shared`, several loops may listen on the same port
  // (SO_REUSEPORT) and the system spreads the connections. kInvalid or kUnavailable on failure,
  // with the system's reason.
  virtual Result<std::unique_ptr<Listener>> listen(const Address& address, bool shared,
                                                   ListenerEvents& events) = 0;
  // Connects to `address`, a literal. `done` is called once, later, with the stream or kUnavailable
  // and the system's reason; how long the system tries is the caller's to bound. The stream's
  // events must be set inside `done`.
  virtual std::unique_ptr<Pending> connect(
      const Address& address, std::function<void(Result<std::unique_ptr<Stream>>)> done) = 0;
  // The addresses of a host name, as literals in the order to be tried, without blocking. `done` is
  // called once, later; kUnavailable with the system's reason if there is none.
  virtual std::unique_ptr<Pending> resolve(
      const std::string& host, std::function<void(Result<std::vector<std::string>>)> done) = 0;
  // From any thread: the wake handler will run soon, once or more.
  virtual void wake() = 0;
  // What wake() runs. Set once, before run.
  virtual void on_wake(std::function<void()> handler) = 0;
  // What runs at the end of each turn in which anything happened. Set once, before run.
  virtual void on_turn(std::function<void()> handler) = 0;
};

}  // namespace sluice
