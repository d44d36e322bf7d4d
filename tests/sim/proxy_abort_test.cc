// SPDX-License-Identifier: Apache-2.0
// Calls and streams that nobody waits for any more, in front of an endpoint: they are aborted, and
// nothing else is; deadlines of what is passed on; a process that is told to stop meanwhile.
#include <string>
#include <vector>

#include "tests/sim/proxy_stage.h"

namespace sluice::sim {
namespace {

std::string embed(const std::string& headers = "") {
  return post_text("/v1/embeddings", headers, R"({"model":"m","input":["|m||0|x"]})");
}

// An endpoint for merged calls that answers none of them, and remembers them.
struct Silent {
  explicit Silent(SimWorld& world)
      : upstream(world, "10.0.0.9", 8000, [this](const SimRequest& request, const SimReply& reply) {
          bodies.push_back(request.body);
          replies.push_back(reply);
        }) {}
  size_t open() const {
    size_t count = 0;
    for (const SimReply& reply : replies) count += reply.open() ? 1 : 0;
    return count;
  }
  std::vector<std::string> bodies;
  std::vector<SimReply> replies;
  SimUpstream upstream;
};

void nothing(const SimRequest&, const SimReply&) {}

TEST_CASE("a call is aborted when the last of those who wait for it has left, and not before") {
  for (const size_t io_loops : {size_t{1}, size_t{4}}) {
    for (const bool by_reset : {false, true}) {
      ProxyPlan plan = stage_plan(7 + io_loops, io_loops);
      plan.config.models[0].backends[0].upstream.slots = 1;
      Stage stage(plan, nothing);
      Silent silent(stage.sim());
      std::vector<std::unique_ptr<SimSocket>> sockets(3);
      for (auto& socket : sockets) {
        socket = stage.connect();
        socket->send(embed());
      }
      const auto leave = [&](size_t i) {
        if (by_reset) sockets[i]->reset();
        sockets[i].reset();
      };
      // The first call has one request or more; the others wait, for there is one slot.
      stage.sim().after(seconds(1), [&] {
        CHECK(silent.open() == 1);
        for (size_t i = 0; i < 2; ++i) leave(i);
      });
      bool over = false;
      stage.sim().after(seconds(2), [&] {
        // Whoever was in the call that was aborted has left; the third has a call, first or not.
        CHECK(silent.open() == 1);
        leave(2);
      });
      stage.sim().after(seconds(3), [&] {
        CHECK(silent.open() == 0);
        CHECK(silent.replies.size() >= 1);
        over = true;
      });
      stage.run([&] { return over; });
    }
  }
}

TEST_CASE("a merged call that nobody may wait for any longer is aborted at the deadline") {
  Stage stage(stage_plan(3, 1), nothing);
  Silent silent(stage.sim());
  Instant answered;
  std::string received;
  const auto socket = stage.connect();
  socket->on_bytes = [&](std::string_view bytes) {
    received.append(bytes);
    answered = stage.sim().now();
  };
  socket->send(embed("x-sluice-deadline-ms: 500\r\n"));
  bool over = false;
  stage.sim().after(seconds(1), [&] {
    CHECK(silent.replies.size() == 1);
    CHECK(silent.open() == 0);
    over = true;
  });
  const Instant began = stage.sim().now();
  stage.run([&] { return over; });
  CHECK(take_answer(received)->status == 504);
  CHECK(answered - began < milliseconds(510));
}

TEST_CASE("what is passed on has its deadline until its answer begins, and none afterwards") {
  bool opened = false;
  std::vector<SimReply> silent;
  Stage stage(stage_plan(4, 1), [&](const SimRequest& request, const SimReply& reply) {
    if (request.target == "/silent") return silent.push_back(reply);
    // A head at once, a body that takes longer than the deadline.
    reply.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    opened = true;
    stage.sim().after(seconds(2), [reply] { reply.send("more"); });
  });
  const std::string deadline = "Host: sim\r\nx-sluice-deadline-ms: 300\r\n\r\n";
  Reader streamed{
      .stage = &stage, .request = "GET /slow HTTP/1.1\r\n" + deadline, .wanted = "halfmore"};
  streamed.start();
  std::string received;
  Instant answered;
  const auto late = stage.connect();
  late->on_bytes = [&](std::string_view bytes) {
    received.append(bytes);
    answered = stage.sim().now();
  };
  late->send("GET /silent HTTP/1.1\r\n" + deadline);
  const Instant began = stage.sim().now();
  bool closed = false;
  stage.sim().after(milliseconds(400), [&] { closed = silent.size() == 1 && !silent[0].open(); });
  stage.run([&] { return streamed.served && stage.sim().now() > began + seconds(1); });
  CHECK(opened);
  CHECK(closed);
  const std::optional<WireAnswer> answer = take_answer(received);
  REQUIRE(answer);
  CHECK(answer->status == 504);
  CHECK(answer->body.find("deadline") != std::string::npos);
  CHECK(answered - began >= milliseconds(300));
  CHECK(answered - began < milliseconds(310));
}

TEST_CASE(
    "a deadline that what is passed on has never met is refused at once, a wrong one is 400") {
  size_t asked = 0;
  Stage stage(stage_plan(5, 1), [&](const SimRequest&, const SimReply& reply) {
    ++asked;
    stage.sim().after(seconds(1), [reply] { reply.respond(200, "done"); });
  });
  std::vector<int> statuses;
  std::vector<std::unique_ptr<SimSocket>> sockets;
  std::vector<std::string> received(8);
  std::function<void(size_t)> send = [&](size_t i) {
    sockets.push_back(stage.connect());
    sockets[i]->on_bytes = [&, i](std::string_view bytes) {
      received[i].append(bytes);
      const std::optional<WireAnswer> answer = take_answer(received[i]);
      if (!answer) return;
      statuses.push_back(answer->status);
      if (i + 1 < received.size()) stage.sim().after(microseconds(1), [&, i] { send(i + 1); });
    };
    const std::string deadline = i == 7 ? "soon" : i == 6 ? "100" : "60000";
    sockets[i]->send("GET /x HTTP/1.1\r\nHost: sim\r\nx-sluice-deadline-ms: " + deadline +
                     "\r\n\r\n");
  };
  send(0);
  stage.run([&] { return statuses.size() == received.size(); });
  CHECK(statuses == std::vector<int>{200, 200, 200, 200, 200, 200, 504, 400});
  CHECK(asked == 6);
}

TEST_CASE("told to stop, a gateway in front of an endpoint ends what it has, and takes no more") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    ProxyPlan plan = stage_plan(seed, seed % 2 == 0 ? 4 : 1);
    plan.endpoint.a = milliseconds(20);
    plan.endpoint.slots = 4;
    Stage stage(plan, [&](const SimRequest& request, const SimReply& reply) {
      const std::string body = payload(std::stoul(request.target.substr(1)));
      reply.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                 body.substr(0, 100));
      stage.sim().after(stage.sim().some(milliseconds(60)),
                        [reply, rest = body.substr(100)] { reply.send(rest); });
    });
    std::vector<std::unique_ptr<Reader>> readers;
    std::vector<std::unique_ptr<SimSocket>> merged;
    std::vector<std::string> received(20);
    size_t embedded = 0;
    for (size_t i = 0; i < 20; ++i) {
      const std::string size = std::to_string(10'000 + i);
      readers.push_back(std::make_unique<Reader>(
          Reader{.stage = &stage,
                 .request = "GET /" + size + " HTTP/1.1\r\nHost: a\r\n\r\n",
                 .wanted = payload(10'000 + i),
                 .slow_bytes = i % 3 == 0 ? size_t{500} : size_t{0},
                 .slow_every = milliseconds(1)}));
      readers.back()->start();
      merged.push_back(stage.connect());
      merged[i]->on_bytes = [&, i](std::string_view bytes) {
        received[i].append(bytes);
        const std::optional<WireAnswer> answer = take_answer(received[i]);
        if (!answer) return;
        CHECK(answer->status == 200);
        ++embedded;
      };
      merged[i]->send(embed());
    }
    bool refused = false;
    std::unique_ptr<SimSocket> newcomer;
    stage.sim().after(milliseconds(2) + stage.sim().some(milliseconds(30)),
                      [&] { stage.world->drain(); });
    stage.sim().after(milliseconds(40), [&] {
      newcomer = stage.connect();
      newcomer->on_bytes = [](std::string_view bytes) { FAIL_CHECK(bytes); };
      newcomer->on_reset = newcomer->on_end = [&] { refused = true; };
      newcomer->send(embed());
    });
    stage.run([&] {
      return refused && embedded == merged.size() &&
             std::ranges::all_of(readers, [](const auto& reader) { return reader->served; });
    });
    INFO("seed " << seed);
    CHECK(embedded == merged.size());
    CHECK(refused);
  }
}

}  // namespace
}  // namespace sluice::sim
