// SPDX-License-Identifier: Apache-2.0
// What the whole process may hold, in front of an endpoint that has more to say than fits: streams
// stop and go on, merged calls are refused, and nothing is lost, stuck or held for ever.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/proxy_stage.h"

namespace sluice::sim {
namespace {

constexpr uint64_t kBudget = 1024 * 1024;

ProxyPlan budget_plan(uint64_t seed, size_t io_loops) {
  ProxyPlan plan = stage_plan(seed, io_loops);
  plan.config.limits.bytes_held_max = kBudget;
  plan.config.limits.connection.http.body_bytes_max = kBudget / 4;
  return plan;
}

TEST_CASE("streams to many slow clients keep within the budget, and all of them arrive") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const size_t io_loops = seed % 2 == 0 ? 4 : 1;
    Stage stage(budget_plan(seed, io_loops), [](const SimRequest& request, const SimReply& reply) {
      reply.respond(200, payload(std::stoul(request.target.substr(1))));
    });
    size_t refused = 0;
    std::vector<std::unique_ptr<Reader>> readers;
    for (size_t i = 0; i < 64; ++i) {
      const size_t size = 200'000 + i * 1000;
      readers.push_back(std::make_unique<Reader>(
          Reader{.stage = &stage,
                 .request = "GET /" + std::to_string(size) + " HTTP/1.1\r\nHost: sim\r\n\r\n",
                 .wanted = payload(size),
                 .slow_bytes = 5'000,
                 .slow_every = milliseconds(static_cast<int64_t>(1 + i % 20)),
                 .refused = &refused}));
      stage.world->sim().after(stage.world->sim().some(milliseconds(20)),
                               [reader = readers.back().get()] { reader->start(); });
    }
    stage.run([&] {
      return std::ranges::all_of(readers, [](const auto& reader) { return reader->served; });
    });
    INFO("seed " << seed);
    CHECK(stage.most <= kBudget);
    CHECK(stage.most > kBudget / 2);
  }
}

TEST_CASE("clients that take nothing keep others waiting for a while, not for ever") {
  Stage stage(budget_plan(1, 1), [](const SimRequest& request, const SimReply& reply) {
    reply.respond(200, payload(std::stoul(request.target.substr(1))));
  });
  size_t refused = 0;
  std::vector<std::unique_ptr<Reader>> readers;
  const auto add = [&](Duration after, size_t slow_bytes, Duration slow_every) {
    const size_t size = 300'000 + readers.size();
    readers.push_back(std::make_unique<Reader>(
        Reader{.stage = &stage,
               .request = "GET /" + std::to_string(size) + " HTTP/1.1\r\nHost: sim\r\n\r\n",
               .wanted = payload(size),
               .slow_bytes = slow_bytes,
               .slow_every = slow_every,
               .refused = &refused}));
    stage.world->sim().after(after, [reader = readers.back().get()] { reader->start(); });
  };
  for (size_t i = 0; i < 30; ++i) add(milliseconds(1), 1, seconds(1000));
  for (size_t i = 0; i < 10; ++i) add(seconds(5), 0, {});
  stage.run([&] {
    return std::ranges::all_of(readers,
                               [](const auto& reader) { return reader->served || reader->gone; });
  });
  CHECK(refused > 10);
  CHECK(stage.most <= kBudget);
  for (size_t i = 0; i < readers.size(); ++i) CHECK(readers[i]->served == (i >= 30));
}

TEST_CASE("bodies and answers that wait both ways keep within the budget together") {
  Stage stage(budget_plan(3, 1), [](const SimRequest& request, const SimReply& reply) {
    reply.respond(200, request.body);
  });
  size_t refused = 0;
  std::vector<std::unique_ptr<Reader>> readers;
  for (size_t i = 0; i < 40; ++i) {
    const std::string body = payload(100'000 + i);
    readers.push_back(std::make_unique<Reader>(Reader{.stage = &stage,
                                                      .request = post_text("/echo", "", body),
                                                      .wanted = body,
                                                      .slow_bytes = 10'000,
                                                      .slow_every = milliseconds(2),
                                                      .refused = &refused}));
    stage.world->sim().after(stage.world->sim().some(milliseconds(2)),
                             [reader = readers.back().get()] { reader->start(); });
  }
  stage.run([&] {
    return std::ranges::all_of(readers, [](const auto& reader) { return reader->served; });
  });
  CHECK(stage.most <= kBudget);
}

TEST_CASE(
    "what waits of a body until the endpoint can be reached is counted, and is not all of it") {
  Stage stage(budget_plan(5, 1), [](const SimRequest& request, const SimReply& reply) {
    reply.respond(200, request.body);
  });
  stage.upstream->faults.ignore = 1;
  const std::string body = payload(250'000);
  Reader reader{.stage = &stage, .request = post_text("/late", "", body), .wanted = body};
  reader.start();
  uint64_t waiting = 0;
  stage.sim().after(seconds(1), [&] {
    waiting = stage.world->gateway().bytes_held();
    stage.upstream->faults.ignore = 0;
  });
  stage.run([&] { return reader.served; });
  CHECK(waiting >= 32 * 1024);
  CHECK(waiting <= 96 * 1024 + 1024);
}

// An answer to a merged call of `items` texts whose vectors are that long.
std::string long_answer(size_t items, size_t width) {
  std::string list;
  for (size_t i = 0; i < items; ++i) {
    list += (i > 0 ? "," : "") + std::string(R"({"object":"embedding","index":)") +
            std::to_string(i) + R"(,"embedding":[0.5)";
    for (size_t n = 1; n < width; ++n) list += ",0.5";
    list += "]}";
  }
  return R"({"object":"list","data":[)" + list +
         R"(],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}})";
}

TEST_CASE("merged calls whose answers find no room are refused, and the room is free again") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Stage stage(budget_plan(seed, 1), [](const SimRequest& request, const SimReply& reply) {
      reply.respond(200, request.body);
    });
    // Vectors of 40,000 bytes, four calls of up to sixteen at a time: more than the budget.
    SimUpstream chatty(stage.world->sim(), "10.0.0.9", 8000,
                       [](const SimRequest& request, const SimReply& reply) {
                         const auto items = std::ranges::count(request.body, '#');
                         reply.respond(200, long_answer(static_cast<size_t>(items), 10'000),
                                       {{"Content-Type", "application/json"}});
                       });
    size_t served = 0;
    size_t refused = 0;
    std::vector<std::unique_ptr<SimSocket>> sockets;
    std::vector<std::string> received(60);
    for (size_t i = 0; i < received.size(); ++i) {
      sockets.push_back(
          SimLoop::connect(stage.world->sim(), stage.world->loops(), stage.world->port()));
      sockets[i]->on_bytes = [&, i](std::string_view bytes) {
        received[i].append(bytes);
        const std::optional<WireAnswer> answer = take_answer(received[i]);
        if (!answer) return;
        CHECK((answer->status == 200 || answer->status == 429));
        ++(answer->status == 200 ? served : refused);
        stage.world->sim().after({}, [&, i] { sockets[i].reset(); });
      };
      sockets[i]->send(
          post_text("/v1/embeddings", "", R"({"model":"m","input":["#1","#2","#3","#4"]})"));
    }
    stage.run([&] { return served + refused == received.size(); });
    INFO("seed " << seed);
    CHECK(served > 0);
    CHECK(refused > 0);
    // What is answered may be there twice for a moment: as it came and as it goes.
    CHECK(stage.most <= kBudget * 2);
    CHECK(stage.most > kBudget / 2);
  }
}

}  // namespace
}  // namespace sluice::sim
