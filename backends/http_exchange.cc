// SPDX-License-Identifier: Apache-2.0
#include "backends/http_exchange.h"

#include <algorithm>
#include <utility>

#include "backends/http_pool.h"
#include "base/http1_head.h"

namespace sluice {
namespace {

size_t bytes_of(std::span<const Slice> parts) {
  size_t bytes = 0;
  for (const Slice& part : parts) bytes += part.size();
  return bytes;
}

}  // namespace

Exchange::Exchange(Pool& pool, HttpRequest request, HttpExchangeEvents& events)
    : pool_(pool),
      events_(events),
      method_(std::move(request.method)),
      head_(pool.write_head({method_, request.target}, request.headers)),
      body_(std::move(request.body)),
      complete_at_once_(request.complete),
      retry_reset_(request.retry_reset),
      complete_(request.complete),
      total_deadline_(pool.options().timeouts.total > Duration{}
                          ? pool.loop().now() + pool.options().timeouts.total
                          : kNever) {
  for (const Header& header : request.headers) {
    if (header.name.size() == 6 && http1::equal_any_case(header.name, "expect")) {
      expects_continue_ = !complete_;
    } else if (header.name.size() == 7 && http1::equal_any_case(header.name, "upgrade")) {
      wants_upgrade_ = true;
    }
  }
}

Exchange::~Exchange() {
  const State state = std::exchange(state_, State::kOver);
  if (state == State::kOver) return;
  if (state == State::kWaiting) {
    pool_.stop_waiting(place_);
    return;
  }
  dial_.reset();
  if (connection_) pool_.count_closed(Closing::kAborted);
  connection_.reset();
  pool_.free_slot();
}

void Exchange::wait(std::list<Exchange*>::iterator place) {
  place_ = place;
  const Duration first_byte = pool_.options().timeouts.first_byte;
  const Instant until =
      std::min(total_deadline_, first_byte > Duration{} ? pool_.loop().now() + first_byte : kNever);
  if (until == kNever) return;
  timer_ = pool_.loop().timer([this] { on_wait_over(); });
  timer_->again(until);
}

void Exchange::on_wait_over() {
  pool_.stop_waiting(place_);
  state_ = State::kOver;
  events_.on_failed({.kind = HttpFailure::Kind::kTimeout,
                     .sent = false,
                     .error = {Code::kTimeout, "no connection to the upstream got free in time"}});
}

void Exchange::dial() {
  state_ = State::kDialing;
  timer_.reset();
  const HttpPool::Options& options = pool_.options();
  Duration most = options.timeouts.connect;
  if (total_deadline_ != kNever) {
    // Zero would mean for ever.
    const Duration left = std::max(total_deadline_ - pool_.loop().now(), nanoseconds(1));
    most = most > Duration{} ? std::min(most, left) : left;
  }
  dial_ = pool_.dialer().dial(
      options.origin, options.tls, most,
      [this](Result<std::unique_ptr<Stream>> result) { on_dialed(std::move(result)); });
}

void Exchange::on_dialed(Result<std::unique_ptr<Stream>> result) {
  dial_.reset();
  if (result.ok()) return attach(pool_.opened(std::move(result).value()));
  pool_.count_failed();
  state_ = State::kOver;
  pool_.free_slot();
  const bool late = pool_.loop().now() >= total_deadline_;
  events_.on_failed({.kind = late ? HttpFailure::Kind::kTimeout : HttpFailure::Kind::kConnect,
                     .sent = false,
                     .error = result.error()});
}

// All of the request that is there goes out in one write, since the stream sends at the turn's end.
void Exchange::attach(std::unique_ptr<HttpConnection> connection) {
  state_ = State::kConnected;
  timer_.reset();
  connection_ = std::move(connection);
  connection_->begin(*this, method_);
  if (!reading_) connection_->read(false);
  connection_->write({&head_, 1});
  if (!body_.empty()) connection_->write(body_);
  if (complete_) connection_->finish();
  if (!connection_->reused()) forget_request();
}

void Exchange::write(std::span<const Slice> parts) {
  if (complete_ || state_ == State::kOver) return;
  if (state_ == State::kConnected && connection_->sent()) forget_request();
  if (kept_) body_.insert(body_.end(), parts.begin(), parts.end());
  if (state_ == State::kConnected) connection_->write(parts);
}

void Exchange::finish() {
  if (std::exchange(complete_, true)) return;
  if (state_ == State::kConnected) connection_->finish();
}

size_t Exchange::unsent_bytes() const {
  if (state_ == State::kConnected) return connection_->unsent_bytes();
  return state_ == State::kOver ? 0 : head_.size() + bytes_of(body_);
}

void Exchange::read(bool wanted) {
  reading_ = wanted;
  if (state_ == State::kConnected) connection_->read(wanted);
}

void Exchange::on_started() {
  if (!std::exchange(started_, true)) events_.on_started();
}

void Exchange::on_interim(UpstreamHead& head) {
  forget_request();
  if (head.status != 100) return events_.on_interim(head);
  if (std::exchange(expects_continue_, false)) events_.on_continue();
}

void Exchange::on_head(UpstreamHead& head) {
  pool_.count_answer(head.status);
  forget_request();
  events_.on_head(head);
}

// The connection goes to whoever is next before the owner hears of the end, so that nothing is left
// to be done behind its back.
void Exchange::on_end() {
  state_ = State::kOver;
  std::unique_ptr<HttpConnection> connection = std::move(connection_);
  const std::span<const Header> trailers = connection->trailers();
  // An upstream that answered before it has read the request may take its rest for the next one.
  pool_.give_back(connection, complete_ && connection->clean());
  events_.on_end(trailers);
}

void Exchange::on_switched(UpstreamHead& head, std::unique_ptr<Stream> stream,
                           std::string_view rest) {
  state_ = State::kOver;
  const std::unique_ptr<HttpConnection> connection = std::move(connection_);
  pool_.count_answer(head.status);
  pool_.count_closed(Closing::kSwitched);
  pool_.free_slot();
  events_.on_switched(head, std::move(stream), rest);
}

void Exchange::on_drained() {
  if (!complete_at_once_) forget_request();
  events_.on_drained();
}

bool Exchange::may_retry() const {
  if (!kept_ || !connection_->reused() || connection_->begun()) return false;
  return (complete_at_once_ && retry_reset_) || !connection_->sent();
}

void Exchange::on_lost(HttpFailure::Kind kind, Error error) {
  // On the new connection it cannot come to that again.
  if (kind == HttpFailure::Kind::kReset && may_retry()) {
    pool_.count_closed(Closing::kUpstream);
    connection_.reset();
    return dial();
  }
  fail({.kind = kind, .sent = connection_->sent(), .error = std::move(error)});
}

void Exchange::fail(const HttpFailure& failure) {
  state_ = State::kOver;
  pool_.count_closed(Closing::kFailed);
  connection_.reset();
  pool_.free_slot();
  events_.on_failed(failure);
}

void Exchange::forget_request() {
  if (!std::exchange(kept_, false)) return;
  head_ = {};
  body_.clear();
}

}  // namespace sluice
