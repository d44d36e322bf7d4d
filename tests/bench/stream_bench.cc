// SPDX-License-Identifier: Apache-2.0
// Streams of events through a hop: this process is the endpoint that sends them and the clients
// that read them, so that one clock says how long each chunk took.
//
// usage: stream_bench --listen PORT --connect PORT [--streams N] [--rate R] [--seconds S] [--pid P]
// Prints one JSON object: chunks, p50_us and p99_us of a chunk, and with --pid (the hop's process)
// its CPU time per chunk and the resident memory that each stream added.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/load_stats.h"

namespace sluice::load {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kWarmUp = 2 * kSecond;
constexpr std::string_view kMark = "data: {\"sent\":";  // before each chunk's time
constexpr size_t kDigits = 19;                          // of a time in nanoseconds

int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Settings {
  uint16_t listen = 0;
  uint16_t connect = 0;
  size_t streams = 1000;
  int64_t rate = 20;
  int64_t seconds = 3;
  std::vector<pid_t> pids;
};

// One end of a stream.
struct End {
  enum class Kind { kListener, kClient, kServer };
  int fd = -1;
  Kind kind = Kind::kClient;
  bool asked = false;  // server: the request has come, chunks go out
  int64_t next = 0;    // server: when the next chunk falls due
  std::string text;    // what was read and not understood yet
};

class Bench {
 public:
  explicit Bench(const Settings& settings) : settings_(settings), epoll_(epoll_create1(0)) {}

  void run();
  void print();

 private:
  void watch(int fd, End::Kind kind);
  void listen_here();
  void connect_client();
  void accept_all(int fd);
  void on_readable(End& end);
  void read_request(End& end);
  void read_chunks(End& end);
  void send_chunk(End& end, int64_t now);
  int64_t send_due(int64_t now);
  void turn(int64_t until);

  const Settings settings_;
  const int epoll_;
  std::vector<End> ends_ = std::vector<End>(1 << 14);  // by descriptor
  std::vector<int> sending_;                           // descriptors, in the order of their turns
  int64_t measure_from_ = INT64_MAX;
  std::vector<int64_t> latencies_;
  std::optional<Usage> idle_, before_, after_;
};

sockaddr_in address_of(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void Bench::watch(int fd, End::Kind kind) {
  if (static_cast<size_t>(fd) >= ends_.size()) give_up("too many descriptors");
  ends_[static_cast<size_t>(fd)] = {.fd = fd, .kind = kind, .text = {}};
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) give_up("epoll_ctl");
}

void Bench::listen_here() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const sockaddr_in address = address_of(settings_.listen);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) give_up("bind");
  if (listen(fd, 4096) != 0) give_up("listen");
  watch(fd, End::Kind::kListener);
}

void Bench::connect_client() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = address_of(settings_.connect);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    give_up("connect");
  constexpr std::string_view kRequest =
      "POST /v1/chat/completions HTTP/1.1\r\nhost: stream\r\ncontent-type: application/json\r\n"
      "content-length: 15\r\n\r\n{\"stream\":true}";
  if (send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) give_up("send");
  watch(fd, End::Kind::kClient);
}

void Bench::accept_all(int fd) {
  for (;;) {
    const int taken = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK);
    if (taken < 0) return;
    const int yes = 1;
    setsockopt(taken, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(taken, End::Kind::kServer);
  }
}

