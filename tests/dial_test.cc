// SPDX-License-Identifier: Apache-2.0
#include "backends/dial.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice {
namespace {

// A loop whose connections and look-ups wait until the test decides about them.
class SlowLoop final : public Loop {
 public:
  using Connected = std::function<void(Result<std::unique_ptr<Stream>>)>;
  using Resolved = std::function<void(Result<std::vector<std::string>>)>;

  Instant now() const override { return now_; }
  int64_t unix_seconds() const override { return 0; }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    return std::make_unique<Clock>(*this, std::move(callback));
  }
  Result<std::unique_ptr<Listener>> listen(const Address&, bool, ListenerEvents&) override {
    return Error{};
  }
  std::unique_ptr<Pending> connect(const Address& to, Connected done) override {
    asked.push_back(to.host + " " + std::to_string(to.port));
    connecting = std::move(done);
    return std::make_unique<Open>(*this);
  }
  std::unique_ptr<Pending> resolve(const std::string& host, Resolved done) override {
    asked.push_back(host);
    resolving = std::move(done);
    return std::make_unique<Open>(*this);
  }
  void wake() override {}
  void on_wake(std::function<void()>) override {}
  void on_turn(std::function<void()>) override {}

  void found(std::vector<std::string> addresses) {
    const Resolved done = std::exchange(resolving, nullptr);
    done(std::move(addresses));
  }
  void fail_name() {
    const Resolved done = std::exchange(resolving, nullptr);
    done(Error{Code::kUnavailable, "no such name"});
  }
  void connected() {
    const Connected done = std::exchange(connecting, nullptr);
    done(std::unique_ptr<Stream>(std::make_unique<Quiet>(*this)));
  }
  void refused() {
    const Connected done = std::exchange(connecting, nullptr);
    done(Error{Code::kUnavailable, "refused"});
  }
  // Lets time pass, with the timers that fall due.
  void pass(Duration span) {
    now_ = now_ + span;
    const std::map<Clock*, Instant> armed = timers_;
    for (const auto& [timer, when] : armed) {
      if (when <= now_ && timers_.erase(timer) > 0) timer->callback();
    }
  }

  std::vector<std::string> asked;  // names, and addresses with their ports, in order
  Connected connecting;
  Resolved resolving;
  int open = 0;  // streams, look-ups and connections that somebody holds

 private:
  struct Open final : Pending {
    explicit Open(SlowLoop& the_loop) : loop(the_loop) { ++loop.open; }
    ~Open() override { --loop.open; }
    SlowLoop& loop;
  };
  struct Quiet final : Stream {
    explicit Quiet(SlowLoop& loop) : held(loop) {}
    void set_events(StreamEvents*) override {}
    void write(std::span<const Slice>) override {}
    size_t unsent_bytes() const override { return 0; }
    void read(bool) override {}
    void shut_down() override {}
    std::string peer() const override { return "quiet"; }
    Open held;
  };
  struct Clock final : Timer {
    Clock(SlowLoop& the_loop, std::function<void()> the_callback)
        : loop(the_loop), callback(std::move(the_callback)) {}
    ~Clock() override { cancel(); }
    void again(Instant when) override { loop.timers_[this] = when; }
    void cancel() override { loop.timers_.erase(this); }
    SlowLoop& loop;
    std::function<void()> callback;
  };

  Instant now_{1'000'000'000};
  std::map<Clock*, Instant> timers_;
};

// One dial and what came of it.
struct Asked {
  std::unique_ptr<Pending> pending;
  std::unique_ptr<Stream> stream;
  std::optional<Error> error;
  int reports = 0;

