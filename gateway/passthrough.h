// SPDX-License-Identifier: Apache-2.0
#pragma once
// PassThrough: one request that goes to its endpoint as it came, and its answer that comes back as
// it was given: bytes both ways as they arrive, at the pace of the slower side, and a tunnel where
// both sides agree on another protocol. Lives on its client's loop.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/http_client.h"
#include "gateway/config.h"
#include "gateway/connection.h"

namespace sluice {

// Where passed-through requests go, on one loop.
struct PassTarget {
  Origin origin;
  HttpPool* pool = nullptr;
  const UpstreamConfig* config = nullptr;
};

// How a PassThrough came to its end.
struct PassEnd {
  std::optional<HttpFailure> failure;  // nothing: the answer was given wholly
  int status = 0;                      // of the answer, 0 if it never began
  bool answered = false;               // the client has got at least the answer's head
};

// Who is told of it; the PassThrough may be destroyed inside the call.
class PassOwner {
 public:
  virtual ~PassOwner() = default;
  virtual void on_pass_started(RequestId id) = 0;  // a connection has it
  virtual void on_pass_head(RequestId id) = 0;     // the answer has begun
  // Of the request `now` bytes wait here, where `before` did.
  virtual void on_pass_holds(size_t before, size_t now) = 0;
  // It takes more of a direction while fewer bytes than that wait there.
  virtual size_t pass_room(RequestId id) const = 0;
  virtual void on_pass_end(RequestId id, const PassEnd& end) = 0;
};

class PassThrough final : HttpExchangeEvents, StreamEvents {
 public:
  // Bytes of one direction that wait here before the faster side is stopped; what was read at once
  // comes on top.
  static constexpr size_t kWaitingMax = 32 * 1024;

  // Passes on the request of `connection` that `head` begins. `body` is what was read of it
  // already: all of it if `complete`. All but `head` and `body` outlive it.
  PassThrough(RequestId id, Connection& connection, RequestHead head, Slice body, bool complete,
              const PassTarget& target, PassOwner& owner);
  ~PassThrough() override;

  // Sends it; called again after an end with a failure for which nothing was sent.
  void start();
  // What the client does.
  void on_client_bytes(std::string_view bytes);
  void on_client_end();
  void on_client_drained();
  void on_client_fin();  // in a tunnel

  // Looks again at PassOwner::pass_room().
  void pace();
  // Whether nothing waits here, in neither direction.
  bool idle() const { return waiting_bytes() == 0 && connection_.unsent_bytes() == 0; }

  const std::string& method() const { return head_.method; }

 private:
  void on_started() override;
  void on_interim(UpstreamHead& head) override;
  void on_head(UpstreamHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_end(std::span<const Header> trailers) override;
  void on_switched(UpstreamHead& head, std::unique_ptr<Stream> stream,
                   std::string_view rest) override;
  void on_drained() override;
  void on_failed(const HttpFailure& failure) override;
  // Of the tunnel's upstream side.
  void on_bytes(std::string_view bytes) override;
  void on_end() override;
  void on_broken() override;

  void build_headers();
  void add_forwarded();
  void send_body(std::string_view bytes);
  void finish_body();
  size_t waiting_bytes() const;
  void show_waiting(size_t bytes);
  void pace_client();
  void pace_upstream();
  void tunnel_over();

  const RequestId id_;
  Connection& connection_;
  const RequestHead head_;
  const PassTarget& target_;
  PassOwner& owner_;
  std::vector<Header> headers_;     // of the request; views into head_ and texts_
  std::vector<std::string> texts_;  // what is not in head_
  std::vector<Slice> waiting_;      // of the body, until a connection has them
  size_t kept_bytes_ = 0;
  size_t shown_bytes_ = 0;     // of the request, as the owner knows
  bool chunked_ = false;       // how the request's body is framed towards the upstream
  bool client_ended_ = false;  // the client's body is complete
  bool started_ = false;       // a connection has the request
  std::unique_ptr<HttpExchange> exchange_;
  int status_ = 0;
  bool chunk_answer_ = false;  // how the answer is framed towards the client
  bool close_after_ = false;
  std::unique_ptr<Stream> tunnel_;
  bool tunnel_ended_theirs_ = false;  // FIN from the upstream
  bool tunnel_ended_ours_ = false;    // FIN from the client
};

}  // namespace sluice
