// SPDX-License-Identifier: Apache-2.0
#pragma once
// ProxyClient: one client of a gateway in front of an endpoint. It asks for vectors and for
// streamed chats, as different people would, leaves now and then, and judges every answer.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/sim_endpoint.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {

struct ProxyPlan;
struct ProxySummary;

// A response as it came off the wire.
struct WireAnswer {
  int status = 0;
  std::string head;
  std::string body;
  bool closes = false;
};
// Takes the first response off `received`, by Content-Length or in chunks; nothing if it is not
// whole. `partial`, if given, gets what is there of the body then.
std::optional<WireAnswer> take_answer(std::string& received, std::string* partial = nullptr);
// A POST with a body; `headers` are whole lines.
std::string post_text(std::string_view path, std::string_view headers, std::string_view body);

// What a ProxyClient waits for.
struct ProxyAsked {
  bool chat = false;
  bool base64 = false;
  bool deadline = false;
  bool poisoned = false;
  Instant sent;
  Tag tag;
  std::vector<std::string> texts;
};

class ProxyClient {
 public:
  // Where it connects and what it counts in.
  struct World {
    SimWorld* sim = nullptr;
    const ProxyPlan* plan = nullptr;
    std::vector<SimLoop*> loops;
    uint16_t port = 0;
    ProxySummary* summary = nullptr;
  };
  ProxyClient(World world, size_t number, size_t requests);
  void start();
  bool finished() const { return finished_; }

 private:
  void connect();
  void next();
  void leave();
  std::string ask();
  std::string ask_chat(const std::string& headers, const std::string& serial);
  std::string ask_vectors(std::string headers, const std::string& serial);
  void on_bytes(std::string_view bytes);
  void on_closed();
  void judge(const ProxyAsked& asked, const WireAnswer& answer);
  void judge_vectors(const ProxyAsked& asked, const std::string& body);
  void violation(const std::string& what);

  const World world_;
  const size_t number_;
  size_t left_;
  size_t serial_ = 0;
  bool finished_ = false;
  std::unique_ptr<SimSocket> socket_;
  uint64_t connection_ = 0;  // so that events of an old one are ignored
  std::string received_;
  std::optional<ProxyAsked> waiting_;
};

}  // namespace sluice::sim
