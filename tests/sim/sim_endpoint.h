// SPDX-License-Identifier: Apache-2.0
#pragma once
// SimEndpoint: an endpoint for embeddings and chats outside of the gateway, on virtual time. What
// it answers depends on what was asked alone, so that everybody can tell his own answer; it fails
// as a seed decides, and checks what a gateway promises to those behind it.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/sim_upstream.h"

namespace sluice::sim {

// A text carries who asks, for what: the endpoint requires that all texts of a call carry what its
// head and parameters say. `serial` makes it somebody's own.
struct Tag {
  std::string credentials;  // "Bearer …"; empty: none
  std::string model;        // empty: the dialect names none
  std::string odd;          // the header x-odd, which nobody knows; empty: none
  int64_t dimensions = 0;   // 0: not asked for
  std::string text(std::string_view serial) const;
};

// The bytes of the vector of an item as it stands in the JSON, cut to `dimensions` (0: all).
std::string endpoint_vector(std::string_view raw, int64_t dimensions);
// The pieces of the streamed answer to a chat about `tag`.
std::vector<std::string> chat_pieces(std::string_view tag);

class SimEndpoint {
 public:
  // How a request may be met, as probabilities.
  struct Faults {
    double busy = 0;       // 503, mostly with Retry-After
    double throttled = 0;  // 429, the same
    double broken = 0;     // 500
    double miscounted = 0;
    double misplaced = 0;  // two entries of one index
    double truncated = 0;  // FIN before Content-Length is reached
    double surplus = 0;    // bytes after the answer
    double twice = 0;      // a second answer, which is not this request's
    double slow = 0;       // takes 50 times as long
    double chat_cut = 0;   // a stream ends by RST
  };
  // What it takes, and what it is promised.
  struct Options {
    Duration a;  // of a call
    Duration b;  // of an item
    uint32_t slots = 1;
    size_t items_max = 64;
    bool shuffles = true;  // answers in any order, where entries name their places
    Faults faults;
    std::string host = "10.0.0.9";
  };
  // `violation` is told which promise was broken.
  SimEndpoint(SimWorld& world, Options options, std::function<void(std::string)> violation);

  static constexpr const char* kUrl = "http://10.0.0.9:8000";
  SimUpstream& upstream() { return upstream_; }
  uint64_t calls() const { return calls_; }
  uint64_t items() const { return items_; }
  uint64_t tokens() const { return tokens_; }  // of all usage told
  size_t running() const { return running_.size(); }

 private:
  struct Call;
  void take(const SimRequest& request, const SimReply& reply);
  void take_chat(const SimRequest& request, const SimReply& reply);
  void check(const SimRequest& request, const Call& call);
  void answer(const Call& call, const SimReply& reply);
  void refuse(const Call& call, const SimReply& reply, int status);
  std::string body_of(const Call& call);
  void stream(std::vector<std::string> pieces, size_t next, const SimReply& reply);

  SimWorld& world_;
  const Options options_;
  const std::function<void(std::string)> violation_;
  uint64_t calls_ = 0;
  uint64_t items_ = 0;
  uint64_t tokens_ = 0;
  std::map<uint64_t, SimReply> running_;       // by serial of the request
  std::map<std::string, Instant> not_before_;  // by item: when Retry-After lets it come again
  std::set<std::string> chats_;                // what they were about
  SimUpstream upstream_;
};

}  // namespace sluice::sim
