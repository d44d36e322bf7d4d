// SPDX-License-Identifier: Apache-2.0
// Hand-written stories of single connections: what a client sees when, to the millisecond.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/gateway.h"
#include "tests/sim/sim_engine.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {
namespace {

class NowOffload final : public Offload {
 public:
  explicit NowOffload(SimWorld& world) : world_(world) {}
  void run(std::function<void()> job) override { world_.after(microseconds(1), std::move(job)); }

 private:
  SimWorld& world_;
};

// What one client has seen.
struct Seen {
  std::unique_ptr<SimSocket> socket;
  std::string bytes;
  bool ended = false;
  bool was_reset = false;
  Instant last;  // when the last thing was seen
};

// A gateway with one echo model on one loop, without faults.
class Story {
 public:
  explicit Story(Config config = {}, Duration busy = milliseconds(10)) : world_(1) {
    world_.faults = {.latency_max = microseconds(1), .one_byte = 0, .split = 0, .coarse = {}};
    ModelConfig model;
    model.backends.emplace_back().echo = EchoTimes{};
    config.models.push_back(model);
    config.listen.port = 0;
    config.admin.reset();
    finish_config(config);
    gateway_ = std::make_unique<Gateway>(
        config, 1,
        Gateway::World{.core = &loop_, .io = {&loop_}, .offload = &offload_, .log = &log_});
    engine_ = std::make_unique<SimEngine>(
        world_, SimEngine::Options{.a = busy, .b = {}, .items_max = 1000, .bytes_max = 1 << 30},
        gateway_->sink(), [](const std::string& what) { FAIL_CHECK(what); });
    std::vector<ServedModel> models;
    models.push_back({"echo", {}, std::make_shared<EmbeddedEcho>()});
    REQUIRE(gateway_->open(std::move(models), {engine_.get()}).ok());
  }

  std::shared_ptr<Seen> connect() {
    auto seen = std::make_shared<Seen>();
    seen->socket = SimLoop::connect(world_, {&loop_}, gateway_->main_address().port);
    seen->socket->on_bytes = [this, seen = seen.get()](std::string_view bytes) {
      seen->bytes.append(bytes);
      seen->last = world_.now();
    };
    seen->socket->on_end = [this, seen = seen.get()] {
      seen->ended = true;
      seen->last = world_.now();
    };
    seen->socket->on_reset = [this, seen = seen.get()] {
      seen->was_reset = true;
      seen->last = world_.now();
    };
    run(milliseconds(1));
    return seen;
  }
  void run(Duration time) {
    const Instant end = world_.now() + time;
    bool there = false;
    world_.at(end, [&] { there = true; });
    while (!there) REQUIRE(world_.step());
  }
  static std::string ask(const std::string& text, const std::string& headers = "") {
    const std::string body = R"({"model":"echo","input":")" + text + "\"}";
    return "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  bool shows(const std::string& line) {
    return gateway_->render_metrics().find("\n" + line + "\n") != std::string::npos;
  }
  Instant now() const { return world_.now(); }
  Gateway& gateway() { return *gateway_; }
  // The lines of the access log so far.
  const std::string& access() const { return access_; }

 private:
  SimWorld world_;
  SimLoop loop_{world_};
  NowOffload offload_{world_};
  std::string access_;
  Log log_{{.level = LogLevel::kError, .access = true},
           [this] { return world_.now(); },
           [this](std::string_view line) { access_ += line; }};
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<SimEngine> engine_;
};

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

bool about(Duration got, Duration wanted) {
  return got >= wanted - milliseconds(2) && got <= wanted + milliseconds(2);
}

TEST_CASE("a head that is not complete in ten seconds gets 408, then the end") {
  Story story;
  const auto client = story.connect();
  const Instant began = story.now();
  client->socket->send("POST /v1/embeddings HTTP/1.1\r\nHost:");
  story.run(milliseconds(9900));
  CHECK(client->bytes.empty());
  story.run(seconds(1));
  CHECK(client->bytes.find("HTTP/1.1 408 ") == 0);
  CHECK(client->ended);
  CHECK(about(client->last - began, seconds(10)));
}

