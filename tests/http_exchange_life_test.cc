// SPDX-License-Identifier: Apache-2.0
// How long an exchange may take, and that it may end at any moment.
#include <doctest/doctest.h>

#include <map>
#include <optional>

#include "tests/http_client_world.h"
#include "tests/sim/sim_upstream.h"

namespace sluice::sim {
namespace {

HttpPool::Options with(HttpTimeouts timeouts) {
  HttpPool::Options options;
  options.timeouts = timeouts;
  return options;
}

const std::string kChunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

}  // namespace

TEST_CASE("no connection in time is a failure to connect, and nothing was sent") {
  ClientWorld w(with({.connect = seconds(2)}));
  w.upstream.answer = SimPort::Answer::kIgnore;
  Call call;
  call.start(*w.pool, post());
  w.run(milliseconds(1999));
  CHECK(call.log.empty());
  w.run(milliseconds(2));
  CHECK(call.log == "failed(connect)");
  CHECK(w.pool->stats().open == 0);
}

TEST_CASE("the time for it all holds while dialing, waiting for an answer, and reading it") {
  for (const int where : {0, 1, 2}) {
    ClientWorld w(with({.connect = seconds(9),
                        .first_byte = seconds(600),
                        .idle = seconds(600),
                        .total = seconds(2)}));
    if (where == 0) w.upstream.answer = SimPort::Answer::kIgnore;
    Call call;
    call.start(*w.pool, get());
    w.run(milliseconds(500));
    if (where == 2) w.upstream.send(0, kChunkedHead + "1\r\na\r\n");
    w.run(milliseconds(1498));
    CHECK_FALSE(call.over);
    w.run(milliseconds(5));
    CHECK(call.log.ends_with(where == 0 ? "failed(timeout)" : "failed(timeout sent)"));
    CHECK(call.code == Code::kTimeout);
    CHECK(w.upstream.open() == 0);
    CHECK(w.pool->stats().open == 0);
  }
}

TEST_CASE("the head must come within first_byte of the request's end; single bytes win no time") {
  ClientWorld w(with({.first_byte = seconds(3)}));
  Call call;
  call.start(*w.pool, post(false));
  w.run(seconds(20));  // its sender takes its time
  CHECK(call.log == "started");
  call.write("abc");
  call.finish();
  for (const char c : {'H', 'T', 'T', 'P'}) {
    w.run(milliseconds(700));
    w.upstream.send(0, std::string(1, c));
  }
  w.run(milliseconds(195));
  CHECK(call.log == "started");
  w.run(milliseconds(10));
  CHECK(call.log == "started failed(timeout sent)");
  CHECK(w.upstream.at(0).gone);
}

TEST_CASE("an upstream that takes the request slowly has time, one that stops has not") {
  ClientWorld w(with({.first_byte = seconds(3)}));
  Call call;
  call.start(*w.pool, post(false));
  w.run();
  bool stops = false;
  SUBCASE("slow") {}
  SUBCASE("stopped") { stops = true; }
  w.upstream.at(0).socket->read_slowly(stops ? 1 : 100, seconds(stops ? 1000 : 1));
  call.write(std::string(1000, 'x'));
  call.finish();
  w.run(milliseconds(stops ? 2990 : 10'500));
  CHECK(call.log == "started");
  CHECK(call.drained == (stops ? 1 : 2));
  w.run(milliseconds(stops ? 20 : 3000));
  CHECK(call.log == "started failed(timeout sent)");
}

TEST_CASE("between two bytes of an answer idle may pass; not while the caller reads nothing") {
  ClientWorld w(with({.idle = seconds(3)}));
  Call call;
  call.start(*w.pool, get());
  w.run();
  w.upstream.send(0, kChunkedHead);
  for (int i = 0; i < 5; ++i) {
    w.run(milliseconds(2900));
    w.upstream.send(0, "1\r\na\r\n");
  }
  w.run();
  call.read(false);
  w.run(seconds(30));
  CHECK(call.log == "started head(200 Transfer-Encoding=chunked) body(aaaaa)");
  call.read(true);
  w.run(milliseconds(2990));
  CHECK_FALSE(call.over);
  w.run(milliseconds(20));
  CHECK(call.log.ends_with("failed(timeout sent)"));
  CHECK(w.pool->stats().open == 0);
}

TEST_CASE("zero is for ever") {
  ClientWorld w(with({.connect = {}, .first_byte = {}, .idle = {}, .total = {}}));
  Call call;
  call.start(*w.pool, get());
  w.run(seconds(100'000));
  w.upstream.send(0, kChunkedHead);
  w.run(seconds(100'000));
  w.upstream.send(0, "0\r\n\r\n");
  w.run();
  CHECK(call.log.ends_with(" end"));
}

namespace {

// A conversation with every kind of event, in which the `k`-th event does `act`. Returns whether
// there was such an event.
bool converse(ClientWorld& w, Call& call, size_t k, const std::function<void()>& act) {
  size_t events = 0;
  bool acted = false;
  call.during = [&](const std::string&) {
    if (events++ != k) return;
    acted = true;
    act();
  };
  HttpRequest request = post(false);
  request.headers.push_back({"Expect", "100-continue"});
  call.start(*w.pool, std::move(request));
  w.run();
  for (const std::string bytes :
       {"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", "more", kChunkedHead.c_str(),
        "1\r\na\r\n1\r\nb\r\n", "1\r\nc\r\n0\r\nSum: 1\r\n\r\n"}) {
    if (bytes == "more" && call.exchange != nullptr) {
      call.write("abc");
      call.finish();
    } else if (bytes != "more" && !w.upstream.at(0).gone) {
      w.upstream.send(0, bytes);
    }
    w.run();
  }
  return acted;
}

}  // namespace

TEST_CASE("an exchange may be destroyed in any of its events, and its pool with it") {
  for (const bool pool_too : {false, true}) {
    size_t k = 0;
    for (bool more = true; more; ++k) {
      CAPTURE(k);
      ClientWorld w;
      Call call;
      std::string log;
      more = converse(w, call, k, [&] {
        log = call.log;
        call.exchange.reset();
        if (pool_too) w.pool.reset();
      });
      if (!more) break;
      CHECK(call.log == log);
      if (!pool_too) CHECK(w.pool->stats().open == (call.over ? 1 : 0));
      CHECK(w.loop.streams_open() == (call.over && !pool_too ? 1 : 0));
    }
    CHECK(k == 8);  // started interim continue head body body body end
  }
}

TEST_CASE("in any event another exchange may be destroyed, or begun") {
  for (size_t k = 0; k < 8; ++k) {
    CAPTURE(k);
    ClientWorld w;
    Call call;
    Call other;
    Call next;
    // Its connection is the second, after that of `call`.
    w.world.after(microseconds(200), [&] { other.start(*w.pool, get()); });
    CHECK(converse(w, call, k, [&] {
      other.exchange.reset();
      next.start(*w.pool, get("/next"));
    }));
    w.run();
    CHECK(call.log.ends_with("end Sum=1"));
    for (auto& connection : w.upstream.connections) {
      if (!connection->gone && connection->received.find("/next") != std::string::npos)
        connection->socket->send(kOk);
    }
    w.run();
    CHECK(next.log == kOkLog);
  }
}

TEST_CASE("an exchange may be destroyed at any moment between events, and in any failure") {
  for (const int ending : {0, 1, 2}) {
    for (size_t moment = 0; moment < 60; ++moment) {
      CAPTURE(moment);
      HttpPool::Options options = with({.first_byte = seconds(1)});
      options.limits.connections_max = 1;
      ClientWorld w(options);
      w.upstream.on_bytes = [&](size_t n, std::string& received) {
        if (!received.ends_with("abc")) return;
        received.clear();
        if (ending == 0) w.upstream.send(n, kOk);
        if (ending == 1) w.upstream.at(n).socket->reset();
        if (ending == 2) w.upstream.send(n, "garbage");
      };
      Call call;
      Call waiting;
      call.start(*w.pool, post());
      waiting.start(*w.pool, post());
      for (size_t i = 0; i < moment; ++i) w.world.step();
      const std::string log = call.log;
      call.exchange.reset();
      w.run(seconds(3));
      CHECK(call.log == log);
      CHECK(waiting.over);
      CHECK((waiting.log == kOkLog) == (ending == 0));
      waiting.exchange.reset();
      CHECK(w.pool->stats().open == w.loop.streams_open());
    }
  }
}

namespace {

// Many exchanges with an upstream that fails as the seed decides. Returns the trace.
uint64_t storm(uint64_t seed) {
  SimWorld world(seed);
  world.faults = {.latency_max = microseconds(300), .one_byte = 0.02, .split = 0.3, .coarse = {}};
  SimLoop loop(world);
  PlainDialer dialer(loop);
  SimUpstream upstream(world, "10.0.0.1", 80, [](const SimRequest& request, const SimReply& reply) {
    reply.respond(200, "you " + request.body);
  });
  Prng prng(seed);
  const auto maybe = [&](double most) { return prng.chance(0.5) ? prng.unit() * most : 0.0; };
  upstream.faults = {.refuse = maybe(0.2),
                     .ignore = maybe(0.1),
                     .reset_before = maybe(0.2),
                     .cut = maybe(0.2),
                     .close_after = maybe(0.5),
                     .delay_max = microseconds(prng.between(0, 3000))};
  HttpPool::Options options = with({.connect = milliseconds(20), .first_byte = milliseconds(100)});
  options.limits.connections_max = static_cast<size_t>(prng.between(1, 8));
  options.limits.idle_max = static_cast<size_t>(prng.between(0, 4));
  options.limits.idle_timeout = milliseconds(prng.between(1, 30));
  auto pool = HttpPool::make(loop, dialer, options);
  std::vector<std::unique_ptr<Call>> calls;
  const double leave = maybe(0.3);
  for (size_t i = 0; i < 100; ++i) {
    calls.push_back(std::make_unique<Call>());
    Call& call = *calls.back();
    world.after(world.some(milliseconds(60)), [&, i] {
      loop.deliver([&, i] {
        HttpRequest request = post();
        request.body = {Slice::copy_of(std::to_string(100 + i))};
        request.retry_reset = i % 2 == 0;
        call.start(*pool, std::move(request));
      });
      if (world.prng().chance(leave)) {
        world.after(world.some(milliseconds(5)),
                    [&] { loop.deliver([&] { call.exchange.reset(); }); });
      }
    });
  }
  while (world.step()) {
  }
  size_t answered = 0;
  for (size_t i = 0; i < calls.size(); ++i) {
    const Call& call = *calls[i];
    CAPTURE(call.log);
    CHECK(call.log.find('!') == std::string::npos);
    CHECK((call.over || call.exchange == nullptr));
    const size_t body = call.log.find("body(");
    if (!call.log.ends_with(" end")) continue;
    ++answered;
    CHECK(call.log.substr(body, call.log.find(')', body) - body) ==
          "body(you " + std::to_string(100 + i));
  }
  if (upstream.faults.refuse + upstream.faults.cut + upstream.faults.reset_before == 0 &&
      leave == 0)
    CHECK(answered > 0);
  CHECK(upstream.violations() == std::vector<std::string>{});
  CHECK(pool->stats().open == 0);  // idle ones have timed out
  CHECK(loop.streams_open() == 0);
  calls.clear();
  return world.trace_hash();
}

}  // namespace

TEST_CASE("whatever an upstream does, every exchange ends once, with its own answer or a failure") {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    const uint64_t trace = storm(seed);
    if (seed <= 5) CHECK(storm(seed) == trace);
  }
}

}  // namespace sluice::sim
