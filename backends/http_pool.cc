// SPDX-License-Identifier: Apache-2.0
#include "backends/http_pool.h"

#include <algorithm>
#include <utility>

#include "backends/http_exchange.h"
#include "base/assert.h"

namespace sluice {
namespace {

// Room for heads that is kept between requests.
constexpr size_t kScratchBytes = 16 * 1024;

}  // namespace

std::unique_ptr<HttpPool> HttpPool::make(Loop& loop, Dialer& dialer, Options options) {
  return std::make_unique<Pool>(loop, dialer, std::move(options));
}

Pool::Pool(Loop& loop, Dialer& dialer, Options options)
    : loop_(loop), dialer_(dialer), options_(std::move(options)) {
  ASSERT(options_.limits.connections_max > 0);
}

Pool::~Pool() { ASSERT(waiting_.empty() && slots_used_ == idle_.size()); }

std::unique_ptr<HttpExchange> Pool::start(HttpRequest request, HttpExchangeEvents& events) {
  auto exchange = std::make_unique<Exchange>(*this, std::move(request), events);
  while (!idle_.empty()) {
    std::unique_ptr<HttpConnection> connection = std::move(idle_.back());
    idle_.pop_back();
    if (young(*connection)) {
      ++stats_.reused;
      exchange->attach(std::move(connection));
      return exchange;
    }
    count_closed(Closing::kAge);
    --slots_used_;
  }
  if (slots_used_ < options_.limits.connections_max) {
    ++slots_used_;
    exchange->dial();
  } else {
    exchange->wait(waiting_.insert(waiting_.end(), exchange.get()));
  }
  return exchange;
}

HttpPool::Stats Pool::stats() const {
  Stats stats = stats_;
  stats.open = slots_used_;
  stats.idle = idle_.size();
  return stats;
}

Slice Pool::write_head(const RequestLine& line, std::span<const Header> headers) {
  scratch_.clear();
  write_request_head(scratch_, line, headers);
  Slice head = Slice::copy_of(scratch_);
  if (scratch_.capacity() > kScratchBytes) scratch_ = {};
  return head;
}

std::unique_ptr<HttpConnection> Pool::opened(std::unique_ptr<Stream> stream) {
  ++stats_.opened;
  return std::make_unique<HttpConnection>(*this, std::move(stream));
}

bool Pool::young(const HttpConnection& connection) const {
  const Duration most = options_.limits.age_max;
  return most <= Duration{} || loop_.now() - connection.born() < most;
}

void Pool::give_back(std::unique_ptr<HttpConnection>& connection, bool reusable) {
  const bool kept = options_.limits.idle_max > 0 || !waiting_.empty();
  if (!reusable || !kept || !young(*connection)) {
    count_closed(!reusable ? Closing::kAnswer : kept ? Closing::kAge : Closing::kIdle);
    return free_slot();
  }
  connection->rest();
  if (!waiting_.empty()) {
    Exchange* next = waiting_.front();
    waiting_.pop_front();
    ++stats_.reused;
    return next->attach(std::move(connection));
  }
  idle_.push_back(std::move(connection));
  if (idle_.size() <= options_.limits.idle_max) return;
  // The one that was used longest ago is the least likely to be needed, or to be alive.
  idle_.erase(idle_.begin());
  count_closed(Closing::kIdle);
  --slots_used_;
}

void Pool::free_slot() {
  ASSERT(slots_used_ > 0);
  --slots_used_;
  if (waiting_.empty()) return;
  Exchange* next = waiting_.front();
  waiting_.pop_front();
  ++slots_used_;
  next->dial();
}

void Pool::drop_idle(HttpConnection& connection, Closing why) {
  count_closed(why);
  const auto found = std::find_if(idle_.begin(), idle_.end(),
                                  [&](const auto& one) { return one.get() == &connection; });
  ASSERT(found != idle_.end());
  const std::unique_ptr<HttpConnection> dropped = std::move(*found);
  idle_.erase(found);
  free_slot();
}

}  // namespace sluice