TEST_CASE("the time for a head counts anew for each request of a connection") {
  Story story;
  const auto client = story.connect();
  client->socket->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  story.run(seconds(30));
  const Instant began = story.now();
  client->socket->send("GET /healthz HTTP/1.1\r\n");
  story.run(seconds(11));
  CHECK(count(client->bytes, "HTTP/1.1 408 ") == 1);
  CHECK(about(client->last - began, seconds(10)));
}

TEST_CASE("a trickle does not extend the time for a head") {
  Story story;
  const auto client = story.connect();
  for (int i = 0; i < 12; ++i) {
    client->socket->send("G");
    story.run(seconds(1));
  }
  CHECK(client->bytes.find("HTTP/1.1 408 ") == 0);
}

TEST_CASE("a body that is not complete in sixty seconds gets 408") {
  Story story;
  const auto client = story.connect();
  const Instant began = story.now();
  client->socket->send("POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{");
  story.run(seconds(61));
  CHECK(client->bytes.find("HTTP/1.1 408 ") == 0);
  CHECK(about(client->last - began, seconds(60)));
  CHECK(story.gateway().bytes_held() == 0);
}

TEST_CASE("an idle connection is closed after 75 seconds without a word") {
  Story story;
  const auto client = story.connect();
  client->socket->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  story.run(seconds(74));
  CHECK(count(client->bytes, "HTTP/1.1 200") == 1);
  CHECK(!client->ended);
  story.run(seconds(2));
  CHECK(client->ended);
  CHECK(count(client->bytes, "HTTP/1.1") == 1);
}

TEST_CASE("pipelined requests are answered in order, one at a time") {
  Story story;
  const auto client = story.connect();
  client->socket->send(Story::ask("a") + "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" +
                       Story::ask("b"));
  story.run(milliseconds(15));
  CHECK(count(client->bytes, "HTTP/1.1 200") == 2);  // the first, and health behind it
  story.run(milliseconds(15));
  CHECK(count(client->bytes, "HTTP/1.1 200") == 3);
  CHECK(client->bytes.find("embedding") < client->bytes.find("\r\n\r\nok\n"));
}

TEST_CASE("a valid request and garbage behind it: an answer, then 400 and the end") {
  Story story;
  const auto client = story.connect();
  client->socket->send(Story::ask("a") + "garbage\r\n\r\n");
  story.run(milliseconds(30));
  CHECK(client->bytes.find("HTTP/1.1 200") == 0);
  CHECK(count(client->bytes, "HTTP/1.1 400") == 1);
  CHECK(client->bytes.find("Connection: close") != std::string::npos);
  CHECK(client->ended);
}

TEST_CASE("a client that leaves while it waits is counted, and its row leaves the queue") {
  Story story;
  const auto busy = story.connect();
  busy->socket->send(Story::ask("a"));
  story.run(milliseconds(1));
  const auto leaver = story.connect();
  leaver->socket->send(Story::ask("b"));
  story.run(milliseconds(1));
  CHECK(story.shows("sluice_queue_items 1"));
  leaver->socket->finish();
  story.run(milliseconds(1));
  CHECK(story.shows("sluice_queue_items 0"));
  CHECK(story.shows("sluice_cancelled_total 1"));
  CHECK(leaver->bytes.empty());
  story.run(milliseconds(20));
  CHECK(busy->bytes.find("HTTP/1.1 200") == 0);
}

TEST_CASE("with half_close a client that has sent FIN still gets its answer") {
  Config config;
  config.limits.connection.half_close = true;
  Story story(config);
  const auto client = story.connect();
  client->socket->send(Story::ask("a"));
  client->socket->finish();
  story.run(milliseconds(20));
  CHECK(client->bytes.find("HTTP/1.1 200") == 0);
  CHECK(client->ended);
}

TEST_CASE("a deadline that passes in the queue is 504 at the deadline") {
  Story story({}, milliseconds(500));
  const auto busy = story.connect();
  busy->socket->send(Story::ask("a"));
  story.run(milliseconds(1));
  const auto hurried = story.connect();
  const Instant began = story.now();
  hurried->socket->send(Story::ask("b", "x-sluice-deadline-ms: 100\r\n"));
  story.run(milliseconds(300));
  CHECK(hurried->bytes.find("HTTP/1.1 504") == 0);
  CHECK(about(hurried->last - began, milliseconds(100)));
  CHECK(story.shows("sluice_expired_total 1"));
}

