// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load_wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace sluice::load {
namespace {

constexpr size_t kReadBytes = 65536;

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

std::string_view name_of(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "connection refused";
    case ECONNRESET:
    case EPIPE:
      return "connection reset";
    case EADDRNOTAVAIL:
      return "no local port left";
    case EMFILE:
      return "no descriptor left";
    case ETIMEDOUT:
      return "connection timed out";
    default:
      return "socket error";
  }
}

}  // namespace

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Result<sockaddr_in> address_of(const Options& options) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  if (inet_pton(AF_INET, options.host.c_str(), &address.sin_addr) != 1) {
    return Error{Code::kInvalid, "not an IPv4 address: " + options.host};
  }
  return address;
}

bool Wire::connect(const sockaddr_in& address, int epoll, uint64_t tag) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = tag;
  if (fd_ < 0 || setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd_, &event) != 0 ||
      (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
       errno != EINPROGRESS)) {
    fail(name_of(errno));
    return false;
  }
  state_ = State::kConnecting;
  return true;
}

void Wire::send(std::string_view request, bool is_head) {
  state_ = State::kBusy;
  reader_.begin(is_head);
  unsent_ = request;
  // An error is kept by the socket and comes back as an event.
  write_some();
}

bool Wire::write_some() {
  while (!unsent_.empty()) {
    const ssize_t sent = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent < 0) return would_block(errno) || errno == EINTR;
    unsent_.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

Wire::Step Wire::on_event(uint32_t events) {
  if (state_ == State::kClosed) return Step::kNothing;
  if (state_ == State::kConnecting) return on_connected();
  // What can still be read comes first: an early answer may be followed by a reset.
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    const Step step = on_readable((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
    if (step != Step::kNothing) return step;
  }
  if ((events & EPOLLOUT) != 0 && !write_some()) return fail(name_of(errno));
  return Step::kNothing;
}

Wire::Step Wire::on_connected() {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
    return fail(name_of(error));
  }
  state_ = State::kIdle;
  return Step::kReady;
}

Wire::Step Wire::on_readable(bool peer_closed) {
  static char buffer[kReadBytes];
  for (;;) {
    const ssize_t size = recv(fd_, buffer, sizeof buffer, 0);
    if (size < 0) return would_block(errno) ? Step::kNothing : fail(name_of(errno));
    if (size == 0) return on_end();
    const std::string_view data(buffer, static_cast<size_t>(size));
    if (state_ != State::kBusy || reader_.feed(data) != data.size()) {
      return fail("bytes after the answer");
    }
    if (reader_.bad()) return fail("malformed answer");
    if (reader_.done()) {
      state_ = State::kIdle;
      if (!reader_.keeps_alive() || peer_closed) close();
      return Step::kAnswered;
    }
    // A short read has emptied the socket, and what arrives later is an edge of its own, except
    // for an end of stream that epoll has reported already.
    if (data.size() < sizeof buffer && !peer_closed) return Step::kNothing;
  }
}

Wire::Step Wire::on_end() {
  if (state_ == State::kIdle) {
    close();
    return Step::kClosed;
  }
  reader_.end_of_stream();
  if (!reader_.done()) {
    return fail(reader_.started() ? "closed within the answer" : "closed without an answer");
  }
  close();
  return Step::kAnswered;
}

Wire::Step Wire::fail(std::string_view why) {
  failure_ = why;
  close();
  return Step::kFailed;
}

void Wire::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  unsent_ = {};
  state_ = State::kClosed;
}

}  // namespace sluice::load
