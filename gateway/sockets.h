// SPDX-License-Identifier: Apache-2.0
#pragma once
// The system's TCP sockets, without a loop: opening a listener, accepting, addresses as text.
// Everything is non-blocking and closed on exec. The descriptors belong to the caller.

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace sluice {

// The peer of a connection, small enough to keep one per connection.
struct PeerAddress {
  uint8_t bytes[16] = {};  // an IPv4 address uses the first four
  uint16_t port = 0;
  bool v6 = false;
};

// "127.0.0.1:80" or "[::1]:80".
std::string to_text(const Address& address);
std::string to_text(const PeerAddress& peer);

// Opens, binds and listens, with TCP_NODELAY on for every connection that comes of it. `shared`
// sets SO_REUSEPORT. kInvalid if the host is not an address literal, kUnavailable with the system's
// reason for everything else; nothing stays open then.
Result<int> open_listener(const Address& address, bool shared);

// Begins to connect to `address`: the descriptor becomes writable when it is decided, and SO_ERROR
// then says how. kInvalid if the host is not an address literal, kUnavailable with the system's
// reason if it fails at once. `peer` is written on success.
Result<int> open_connection(const Address& address, PeerAddress& peer);

// Where the listening socket `fd` really is.
Address local_address(int fd);

// Accepts one connection: its descriptor, or -1 with errno set. `peer` is written on success.
int accept_connection(int listener, PeerAddress& peer);

}  // namespace sluice
