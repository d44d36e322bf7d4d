// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of UvLoop share: a loop on the real system, a server whose connections do what the
// test says, and clients as plain sockets, on loopback with ports that the system chose. Nothing
// sleeps; a test ends when what it waits for has happened, and hangs if it never does.

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "gateway/uv_loop.h"

namespace sluice {

// A loop and its log.
struct World {
  std::vector<std::string> logged;
  std::function<void()> on_log = [] {};
  Log log{{}, &UvLoop::clock, [this](std::string_view line) {
            logged.emplace_back(line);
            on_log();
          }};
  UvLoop loop{log};
};

// A client's plain, blocking socket.
class Client {
 public:
  explicit Client(const Address& to, int receive_buffer = 0)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    REQUIRE(fd_ >= 0);
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in where = {};
    where.sin_family = AF_INET;
    where.sin_port = htons(to.port);
    inet_pton(AF_INET, to.host.c_str(), &where.sin_addr);
    REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&where), sizeof(where)) == 0);
  }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Client() { close(); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  // Closes with RST instead of FIN.
  void reset() {
    const linger now = {1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close();
  }
  void send(std::string_view bytes) {
    CHECK(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
  }
  void end() { ::shutdown(fd_, SHUT_WR); }
  // Receives until the peer ends, or `bytes` are there.
  std::string receive(size_t bytes = SIZE_MAX) {
    std::string got;
    char buffer[65536];
    while (got.size() < bytes) {
      const ssize_t n = recv(fd_, buffer, std::min(sizeof(buffer), bytes - got.size()), 0);
      if (n <= 0) break;
      got.append(buffer, static_cast<size_t>(n));
    }
    return got;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// A server that keeps what it accepts and does what the test says.
class Server final : public ListenerEvents {
 public:
  struct Connection final : StreamEvents {
    Connection(Server& the_server, std::unique_ptr<Stream> the_stream)
        : server(the_server), stream(std::move(the_stream)) {
      stream->set_events(this);
    }
    void on_bytes(std::string_view some) override {
      bytes += some;
      server.on_bytes(*this);
    }
    void on_end() override {
      ++ends;
      server.on_end(*this);
    }
    void on_drained() override {
      ++drains;
      server.on_drained(*this);
    }
    void on_broken() override {
      ++breaks;
      server.on_broken(*this);
    }
    void write(std::string_view text) {
      const Slice slice = Slice::copy_of(text);
      stream->write({&slice, 1});
    }
    Server& server;
    std::unique_ptr<Stream> stream;
    std::string bytes;
    int ends = 0;
    int drains = 0;
    int breaks = 0;
  };
  using Hook = std::function<void(Connection&)>;

  explicit Server(UvLoop& loop, const Address& address = {}) {
    auto made = loop.listen(address, false, *this);
    REQUIRE(made.ok());
    listener = std::move(made).value();
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    connections.push_back(std::make_unique<Connection>(*this, std::move(stream)));
    on_new(*connections.back());
  }
  void drop(const Connection& connection) {
    std::erase_if(connections, [&](const auto& other) { return other.get() == &connection; });
  }
  Client client() const { return Client(listener->address()); }

  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Connection>> connections;
  Hook on_new = [](Connection&) {};
  Hook on_bytes = [](Connection&) {};
  Hook on_end = [](Connection&) {};
  Hook on_drained = [](Connection&) {};
  Hook on_broken = [](Connection&) {};
};

}  // namespace sluice
