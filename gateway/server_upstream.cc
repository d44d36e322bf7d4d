// SPDX-License-Identifier: Apache-2.0
// Server, as far as endpoints go: the calls that the core orders, and the requests that go on as
// they came.
#include <algorithm>
#include <utility>

#include "gateway/headers.h"
#include "gateway/server.h"

namespace sluice {

namespace {

// How often it is looked whether streams that were stopped may go on: other threads' bytes count
// too, and nobody tells of those.
constexpr Duration kEaseEvery = milliseconds(10);

}  // namespace

void Server::obey(CallOrder order) {
  if (const auto* abort = std::get_if<AbortCall>(&order)) return calls_.abort(abort->call);
  StartCall& start = std::get<StartCall>(order);
  if (start.backend == upstreams_->passthrough()) return start_pass(std::move(start));
  const BackendIndex backend = start.backend;
  calls_.start(std::move(start), upstreams_->upstream(backend).target, upstreams_->pool(backend));
}

void Server::start_pass(StartCall start) {
  const auto found = exchanges_.find(start.rows.front().request);
  if (found == exchanges_.end())
    return report(start.call, Failure::kFinal,
                  {.code = Code::kTimeout, .message = "The client left."});
  found->second.pass_call = start.call;
  found->second.pass_began = loop_.now();
  found->second.pass->start();
}

// The core gives a passed-through request up: it has failed before it was answered, or its deadline
// has come. That is for the head of its answer; one that has begun goes on.
void Server::end_pass(Exchange& exchange, const Reply& reply) {
  ASSERT(!reply.outcomes.ok());
  if (exchange.connection->answering()) return;
  exchange.pass.reset();
  if (exchange.pass_call != 0) report(exchange.pass_call, Failure::kFinal, reply.outcomes.error());
  finish_error(reply.request, reply.outcomes.error());
}

// Tells the core that a call which passed something on has failed.
void Server::report(CallId call, Failure failure, const Error& error) {
  CallDone done{.call = call, .failure = failure, .busy = {}};
  done.outcomes = error;
  world_.core->post(std::move(done));
}

void Server::pass_on(RequestId id, RequestHead head, Slice body, bool complete) {
  Exchange& exchange = exchanges_.at(id);
  Request request;
  if (auto wrong = Api::read_headers(head, exchange.connection->head_read(), request))
    return finish_error(id, *wrong);
  if (complete) exchange.connection->hand_over();
  request.id = id;
  request.model = *upstreams_->passthrough_model();
  request.tenant = tenant_of(head.headers);
  request.arrived = loop_.now();
  request.rows.emplace_back();
  exchange.sent = true;
  exchange.pass =
      std::make_unique<PassThrough>(id, *exchange.connection, std::move(head), std::move(body),
                                    complete, *upstreams_->pass_target(), *this);
  world_.core->post(Arrived{std::move(request)});
}

void Server::on_stream(Connection& connection, RequestHead head) {
  open(connection, head);
  pass_on(connection.tag, std::move(head), {}, false);
}

PassThrough* Server::pass_of(const Connection& connection) {
  const auto found = exchanges_.find(connection.tag);
  return found == exchanges_.end() ? nullptr : found->second.pass.get();
}

void Server::on_stream_bytes(Connection& connection, std::string_view bytes) {
  if (PassThrough* pass = pass_of(connection)) {
    exchanges_.at(connection.tag).body_bytes += bytes.size();
    pass->on_client_bytes(bytes);
  }
}

void Server::on_stream_end(Connection& connection) {
  if (PassThrough* pass = pass_of(connection)) pass->on_client_end();
}

void Server::on_stream_drained(Connection& connection) {
  if (PassThrough* pass = pass_of(connection)) pass->on_client_drained();
}

void Server::on_tunnel_bytes(Connection& connection, std::string_view bytes) {
  if (PassThrough* pass = pass_of(connection)) pass->on_client_bytes(bytes);
}

void Server::on_tunnel_end(Connection& connection) {
  if (PassThrough* pass = pass_of(connection)) pass->on_client_fin();
}

void Server::on_pass_started(RequestId id) {
  world_.core->post(CallStarted{exchanges_.at(id).pass_call});
}

void Server::on_pass_head(RequestId id) {
  Exchange& exchange = exchanges_.at(id);
  exchange.pass_took = loop_.now() - exchange.pass_began;
}

void Server::on_pass_holds(size_t before, size_t now) {
  if (now < before) release_bytes(before - now);
  if (now > before) count_bytes(now - before);
}

size_t Server::pass_room(RequestId id) const {
  if (!streams_stopped_) return PassThrough::kWaitingMax;
  return id == privileged_ ? 1 : 0;
}

// Too much is held: no stream reads on, at neither end. What they have read goes out to whoever
// takes it.
void Server::stop_streams() {
  if (std::exchange(streams_stopped_, true)) return;
  privileged_ = 0;
  for (auto& [id, exchange] : exchanges_) {
    if (exchange.pass) exchange.pass->pace();
  }
  if (!easing_) easing_ = loop_.timer([this] { ease_streams(); });
  easing_->again(loop_.now() + kEaseEvery);
}

// Lets them go on if enough was given back. Until then one of them at a time may take a piece, in
// turn: what an endpoint cannot give may be what keeps it from taking.
void Server::ease_streams() {
  if (world_.budget->eased()) {
    streams_stopped_ = false;
    for (auto& [id, exchange] : exchanges_) {
      if (exchange.pass) exchange.pass->pace();
    }
    return;
  }
  easing_->again(loop_.now() + kEaseEvery);
  const auto holder = exchanges_.find(privileged_);
  if (holder != exchanges_.end() && holder->second.pass && !holder->second.pass->idle()) return;
  RequestId next = UINT64_MAX;
  RequestId first = UINT64_MAX;
  for (const auto& [id, exchange] : exchanges_) {
    if (!exchange.pass) continue;
    first = std::min(first, id);
    if (id > privileged_) next = std::min(next, id);
  }
  const RequestId before = std::exchange(privileged_, next != UINT64_MAX ? next : first);
  for (const RequestId id : {before, privileged_}) {
    const auto found = exchanges_.find(id);
    if (found != exchanges_.end() && found->second.pass) found->second.pass->pace();
  }
}

void Server::on_pass_end(RequestId id, const PassEnd& end) {
  const auto found = exchanges_.find(id);
  Exchange& exchange = found->second;
  const CallId call = std::exchange(exchange.pass_call, 0);
  if (exchange.shadowed) world_.shadow->post(ShadowEnded{loop_.now() - exchange.pass_began});
  if (end.failure && !end.answered) {
    // The core decides: only what was not sent may go again, else the reply will be this error.
    using Kind = HttpFailure::Kind;
    const bool unsent = end.failure->kind == Kind::kConnect && !end.failure->sent;
    return report(call, unsent ? Failure::kUnreachable : Failure::kCut, end.failure->error);
  }
  if (exchange.request_id.empty()) exchange.request_id = generated_id(id);
  log_access(exchange, end.status, 0);
  Connection& connection = *exchange.connection;
  const Duration took = exchange.pass_took;
  exchanges_.erase(found);
  if (end.failure) {
    connection.abort_answer();
    return report(call, Failure::kCut, end.failure->error);
  }
  CallDone done{.call = call, .busy = took};
  done.outcomes = std::vector<Outcome>(1, Outcome(Output{}));
  world_.core->post(std::move(done));
}

}  // namespace sluice
