// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_upstream.h"

#include <algorithm>

#include "base/http1.h"
#include "base/http1_head.h"

namespace sluice::sim {

// One connection, as the upstream and the replies under way see it.
struct SimReply::Connection {
  SimUpstream* upstream = nullptr;
  SimWorld* world = nullptr;
  uint64_t number = 0;
  std::unique_ptr<SimSocket> socket;
  RequestParser parser{HttpLimits{.body_bytes_max = uint64_t{1} << 40}};
  SimRequest request;    // being read
  bool waiting = false;  // a request was read and is not answered
  bool closed = false;   // nothing more is sent
};

std::optional<std::string_view> SimRequest::find(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (http1::equal_any_case(key, name)) return value;
  }
  return std::nullopt;
}

void SimReply::respond(int status, std::string_view body,
                       const std::vector<std::pair<std::string, std::string>>& headers) const {
  const auto connection = connection_.lock();
  if (connection == nullptr || connection->closed) return;
  bool keep_alive = connection->request.keep_alive;
  HeaderLines lines;
  for (const auto& [name, value] : headers) {
    const bool closes = http1::equal_any_case(name, "connection") && value == "close";
    if (closes) keep_alive = false;
    if (!closes) lines.add(name, value);
  }
  std::string bytes;
  write_response_head(bytes, status, lines,
                      {.content_length = body.size(), .keep_alive = keep_alive});
  if (connection->request.method != "HEAD") bytes.append(body);
  SimWorld& world = *connection->world;
  if (world.prng().chance(connection->upstream->faults.cut)) {
    send(std::string_view(bytes).substr(
        0, static_cast<size_t>(world.prng().between(0, static_cast<int64_t>(bytes.size()) - 1))));
    return reset();
  }
  send(bytes);
  connection->waiting = false;
  if (!keep_alive || world.prng().chance(connection->upstream->faults.close_after)) close();
}

void SimReply::send(std::string_view bytes) const {
  const auto connection = connection_.lock();
  if (connection == nullptr || connection->closed) return;
  connection->waiting = false;
  connection->socket->send(bytes);
}

void SimReply::close() const {
  const auto connection = connection_.lock();
  if (connection == nullptr || connection->closed) return;
  connection->closed = true;
  connection->socket->finish();
}

void SimReply::reset() const {
  const auto connection = connection_.lock();
  if (connection == nullptr || connection->closed) return;
  connection->closed = true;
  connection->socket->reset_when_sent();
}

bool SimReply::open() const {
  const auto connection = connection_.lock();
  return connection != nullptr && !connection->closed;
}

SimUpstream::SimUpstream(SimWorld& world, std::string host, uint16_t port, Script script)
    : world_(world),
      where_(std::move(host) + ":" + std::to_string(port)),
      script_(std::move(script)) {
  world_.ports[where_] = {
      .answer =
          [this] {
            if (down_ || world_.prng().chance(faults.refuse)) return SimPort::Answer::kRefuse;
            if (world_.prng().chance(faults.ignore)) return SimPort::Answer::kIgnore;
            return SimPort::Answer::kAccept;
          },
      .accept = [this](std::unique_ptr<SimSocket> socket) { accept(std::move(socket)); }};
}

SimUpstream::~SimUpstream() { world_.ports.erase(where_); }

void SimUpstream::go_down() {
  down_ = true;
  for (const auto& [number, connection] : connections_) connection->socket->reset();
  connections_.clear();
}

void SimUpstream::come_up() { down_ = false; }

size_t SimUpstream::connections_open() const {
  return static_cast<size_t>(std::count_if(connections_.begin(), connections_.end(),
                                           [](const auto& one) { return !one.second->closed; }));
}

void SimUpstream::accept(std::unique_ptr<SimSocket> socket) {
  auto made = std::make_shared<Connection>();
  const uint64_t number = ++connections_made_;
  made->upstream = this;
  made->world = &world_;
  made->number = number;
  made->socket = std::move(socket);
  SimSocket& raw = *made->socket;
  raw.on_bytes = [this, weak = std::weak_ptr(made)](std::string_view bytes) {
    if (const auto connection = weak.lock()) on_bytes(connection, bytes);
  };
  raw.on_end = [this, number] { drop(number); };
  raw.on_reset = [this, number] { drop(number); };
  connections_.emplace(number, std::move(made));
}

// A socket is told of its end from inside itself, and so dies a little later.
void SimUpstream::drop(uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  world_.after({}, [dead = found->second] { dead->closed = true; });
  connections_.erase(found);
}

void SimUpstream::on_bytes(const std::shared_ptr<Connection>& connection, std::string_view bytes) {
  if (connection->closed) return;
  if (connection->waiting) violations_.emplace_back("bytes before the last request was answered");
  HttpEvent event = HttpEvent::kNeedMore;
  do {
    size_t used = 0;
    event = connection->parser.feed(bytes, used);
    bytes.remove_prefix(used);
    SimRequest& request = connection->request;
    if (event == HttpEvent::kHead) {
      const RequestHead& head = connection->parser.head();
      request = {.method = head.method, .target = head.target, .headers = {}, .body = {}};
      request.keep_alive = head.keep_alive;
      for (const Header& header : head.headers)
        request.headers.emplace_back(header.name, header.value);
      if (head.expects_continue) connection->socket->send("HTTP/1.1 100 Continue\r\n\r\n");
    } else if (event == HttpEvent::kBody) {
      request.body.append(connection->parser.body());
    } else if (event == HttpEvent::kEnd) {
      if (connection->waiting) violations_.emplace_back("a request before the last was answered");
      on_request(connection);
    } else if (event == HttpEvent::kError) {
      violations_.push_back("a bad request: " + connection->parser.error().message);
      connection->closed = true;
      connection->socket->finish();
    }
  } while (event != HttpEvent::kNeedMore && event != HttpEvent::kError && !connection->closed);
}

void SimUpstream::on_request(const std::shared_ptr<Connection>& connection) {
  connection->waiting = true;
  connection->request.connection = connection->number;
  connection->request.serial = ++requests_;
  SimReply reply;
  reply.connection_ = connection;
  if (world_.prng().chance(faults.reset_before)) {
    script_(connection->request, SimReply{});
    return reply.reset();
  }
  if (faults.delay_max <= Duration{}) return script_(connection->request, reply);
  world_.after(world_.some(faults.delay_max), [this, request = connection->request, reply] {
    if (reply.open()) script_(request, reply);
  });
}

}  // namespace sluice::sim
