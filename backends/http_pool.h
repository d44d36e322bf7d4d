// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pool: the connections to one upstream, seen from inside: who has one, who waits for one.

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "backends/http_client.h"
#include "backends/http_connection.h"

namespace sluice {

// The body of HttpPool. It owns the idle connections; each exchange owns its own.
class Pool final : public HttpPool {
 public:
  Pool(Loop& loop, Dialer& dialer, Options options);
  ~Pool() override;

  std::unique_ptr<HttpExchange> start(HttpRequest request, HttpExchangeEvents& events) override;
  Stats stats() const override;

  Loop& loop() const { return loop_; }
  Dialer& dialer() const { return dialer_; }
  const Options& options() const { return options_; }
  // A request's head as bytes.
  Slice write_head(const RequestLine& line, std::span<const Header> headers);
  // A dial has succeeded.
  std::unique_ptr<HttpConnection> opened(std::unique_ptr<Stream> stream);
  // An exchange is over. If `reusable`, takes `connection` for the next exchange; else leaves it to
  // the caller, to be destroyed, and its place is free.
  void give_back(std::unique_ptr<HttpConnection>& connection, bool reusable);
  // A connection, or a dial, has ended, and its place is free.
  void free_slot();
  // For stats(): a connection has closed.
  void count_closed(Closing why) { ++stats_.closed[static_cast<size_t>(why)]; }
  // For stats(): the head of an answer, or of one that changes the protocol.
  void count_answer(int status) {
    ++stats_.answers[static_cast<size_t>(status / 100) % kAnswerClasses];
  }
  // For stats(): a connection could not be made.
  void count_failed() { ++stats_.failed; }
  // An exchange waits no more.
  void stop_waiting(std::list<Exchange*>::iterator place) { waiting_.erase(place); }
  // An idle connection is not good any more. Destroys it.
  void drop_idle(HttpConnection& connection, Closing why);

 private:
  bool young(const HttpConnection& connection) const;

  Loop& loop_;
  Dialer& dialer_;
  const Options options_;
  std::vector<std::unique_ptr<HttpConnection>> idle_;  // the last used one at the end
  std::list<Exchange*> waiting_;
  size_t slots_used_ = 0;  // connections and dials
  Stats stats_;            // but for what there is now
  std::string scratch_;
};

}  // namespace sluice
