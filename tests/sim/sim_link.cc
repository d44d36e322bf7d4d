// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_link.h"

#include <algorithm>
#include <utility>

namespace sluice::sim {
namespace {

constexpr size_t kReadBytes = 64 * 1024;  // that a loop reads off a connection at once

}  // namespace

void Link::arrive_at_server() {
  if (loop == nullptr) return;
  const size_t size = to_server.empty() ? 0 : piece(to_server.size());
  unread.append(to_server, 0, size);
  to_server.erase(0, size);
  loop->deliver([self = shared_from_this()] {
    if (self->loop == nullptr || !self->reading) return;
    if (!self->unread.empty()) {
      const std::string bytes = self->unread.substr(0, kReadBytes);
      self->unread.erase(0, bytes.size());
      self->world.trace(bytes);
      self->events->on_bytes(bytes);
    }
    if (self->loop == nullptr || !self->reading) return;
    if (!self->unread.empty()) return self->arrive_at_server();
    if (self->client_fin && self->to_server.empty() && self->unread.empty() &&
        !std::exchange(self->fin_told, true))
      self->events->on_end();
  });
  if (!to_server.empty()) return push_to_server();
  if (client_rst) {
    client = nullptr;
    break_server();
  }
}

void Link::arrive_at_client() {
  if (client == nullptr) return break_server();  // the system of a client that left answers RST
  const size_t most = slow_bytes > 0 ? std::min(slow_bytes, to_client.size()) : to_client.size();
  const size_t size = to_client.empty() ? 0 : piece(most);
  const std::string bytes = to_client.substr(0, size);
  to_client.erase(0, size);
  if (to_client.empty() && size > 0 && loop != nullptr)
    loop->deliver([self = shared_from_this()] {
      if (self->loop != nullptr && self->to_client.empty()) self->events->on_drained();
    });
  world.trace(bytes);
  if (!bytes.empty()) client->on_bytes(bytes);
  if (client == nullptr) return;
  if (!to_client.empty()) return push_to_client();
  if (server_fin) {
    server_fin = false;
    client->on_end();
  }
}

void Link::break_server() {
  to_client.clear();
  if (loop == nullptr) return;
  loop->deliver([self = shared_from_this()] {
    if (self->loop == nullptr || std::exchange(self->broken, true)) return;
    self->events->on_broken();
  });
}

// The server closed: what it had not sent is lost, and the client sees FIN after what was sent, or
// a reset if it goes on writing; here, FIN.
void Link::server_gone() {
  loop = nullptr;
  events = nullptr;
  if (client == nullptr) return;
  const bool lost = !to_client.empty() || !unread.empty() || !to_server.empty();
  to_client.clear();
  world.after(world.some(world.faults.latency_max), [self = shared_from_this(), lost] {
    if (self->client == nullptr) return;
    if (lost) {
      self->client->on_reset();
    } else {
      self->client->on_end();
    }
  });
}

SimSocket::SimSocket(SimWorld& world, std::shared_ptr<Link> link)
    : world_(world), link_(std::move(link)) {
  link_->client = this;
}

SimSocket::~SimSocket() {
  if (link_->client == this) finish();
  link_->client = nullptr;
  link_->to_client.clear();
}

void SimSocket::send(std::string_view bytes) {
  if (link_->client_fin) return;
  link_->to_server.append(bytes);
  link_->push_to_server();
}

void SimSocket::finish() {
  if (std::exchange(link_->client_fin, true)) return;
  link_->push_to_server();
}

void SimSocket::reset() {
  link_->client = nullptr;
  link_->to_server.clear();
  link_->to_client.clear();
  if (link_->loop == nullptr) return;
  world_.after(world_.some(world_.faults.latency_max), [link = link_] { link->break_server(); });
}

void SimSocket::reset_when_sent() {
  link_->client_rst = true;
  link_->push_to_server();
}

void SimSocket::read_slowly(size_t bytes, Duration every) {
  link_->slow_bytes = bytes;
  link_->slow_every = every;
}

}  // namespace sluice::sim
