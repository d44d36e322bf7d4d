// SPDX-License-Identifier: Apache-2.0
#pragma once
// The wire of the simulation: a Link between a raw actor (SimSocket) and a loop (SimStream). Which
// of the two opened it makes no difference: a client's connection to a gateway and a gateway's
// connection to an upstream are the same thing seen from the other side.

#include <memory>
#include <span>
#include <string>

#include "base/loop.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {

// What both ends share: the bytes under way in each direction, and who is still there.
struct Link : std::enable_shared_from_this<Link> {
  explicit Link(SimWorld& w) : world(w) {}

  // Client to server. Pieces keep their order because each is sent when the one before has arrived.
  void push_to_server() {
    if (server_busy || loop == nullptr || (to_server.empty() && !client_fin && !client_rst)) return;
    server_busy = true;
    world.after(world.some(world.faults.latency_max), [self = shared_from_this()] {
      self->server_busy = false;
      self->arrive_at_server();
    });
  }
  void arrive_at_server();
  // Server to client.
  void push_to_client() {
    if (client_busy || (to_client.empty() && !server_fin)) return;
    client_busy = true;
    world.after(slow_every + world.some(world.faults.latency_max), [self = shared_from_this()] {
      self->client_busy = false;
      self->arrive_at_client();
    });
  }
  void arrive_at_client();
  size_t piece(size_t available) {
    if (world.prng().chance(world.faults.one_byte)) return 1;
    if (available > 1 && world.prng().chance(world.faults.split))
      return static_cast<size_t>(world.prng().between(1, static_cast<int64_t>(available)));
    return available;
  }
  void server_gone();
  void break_server();

  SimWorld& world;
  SimLoop* loop = nullptr;  // null once the server has let go
  StreamEvents* events = nullptr;
  SimSocket* client = nullptr;  // null once the client has let go
  std::string to_server;
  std::string to_client;
  std::string unread;  // arrived, but the server is not reading
  bool reading = true;
  bool client_fin = false;
  bool client_rst = false;  // the client resets once all it has sent has arrived
  bool fin_told = false;
  bool broken = false;  // the server's end was told that it is dead
  bool server_fin = false;
  bool server_busy = false;
  bool client_busy = false;
  size_t slow_bytes = 0;
  Duration slow_every = {};
};

// The server's end.
class SimStream final : public Stream {
 public:
  SimStream(SimLoop& loop, std::shared_ptr<Link> link) : loop_(loop), link_(std::move(link)) {
    ++loop_.streams_open_;
    link_->loop = &loop;
  }
  ~SimStream() override {
    --loop_.streams_open_;
    link_->server_gone();
  }
  void set_events(StreamEvents* events) override { link_->events = events; }
  void write(std::span<const Slice> parts) override {
    if (finished_ || link_->broken) return;
    for (const Slice& part : parts) link_->to_client.append(part.view());
    link_->push_to_client();
  }
  size_t unsent_bytes() const override { return link_->to_client.size(); }
  void read(bool wanted) override {
    link_->reading = wanted;
    if (wanted) link_->arrive_at_server();
  }
  void shut_down() override {
    if (finished_ || link_->broken) return;
    finished_ = true;
    link_->server_fin = true;
    link_->push_to_client();
  }
  std::string peer() const override { return "sim:0"; }

 private:
  SimLoop& loop_;
  std::shared_ptr<Link> link_;
  bool finished_ = false;
};

}  // namespace sluice::sim
