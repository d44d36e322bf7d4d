// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load_run.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <deque>
#include <vector>

#include "base/prng.h"
#include "tests/bench/load_wire.h"

namespace sluice::load {
namespace {

constexpr int64_t kReconnectAfter = 10'000'000;  // so that a refusing server is not hammered
constexpr int64_t kSweepEvery = 100'000'000;     // how often unanswered requests are looked for
constexpr int64_t kHopeless = 3'000'000'000;     // without a first connection, nobody is there
constexpr size_t kConnectingMax = 256;           // stays below usual accept queues

// A request that has fallen due.
struct Due {
  int64_t at = 0;
  bool measured = false;
};

struct Connection {
  Wire wire;
  int64_t due = 0;   // when its request should have been sent
  int64_t sent = 0;  // when it was
  bool measured = false;
};

class Run {
 public:
  Run(const Options& options, const sockaddr_in& address)
      : options_(options),
        address_(address),
        requests_(write_requests(options)),
        is_head_(options.method == "HEAD"),
        prng_(options.seed),
        connections_(options.keep_idle > 0 ? options.keep_idle : options.connections),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    // The default slack of 50 us would make each request of the open loop that late.
    prctl(PR_SET_TIMERSLACK, 1);
  }
  ~Run() { close(epoll_); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Result<Report> load();
  Result<Report> keep_idle();

 private:
  bool open_loop() const { return options_.rate > 0; }
  bool keeps_idle() const { return options_.keep_idle > 0; }
  bool load_over() const;
  bool hopeless() const { return connected_ == 0 && now_ - last_progress_ > kHopeless; }
  bool stuck() const { return now_ - last_progress_ > options_.timeout.ns + kHopeless; }
  void connect_some();
  void wait_and_handle(int64_t until);
  void handle(Connection& connection, uint32_t events);
  void on_answer(Connection& connection);
  void on_failure(Connection& connection);
  void release(Connection& connection);
  void reopen(Connection& connection);
  Due fall_due(int64_t at);
  void start(Connection& connection, Due due);
  void start_due();
  void schedule_next();
  void update_window();
  void close_window();
  void sweep();
  void count_lost();

  const Options& options_;
  const sockaddr_in address_;
  const std::vector<std::string> requests_;
  const bool is_head_;
  Prng prng_;
  std::vector<Connection> connections_;
  const int epoll_;

  int64_t now_ = 0;
  int64_t begin_ = 0;      // the window opens
  int64_t end_ = 0;        // ... and closes, where the duration is given
  double next_due_ = 0.0;  // open loop: a double, so that uniform spacing does not drift
  bool window_open_ = false;
  bool window_closed_ = false;
  size_t next_request_ = 0;
  size_t busy_ = 0;
  size_t connecting_ = 0;
  uint64_t measured_ = 0;  // measured requests that have fallen due
  uint64_t connected_ = 0;
  int64_t last_progress_ = 0;  // when a connection was last made or a request answered
  int64_t next_sweep_ = 0;
  std::deque<Due> backlog_;                                   // due, and no connection idle
  std::deque<std::pair<int64_t, Connection*>> to_reconnect_;  // by time
  std::vector<Connection*> idle_;
  Report report_;
};

bool Run::load_over() const {
  return options_.requests > 0 ? measured_ >= options_.requests : now_ >= end_;
}

void Run::schedule_next() {
  // 1 - unit() is never 0, so the logarithm is finite.
  const double gap = options_.poisson ? -std::log(1.0 - prng_.unit()) : 1.0;
  next_due_ += gap * 1e9 / options_.rate;
}

void Run::connect_some() {
  while (!to_reconnect_.empty() && connecting_ < kConnectingMax &&
         to_reconnect_.front().first <= now_) {
    Connection& connection = *to_reconnect_.front().second;
    to_reconnect_.pop_front();
    const auto tag = static_cast<uint64_t>(&connection - connections_.data());
    if (connection.wire.connect(address_, epoll_, tag)) {
      ++connecting_;
    } else {
      ++report_.failures[std::string(connection.wire.failure())];
      reopen(connection);
    }
  }
}

// The request that falls due at `at`, or now where that is 0. Whether it is measured is settled
// here: one that is sent late because the server stalls belongs to the window it fell due in.
Due Run::fall_due(int64_t at) {
  const bool measured = window_open_ && !load_over();
  if (measured) ++measured_;
  return {at, measured};
}

void Run::start(Connection& connection, Due due) {
  ++busy_;
  const std::string& request = requests_[next_request_];
  if (++next_request_ == requests_.size()) next_request_ = 0;
  connection.measured = due.measured;
  connection.sent = now_ns();
  connection.due = due.at == 0 ? connection.sent : due.at;
  connection.wire.send(request, is_head_);
}

// An idle connection takes what is due, or waits.
void Run::release(Connection& connection) {
  if (!backlog_.empty()) {
    const Due due = backlog_.front();
    backlog_.pop_front();
    return start(connection, due);
  }
  if (!open_loop() && !keeps_idle() && !load_over()) return start(connection, fall_due(0));
  idle_.push_back(&connection);
}

void Run::start_due() {
  while (open_loop() && !load_over() && next_due_ <= static_cast<double>(now_)) {
    backlog_.push_back(fall_due(static_cast<int64_t>(next_due_)));
    schedule_next();
    if (idle_.empty()) continue;
    Connection& connection = *idle_.back();
    idle_.pop_back();
    release(connection);
  }
}

void Run::on_answer(Connection& connection) {
  --busy_;
  last_progress_ = now_;
  const int64_t latency = now_ - connection.due;
  if (window_open_ && !window_closed_) ++report_.answered_in_window;
  if (connection.measured) {
    report_.latencies_ns.push_back(latency);
    ++report_.by_status[connection.wire.reader().status()];
    report_.body_bytes += connection.wire.reader().body_bytes();
  }
  if (connection.wire.state() == Wire::State::kIdle) {
    release(connection);
  } else {
    to_reconnect_.emplace_front(now_, &connection);
  }
}

void Run::on_failure(Connection& connection) {
  --busy_;
  if (connection.measured) ++report_.failures[std::string(connection.wire.failure())];
  reopen(connection);
}

void Run::reopen(Connection& connection) {
  to_reconnect_.emplace_back(now_ + kReconnectAfter, &connection);
}

void Run::handle(Connection& connection, uint32_t events) {
  const Wire::State before = connection.wire.state();
  const Wire::Step step = connection.wire.on_event(events);
  if (before == Wire::State::kConnecting) --connecting_;
  switch (step) {
    case Wire::Step::kNothing:
      return;
    case Wire::Step::kReady:
      ++connected_;
      last_progress_ = now_;
      return keeps_idle() ? start(connection, fall_due(0)) : release(connection);
    case Wire::Step::kAnswered:
      return on_answer(connection);
    case Wire::Step::kClosed:
      std::erase(idle_, &connection);
      return reopen(connection);
    case Wire::Step::kFailed:
      if (before == Wire::State::kBusy) return on_failure(connection);
      ++report_.failures[std::string(connection.wire.failure())];
      std::erase(idle_, &connection);
      return reopen(connection);
  }
}

// Waits for events until `until`, and handles them.
void Run::wait_and_handle(int64_t until) {
  epoll_event events[256];
  const int64_t wait = std::clamp<int64_t>(until - now_ns(), 0, kSweepEvery);
  const timespec timeout{wait / 1'000'000'000, wait % 1'000'000'000};
  const int count = epoll_pwait2(epoll_, events, 256, &timeout, nullptr);
  now_ = now_ns();
  for (int i = 0; i < count; ++i) {
    handle(connections_[events[i].data.u64], events[i].events);
    now_ = now_ns();
  }
  if (now_ >= next_sweep_) sweep();
}

// Gives up on requests that have waited too long for their answer.
void Run::sweep() {
  next_sweep_ = now_ + kSweepEvery;
  for (Connection& connection : connections_) {
    if (connection.wire.state() == Wire::State::kBusy &&
        now_ - connection.sent > options_.timeout.ns) {
      connection.wire.close();
      --busy_;
      if (connection.measured) ++report_.failures["no answer in time"];
      reopen(connection);
    }
  }
}

void Run::update_window() {
  if (!window_open_ && now_ >= begin_) {
    window_open_ = true;
    report_.before = read_usage(options_.pids);
    begin_ = now_ = now_ns();
    if (options_.requests == 0) end_ = begin_ + options_.duration.ns;
  }
  if (options_.requests == 0 && window_open_ && now_ >= end_) close_window();
}

void Run::close_window() {
  if (window_closed_) return;
  window_closed_ = true;
  report_.window = nanoseconds(now_ - begin_);
  report_.after = read_usage(options_.pids);
}

// What is still unanswered when the run gives up.
void Run::count_lost() {
  for (const Connection& connection : connections_) {
    if (connection.wire.state() == Wire::State::kBusy && connection.measured) {
      ++report_.failures["no answer in time"];
    }
  }
  for (const Due& due : backlog_) {
    if (due.measured) ++report_.failures["never sent"];
  }
}

Result<Report> Run::load() {
  report_.latencies_ns.reserve(1 << 20);
  now_ = last_progress_ = now_ns();
  begin_ = now_ + options_.warmup.ns;
  end_ = INT64_MAX;
  next_due_ = static_cast<double>(now_);
  for (Connection& connection : connections_) to_reconnect_.emplace_back(now_, &connection);
  for (;;) {
    update_window();
    if (window_open_ && load_over() && busy_ == 0 && backlog_.empty()) break;
    if (hopeless()) return Error{Code::kUnavailable, "no connection can be made"};
    if (stuck()) break;
    connect_some();
    start_due();
    int64_t until = window_open_ ? end_ : begin_;
    if (window_closed_) until = now_ + kSweepEvery;
    if (!to_reconnect_.empty()) until = std::min(until, to_reconnect_.front().first);
    if (open_loop() && !load_over()) until = std::min(until, static_cast<int64_t>(next_due_));
    wait_and_handle(until);
  }
  count_lost();
  close_window();
  if (!options_.pids.empty() && (!report_.before || !report_.after)) {
    return Error{Code::kInvalid, "a process of --pid cannot be read"};
  }
  return std::move(report_);
}

Result<Report> Run::keep_idle() {
  report_.before = read_usage(options_.pids);
  now_ = begin_ = last_progress_ = now_ns();
  window_open_ = true;
  end_ = INT64_MAX;
  for (Connection& connection : connections_) to_reconnect_.emplace_back(now_, &connection);
  int64_t hold_until = INT64_MAX;
  while (now_ < hold_until) {
    if (hopeless()) return Error{Code::kUnavailable, "no connection can be made"};
    if (hold_until == INT64_MAX && (idle_.size() == connections_.size() || stuck())) {
      hold_until = now_ + options_.duration.ns;
    }
    connect_some();
    wait_and_handle(now_ + kReconnectAfter);
  }
  report_.idle_connections = idle_.size();
  close_window();
  return std::move(report_);
}

}  // namespace

Result<Report> run_load(const Options& options) {
  Result<sockaddr_in> address = address_of(options);
  if (!address.ok()) return address.error();
  return Run(options, address.value()).load();
}

Result<Report> run_keep_idle(const Options& options) {
  Result<sockaddr_in> address = address_of(options);
  if (!address.ok()) return address.error();
  return Run(options, address.value()).keep_idle();
}

}  // namespace sluice::load
