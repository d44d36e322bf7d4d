// SPDX-License-Identifier: Apache-2.0
#include "gateway/server.h"

#include <ctime>
#include <utility>

namespace sluice {
namespace {

// Connections beyond connections_max that are kept for the moment it takes to tell them so.
constexpr size_t kRejectsMax = 128;
// Turns after drain() in which sockets are still looked at: one accepts what is in the backlog, the
// next reads what those and idle connections have sent already.
constexpr int kDrainTurns = 3;

}  // namespace

Server::Server(Loop& loop, Options options, World world)
    : loop_(loop),
      options_(options),
      world_(world),
      replies_([&loop] { loop.wake(); }),
      orders_([&loop] { loop.wake(); }),
      prepared_([&loop] { loop.wake(); }),
      calls_(loop, [this](Event event) { world_.core->post(std::move(event)); }, *world.budget) {
  main_.server = admin_.server = this;
  admin_.surface = Surface::kAdmin;
}

Server::~Server() = default;

Result<Address> Server::listen(Surface surface, const Address& address, bool shared) {
  Port& port = surface == Surface::kMain ? main_ : admin_;
  Result<std::unique_ptr<Listener>> listener = loop_.listen(address, shared, port);
  if (!listener.ok()) return listener.error();
  port.listener = std::move(listener).value();
  return port.listener->address();
}

void Server::Port::on_accept(std::unique_ptr<Stream> stream) {
  // Probes and scrapes do not count, and get through when clients have taken every place.
  const size_t open = surface == Surface::kMain ? server->main_open_ : 0;
  if (open >= server->options_.connections_max + kRejectsMax) return;
  auto connection = std::make_unique<Connection>(server->loop_, std::move(stream), surface,
                                                 server->options_.limits, *server);
  Connection& added = *connection;
  server->connections_.emplace(&added, std::move(connection));
  if (surface == Surface::kMain) ++server->main_open_;
  server->show_connections();
  if (open >= server->options_.connections_max)
    added.reject({.code = Code::kUnavailable,
                  .message = "The server has as many connections as it may.",
                  .retry_after = seconds(1)});
}

bool Server::hold_bytes(size_t bytes) { return world_.budget->take(bytes); }

void Server::count_bytes(size_t bytes) {
  world_.budget->add(bytes);
  if (world_.budget->nearly_full()) stop_streams();
}

void Server::release_bytes(size_t bytes) {
  if (bytes > 0) world_.budget->give(bytes);
}

void Server::turn() {
  Prepared prepared;
  while (prepared_.take(prepared)) queue(std::move(prepared));
  CallOrder order;
  while (orders_.take(order)) obey(std::move(order));
  Reply reply;
  while (replies_.take(reply)) answer(reply);
  if (upstreams_) upstreams_->publish(*world_.telemetry, *world_.shard);
  if (draining()) drain_turn();
  if (closed_.empty()) return;
  for (Connection* connection : closed_) {
    if (connection->surface() == Surface::kMain) --main_open_;
    connections_.erase(connection);
  }
  closed_.clear();
  show_connections();
}

void Server::show_connections() {
  world_.shard->set(world_.telemetry->connections, static_cast<double>(connections_.size()));
}

void Server::on_closed(Connection& connection) {
  closed_.push_back(&connection);
  loop_.wake();
}

void Server::on_written(Connection&, Duration took) {
  world_.shard->observe(world_.telemetry->stage_write, took.seconds());
}

std::string_view Server::http_date() {
  const int64_t second = loop_.unix_seconds();
  if (second != date_second_) {
    date_second_ = second;
    const time_t at = second;
    tm parts{};
    gmtime_r(&at, &parts);
    char text[64];
    const size_t size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    date_.assign(text, size);
  }
  return date_;
}

void Server::drain() {
  drain_turns_ = 1;
  loop_.wake();
}

void Server::drain_turn() {
  if (drain_turns_ <= kDrainTurns) {
    if (++drain_turns_ > 2) main_.listener.reset();
    loop_.wake();
    return;
  }
  // The admin listener stays for probes and a last scrape.
  for (auto& [connection, owned] : connections_) {
    if (connection->surface() == Surface::kMain) connection->drain();
  }
}

bool Server::reading() const {
  if (drain_turns_ <= kDrainTurns) return true;
  for (const auto& [connection, owned] : connections_) {
    if (connection->surface() == Surface::kMain && connection->reading()) return true;
  }
  for (const auto& [id, exchange] : exchanges_) {
    if (!exchange.sent) return true;  // on the offload thread
  }
  return false;
}

bool Server::busy() const {
  if (drain_turns_ <= kDrainTurns) return true;
  for (const auto& [connection, owned] : connections_) {
    if (connection->surface() == Surface::kMain && connection->busy()) return true;
  }
  return false;
}

}  // namespace sluice
