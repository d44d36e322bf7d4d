// SPDX-License-Identifier: Apache-2.0
#pragma once
// SimClient: one client with one connection at a time. It sends requests, some of them broken,
// reads the answers and judges each by what it asked for.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/sim_loop.h"
#include "tests/sim/world.h"

namespace sluice::sim {

// What a client may see after a request.
struct Expectation {
  enum class Kind { kValid, kBadBody, kGarbage };
  Kind kind = Kind::kValid;
  std::vector<std::string> inputs;   // of a valid request
  std::optional<Duration> deadline;  // that it gave
  Instant sent;
  size_t bytes = 0;
};

class SimClient {
 public:
  // Where it connects, what it counts in, and whether the gateway is draining (and since when).
  struct World {
    SimWorld* sim = nullptr;
    const Plan* plan = nullptr;
    std::vector<SimLoop*> loops;
    uint16_t port = 0;
    Summary* summary = nullptr;
    const std::optional<Instant>* drain_began = nullptr;
  };
  SimClient(World world, size_t number, size_t requests);
  void start();
  bool finished() const { return finished_; }

 private:
  void connect();
  void next();
  void send_one();
  std::string request_text(Expectation& expected);
  void leave();
  void on_bytes(std::string_view bytes);
  bool take_response();
  void judge(const Expectation& expected, int status, const std::string& body);
  void judge_vectors(const Expectation& expected, const std::string& body);
  void judge_time(const Expectation& expected);
  void on_closed(bool reset);
  void violation(const std::string& what);
  // The longest that bytes may take from here to the gateway's core or back.
  Duration travel(size_t bytes) const;

  const World world_;
  const size_t number_;
  size_t left_;
  size_t serial_ = 0;
  bool finished_ = false;
  bool last_closes_ = false;  // the gateway said "Connection: close"
  std::unique_ptr<SimSocket> socket_;
  uint64_t connection_ = 0;  // so that events of an old one are ignored
  std::string received_;
  std::deque<Expectation> waiting_;
};

}  // namespace sluice::sim
