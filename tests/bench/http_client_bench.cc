// SPDX-License-Identifier: Apache-2.0
// What the HTTP client itself costs per exchange, without a system call: a loop and streams in
// memory, an upstream that has its answer ready.
//
//   http_client_bench [ROUNDS]   prints microseconds per exchange for a few kinds of exchange, and
//                                how often a timer was armed.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/http_client.h"

namespace sluice {
namespace {

uint64_t armed = 0;

// Time that stands still, and timers that never fire.
class MemoryLoop final : public Loop {
 public:
  struct CountingTimer final : Timer {
    void again(Instant) override { ++armed; }
    void cancel() override {}
  };
  Instant now() const override { return now_; }
  int64_t unix_seconds() const override { return 0; }
  std::unique_ptr<Timer> timer(std::function<void()>) override {
    return std::make_unique<CountingTimer>();
  }
  Result<std::unique_ptr<Listener>> listen(const Address&, bool, ListenerEvents&) override {
    return Error{Code::kUnavailable, "no sockets here"};
  }
  std::unique_ptr<Pending> connect(const Address&,
                                   std::function<void(Result<std::unique_ptr<Stream>>)>) override {
    return nullptr;
  }
  std::unique_ptr<Pending> resolve(const std::string&,
                                   std::function<void(Result<std::vector<std::string>>)>) override {
    return nullptr;
  }
  void wake() override {}
  void on_wake(std::function<void()>) override {}
  void on_turn(std::function<void()>) override {}
  void pass(Duration time) { now_ = now_ + time; }

 private:
  Instant now_{1};
};

// Takes what is written at once, as a socket's buffer does.
struct MemoryStream final : Stream {
  void set_events(StreamEvents* the_events) override { events = the_events; }
  void write(std::span<const Slice> parts) override {
    for (const Slice& part : parts) queued.push_back(part);
    for (const Slice& part : parts) unsent += part.size();
  }
  size_t unsent_bytes() const override { return unsent; }
  void read(bool) override {}
  void shut_down() override {}
  std::string peer() const override { return "memory"; }
  void flush() {
    queued.clear();
    unsent = 0;
    events->on_drained();
  }

  StreamEvents* events = nullptr;
  std::vector<Slice> queued;
  size_t unsent = 0;
};

struct MemoryDialer final : Dialer {
  std::unique_ptr<Pending> dial(
      const Origin&, TlsContext*, Duration,
      std::function<void(Result<std::unique_ptr<Stream>>)> the_done) override {
    done = std::move(the_done);
    return std::make_unique<Pending>();
  }
  std::function<void(Result<std::unique_ptr<Stream>>)> done;
};

struct Counter final : HttpExchangeEvents {
  void on_head(UpstreamHead& head) override { headers += head.headers.size(); }
  void on_body(std::string_view part) override { bytes += part.size(); }
  void on_end(std::span<const Header>) override { ++ends; }
  void on_switched(UpstreamHead&, std::unique_ptr<Stream>, std::string_view) override {}
  void on_failed(const HttpFailure& failure) override {
    std::fprintf(stderr, "failed: %s\n", failure.error.message.c_str());
    std::exit(1);
  }
  size_t headers = 0;
  size_t bytes = 0;
  size_t ends = 0;
};

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// `rounds` exchanges one after the other on one connection.
void measure(const char* name, size_t rounds, std::string_view answer, size_t body_bytes) {
  MemoryLoop loop;
  MemoryDialer dialer;
  HttpPool::Options options;
  options.origin.host = "memory";
  const auto pool = HttpPool::make(loop, dialer, options);
  const Slice body = Slice::copy_of(std::string(body_bytes, 'x'));
  const std::string length = std::to_string(body_bytes);
  Counter events;
  MemoryStream* stream = nullptr;
  armed = 0;
  const double begin = cpu_seconds();
  for (size_t i = 0; i < rounds; ++i) {
    loop.pass(microseconds(50));
    HttpRequest request;
    request.method = "POST";
    request.target = "/v1/embeddings";
    request.headers = {{"Host", "upstream.example:8000"},
                       {"Content-Type", "application/json"},
                       {"Accept-Encoding", "identity"},
                       {"Authorization", "Bearer 0123456789abcdef0123456789abcdef"},
                       {"User-Agent", "bench"},
                       {"Content-Length", length}};
    request.body.push_back(body);
    const auto exchange = pool->start(std::move(request), events);
    if (stream == nullptr) {
      auto made = std::make_unique<MemoryStream>();
      stream = made.get();
      dialer.done(std::unique_ptr<Stream>(std::move(made)));
    }
    stream->flush();
    stream->events->on_bytes(answer);
  }
  const double took = cpu_seconds() - begin;
  if (events.ends != rounds || pool->stats().reused + 1 != rounds) std::abort();
  std::printf("%-34s %7.3f us per exchange, timers armed %" PRIu64 "\n", name,
              took * 1e6 / static_cast<double>(rounds), armed);
}

int run(size_t rounds) {
  const std::string fields =
      "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\n"
      "content-type: application/json\r\nx-request-id: 0123456789abcdef\r\n";
  const auto with_length = [&](size_t bytes) {
    return fields + "content-length: " + std::to_string(bytes) + "\r\n\r\n" +
           std::string(bytes, 'y');
  };
  measure("small answer", rounds, with_length(300), 200);
  measure("answer of 32 KiB", rounds, with_length(32 * 1024), 4096);
  std::string chunked = fields + "transfer-encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunked += "40\r\n" + std::string(64, 'y') + "\r\n";
  measure("20 chunks of 64 bytes", rounds, chunked + "0\r\n\r\n", 200);
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  if (rounds <= 0) {
    std::fprintf(stderr, "usage: http_client_bench [ROUNDS]\n");
    return 1;
  }
  return sluice::run(static_cast<size_t>(rounds));
}
