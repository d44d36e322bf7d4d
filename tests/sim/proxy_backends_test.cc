// SPDX-License-Identifier: Apache-2.0
// A model with several endpoints of which one is dead, slow or lies; and models whose requests are
// not merged, or only counted as if.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/base64.h"
#include "tests/sim/proxy_world.h"

namespace sluice::sim {
namespace {

// What a run of many requests to good and bad endpoints came to.
struct Tally {
  uint64_t right = 0;
  uint64_t refused = 0;  // 502 or 503
  uint64_t wrong = 0;
  uint64_t bad_calls = 0;  // that the bad endpoint has seen
  uint64_t good_calls = 0;
  Duration slowest;
  std::string metrics;
  std::vector<std::string> backends;  // of answers
};

// `requests` one after another from each of eight clients, in front of a good endpoint and, if
// there is one at all, a bad one.
Tally run(uint64_t seed, std::optional<SimEndpoint::Options> bad, size_t requests) {
  Tally seen;
  ProxyPlan plan;
  plan.seed = seed;
  plan.io_loops = seed % 2 == 0 ? 4 : 1;
  plan.config = proxy_config(false);
  BackendConfig& first = plan.config.models[0].backends[0];
  first.name = "good";
  first.upstream.slots = 2;
  BackendConfig second = first;
  second.name = "bad";
  second.upstream.url = "http://10.0.0.10:8000";
  plan.config.models[0].backends.push_back(second);
  plan.endpoint.a = milliseconds(2);
  plan.endpoint.slots = 2;
  finish_config(plan.config);
  const auto violation = [](const std::string& what) { FAIL_CHECK(what); };
  ProxyWorld world(plan, violation);
  std::optional<SimEndpoint> other;
  if (bad) other.emplace(world.sim(), *bad, violation);
  constexpr size_t kClients = 8;
  std::vector<std::unique_ptr<SimSocket>> sockets;
  std::vector<std::string> received(kClients);
  std::vector<size_t> left(kClients, requests);
  std::vector<Instant> sent(kClients);
  size_t clients_left = kClients;
  const auto text_of = [&](size_t i) {
    return "|m||0|c" + std::to_string(i) + "r" + std::to_string(left[i]);
  };
  const auto ask = [&](size_t i) {
    sent[i] = world.sim().now();
    sockets[i]->send(
        post_text("/v1/embeddings", "",
                  R"({"model":"m","encoding_format":"base64","input":[")" + text_of(i) + "\"]}"));
  };
  for (size_t i = 0; i < kClients; ++i) {
    sockets.push_back(SimLoop::connect(world.sim(), world.loops(), world.port()));
    sockets[i]->on_bytes = [&, i](std::string_view bytes) {
      received[i].append(bytes);
      const std::optional<WireAnswer> answer = take_answer(received[i]);
      if (!answer) return;
      seen.slowest = std::max(seen.slowest, world.sim().now() - sent[i]);
      std::string wanted;
      append_base64(wanted, endpoint_vector('"' + text_of(i) + '"', 0));
      if (answer->status != 200) {
        CHECK((answer->status == 502 || answer->status == 503));
        ++seen.refused;
      } else {
        ++(answer->body.find(wanted) != std::string::npos ? seen.right : seen.wrong);
        const size_t at = answer->head.find("x-sluice-backend: ");
        REQUIRE(at != std::string::npos);
        seen.backends.push_back(
            answer->head.substr(at + 18, answer->head.find('\r', at) - at - 18));
      }
      if (--left[i] > 0) return world.sim().after(milliseconds(1), [&, i] { ask(i); });
      --clients_left;
      world.sim().after({}, [&, i] { sockets[i].reset(); });
    };
    ask(i);
  }
  world.run([&] { return clients_left == 0; });
  seen.metrics = world.gateway().render_metrics();
  seen.good_calls = world.endpoint().calls();
  if (other) seen.bad_calls = other->calls();
  return seen;
}

size_t count(const std::vector<std::string>& names, const char* name) {
  return static_cast<size_t>(std::ranges::count(names, name));
}

// A row goes to the other endpoint if that has a slot free just then; else to the dead one again.
TEST_CASE("of two endpoints one is not there: once its breaker has opened, nobody notices") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const Tally seen = run(seed, std::nullopt, 50);
    INFO("seed " << seed);
    CHECK(seen.right >= 390);
    CHECK(seen.right + seen.refused == 400);
    CHECK(count(seen.backends, "good") == seen.right);
    CHECK(seen.metrics.find("sluice_breaker_opens_total{backend=\"bad\"} 0") == std::string::npos);
    CHECK(seen.metrics.find("sluice_breaker_opens_total{backend=\"good\"} 0") != std::string::npos);
  }
}

