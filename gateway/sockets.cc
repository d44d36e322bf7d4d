// SPDX-License-Identifier: Apache-2.0
#include "gateway/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace sluice {
namespace {

// The kernel cuts it to net.core.somaxconn, so the largest useful value is the system's to say.
constexpr int kBacklog = 4096;

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// Reads `address` as an IPv4 or IPv6 literal; false if it is neither.
bool parse(const Address& address, SocketAddress& out) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    out.size = sizeof(sockaddr_in);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    out.size = sizeof(sockaddr_in6);
    return true;
  }
  return false;
}

void read_peer(const sockaddr_storage& storage, PeerAddress& peer) {
  peer.v6 = storage.ss_family == AF_INET6;
  if (peer.v6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    std::memcpy(peer.bytes, &v6->sin6_addr, 16);
    peer.port = ntohs(v6->sin6_port);
  } else {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    std::memcpy(peer.bytes, &v4->sin_addr, 4);
    peer.port = ntohs(v4->sin_port);
  }
}

std::string host_of(const PeerAddress& peer) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(peer.v6 ? AF_INET6 : AF_INET, peer.bytes, text, sizeof(text));
  return text;
}

bool turn_on(int fd, int level, int option) {
  const int on = 1;
  return setsockopt(fd, level, option, &on, sizeof(on)) == 0;
}

}  // namespace

std::string to_text(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::string to_text(const PeerAddress& peer) { return to_text(Address{host_of(peer), peer.port}); }

Result<int> open_listener(const Address& address, bool shared) {
  SocketAddress where;
  if (!parse(address, where)) {
    return Error{Code::kInvalid,
                 "cannot listen on '" + address.host + "': it is not an IPv4 or IPv6 address"};
  }
  const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const int fd = socket(where.storage.ss_family, type, 0);
  const bool listening = fd >= 0 && turn_on(fd, SOL_SOCKET, SO_REUSEADDR) &&
                         (!shared || turn_on(fd, SOL_SOCKET, SO_REUSEPORT)) &&
                         // Accepted connections inherit it, which saves each of them a system call.
                         turn_on(fd, IPPROTO_TCP, TCP_NODELAY) &&
                         bind(fd, where.get(), where.size) == 0 && listen(fd, kBacklog) == 0;
  if (listening) return fd;
  const std::string reason = std::generic_category().message(errno);
  if (fd >= 0) close(fd);
  return Error{Code::kUnavailable, "cannot listen on " + to_text(address) + ": " + reason};
}

Result<int> open_connection(const Address& address, PeerAddress& peer) {
  SocketAddress where;
  if (!parse(address, where))
    return Error{Code::kInvalid, "'" + address.host + "' is not an IPv4 or IPv6 address"};
  read_peer(where.storage, peer);
  const int fd = socket(where.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && turn_on(fd, IPPROTO_TCP, TCP_NODELAY) &&
      (connect(fd, where.get(), where.size) == 0 || errno == EINPROGRESS))
    return fd;
  const std::string reason = std::generic_category().message(errno);
  if (fd >= 0) close(fd);
  return Error{Code::kUnavailable, reason};
}

Address local_address(int fd) {
  SocketAddress where;
  where.size = sizeof(where.storage);
  ASSERT(getsockname(fd, where.get(), &where.size) == 0);
  PeerAddress self;
  read_peer(where.storage, self);
  return Address{host_of(self), self.port};
}

int accept_connection(int listener, PeerAddress& peer) {
  SocketAddress from;
  from.size = sizeof(from.storage);
  const int fd = accept4(listener, from.get(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) read_peer(from.storage, peer);
  return fd;
}

}  // namespace sluice
