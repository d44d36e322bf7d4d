// SPDX-License-Identifier: Apache-2.0
#include "backends/http_connection.h"

#include <algorithm>
#include <utility>

#include "backends/http_exchange.h"
#include "backends/http_pool.h"

namespace sluice {
namespace {

// A request larger than that may take the system a while; that it has begun is told before.
constexpr size_t kSentAtOnceBytes = 64 * 1024;

Instant after(Instant begin, Duration wait) { return wait > Duration{} ? begin + wait : kNever; }

}  // namespace

HttpConnection::HttpConnection(Pool& pool, std::unique_ptr<Stream> stream)
    : pool_(pool),
      stream_(std::move(stream)),
      parser_(pool.options().response),
      timer_(pool.loop().timer([this] { on_timer(); })),
      born_(pool.loop().now()) {
  stream_->set_events(this);
}

HttpConnection::~HttpConnection() {
  if (gone_ != nullptr) *gone_ = true;
}

void HttpConnection::begin(Exchange& exchange, std::string_view method) {
  ASSERT(exchange_ == nullptr && stream_ != nullptr);
  exchange_ = &exchange;
  parser_.expect(method);
  activity_ = pool_.loop().now();
  ++exchanges_;
  written_ = 0;
  started_told_ = complete_ = got_head_ = keep_alive_ = false;
}

void HttpConnection::write(std::span<const Slice> parts) {
  if (stream_ == nullptr) return;
  for (const Slice& part : parts) written_ += part.size();
  stream_->write(parts);
  unsent_seen_ = unsent_bytes();
  activity_ = pool_.loop().now();
  watch();
  if (!started_told_ && written_ > kSentAtOnceBytes) soon();
}

void HttpConnection::finish() {
  complete_ = true;
  activity_ = pool_.loop().now();
  watch();
}

void HttpConnection::read(bool wanted) {
  if (paused_ == !wanted) return;
  paused_ = !wanted;
  if (stream_ != nullptr) stream_->read(wanted);
  if (paused_) return;
  activity_ = pool_.loop().now();
  watch();
  if (stalled_) soon();
}

void HttpConnection::rest() {
  exchange_ = nullptr;
  if (paused_) stream_->read(true);
  paused_ = stalled_ = false;
  activity_ = pool_.loop().now();
  watch();
}

void HttpConnection::on_bytes(std::string_view bytes) {
  // Bytes that nobody asked for: whatever they mean, the next answer would not be believed.
  if (exchange_ == nullptr) return pool_.drop_idle(*this, Closing::kUpstream);
  // Before the head is whole, its bytes one by one must not win time.
  if (got_head_) activity_ = pool_.loop().now();
  if (!stalled_) {
    consume(bytes);
    return;
  }
  held_.append(bytes);
  on_soon();
}

void HttpConnection::on_end() {
  if (exchange_ == nullptr) return pool_.drop_idle(*this, Closing::kUpstream);
  fin_ = true;
  if (!stalled_) return lose();
  if (!paused_) on_soon();
}

void HttpConnection::on_broken() {
  if (exchange_ == nullptr) return pool_.drop_idle(*this, Closing::kUpstream);
  broken_ = true;
  if (!stalled_) return lose();
  // What has come before may still be a whole answer.
  stream_.reset();
  if (!paused_) on_soon();
}

void HttpConnection::on_drained() {
  if (exchange_ == nullptr) return;
  activity_ = pool_.loop().now();
  unsent_seen_ = 0;
  if (!tell_started()) return;
  exchange_->on_drained();
}

// Reads `bytes` and tells what they say, until they are used up, the exchange wants no more now, or
// it is over. Returns whether the exchange goes on.
bool HttpConnection::consume(std::string_view bytes) {
  stalled_ = false;
  if (!tell_started()) return false;
  for (;;) {
    if (paused_) {
      stalled_ = true;
      held_.assign(bytes);
      return true;
    }
    size_t used = 0;
    const ResponseEvent event = parser_.feed(bytes, used);
    bytes.remove_prefix(used);
    if (event == ResponseEvent::kNeedMore) return true;
    if (!tell(event, bytes)) return false;
  }
}

// Returns whether the exchange goes on; if not, this connection may be gone.
bool HttpConnection::tell(ResponseEvent event, std::string_view rest) {
  bool gone = false;
  gone_ = &gone;
  switch (event) {
    case ResponseEvent::kInterim:
      exchange_->on_interim(parser_.head());
      break;
    case ResponseEvent::kHead:
      got_head_ = true;
      activity_ = pool_.loop().now();
      keep_alive_ = parser_.head().keep_alive;
      watch();
      exchange_->on_head(parser_.head());
      break;
    case ResponseEvent::kBody:
      exchange_->on_body(parser_.body());
      break;
    case ResponseEvent::kEnd:
      gone_ = nullptr;
      surplus_ = !rest.empty();
      exchange_->on_end();
      return false;
    case ResponseEvent::kSwitched:
      gone_ = nullptr;
      switch_over(rest);
      return false;
    default:
      gone_ = nullptr;
      fail();
      return false;
  }
  if (!gone) gone_ = nullptr;
  return !gone;
}

void HttpConnection::switch_over(std::string_view rest) {
  if (!exchange_->wants_upgrade() || stream_ == nullptr) {
    return exchange_->on_lost(
        HttpFailure::Kind::kCut,
        {Code::kUpstream, "the upstream changes to another protocol unasked"});
  }
  exchange_->on_switched(parser_.head(), std::move(stream_), rest);
}

void HttpConnection::fail() {
  const Error& error = parser_.error();
  if (error.code != Code::kTooLarge) return exchange_->on_lost(HttpFailure::Kind::kCut, error);
  exchange_->on_lost(HttpFailure::Kind::kTooLarge, {Code::kUpstream, error.message});
}

// The connection has ended, all that came on it was read, and the exchange is not over.
void HttpConnection::lose() {
  if (!tell_started()) return;
  if (!broken_ && parser_.end() == ResponseEvent::kEnd) return exchange_->on_end();
  const char* const how =
      broken_ ? "the upstream reset the connection" : "the upstream closed the connection";
  if (!begun()) {
    return exchange_->on_lost(HttpFailure::Kind::kReset,
                              {Code::kUpstream, std::string(how) + " before it answered"});
  }
  exchange_->on_lost(HttpFailure::Kind::kCut,
                     {Code::kUpstream, std::string(how) + " in the middle of its answer"});
}

// Returns whether the exchange goes on.
bool HttpConnection::tell_started() {
  if (std::exchange(started_told_, true)) return true;
  bool gone = false;
  gone_ = &gone;
  exchange_->on_started();
  if (!gone) gone_ = nullptr;
  return !gone;
}

void HttpConnection::soon() {
  if (soon_ == nullptr) soon_ = pool_.loop().timer([this] { on_soon(); });
  soon_->again(pool_.loop().now());
}

void HttpConnection::on_soon() {
  if (exchange_ == nullptr) return;
  if (!tell_started() || !stalled_ || paused_) return;
  const std::string bytes = std::exchange(held_, {});
  if (!consume(bytes) || stalled_) return;
  if (fin_ || broken_) lose();
}

Instant HttpConnection::deadline() const {
  const HttpTimeouts& timeouts = pool_.options().timeouts;
  const PoolLimits& limits = pool_.options().limits;
  if (exchange_ == nullptr) {
    return std::min(after(activity_, limits.idle_timeout), after(born_, limits.age_max));
  }
  const bool unsent = unsent_bytes() > 0;
  Instant until = kNever;
  if (!got_head_) {
    // A request that is not complete, all of it sent, waits for its sender.
    if (complete_ || unsent) until = after(activity_, timeouts.first_byte);
  } else if (!paused_ || unsent) {
    until = after(activity_, timeouts.idle);
  }
  return std::min(until, exchange_->total_deadline());
}

void HttpConnection::watch() {
  const Instant until = deadline();
  if (until >= armed_) return;
  armed_ = until;
  timer_->again(until);
}

void HttpConnection::on_timer() {
  armed_ = kNever;
  const Instant now = pool_.loop().now();
  // A large request that goes out slowly goes out.
  if (unsent_bytes() < unsent_seen_) activity_ = now;
  unsent_seen_ = unsent_bytes();
  if (now < deadline()) return watch();
  if (exchange_ == nullptr) {
    const bool old = now >= after(born_, pool_.options().limits.age_max);
    return pool_.drop_idle(*this, old ? Closing::kAge : Closing::kIdle);
  }
  if (!tell_started()) return;
  const char* const what = now >= exchange_->total_deadline() ? "the upstream took too long in all"
                           : !got_head_ ? "the upstream did not answer in time"
                                        : "the upstream stopped in the middle of its answer";
  exchange_->on_lost(HttpFailure::Kind::kTimeout, {Code::kTimeout, what});
}

}  // namespace sluice
