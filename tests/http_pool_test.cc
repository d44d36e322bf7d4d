// SPDX-License-Identifier: Apache-2.0
// Which connection an exchange gets, and what happens to it afterwards.
#include <doctest/doctest.h>

#include "tests/http_client_world.h"

namespace sluice::sim {
namespace {

// Asks and is answered on the `n`-th connection.
void round(ClientWorld& w, size_t n, const std::string& answer = kOk) {
  Call call;
  call.start(*w.pool, get());
  w.run();
  CHECK(w.upstream.at(n).received == kGetText);
  w.upstream.at(n).received.clear();
  w.upstream.send(n, answer);
  w.run();
  CHECK(call.log == kOkLog);
}

uint64_t closed(const ClientWorld& w, Closing why) {
  return w.pool->stats().closed[static_cast<size_t>(why)];
}

HttpPool::Options with(PoolLimits limits) {
  HttpPool::Options options;
  options.limits = limits;
  return options;
}

}  // namespace

TEST_CASE("a connection is used again, the last one first") {
  ClientWorld w;
  round(w, 0);
  round(w, 0);
  CHECK(w.pool->stats().opened == 1);
  CHECK(w.pool->stats().reused == 1);
  Call a;
  Call b;
  a.start(*w.pool, get());
  b.start(*w.pool, get());
  w.run();
  CHECK(w.dialer.dials == 2);
  w.upstream.send(1, kOk);
  w.run();
  w.upstream.send(0, kOk);
  w.run();
  CHECK(a.log == kOkLog);
  CHECK(b.log == kOkLog);
  CHECK(w.pool->stats().idle == 2);
  for (auto& connection : w.upstream.connections) connection->received.clear();
  round(w, 0);
  round(w, 0);
  CHECK(w.pool->stats().open == 2);
}

TEST_CASE("a connection is not used again after idle_timeout, nor after age_max") {
  SUBCASE("idle") {
    ClientWorld w(with({.idle_timeout = seconds(10)}));
    round(w, 0);
    w.run(milliseconds(9990));
    round(w, 0);
    CHECK(w.upstream.open() == 1);
    w.run(milliseconds(10010));
    CHECK(w.upstream.open() == 0);
    CHECK(w.pool->stats().open == 0);
    CHECK(closed(w, Closing::kIdle) == 1);
    round(w, 1);
    CHECK(w.pool->stats().opened == 2);
    CHECK(w.pool->stats().reused == 1);
    CHECK(w.pool->stats().answers[2] == 3);
  }
  SUBCASE("old, while idle") {
    ClientWorld w(with({.idle_timeout = seconds(100), .age_max = seconds(30)}));
    round(w, 0);
    w.run(seconds(29));
    CHECK(w.upstream.open() == 1);
    w.run(seconds(2));
    CHECK(w.upstream.open() == 0);
    CHECK(closed(w, Closing::kAge) == 1);
  }
  SUBCASE("old, while busy") {
    ClientWorld w(with({.idle_timeout = seconds(100), .age_max = seconds(30)}));
    Call call;
    call.start(*w.pool, get());
    w.run(seconds(31));
    w.upstream.send(0, kOk);
    w.run();
    CHECK(call.log == kOkLog);
    CHECK(w.pool->stats().open == 0);
    CHECK(w.upstream.open() == 0);
    CHECK(closed(w, Closing::kAge) == 1);
  }
}

TEST_CASE("no more than idle_max are kept; the one used longest ago goes") {
  for (const size_t most : {size_t{0}, size_t{1}, size_t{2}}) {
    ClientWorld w(with({.idle_max = most}));
    Call calls[3];
    for (Call& call : calls) call.start(*w.pool, get());
    w.run();
    for (size_t n = 0; n < 3; ++n) {
      w.upstream.send(n, kOk);
      w.run();
    }
    for (Call& call : calls) CHECK(call.log == kOkLog);
    CHECK(w.pool->stats().idle == most);
    CHECK(w.pool->stats().open == most);
    CHECK(closed(w, Closing::kIdle) == 3 - most);
    CHECK(w.upstream.open() == most);
    if (most > 0) CHECK_FALSE(w.upstream.at(2).gone);
  }
}

TEST_CASE(
    "where connections_max are busy the next waits its turn, and gets the first that is free") {
  ClientWorld w(with({.connections_max = 1}));
  Call a;
  Call b;
  Call c;
  Call d;
  a.start(*w.pool, get("/a"));
  b.start(*w.pool, get("/b"));
  c.start(*w.pool, get("/c"));
  d.start(*w.pool, get("/d"));
  w.run();
  CHECK(b.exchange->unsent_bytes() > 0);
  w.upstream.at(0).received.clear();
  c.exchange.reset();
  w.upstream.send(0, kOk);
  w.run();
  CHECK(a.log == kOkLog);
  CHECK(w.upstream.at(0).received == "GET /b HTTP/1.1\r\nHost: up\r\n\r\n");
  w.upstream.at(0).received.clear();
  SUBCASE("after an answer that ends the connection it dials") {
    w.upstream.send(0, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    w.run();
    CHECK(b.over);
    CHECK(w.upstream.open() == 1);
    CHECK(w.upstream.at(1).received == "GET /d HTTP/1.1\r\nHost: up\r\n\r\n");
  }
  SUBCASE("after an exchange that was given up it dials") {
    b.exchange.reset();
    w.run();
    CHECK(w.upstream.at(0).gone);
    CHECK(w.upstream.at(1).received == "GET /d HTTP/1.1\r\nHost: up\r\n\r\n");
  }
  SUBCASE("after one that failed") {
    w.upstream.send(0, "HTTP/1.1 2");
    w.upstream.at(0).socket->reset_when_sent();
    w.run();
    CHECK(b.log == "started failed(cut sent)");
    CHECK(w.upstream.at(1).received == "GET /d HTTP/1.1\r\nHost: up\r\n\r\n");
  }
  CHECK(c.log.empty());
}

TEST_CASE("a dial that fails frees its place for the next") {
  ClientWorld w(with({.connections_max = 1}));
  w.upstream.answer = SimPort::Answer::kRefuse;
  Call a;
  Call b;
  a.start(*w.pool, get());
  b.start(*w.pool, get());
  w.run();
  CHECK(a.log == "failed(connect)");
  CHECK(b.log == "failed(connect)");
  CHECK(a.message == "connection refused");
  CHECK(w.pool->stats().open == 0);
}

TEST_CASE("an idle connection that the upstream closes, resets or talks on leaves the pool") {
  for (int what = 0; what < 3; ++what) {
    ClientWorld w;
    round(w, 0);
    if (what == 0) w.upstream.at(0).socket->finish();
    if (what == 1) w.upstream.at(0).socket->reset();
    if (what == 2) w.upstream.send(0, kOk);
    w.run();
    CHECK(w.pool->stats().open == 0);
    CHECK(closed(w, Closing::kUpstream) == 1);
    CHECK(w.dialer.dials == 1);
    round(w, 1);
  }
}

TEST_CASE("what says that nothing more may follow ends the connection") {
  for (const char* const answer : {
           "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
           "HTTP/1.1 200 OK\r\nconnection: Foo, CLOSE\r\nContent-Length: 2\r\n\r\nok",
           "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",            // surplus bytes
           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK"  // a second answer
       }) {
    CAPTURE(answer);
    ClientWorld w;
    Call call;
    call.start(*w.pool, get());
    w.run();
    w.upstream.send(0, answer);
    w.run();
    CHECK(call.log.ends_with("body(ok) end"));
    CHECK(w.pool->stats().open == 0);
    CHECK(closed(w, Closing::kAnswer) == 1);
    CHECK(w.upstream.open() == 0);
  }
  ClientWorld w;
  Call call;
  call.start(*w.pool, get());
  w.run();
  w.upstream.send(0, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
  w.run();
  CHECK(call.over);
  CHECK(w.pool->stats().idle == 1);
}

TEST_CASE("an answer to nobody is never taken for another's") {
  ClientWorld w;
  round(w, 0);
  // It and the next request cross on the way.
  w.upstream.send(0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
  Call call;
  w.run(microseconds(60));
  call.start(*w.pool, get());
  w.run();
  CHECK(call.log.find("wrong") == std::string::npos);
  CHECK(w.upstream.connections.size() == 2);
  w.upstream.send(1, kOk);
  w.run();
  CHECK(call.log == kOkLog);
}

TEST_CASE("waiting for a connection ends with first_byte") {
  HttpPool::Options options = with({.connections_max = 1});
  options.timeouts.first_byte = seconds(3);
  ClientWorld w(options);
  Call a;
  Call b;
  a.start(*w.pool, post(false));  // waits for its sender
  w.run();
  b.start(*w.pool, get());
  w.run(milliseconds(2995));
  CHECK(b.log.empty());
  w.run(milliseconds(10));
  CHECK(b.log == "failed(timeout)");
  CHECK(b.code == Code::kTimeout);
  CHECK(a.log == "started");
}

}  // namespace sluice::sim
