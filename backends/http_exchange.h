// SPDX-License-Identifier: Apache-2.0
#pragma once
// Exchange: one request to an upstream on its way through waiting for a connection, dialing, and an
// HttpConnection; and once more, where a kept-alive connection turns out to be dead.

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/http_client.h"
#include "backends/http_connection.h"

namespace sluice {

class Pool;

// What HttpPool::start() gives out, and what its connection reports to.
class Exchange final : public HttpExchange {
 public:
  Exchange(Pool& pool, HttpRequest request, HttpExchangeEvents& events);
  ~Exchange() override;

  void write(std::span<const Slice> parts) override;
  void finish() override;
  size_t unsent_bytes() const override;
  void read(bool wanted) override;

  // From the pool: a connection for it; none is free, so wait; make one.
  void attach(std::unique_ptr<HttpConnection> connection);
  void wait(std::list<Exchange*>::iterator place);
  void dial();

  // From its connection. After on_end, on_switched and on_lost, and whatever else is told, this
  // exchange and the connection may be gone.
  void on_started();
  void on_interim(UpstreamHead& head);
  void on_head(UpstreamHead& head);
  void on_body(std::string_view bytes) { events_.on_body(bytes); }
  void on_end();
  void on_switched(UpstreamHead& head, std::unique_ptr<Stream> stream, std::string_view rest);
  void on_drained();
  void on_lost(HttpFailure::Kind kind, Error error);
  bool wants_upgrade() const { return wants_upgrade_; }
  Instant total_deadline() const { return total_deadline_; }

 private:
  enum class State { kWaiting, kDialing, kConnected, kOver };
  void on_dialed(Result<std::unique_ptr<Stream>> result);
  void on_wait_over();
  bool may_retry() const;
  void forget_request();
  void fail(const HttpFailure& failure);

  Pool& pool_;
  HttpExchangeEvents& events_;
  State state_ = State::kWaiting;
  const std::string method_;
  Slice head_;
  std::vector<Slice> body_;  // all of it so far, while it may be sent (again)
  const bool complete_at_once_;
  const bool retry_reset_;
  bool complete_;
  bool expects_continue_ = false;
  bool wants_upgrade_ = false;
  bool reading_ = true;
  bool started_ = false;  // on_started was told
  bool kept_ = true;      // head_ and body_ are whole
  const Instant total_deadline_;
  std::unique_ptr<HttpConnection> connection_;
  std::unique_ptr<Pending> dial_;
  std::list<Exchange*>::iterator place_;  // while waiting
  std::unique_ptr<Timer> timer_;          // while waiting
};

}  // namespace sluice
