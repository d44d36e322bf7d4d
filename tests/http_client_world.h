// SPDX-License-Identifier: Apache-2.0
#pragma once
// A pool on virtual time, an upstream played by the test byte by byte, and a log of what exchanges
// tell.

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/http_client.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {

// A Dialer of one address, whatever the origin.
class PlainDialer final : public Dialer {
 public:
  explicit PlainDialer(Loop& loop) : loop_(loop) {}
  std::unique_ptr<Pending> dial(
      const Origin&, TlsContext*, Duration timeout,
      std::function<void(Result<std::unique_ptr<Stream>>)> done) override {
    struct Dial final : Pending {
      std::unique_ptr<Timer> timer;
      std::unique_ptr<Pending> connecting;
    };
    auto dial = std::make_unique<Dial>();
    ++dials;
    if (timeout > Duration{}) {
      dial->timer = loop_.timer([raw = dial.get(), done] {
        raw->connecting.reset();
        done(Error{Code::kTimeout, "too late"});
      });
      dial->timer->again(loop_.now() + timeout);
    }
    dial->connecting = loop_.connect(
        {"10.0.0.1", 80}, [raw = dial.get(), done](Result<std::unique_ptr<Stream>> result) {
          if (raw->timer != nullptr) raw->timer->cancel();
          done(std::move(result));
        });
    return dial;
  }

  size_t dials = 0;

 private:
  Loop& loop_;
};

// An upstream that does nothing by itself. It closes what the other end has closed.
class PlayedUpstream {
 public:
  struct Connection {
    std::unique_ptr<SimSocket> socket;
    std::string received;
    bool gone = false;  // the other end has closed
  };
  explicit PlayedUpstream(SimWorld& world) : world_(world) {
    world_.ports["10.0.0.1:80"] = {
        .answer = [this] { return answer; },
        .accept = [this](std::unique_ptr<SimSocket> socket) { accept(std::move(socket)); }};
  }
  // The connection made as the `n`-th, from 0. REQUIRES: it was made.
  Connection& at(size_t n) {
    REQUIRE(n < connections.size());
    return *connections[n];
  }
  void send(size_t n, std::string_view bytes) { at(n).socket->send(bytes); }
  // How many connections the other end keeps open.
  size_t open() const {
    size_t count = 0;
    for (const auto& connection : connections) count += connection->gone ? 0 : 1;
    return count;
  }

  SimPort::Answer answer = SimPort::Answer::kAccept;
  std::vector<std::unique_ptr<Connection>> connections;
  // What to do with what has arrived on the n-th connection.
  std::function<void(size_t, std::string&)> on_bytes = [](size_t, std::string&) {};

 private:
  void accept(std::unique_ptr<SimSocket> socket) {
    const size_t n = connections.size();
    connections.push_back(std::make_unique<Connection>());
    Connection* made = connections.back().get();
    made->socket = std::move(socket);
    made->socket->on_bytes = [this, made, n](std::string_view bytes) {
      made->received.append(bytes);
      on_bytes(n, made->received);
    };
    made->socket->on_end = [made] { made->gone = true; };
    made->socket->on_reset = [made] { made->gone = true; };
  }

  SimWorld& world_;
};

// One exchange and the log of its events: "started head(200 A=b) body(abc) end". The log says "!"
// where an event comes from inside a call, or after the last.
class Call final : public HttpExchangeEvents {
 public:
  // Starts `request` on `pool`.
  void start(HttpPool& pool, HttpRequest request) {
    inside_ = true;
    exchange = pool.start(std::move(request), *this);
    inside_ = false;
  }
  void write(std::string_view bytes) {
    const Slice slice = Slice::copy_of(bytes);
    inside_ = true;
    exchange->write({&slice, 1});
    inside_ = false;
  }
  void finish() { exchange->finish(); }
  void read(bool wanted) {
    inside_ = true;
    exchange->read(wanted);
    inside_ = false;
  }

  void on_started() override { note("started"); }
  void on_interim(UpstreamHead& head) override { note("interim(" + text(head) + ")"); }
  void on_continue() override { note("continue"); }
  void on_head(UpstreamHead& head) override { note("head(" + text(head) + ")"); }
  void on_body(std::string_view bytes) override {
    const std::string suffix = std::string(bytes) + ")";
    if (log.ends_with(")") && log.rfind("body(") != std::string::npos && in_body_) {
      log.insert(log.size() - 1, bytes);
      return during("body");
    }
    note("body(" + suffix);
    in_body_ = true;
  }
  void on_end(std::span<const Header> trailers) override {
    std::string what = "end";
    for (const Header& header : trailers) {
      what.append(" ").append(header.name).append("=").append(header.value);
    }
    over_with(what);
  }
  void on_switched(UpstreamHead& head, std::unique_ptr<Stream> stream,
                   std::string_view rest) override {
    switched = std::move(stream);
    switched->set_events(&raw_);
    over_with("switched(" + text(head) + " rest=" + std::string(rest) + ")");
  }
  void on_drained() override { ++drained; }
  void on_failed(const HttpFailure& failure) override {
    static constexpr const char* kKinds[] = {"connect", "reset", "cut", "timeout", "too-large"};
    message = failure.error.message;
    code = failure.error.code;
    over_with(std::string("failed(") + kKinds[static_cast<int>(failure.kind)] +
              (failure.sent ? " sent)" : ")"));
  }

  std::unique_ptr<HttpExchange> exchange;
  std::string log;
  std::string message;  // of a failure
  Code code = Code::kInternal;
  std::unique_ptr<Stream> switched;
  bool over = false;
  size_t drained = 0;
  // Called in each event, with its name; may destroy the exchange.
  std::function<void(const std::string&)> during = [](const std::string&) {};

 private:
  // Of a stream that was handed over.
  struct Raw final : StreamEvents {
    void on_bytes(std::string_view) override {}
    void on_end() override {}
    void on_drained() override {}
    void on_broken() override {}
  };
  static std::string text(const UpstreamHead& head) {
    std::string out = std::to_string(head.status);
    for (const Header& header : head.headers) {
      out.append(" ").append(header.name).append("=").append(header.value);
    }
    return out;
  }
  void note(const std::string& what) {
    in_body_ = false;
    if (!log.empty()) log += " ";
    if (inside_ || over) log += "!";
    log += what;
    during(what.substr(0, what.find_first_of("( ")));
  }
  void over_with(const std::string& what) {
    const bool before = std::exchange(over, false);
    if (before) log += " !";
    in_body_ = false;
    if (!log.empty()) log += " ";
    log += (inside_ ? "!" : "") + what;
    over = true;
    during(what.substr(0, what.find_first_of("( ")));
  }

  bool inside_ = false;
  bool in_body_ = false;
  Raw raw_;
};

// All of it, without faults and almost without latency.
class ClientWorld {
 public:
  explicit ClientWorld(HttpPool::Options options = {}, uint64_t seed = 1)
      : world(seed), loop(world), dialer(loop), upstream(world) {
    world.faults = {.latency_max = microseconds(1), .one_byte = 0, .split = 0, .coarse = {}};
    options.origin.host = "up";
    pool = HttpPool::make(loop, dialer, std::move(options));
  }
  void run(Duration time = milliseconds(1)) {
    const Instant end = world.now() + time;
    bool there = false;
    world.at(end, [&] { there = true; });
    while (!there) REQUIRE(world.step());
    // So that calls from outside of a turn see the time that it is.
    bool turned = false;
    loop.deliver([&] { turned = true; });
    while (!turned) REQUIRE(world.step());
  }

  SimWorld world;
  SimLoop loop;
  PlainDialer dialer;
  PlayedUpstream upstream;
  std::unique_ptr<HttpPool> pool;
};

inline HttpRequest get(std::string target = "/") {
  HttpRequest request;
  request.method = "GET";
  request.target = std::move(target);
  request.headers = {{"Host", "up"}};
  return request;
}

// A POST with a body of 3 bytes, whole or still to come.
inline HttpRequest post(bool complete = true) {
  HttpRequest request;
  request.method = "POST";
  request.target = "/p";
  request.headers = {{"Host", "up"}, {"Content-Length", "3"}};
  if (complete) request.body = {Slice::copy_of("abc")};
  request.complete = complete;
  return request;
}

inline const std::string kGetText = "GET / HTTP/1.1\r\nHost: up\r\n\r\n";
inline const std::string kPostHead = "POST /p HTTP/1.1\r\nHost: up\r\nContent-Length: 3\r\n\r\n";
inline const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
inline const std::string kOkLog = "started head(200 Content-Length=2) body(ok) end";

}  // namespace sluice::sim
