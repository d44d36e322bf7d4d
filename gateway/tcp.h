// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connections and listeners of UvLoop, on the system's own sockets.

#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "gateway/sockets.h"
#include "gateway/uv_impl.h"

namespace sluice {

// One connection. What is written is sent at the end of the turn in one call, as far as the system
// takes it; what is left is sent when the socket is writable again.
class TcpStream final : public Stream, Watched, Sender {
 public:
  // Takes the connected, non-blocking descriptor `fd` and begins to read. Null if the system cannot
  // watch one more descriptor (errno says why); `fd` is closed then.
  static std::unique_ptr<TcpStream> open(UvLoop::Impl& loop, int fd, const PeerAddress& peer);
  // Takes the connected descriptor `fd` that `watch` watches already, for what events does not
  // matter, and begins to read.
  static std::unique_ptr<TcpStream> adopt(UvLoop::Impl& loop, Watch& watch, int fd,
                                          const PeerAddress& peer);
  ~TcpStream() override;

  void set_events(StreamEvents* events) override { events_ = events; }
  void write(std::span<const Slice> parts) override;
  size_t unsent_bytes() const override { return unsent_; }
  void read(bool wanted) override;
  void shut_down() override;
  std::string peer() const override { return to_text(peer_); }

 private:
  TcpStream(UvLoop::Impl& loop, int fd, const PeerAddress& peer);
  void on_events(bool failed, int events) override;
  void flush() override;
  void on_readable();
  void on_odd_event();
  void watch_for_what_matters();
  bool send_parts();
  void drop_sent(size_t bytes);
  void fail();
  void read_last();

  UvLoop::Impl& loop_;
  StreamEvents* events_ = nullptr;
  Watch* watch_ = nullptr;
  std::vector<Slice> parts_;  // those before first_part_ are sent
  size_t first_part_ = 0;
  size_t sent_of_first_ = 0;  // bytes
  size_t unsent_ = 0;         // bytes
  const int fd_;
  int watching_ = kReadable;
  const PeerAddress peer_;
  bool reading_ = true;
  bool blocked_ = false;       // the system took less than was given: wait until writable
  bool ending_ = false;        // shut_down() was called
  bool ended_ours_ = false;    // our FIN is sent
  bool ended_theirs_ = false;  // their FIN has come
  bool broken_ = false;
};

// One listening socket. It accepts all that wait, up to a bound per turn; when the system has no
// descriptor left it rests a while, instead of being told for ever that somebody waits.
class TcpListener final : public Listener, Watched {
 public:
  // Takes the listening descriptor `fd`. Null if the system cannot watch one more descriptor (errno
  // says why); `fd` is closed then.
  static std::unique_ptr<TcpListener> open(UvLoop::Impl& loop, int fd, ListenerEvents& events);
  ~TcpListener() override;
  Address address() const override { return address_; }

 private:
  TcpListener(UvLoop::Impl& loop, int fd, ListenerEvents& events);
  void on_events(bool failed, int events) override;
  void rest(int error);

  UvLoop::Impl& loop_;
  ListenerEvents& events_;
  Watch* watch_ = nullptr;
  std::unique_ptr<Timer> rest_;
  const int fd_;
  const Address address_;
};

}  // namespace sluice
