// SPDX-License-Identifier: Apache-2.0
#pragma once
// SimUpstream: an HTTP server outside of the gateway, on virtual time. It reads requests strictly,
// gives each to a script, and answers late, partly or never as the seed decides.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sim/sim_loop.h"

namespace sluice::sim {

// A request as it arrived.
struct SimRequest {
  std::string method;
  std::string target;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool keep_alive = true;
  uint64_t connection = 0;  // counted from 1
  uint64_t serial = 0;      // of all requests, from 1

  // The value of the first header called `name` (any case), or nothing.
  std::optional<std::string_view> find(std::string_view name) const;
};

// What a script answers with, now or later. Copies are the same answer; after the connection has
// gone it does nothing.
class SimReply {
 public:
  // A whole response with Content-Length; the connection closes after it if the request wants that
  // or `headers` hold "Connection: close".
  void respond(int status, std::string_view body,
               const std::vector<std::pair<std::string, std::string>>& headers = {}) const;
  void send(std::string_view bytes) const;  // as they are
  void close() const;                       // FIN once all is sent
  void reset() const;                       // RST once all is sent has arrived
  // Whether the connection is still there.
  bool open() const;

 private:
  friend class SimUpstream;
  struct Connection;
  std::weak_ptr<Connection> connection_;
};

class SimUpstream {
 public:
  using Script = std::function<void(const SimRequest&, SimReply)>;
  // As probabilities; a request drawn for a fault never reaches the script unless it says so.
  struct Faults {
    double refuse = 0;        // a connection is refused
    double ignore = 0;        // … or never answered
    double reset_before = 0;  // a request is met by RST; the script has seen it
    double cut = 0;           // an answer made by respond() is cut somewhere, then RST
    double close_after = 0;   // FIN after an answer that did not announce it
    Duration delay_max = {};  // before a request reaches the script
  };
  // Listens on host:port of `world`, which outlives it, until destroyed; connections end then.
  SimUpstream(SimWorld& world, std::string host, uint16_t port, Script script);
  ~SimUpstream();
  SimUpstream(const SimUpstream&) = delete;
  SimUpstream& operator=(const SimUpstream&) = delete;

  Faults faults;
  // Whether new connections are met at all, and the open ones closed: an upstream that goes and
  // comes back.
  void go_down();
  void come_up();

  uint64_t connections() const { return connections_made_; }
  // Those that neither end has closed.
  size_t connections_open() const;
  uint64_t requests() const { return requests_; }
  // What a client of HTTP must not do: bad requests, or one before the last is answered.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  using Connection = SimReply::Connection;
  void accept(std::unique_ptr<SimSocket> socket);
  void on_bytes(const std::shared_ptr<Connection>& connection, std::string_view bytes);
  void on_request(const std::shared_ptr<Connection>& connection);
  void drop(uint64_t number);

  SimWorld& world_;
  const std::string where_;
  const Script script_;
  bool down_ = false;
  uint64_t connections_made_ = 0;
  uint64_t requests_ = 0;
  std::map<uint64_t, std::shared_ptr<Connection>> connections_;
  std::vector<std::string> violations_;
};

}  // namespace sluice::sim
