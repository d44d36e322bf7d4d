// SPDX-License-Identifier: Apache-2.0
#pragma once
// Server: one I/O thread's listeners, its connections, and the requests among them that await an
// answer. It sends rows to the core and takes replies from it, by mail only.

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
#include "gateway/offload.h"
#include "gateway/telemetry.h"

namespace sluice {

class Server final : public ConnectionOwner {
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
    const Telemetry* telemetry = nullptr;
    MetricsShard* shard = nullptr;
    Log* log = nullptr;
  };

  Server(Loop& loop, Options options, World world);
  ~Server() override;

  // Listens on `address` for `surface` and returns the address it has. Fails as Loop::listen.
  Result<Address> listen(Surface surface, const Address& address, bool shared);
  // Where the core posts this thread's replies.
  Mailbox<Reply>& replies() { return replies_; }

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
    EmbeddingsCall call;
    bool sent = false;   // whether the core knows of it
    std::string method;  // for the access log; empty if that is off
    std::string target;
    std::string request_id;  // the client's; empty: one is made
    uint64_t body_bytes = 0;
  };
  // A request whose body was read on the offload thread.
  struct Prepared {
    RequestId id = 0;
    Result<EmbeddingsCall> call = Error{};
    Request request;
  };
  // Tells connections of the two listeners apart.
  struct Port final : ListenerEvents {
    Server* server = nullptr;
    Surface surface = Surface::kMain;
    std::unique_ptr<Listener> listener;
    void on_accept(std::unique_ptr<Stream> stream) override;
  };

  std::optional<Error> on_head(Connection& connection, const RequestHead& head) override;
  bool hold_bytes(size_t bytes) override;
  void release_bytes(size_t bytes) override;
  void on_request(Connection& connection, RequestHead head, Slice body) override;
  void on_refused(Connection& connection, const Error& error) override;
  void on_gone(Connection& connection) override;
  void on_closed(Connection& connection) override;
  void on_written(Connection& connection, Duration took) override;
  std::string_view http_date() override;

  void embeddings(RequestId id, RequestHead head, const Slice& body);
  void queue(Prepared prepared);
  void finish(RequestId id, Response response);
  void drain_turn();
  void show_connections();
  static std::string request_id_of(const RequestHead& head);
  std::string generated_id(RequestId id) const;

  Loop& loop_;
  const Options options_;
  const World world_;
  Mailbox<Reply> replies_;
  Mailbox<Prepared> prepared_;
  Port main_;
  Port admin_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> closed_;  // to be destroyed at the end of the turn
  std::unordered_map<RequestId, Exchange> exchanges_;
  size_t main_open_ = 0;  // connections of the main listener
  size_t held_ = 0;       // this thread's part of the budget
  uint64_t next_id_ = 1;
  int drain_turns_ = 0;  // turns since drain(), 0 before
  int64_t date_second_ = -1;
  std::string date_;
};

}  // namespace sluice
