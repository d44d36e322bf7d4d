// SPDX-License-Identifier: Apache-2.0
#pragma once
// Server: one I/O thread's listeners, its connections, and the requests among them that await an
// answer. It sends rows to the core and takes replies from it, by mail only; what the core wants
// called it calls, over this thread's own connections to the endpoints. server.cc has the
// connections, server_requests.cc the requests, server_upstream.cc the calls and what is passed
// through.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/loop.h"
#include "base/mailbox.h"
#include "batcher/row.h"
#include "gateway/api.h"
#include "gateway/byte_budget.h"
#include "gateway/connection.h"
#include "gateway/dispatcher.h"
#include "gateway/offload.h"
#include "gateway/passthrough.h"
#include "gateway/shadow.h"
#include "gateway/telemetry.h"
#include "gateway/upstreams.h"

namespace sluice {

class Server final : public ConnectionOwner, public PassOwner {
 public:
  // What this thread is and how much it may take on.
  struct Options {
    uint8_t index = 0;  // of this I/O thread
    ConnectionLimits limits;
    size_t connections_max = 10'000;      // of this thread; further ones get 503
    size_t inline_bytes_max = 32 * 1024;  // larger bodies are read on the offload thread
    uint64_t id_seed = 0;                 // makes request ids differ between processes
  };
  // What all I/O threads share, and this thread's shard. All outlive the Server.
  struct World {
    const Api* api = nullptr;
    Mailbox<Event>* core = nullptr;
    ByteBudget* budget = nullptr;
    Offload* offload = nullptr;
    Mailbox<ShadowEvent>* shadow = nullptr;  // null: no model is only counted
    const Telemetry* telemetry = nullptr;
    MetricsShard* shard = nullptr;
    Log* log = nullptr;
  };

  Server(Loop& loop, Options options, World world);
  ~Server() override;

  // Listens on `address` for `surface` and returns the address it has. Fails as Loop::listen.
  Result<Address> listen(Surface surface, const Address& address, bool shared);
  // Gives this thread its connections to endpoints, if there are any. Called before the loop runs.
  void use(std::unique_ptr<LoopUpstreams> upstreams) { upstreams_ = std::move(upstreams); }
  // Where the core posts this thread's replies, and the calls it shall make.
  Mailbox<Reply>& replies() { return replies_; }
  Mailbox<CallOrder>& orders() { return orders_; }

  // Drains the mail, answers, and buries closed connections. Called at the end of each turn.
  void turn();
  // Stops taking new connections, lets what has begun come to its end, closes what is idle.
  void drain();
  bool draining() const override { return drain_turns_ > 0; }
  // While draining: whether a request is still being read (the core must not drain yet), and
  // whether anything is still owed to a client of the main listener.
  bool reading() const;
  bool busy() const;

 private:
  // A request that awaits its reply.
  struct Exchange {
    Connection* connection = nullptr;
    Inquiry inquiry;
    std::unique_ptr<PassThrough> pass;  // of a request that goes on as it came
    CallId pass_call = 0;               // the core's name for that, while it runs
    bool shadowed = false;              // it is counted as what could have been merged
    Instant pass_began;
    Duration pass_took;                // from then to the head of its answer
    bool sent = false;                 // whether the core knows of it
    const Dialect* dialect = nullptr;  // of errors; null: the fallback
    std::string method;                // for the access log; empty if that is off
    std::string target;
    std::string request_id;  // the client's; empty: one is made
    uint64_t body_bytes = 0;
  };
  // A request whose body was read on the offload thread.
  struct Prepared {
    RequestId id = 0;
    Result<Inquiry> inquiry = Error{};
    Request request;
    RequestHead head;  // for what turns out not to be mergeable
    Slice body;
  };
  // Tells connections of the two listeners apart.
  struct Port final : ListenerEvents {
    Server* server = nullptr;
    Surface surface = Surface::kMain;
    std::unique_ptr<Listener> listener;
    void on_accept(std::unique_ptr<Stream> stream) override;
  };

  HeadVerdict on_head(Connection& connection, const RequestHead& head) override;
  bool hold_bytes(size_t bytes) override;
  void count_bytes(size_t bytes) override;
  void release_bytes(size_t bytes) override;
  void on_request(Connection& connection, RequestHead head, Slice body) override;
  void on_stream(Connection& connection, RequestHead head) override;
  void on_stream_bytes(Connection& connection, std::string_view bytes) override;
  void on_stream_end(Connection& connection) override;
  void on_stream_drained(Connection& connection) override;
  void on_tunnel_bytes(Connection& connection, std::string_view bytes) override;
  void on_tunnel_end(Connection& connection) override;
  Response error_answer(Connection& connection, const Error& error) override;
  void on_refused(Connection& connection, const Error& error) override;
  void on_gone(Connection& connection) override;
  void on_closed(Connection& connection) override;
  void on_written(Connection& connection, Duration took) override;
  std::string_view http_date() override;

  void on_pass_started(RequestId id) override;
  void on_pass_head(RequestId id) override;
  void on_pass_holds(size_t before, size_t now) override;
  size_t pass_room(RequestId id) const override;
  void on_pass_end(RequestId id, const PassEnd& end) override;

  Exchange& open(Connection& connection, const RequestHead& head);
  void batched(RequestId id, const Match& match, RequestHead head, Slice body);
  void queue(Prepared prepared);
  bool goes_alone(const Exchange& exchange) const;
  void answer(const Reply& reply);
  void finish(RequestId id, Response response);
  void finish_error(RequestId id, const Error& error);
  void log_access(const Exchange& exchange, int status, uint64_t bytes_sent);
  // A request goes on as it came: `body` is what was read of it, all if `complete`.
  void pass_on(RequestId id, RequestHead head, Slice body, bool complete);
  PassThrough* pass_of(const Connection& connection);
  void obey(CallOrder order);
  void start_pass(StartCall start);
  void stop_streams();
  void ease_streams();
  void end_pass(Exchange& exchange, const Reply& reply);
  void report(CallId call, Failure failure, const Error& error);
  void drain_turn();
  void show_connections();
  static std::string request_id_of(const RequestHead& head);
  std::string generated_id(RequestId id) const;

  Loop& loop_;
  const Options options_;
  const World world_;
  Mailbox<Reply> replies_;
  Mailbox<CallOrder> orders_;
  Mailbox<Prepared> prepared_;
  Port main_;
  Port admin_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> closed_;  // to be destroyed at the end of the turn
  std::unique_ptr<LoopUpstreams> upstreams_;
  Calls calls_;
  std::unordered_map<RequestId, Exchange> exchanges_;  // after upstreams_: their passes use it
  bool streams_stopped_ = false;                       // too much is held: they read no more
  RequestId privileged_ = 0;       // of them, the one that may take a piece all the same
  std::unique_ptr<Timer> easing_;  // looks whether that is over
  size_t main_open_ = 0;           // connections of the main listener
  uint64_t next_id_ = 1;
  int drain_turns_ = 0;  // turns since drain(), 0 before
  int64_t date_second_ = -1;
  std::string date_;
};

}  // namespace sluice
