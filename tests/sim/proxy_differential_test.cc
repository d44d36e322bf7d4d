// SPDX-License-Identifier: Apache-2.0
// A second, slow way to get the same answers: the requests of a mix asked together, which shares
// calls, and asked one after the other, which does not.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/sim/proxy_world.h"

namespace sluice::sim {
namespace {

constexpr uint64_t kMixes = 1000;

// One of the few items that a mix repeats: strings with and without escapes, or token ids.
std::string draw_item(Prng& prng, const std::string& head, bool tokens) {
  std::string item;
  if (tokens) {
    for (int64_t i = prng.between(1, 4); i > 0; --i)
      item += (item.empty() ? "[" : ",") + std::to_string(prng.between(0, 99));
    return item + "]";
  }
  static constexpr const char* kEnds[] = {"", "\\u00e9", "\\\"", "é", " x y ", "poison", "\\n"};
  return "\"" + head + std::to_string(prng.between(0, 9)) +
         kEnds[prng.between(0, prng.chance(0.1) ? 6 : 4)] + "\"";
}

std::string draw_request(Prng& prng) {
  Tag tag;
  tag.credentials = "Bearer " + std::to_string(prng.between(1, 2));
  tag.model = prng.chance(0.8) ? "m" : "n";
  tag.dimensions = prng.chance(0.2) ? 3 : 0;
  std::string fields = R"("model":")" + tag.model + "\"";
  if (tag.dimensions > 0) fields += R"(, "dimensions": 3)";
  static constexpr const char* kForms[] = {"", R"(,"encoding_format":"float")",
                                           R"(,"encoding_format":"base64")",
                                           R"(,"encoding_format":null)", R"(,"user":"u")"};
  fields += kForms[prng.between(0, 4)];
  if (prng.chance(0.03)) fields += R"(,"dimensions":"many")";  // not a number
  const bool tokens = prng.chance(0.2);
  std::string input = draw_item(prng, tag.text(""), tokens);
  if (prng.chance(0.6)) {
    for (int64_t i = prng.between(0, 5); i > 0; --i)
      input += (prng.chance(0.5) ? "," : " , ") + draw_item(prng, tag.text(""), tokens);
    input = "[" + input + "]";
  }
  std::string headers = "Authorization: " + tag.credentials + "\r\n";
  if (prng.chance(0.3)) headers += "Accept: application/json\r\n";
  return post_text("/v1/embeddings", headers,
                   prng.chance(0.5) ? "{" + fields + R"(,"input":)" + input + "}"
                                    : R"({"input": )" + input + ", " + fields + "}");
}

// What of an answer must not depend on company.
std::string essence(WireAnswer answer) {
  const size_t usage = answer.body.find(R"(,"usage":{)");
  if (usage != std::string::npos)
    answer.body.erase(usage, answer.body.find('}', usage) - usage + 1);
  const size_t id = answer.body.find(R"(,"request_id":")");
  if (id != std::string::npos) answer.body.erase(id, answer.body.find('"', id + 15) - id + 1);
  return std::to_string(answer.status) + " " + answer.body;
}

// The answers to `requests`, each on a connection of its own: all at once, or each when the one
// before is answered.
std::vector<std::string> ask(const ProxyPlan& plan, const std::vector<std::string>& requests,
                             bool together, uint64_t& calls) {
  ProxyWorld world(plan, [](const std::string& what) { FAIL_CHECK(what); });
  std::vector<std::string> answers(requests.size());
  std::vector<std::string> received(requests.size());
  std::vector<std::unique_ptr<SimSocket>> sockets(requests.size());
  size_t answered = 0;
  std::function<void(size_t)> send = [&](size_t i) {
    sockets[i] = SimLoop::connect(world.sim(), world.loops(), world.port());
    sockets[i]->on_bytes = [&, i](std::string_view bytes) {
      received[i].append(bytes);
      std::optional<WireAnswer> answer = take_answer(received[i]);
      if (!answer) return;
      answers[i] = essence(std::move(*answer));
      ++answered;
      world.sim().after({}, [&, i] {
        sockets[i].reset();
        if (!together && i + 1 < requests.size()) send(i + 1);
      });
    };
    sockets[i]->send(requests[i]);
  };
  for (size_t i = 0; i < (together ? requests.size() : 1); ++i)
    world.sim().after(world.sim().some(microseconds(500)), [&send, i] { send(i); });
  world.run([&] { return answered == requests.size(); });
  calls += world.endpoint().calls();
  return answers;
}

TEST_CASE("a mix of requests gets, byte for byte, what each would have got alone") {
  uint64_t calls_together = 0;
  uint64_t calls_alone = 0;
  uint64_t requests_all = 0;
  for (uint64_t seed = 1; seed <= kMixes; ++seed) {
    Prng prng(seed);
    ProxyPlan plan;
    plan.seed = seed;
    plan.config = proxy_config(false);
    plan.config.models[0].batch.items_max = static_cast<uint64_t>(prng.between(1, 30));
    plan.config.models[0].backends[0].upstream.slots = 1;
    plan.endpoint.items_max = plan.config.models[0].batch.items_max;
    plan.endpoint.a = milliseconds(2);
    plan.faults.latency_max = microseconds(50);
    finish_config(plan.config);
    std::vector<std::string> requests;
    for (int64_t i = prng.between(2, 12); i > 0; --i) requests.push_back(draw_request(prng));
    const std::vector<std::string> alone = ask(plan, requests, false, calls_alone);
    const std::vector<std::string> together = ask(plan, requests, true, calls_together);
    for (size_t i = 0; i < requests.size(); ++i) {
      INFO("seed " << seed << ": " << requests[i]);
      CHECK(alone[i] == together[i]);
    }
    requests_all += requests.size();
  }
  CHECK(requests_all > kMixes * 5);
  CHECK(calls_together * 2 < calls_alone * 2 - calls_alone / 2);
}

}  // namespace
}  // namespace sluice::sim