TEST_CASE("a deadline that passes in flight is 504 at the deadline") {
  Story story({}, milliseconds(500));
  const auto client = story.connect();
  const Instant began = story.now();
  client->socket->send(Story::ask("a", "x-sluice-deadline-ms: 100\r\n"));
  story.run(milliseconds(700));
  CHECK(client->bytes.find("HTTP/1.1 504") == 0);
  CHECK(count(client->bytes, "HTTP/1.1") == 1);
  CHECK(about(client->last - began, milliseconds(100)));
}

TEST_CASE("a connection beyond connections_max is told so and closed") {
  Config config;
  config.limits.connections_max = 1;
  Story story(config);
  const auto first = story.connect();
  const auto second = story.connect();
  story.run(milliseconds(1));
  CHECK(second->bytes.find("HTTP/1.1 503") == 0);
  CHECK(second->ended);
  first->socket->send(Story::ask("a"));
  story.run(milliseconds(20));
  CHECK(first->bytes.find("HTTP/1.1 200") == 0);
}

TEST_CASE("the access log tells how long a request took, also of one that was turned away") {
  Config config;
  config.limits.connections_max = 1;
  Story story(config);
  const auto first = story.connect();
  const auto second = story.connect();
  first->socket->send(Story::ask("a"));
  story.run(milliseconds(20));
  CHECK(count(story.access(), "\n") == 2);
  CHECK(count(story.access(), "status=503") == 1);
  CHECK(count(story.access(), "took_ms=0") == 1);
  CHECK(count(story.access(), "took_ms=10.") == 1);
}

TEST_CASE("draining answers what has begun and closes, and lets an idle connection go") {
  Story story;
  const auto idle = story.connect();
  const auto busy = story.connect();
  busy->socket->send(Story::ask("a"));
  const auto halfway = story.connect();
  const std::string request = Story::ask("b");
  halfway->socket->send(request.substr(0, 30));
  story.run(milliseconds(1));
  bool drained = false;
  story.gateway().drain([&] { drained = true; });
  story.run(milliseconds(2));
  CHECK(idle->ended);
  CHECK(!drained);
  halfway->socket->send(request.substr(30));
  story.run(milliseconds(40));
  CHECK(busy->bytes.find("HTTP/1.1 200") == 0);
  CHECK(busy->bytes.find("Connection: close") != std::string::npos);
  CHECK(halfway->bytes.find("HTTP/1.1 200") == 0);
  CHECK(drained);
  const auto late = story.connect();
  CHECK(late->was_reset);
}

TEST_CASE("100 Continue is sent when it is asked for, and the body then read") {
  Story story;
  const auto client = story.connect();
  const std::string body = R"({"model":"echo","input":"a"})";
  client->socket->send(
      "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n");
  story.run(milliseconds(1));
  CHECK(client->bytes == "HTTP/1.1 100 Continue\r\n\r\n");
  client->socket->send(body);
  story.run(milliseconds(20));
  CHECK(count(client->bytes, "HTTP/1.1 200") == 1);
}

TEST_CASE("a declared length over the limit is 413 at once, without the body") {
  Story story;
  const auto client = story.connect();
  client->socket->send(
      "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n");
  story.run(milliseconds(1));
  CHECK(client->bytes.find("HTTP/1.1 413") == 0);
  CHECK(client->ended);
}

TEST_CASE("a client that does not read is let go after the idle time, and holds a bounded answer") {
  Config config;
  config.limits.connection.output_bytes_max = 1000;
  Story story(config, milliseconds(1));
  const auto client = story.connect();
  client->socket->read_slowly(1, seconds(100));
  std::string many;
  for (int i = 0; i < 100; ++i) many += Story::ask("a");
  client->socket->send(many);
  story.run(seconds(10));
  CHECK(story.gateway().bytes_held() < 8000);
  story.run(seconds(80));
  CHECK(story.gateway().bytes_held() == 0);
  CHECK(story.shows("sluice_connections 0"));
}

TEST_CASE("a body too large to be read inline is answered all the same") {
  Story story;
  const auto client = story.connect();
  client->socket->send(Story::ask(std::string(100'000, 'x')));
  story.run(milliseconds(30));
  CHECK(client->bytes.find("HTTP/1.1 200") == 0);
}

}  // namespace
}  // namespace sluice::sim