  Asked(Dialer& dialer, std::string_view url, Duration timeout = {}, TlsContext* tls = nullptr) {
    pending = dialer.dial(parse_origin(url).value(), tls, timeout, [this](auto made) {
      ++reports;
      if (made.ok()) {
        stream = std::move(made).value();
      } else {
        error = made.error();
      }
      pending.reset();  // allowed inside the report
    });
    CHECK(reports == 0);
  }
};

using Order = std::vector<std::string>;

TEST_CASE("a literal is connected to without asking for a name") {
  SlowLoop loop;
  const auto dialer = Dialer::make(loop, {});
  Asked dial(*dialer, "http://[::1]:81");
  CHECK(loop.asked == Order{"::1 81"});
  loop.connected();
  CHECK(dial.stream != nullptr);
  CHECK(loop.open == 1);
  dial.stream.reset();
  CHECK(loop.open == 0);
}

TEST_CASE("an answer is believed for its time, and not after nobody answered at it") {
  SlowLoop loop;
  const auto dialer = Dialer::make(loop, {});
  const auto dial = [&](bool works) {
    loop.asked.clear();
    Asked one(*dialer, "http://model");
    if (loop.resolving) loop.found({"10.0.0.1"});
    works ? loop.connected() : loop.refused();
    CHECK(one.reports == 1);
    CHECK((one.stream != nullptr) == works);
    return loop.asked;
  };
  CHECK(dial(true) == Order{"model", "10.0.0.1 80"});
  loop.pass(seconds(29));
  CHECK(dial(true) == Order{"10.0.0.1 80"});
  loop.pass(seconds(1));
  CHECK(dial(true) == Order{"model", "10.0.0.1 80"});
  CHECK(dial(false) == Order{"10.0.0.1 80"});
  CHECK(dial(true) == Order{"model", "10.0.0.1 80"});
  CHECK(dialer->lookups() == 3);
}

TEST_CASE("no more names are remembered than allowed") {
  SlowLoop loop;
  const auto dialer = Dialer::make(loop, {.names_max = 2});
  size_t lookups = 0;
  for (int round = 0; round < 2; ++round) {
    for (const std::string host : {"a", "b", "c"}) {
      Asked one(*dialer, "http://" + host);
      if (loop.resolving) {
        ++lookups;
        loop.found({"10.0.0.1"});
      }
      loop.connected();
    }
  }
  CHECK(lookups > 3);
}

TEST_CASE(
    "addresses are tried in order; one that is silent costs its time, the last has the rest") {
  SlowLoop loop;
  const auto dialer = Dialer::make(loop, {});
  Asked dial(*dialer, "http://model:8000", seconds(10));
  loop.found({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
  loop.refused();
  loop.pass(milliseconds(1999));
  CHECK(loop.asked.size() == 3);
  loop.pass(milliseconds(1));
  CHECK(loop.asked == Order{"model", "10.0.0.1 8000", "10.0.0.2 8000", "10.0.0.3 8000"});
  CHECK(loop.open == 1);  // the silent one was given up
  loop.pass(milliseconds(7999));
  CHECK(dial.reports == 0);
  loop.pass(milliseconds(1));
  REQUIRE(dial.error);
  CHECK(dial.error->code == Code::kTimeout);
  CHECK(dial.error->message.find("model:8000") != std::string::npos);
  CHECK(loop.open == 0);
}

TEST_CASE("what fails is the upstream's fault, with the reason; the name's time counts too") {
  SlowLoop loop;
  const auto dialer = Dialer::make(loop, {});
  Asked unknown(*dialer, "http://model");
  loop.fail_name();
  REQUIRE(unknown.error);
  CHECK(unknown.error->code == Code::kUpstream);
  CHECK(unknown.error->message == "no such name");
  Asked closed(*dialer, "http://10.0.0.1");
  loop.refused();
  REQUIRE(closed.error);
  CHECK(closed.error->code == Code::kUpstream);
  CHECK(closed.error->message == "refused");
  Asked slow(*dialer, "http://model", milliseconds(5));
  loop.pass(milliseconds(5));
  REQUIRE(slow.error);
  CHECK(slow.error->code == Code::kTimeout);
  CHECK(loop.open == 0);
}

TEST_CASE("a dial cancelled at any stage reports nothing and leaves nothing") {
  const auto tls = std::move(TlsContext::make({.verify = false})).value();
  for (int stage = 0; stage < 3; ++stage) {
    CAPTURE(stage);
    SlowLoop loop;
    const auto dialer = Dialer::make(loop, {});
    Asked dial(*dialer, "https://model", seconds(1), tls.get());
    if (stage > 0) loop.found({"10.0.0.1", "10.0.0.2"});
    if (stage > 1) loop.connected();
    CHECK(loop.open > 0);
    dial.pending.reset();
    CHECK(loop.open == 0);
    loop.pass(seconds(5));
    CHECK(dial.reports == 0);
  }
}

TEST_CASE("a handshake has the time that is left, and no address more") {
  const auto tls = std::move(TlsContext::make({.verify = false})).value();
  SlowLoop loop;
  const auto dialer = Dialer::make(loop, {});
  Asked dial(*dialer, "https://model", seconds(5), tls.get());
  loop.found({"10.0.0.1", "10.0.0.2"});
  loop.pass(seconds(1));
  loop.connected();
  loop.pass(milliseconds(3999));
  CHECK(dial.reports == 0);
  CHECK(loop.asked.size() == 2);
  loop.pass(milliseconds(1));
  REQUIRE(dial.error);
  CHECK(dial.error->code == Code::kTimeout);
  CHECK(loop.open == 0);
}

}  // namespace
}  // namespace sluice
