// SPDX-License-Identifier: Apache-2.0
// Server, as far as requests go: what each becomes, and its one answer.
#include <utility>

#include "gateway/server.h"

namespace sluice {
namespace {

bool usable_as_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  for (const char c : id) {
    if (c < '!' || c > '~') return false;
  }
  return true;
}

}  // namespace

HeadVerdict Server::on_head(Connection& connection, const RequestHead& head) {
  const Match match = world_.api->router().match(connection.surface(), head.method, head.path());
  if (match.route == Route::kBatched) {
    Api::HeadChoice choice = world_.api->check_head(head);
    if (!choice.pass_through) return {.refused = std::move(choice.refused)};
  } else if (match.route != Route::kPassThrough) {
    return {};
  }
  if (!streams_stopped_ && !world_.budget->nearly_full())
    return {.refused = std::nullopt, .stream = true};
  return {.refused = Error{.code = Code::kOverloaded,
                           .message = "The server holds as many bytes as it may.",
                           .retry_after = seconds(1)}};
}

// A request awaits its answer from now on.
Server::Exchange& Server::open(Connection& connection, const RequestHead& head) {
  const RequestId id = static_cast<uint64_t>(options_.index) << Dispatcher::kIoShift | next_id_++;
  connection.tag = id;
  Exchange& exchange = exchanges_[id];
  exchange.connection = &connection;
  exchange.request_id = request_id_of(head);
  if (world_.log->access_enabled()) {
    exchange.method = head.method;
    exchange.target = head.target;
  }
  return exchange;
}

void Server::on_request(Connection& connection, RequestHead head, Slice body) {
  Exchange& exchange = open(connection, head);
  exchange.body_bytes = body.size();
  const RequestId id = connection.tag;
  const Match match = world_.api->router().match(connection.surface(), head.method, head.path());
  if (!match.spellings.empty()) exchange.dialect = match.spellings.front().dialect;
  if (match.route == Route::kBatched) return batched(id, match, std::move(head), std::move(body));
  finish(id, world_.api->answer(match, head));
}

// Makes rows of the body, here or, if it is large, on the offload thread.
void Server::batched(RequestId id, const Match& match, RequestHead head, Slice body) {
  const Instant received = exchanges_.at(id).connection->head_read();
  auto prepare = [api = world_.api, id, received, match](RequestHead h, Slice b) {
    Prepared prepared;
    prepared.id = id;
    prepared.inquiry = api->read(match, h, b, received, prepared.request);
    prepared.head = std::move(h);
    prepared.body = std::move(b);
    return prepared;
  };
  if (body.size() <= options_.inline_bytes_max)
    return queue(prepare(std::move(head), std::move(body)));
  world_.offload->run(
      [this, prepare, head = std::make_shared<RequestHead>(std::move(head)),
       body = std::move(body)] { prepared_.post(prepare(std::move(*head), body)); });
}

void Server::queue(Prepared prepared) {
  const auto found = exchanges_.find(prepared.id);
  if (found == exchanges_.end()) return;  // the client left meanwhile
  if (!prepared.inquiry.ok()) return finish_error(prepared.id, prepared.inquiry.error());
  Exchange& exchange = found->second;
  exchange.inquiry = std::move(prepared.inquiry).value();
  exchange.dialect = exchange.inquiry.spelling.dialect;
  if (goes_alone(exchange)) {
    if (!exchange.inquiry.pass_through && world_.shadow != nullptr) {
      exchange.shadowed = true;
      prepared.request.id = prepared.id;
      prepared.request.arrived = loop_.now();
      world_.shadow->post(Arrived{std::move(prepared.request)});
    }
    return pass_on(prepared.id, std::move(prepared.head), std::move(prepared.body), true);
  }
  exchange.sent = true;
  prepared.request.id = prepared.id;
  prepared.request.arrived = loop_.now();
  world_.shard->observe(world_.telemetry->stage_read,
                        (loop_.now() - exchange.connection->request_began()).seconds());
  world_.core->post(Arrived{std::move(prepared.request)});
}

// Whether a request that was read goes on as it came: it cannot be merged, or must not be.
bool Server::goes_alone(const Exchange& exchange) const {
  if (exchange.inquiry.pass_through) return true;
  return upstreams_ != nullptr && upstreams_->passthrough() &&
         world_.api->merge_mode(exchange.inquiry.model) != MergeMode::kOn;
}

void Server::answer(const Reply& reply) {
  const auto found = exchanges_.find(reply.request);
  if (found == exchanges_.end()) return;  // its client left while the reply was on its way
  Exchange& exchange = found->second;
  if (exchange.pass) return end_pass(exchange, reply);
  if (!reply.outcomes.ok()) return finish_error(reply.request, reply.outcomes.error());
  world_.shard->observe(world_.telemetry->stage_queue, reply.timings.queued.seconds());
  finish(reply.request, world_.api->write(exchange.inquiry, reply));
}

void Server::finish_error(RequestId id, const Error& error) {
  Exchange& exchange = exchanges_.at(id);
  if (exchange.request_id.empty()) exchange.request_id = generated_id(id);
  finish(id, world_.api->error(error, exchange.dialect, exchange.request_id));
}

// Sends the one answer of a request.
void Server::finish(RequestId id, Response response) {
  const auto taken = exchanges_.extract(id);
  Exchange& exchange = taken.mapped();
  if (exchange.request_id.empty()) exchange.request_id = generated_id(id);
  response.headers.add("x-request-id", exchange.request_id);
  log_access(exchange, response.status, response.body.size());
  exchange.connection->respond(response);
}

void Server::log_access(const Exchange& exchange, int status, uint64_t bytes_sent) {
  world_.telemetry->count_request(*world_.shard, status);
  if (!world_.log->access_enabled()) return;
  world_.log->access({.peer = exchange.connection->peer(),
                      .method = exchange.method,
                      .target = exchange.target,
                      .request_id = exchange.request_id,
                      .status = status,
                      .bytes_received = exchange.body_bytes,
                      .bytes_sent = bytes_sent,
                      .took = loop_.now() - exchange.connection->request_began()});
}

Response Server::error_answer(Connection&, const Error& error) {
  return world_.api->error(error, nullptr, {});
}

void Server::on_refused(Connection& connection, const Error& error) {
  const Exchange none{.connection = &connection,
                      .inquiry = {},
                      .pass = {},
                      .pass_began = {},
                      .pass_took = {},
                      .method = "-",
                      .target = "-",
                      .request_id = "-"};
  log_access(none, http_status(error.code), 0);
}

void Server::on_gone(Connection& connection) {
  const auto found = exchanges_.find(connection.tag);
  if (found == exchanges_.end()) return;
  if (found->second.sent) world_.core->post(Cancelled{connection.tag});
  const CallId call = found->second.pass_call;
  exchanges_.erase(found);
  if (call != 0)
    report(call, Failure::kFinal, {.code = Code::kTimeout, .message = "The client left."});
}

// The client's own x-request-id if it can stand in a header and a log line.
std::string Server::request_id_of(const RequestHead& head) {
  const auto given = head.find("x-request-id");
  return given && usable_as_id(*given) ? std::string(*given) : std::string();
}

// 24 hexadecimal digits: the process, then the request.
std::string Server::generated_id(RequestId id) const {
  char text[] = "req-........................";
  char* at = text + 4;
  for (int shift = 28; shift >= 0; shift -= 4)
    *at++ = "0123456789abcdef"[options_.id_seed >> shift & 15];
  for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[id >> shift & 15];
  return text;
}

}  // namespace sluice
