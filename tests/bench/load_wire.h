// SPDX-License-Identifier: Apache-2.0
#pragma once
// Wire: one client connection that carries one request at a time, and the few socket calls it
// needs. It says what happened; what follows from it is decided by the run.

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/bench/load_http.h"
#include "tests/bench/load_options.h"

namespace sluice::load {

// Nanoseconds of the monotonic clock.
int64_t now_ns();

// The address in the options; port in network order. An Error where the host is no IPv4 address.
Result<sockaddr_in> address_of(const Options& options);

class Wire {
 public:
  enum class State { kClosed, kConnecting, kIdle, kBusy };
  enum class Step {
    kNothing,   // wait for more
    kReady,     // the connection has been made
    kAnswered,  // the answer is complete: see reader()
    kClosed,    // the server closed an idle connection
    kFailed     // see failure(); the request, if there was one, has no answer
  };

  Wire() = default;
  ~Wire() { close(); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // Starts to connect and registers with `epoll` under `tag`. False where the system refuses, with
  // failure() set. REQUIRES state() == kClosed.
  bool connect(const sockaddr_in& address, int epoll, uint64_t tag);
  // Sends `request`, whose bytes must stay until the answer. A failure to write shows up as an
  // event. REQUIRES state() == kIdle.
  void send(std::string_view request, bool is_head);
  // Handles what epoll reported. After kAnswered the wire is idle, or closed where the answer said
  // so; after kClosed and kFailed it is closed.
  Step on_event(uint32_t events);
  void close();

  State state() const { return state_; }
  const ResponseReader& reader() const { return reader_; }
  std::string_view failure() const { return failure_; }

 private:
  Step on_connected();
  Step on_readable(bool peer_closed);
  Step on_end();
  Step fail(std::string_view why);
  bool write_some();

  int fd_ = -1;
  State state_ = State::kClosed;
  std::string_view unsent_;
  std::string_view failure_;
  ResponseReader reader_;
};

}  // namespace sluice::load