void Bench::on_readable(End& end) {
  if (end.kind == End::Kind::kListener) return accept_all(end.fd);
  char buffer[16 * 1024];
  const ssize_t count = recv(end.fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (count < 0) return;
  if (count == 0) give_up("a connection ended early");
  end.text.append(buffer, static_cast<size_t>(count));
  end.kind == End::Kind::kServer ? read_request(end) : read_chunks(end);
}

void Bench::read_request(End& end) {
  if (end.asked || end.text.find("\r\n\r\n") == std::string::npos) return;
  end.asked = true;
  constexpr std::string_view kHead =
      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\n"
      "transfer-encoding: chunked\r\n\r\n";
  if (send(end.fd, kHead.data(), kHead.size(), MSG_NOSIGNAL) < 0) give_up("send");
  // The streams' chunks are spread over the time between two of them.
  const int64_t gap = kSecond / settings_.rate;
  const auto place = static_cast<int64_t>(sending_.size());
  end.next = now_ns() + gap + gap * place / static_cast<int64_t>(settings_.streams);
  sending_.push_back(end.fd);
}

void Bench::read_chunks(End& end) {
  const int64_t now = now_ns();
  size_t from = 0;
  for (;;) {
    const size_t mark = end.text.find(kMark, from);
    if (mark == std::string::npos || mark + kMark.size() + kDigits > end.text.size()) break;
    const char* const digits = end.text.data() + mark + kMark.size();
    int64_t sent = 0;
    std::from_chars(digits, digits + kDigits, sent);
    if (sent >= measure_from_) latencies_.push_back(now - sent);
    from = mark + kMark.size() + kDigits;
  }
  // A mark or a time that is not whole yet stays.
  const size_t kept = std::min(end.text.size() - from, kMark.size() + kDigits);
  end.text.erase(0, end.text.size() - kept);
}

void Bench::send_chunk(End& end, int64_t now) {
  char event[160];
  const int size = std::snprintf(event, sizeof event, "%.*s%0*" PRId64 ",\"text\":\"%060d\"}\n\n",
                                 static_cast<int>(kMark.size()), kMark.data(),
                                 static_cast<int>(kDigits), now, 0);
  char chunk[200];
  const int whole =
      std::snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", static_cast<unsigned>(size), event);
  if (send(end.fd, chunk, static_cast<size_t>(whole), MSG_NOSIGNAL | MSG_DONTWAIT) != whole)
    give_up("send");
  end.next += kSecond / settings_.rate;
}

// Sends what is due; returns when the next is.
int64_t Bench::send_due(int64_t now) {
  int64_t next = now + kSecond / 10;
  for (const int fd : sending_) {
    End& end = ends_[static_cast<size_t>(fd)];
    if (end.next <= now) send_chunk(end, now_ns());
    next = std::min(next, end.next);
  }
  return next;
}

void Bench::turn(int64_t until) {
  epoll_event events[256];
  const int64_t due = std::min(until, send_due(now_ns()));
  const timespec timeout{0, std::clamp<int64_t>(due - now_ns(), 0, kSecond / 10)};
  const int count = epoll_pwait2(epoll_, events, 256, &timeout, nullptr);
  for (int i = 0; i < count; ++i) on_readable(ends_[static_cast<size_t>(events[i].data.fd)]);
}

void Bench::run() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  listen_here();
  idle_ = read_usage(settings_.pids);
  for (size_t i = 0; i < settings_.streams; ++i) {
    connect_client();
    turn(now_ns());
  }
  const int64_t limit_at = now_ns() + 30 * kSecond;
  while (sending_.size() < settings_.streams) {
    if (now_ns() > limit_at) give_up("not all streams began");
    turn(now_ns() + kSecond / 100);
  }
  const int64_t open = now_ns() + kWarmUp;
  while (now_ns() < open) turn(open);
  before_ = read_usage(settings_.pids);
  measure_from_ = now_ns();
  const int64_t end = measure_from_ + settings_.seconds * kSecond;
  while (now_ns() < end) turn(end);
  after_ = read_usage(settings_.pids);
}

void Bench::print() {
  std::ranges::sort(latencies_);
  const auto us = [&](double q) { return static_cast<double>(percentile(latencies_, q)) / 1e3; };
  std::printf("{\"chunks\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f", latencies_.size(), us(0.5),
              us(0.99));
  if (idle_ && before_ && after_ && !latencies_.empty()) {
    const auto grown =
        static_cast<double>(after_->rss_bytes) - static_cast<double>(idle_->rss_bytes);
    std::printf(
        ",\"cpu_us_per_chunk\":%.3f,\"bytes_per_stream\":%.0f",
        (after_->cpu - before_->cpu).seconds() * 1e6 / static_cast<double>(latencies_.size()),
        grown / static_cast<double>(settings_.streams));
  }
  std::printf("}\n");
}

bool read_settings(int count, char** arguments, Settings& settings) {
  std::map<std::string_view, int64_t> given;
  for (int i = 1; i + 1 < count; i += 2) given[arguments[i]] = std::atoll(arguments[i + 1]);
  for (const auto& [name, value] : given) {
    if (value < 1 || value > 1'000'000'000) return false;
    if (name == "--listen") {
      settings.listen = static_cast<uint16_t>(value);
    } else if (name == "--connect") {
      settings.connect = static_cast<uint16_t>(value);
    } else if (name == "--streams") {
      settings.streams = static_cast<size_t>(value);
    } else if (name == "--rate") {
      settings.rate = value;
    } else if (name == "--seconds") {
      settings.seconds = value;
    } else if (name == "--pid") {
      settings.pids = {static_cast<pid_t>(value)};
    } else {
      return false;
    }
  }
  return count % 2 == 1 && settings.listen != 0 && settings.connect != 0;
}

}  // namespace
}  // namespace sluice::load

int main(int count, char** arguments) {
  sluice::load::Settings settings;
  if (!read_settings(count, arguments, settings)) {
    std::fputs(
        "usage: stream_bench --listen PORT --connect PORT [--streams N] [--rate R] "
        "[--seconds S] [--pid P]\n",
        stderr);
    return 2;
  }
  sluice::load::Bench bench(settings);
  bench.run();
  bench.print();
  return 0;
}
