// SPDX-License-Identifier: Apache-2.0
#include "gateway/server.h"

#include <ctime>
#include <utility>

#include "gateway/dispatcher.h"

namespace sluice {
namespace {

// Connections beyond connections_max that are kept for the moment it takes to tell them so.
constexpr size_t kRejectsMax = 128;
// Turns after drain() in which sockets are still looked at: one accepts what is in the backlog, the
// next reads what those and idle connections have sent already.
constexpr int kDrainTurns = 3;

bool usable_as_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  for (const char c : id) {
    if (c < '!' || c > '~') return false;
  }
  return true;
}

}  // namespace

Server::Server(Loop& loop, Options options, World world)
    : loop_(loop),
      options_(options),
      world_(world),
      replies_([&loop] { loop.wake(); }),
      prepared_([&loop] { loop.wake(); }) {
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

std::optional<Error> Server::on_head(Connection& connection, const RequestHead& head) {
  const Route route = Api::route(connection.surface(), head.method, head.path());
  if (route == Route::kEmbeddings) return world_.api->check_head(head);
  return std::nullopt;
}

bool Server::hold_bytes(size_t bytes) {
  if (!world_.budget->take(bytes)) return false;
  world_.shard->set(world_.telemetry->bytes_held, static_cast<double>(held_ += bytes));
  return true;
}

void Server::release_bytes(size_t bytes) {
  if (bytes == 0) return;
  world_.budget->give(bytes);
  world_.shard->set(world_.telemetry->bytes_held, static_cast<double>(held_ -= bytes));
}

void Server::on_request(Connection& connection, RequestHead head, Slice body) {
  const RequestId id = static_cast<uint64_t>(options_.index) << Dispatcher::kIoShift | next_id_++;
  connection.tag = id;
  Exchange& exchange = exchanges_[id];
  exchange.connection = &connection;
  exchange.body_bytes = body.size();
  exchange.request_id = request_id_of(head);
  if (world_.log->access_enabled()) {
    exchange.method = head.method;
    exchange.target = head.target;
  }
  const Route route = Api::route(connection.surface(), head.method, head.path());
  if (route == Route::kEmbeddings) return embeddings(id, std::move(head), body);
  finish(id, world_.api->answer(route, connection.surface(), head));
}

// Makes rows of the body, here or, if it is large, on the offload thread.
void Server::embeddings(RequestId id, RequestHead head, const Slice& body) {
  const Instant received = exchanges_.at(id).connection->head_read();
  auto prepare = [api = world_.api, id, received](const RequestHead& h, const Slice& b) {
    Prepared prepared;
    prepared.id = id;
    prepared.call = api->read_embeddings(h, b, received, prepared.request);
    return prepared;
  };
  if (body.size() <= options_.inline_bytes_max) return queue(prepare(head, body));
  world_.offload->run(
      [this, prepare, head = std::move(head), body] { prepared_.post(prepare(head, body)); });
}

void Server::queue(Prepared prepared) {
  const auto found = exchanges_.find(prepared.id);
  if (found == exchanges_.end()) return;  // the client left meanwhile
  if (!prepared.call.ok()) return finish(prepared.id, error_response(prepared.call.error()));
  Exchange& exchange = found->second;
  exchange.call = prepared.call.value();
  exchange.sent = true;
  prepared.request.id = prepared.id;
  prepared.request.arrived = loop_.now();
  world_.shard->observe(world_.telemetry->stage_read,
                        (loop_.now() - exchange.connection->request_began()).seconds());
  world_.core->post(Arrived{std::move(prepared.request)});
}

void Server::turn() {
  Prepared prepared;
  while (prepared_.take(prepared)) queue(std::move(prepared));
  Reply reply;
  while (replies_.take(reply)) {
    const auto found = exchanges_.find(reply.request);
    if (found == exchanges_.end()) continue;  // its client left while the reply was on its way
    if (reply.outcomes.ok())
      world_.shard->observe(world_.telemetry->stage_queue, reply.timings.queued.seconds());
    finish(reply.request, world_.api->write_embeddings(found->second.call, reply));
  }
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

// Sends the one answer of a request.
void Server::finish(RequestId id, Response response) {
  const auto found = exchanges_.find(id);
  Exchange exchange = std::move(found->second);
  exchanges_.erase(found);
  if (exchange.request_id.empty()) exchange.request_id = generated_id(id);
  response.headers.emplace_back("x-request-id", exchange.request_id);
  world_.telemetry->count_request(*world_.shard, response.status);
  Connection& connection = *exchange.connection;
  if (world_.log->access_enabled())
    world_.log->access({.peer = connection.peer(),
                        .method = exchange.method,
                        .target = exchange.target,
                        .request_id = exchange.request_id,
                        .status = response.status,
                        .bytes_received = exchange.body_bytes,
                        .bytes_sent = response.body.size(),
                        .took = loop_.now() - connection.request_began()});
  connection.respond(response);
}

void Server::on_refused(Connection& connection, const Error& error) {
  world_.telemetry->count_request(*world_.shard, http_status(error.code));
  if (world_.log->access_enabled())
    world_.log->access({.peer = connection.peer(),
                        .method = "-",
                        .target = "-",
                        .request_id = "-",
                        .status = http_status(error.code),
                        .took = loop_.now() - connection.request_began()});
}

void Server::on_gone(Connection& connection) {
  const auto found = exchanges_.find(connection.tag);
  if (found == exchanges_.end()) return;
  if (found->second.sent) world_.core->post(Cancelled{connection.tag});
  exchanges_.erase(found);
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

// The client's own x-request-id if it can stand in a header and a log line.
std::string Server::request_id_of(const RequestHead& head) {
  const auto given = head.find("x-request-id");
  return given && usable_as_id(*given) ? std::string(*given) : std::string();
}

// 24 hexadecimal digits: the process, then the request.
std::string Server::generated_id(RequestId id) const {
  std::string text = "req-";
  for (int shift = 28; shift >= 0; shift -= 4)
    text += "0123456789abcdef"[options_.id_seed >> shift & 15];
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[id >> shift & 15];
  return text;
}

}  // namespace sluice
