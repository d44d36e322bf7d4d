// SPDX-License-Identifier: Apache-2.0
// What UvLoop itself costs: a server that answers every read holding a blank line with the same
// 200, and nothing else. It bounds from below what a request through the gateway can cost; run a
// load generator against it and divide the CPU time it reports by the requests.
//
//   loop_bench [--idle]   prints its address, serves until SIGTERM or SIGINT, then prints
//                         requests, CPU seconds, turns and returns from waiting.

#include <sys/resource.h>
#include <unistd.h>

#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "base/log.h"
#include "gateway/uv_loop.h"

namespace sluice {
namespace {

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nServer: loop_bench\r\nContent-Type: text/plain\r\n"
    "Content-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!";

class Server final : public ListenerEvents {
 public:
  void on_accept(std::unique_ptr<Stream> stream) override {
    auto connection = std::make_unique<Connection>(*this, std::move(stream));
    connections_.emplace(connection.get(), std::move(connection));
  }
  uint64_t requests() const { return requests_; }

 private:
  struct Connection final : StreamEvents {
    Connection(Server& the_server, std::unique_ptr<Stream> the_stream)
        : server(the_server), stream(std::move(the_stream)) {
      stream->set_events(this);
    }
    void on_bytes(std::string_view bytes) override {
      if (bytes.find("\r\n\r\n") == std::string_view::npos) return;
      ++server.requests_;
      stream->write({&server.answer_, 1});
    }
    void on_end() override { server.connections_.erase(this); }
    void on_drained() override {}
    void on_broken() override { server.connections_.erase(this); }

    Server& server;
    std::unique_ptr<Stream> stream;
  };

  const Slice answer_ = Slice::copy_of(kAnswer);
  uint64_t requests_ = 0;
  std::unordered_map<const Connection*, std::unique_ptr<Connection>> connections_;
};

double cpu_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto in_seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return in_seconds(usage.ru_utime) + in_seconds(usage.ru_stime);
}

int run() {
  Log log({}, &UvLoop::clock);
  UvLoop loop(log);
  Server server;
  const auto listener = loop.listen({"127.0.0.1", 0}, false, server);
  if (!listener.ok()) {
    std::fprintf(stderr, "%s\n", listener.error().message.c_str());
    return 1;
  }
  loop.on_signal(SIGTERM, [&] { loop.stop(); });
  loop.on_signal(SIGINT, [&] { loop.stop(); });
  std::printf("listening on http://127.0.0.1:%u\n", listener.value()->address().port);
  std::fflush(stdout);
  loop.run();
  const double cpu = cpu_seconds();
  const uint64_t requests = server.requests();
  std::printf("requests %" PRIu64 ", CPU %.3f s, %.2f us per request, turns %" PRIu64
              ", polls %" PRIu64 "\n",
              requests, cpu, requests == 0 ? 0.0 : cpu * 1e6 / static_cast<double>(requests),
              loop.turns(), loop.polls());
  return 0;
}

}  // namespace
}  // namespace sluice

int main() { return sluice::run(); }