TEST_CASE("of two endpoints one is slow: it gets less, and both are named in answers") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SimEndpoint::Options slow{
        .a = milliseconds(200), .b = {}, .slots = 2, .items_max = 64, .faults = {}};
    slow.host = "10.0.0.10";
    const Tally seen = run(seed, slow, 50);
    INFO("seed " << seed);
    CHECK(seen.right == 400);
    CHECK(seen.bad_calls > 0);
    CHECK(seen.good_calls > seen.bad_calls * 5);
    CHECK(count(seen.backends, "good") + count(seen.backends, "bad") == 400);
    CHECK(count(seen.backends, "bad") > 0);
    CHECK(seen.slowest < seconds(1));
  }
}

TEST_CASE("of two endpoints one lies: who got its answer is told 502, nobody gets a wrong vector") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SimEndpoint::Options liar{
        .a = milliseconds(2), .b = {}, .slots = 2, .items_max = 64, .faults = {}};
    liar.host = "10.0.0.10";
    liar.faults.miscounted = 1;
    const Tally seen = run(seed, liar, 50);
    INFO("seed " << seed);
    CHECK(seen.wrong == 0);
    CHECK(seen.right + seen.refused == 400);
    CHECK(seen.refused > 0);
    CHECK(count(seen.backends, "bad") == 0);
  }
}

// Some of everything that can be passed on without a lie.
ProxyPlan unmerged_plan(uint64_t seed, MergeMode mode) {
  ProxyPlan plan = ProxyPlan::draw(seed);
  plan.config.models[0].merge = mode;
  plan.tight = false;
  plan.upstream = {};
  plan.endpoint.faults = {};
  plan.endpoint.slots = 1000;
  plan.endpoint.shuffles = false;
  plan.endpoint.items_max = 1000;
  plan.endpoint.a = milliseconds(3);
  plan.slow_reader = 0.3;
  plan.config.limits = {};
  finish_config(plan.config);
  return plan;
}

TEST_CASE("what must not be merged goes on as it came, request by request") {
  for (const MergeMode mode : {MergeMode::kOff, MergeMode::kShadow}) {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      const ProxyPlan plan = unmerged_plan(seed, mode);
      const ProxySummary summary = run(plan);
      INFO("seed " << seed << (mode == MergeMode::kOff ? " off" : " shadow"));
      for (const std::string& violation : summary.violations) FAIL_CHECK(violation);
      const bool all_told = !plan.tei && plan.leave <= 0 && plan.deadline <= 0;
      if (all_told) CHECK(summary.usage == summary.tokens);
      CHECK(summary.calls <= plan.requests + plan.clients);
    }
  }
}

TEST_CASE("a large answer that is not merged reaches a client that takes it slowly") {
  for (const MergeMode mode : {MergeMode::kOff, MergeMode::kShadow}) {
    ProxyPlan plan = unmerged_plan(1, mode);
    plan.config = proxy_config(false);
    plan.config.models[0].merge = mode;
    finish_config(plan.config);
    ProxyWorld world(plan, [](const std::string& what) { FAIL_CHECK(what); });
    std::string inputs;
    for (int i = 0; i < 900; ++i)
      inputs += (i > 0 ? ",\"" : "\"") + ("|m||0|" + std::to_string(i)) + "\"";
    const auto socket = SimLoop::connect(world.sim(), world.loops(), world.port());
    std::string received;
    std::optional<WireAnswer> answer;
    socket->on_bytes = [&](std::string_view bytes) {
      received.append(bytes);
      if (!answer) answer = take_answer(received);
    };
    socket->read_slowly(4000, milliseconds(1));
    socket->send(post_text("/v1/embeddings", "", R"({"model":"m","input":[)" + inputs + "]}"));
    world.run([&] { return answer.has_value(); });
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body.size() > 64 * 1024);
    const std::string metrics = world.gateway().render_metrics();
    const char* counted = mode == MergeMode::kShadow ? "\nsluice_shadow_requests_total 1\n"
                                                     : "\nsluice_shadow_requests_total 0\n";
    CHECK(metrics.find(counted) != std::string::npos);
  }
}

}  // namespace
}  // namespace sluice::sim
