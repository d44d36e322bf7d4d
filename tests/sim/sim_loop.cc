// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_loop.h"

#include <algorithm>
#include <utility>

#include "tests/sim/sim_link.h"

namespace sluice::sim {

void SimWorld::at(Instant when, std::function<void()> callback) {
  when = std::max(when, now_);
  if (faults.coarse.ns > 0)
    when.ns = (when.ns + faults.coarse.ns - 1) / faults.coarse.ns * faults.coarse.ns;
  events_.push({when, prng_.next(), serial_++, std::move(callback)});
}

bool SimWorld::step() {
  if (events_.empty()) return false;
  Entry entry = std::move(const_cast<Entry&>(events_.top()));
  events_.pop();
  now_ = entry.when;
  ++steps_;
  trace(static_cast<uint64_t>(now_.ns));
  entry.callback();
  return true;
}

void SimWorld::trace(uint64_t value) { trace_ = (trace_ ^ value) * 0x100000001b3ull; }

void SimWorld::trace(std::string_view bytes) {
  for (const char byte : bytes) trace(static_cast<uint8_t>(byte));
}

class SimListener final : public Listener {
 public:
  SimListener(SimLoop& loop, Address address) : loop_(loop), address_(std::move(address)) {}
  ~SimListener() override { loop_.listeners_.erase(address_.port); }
  Address address() const override { return address_; }

 private:
  SimLoop& loop_;
  Address address_;
};

// A timer that knows which arming an event belongs to, so that a cancelled one does nothing.
class SimTimer final : public Timer {
 public:
  SimTimer(SimLoop& loop, std::function<void()> callback)
      : loop_(loop), state_(std::make_shared<State>(State{std::move(callback)})) {}
  ~SimTimer() override { ++state_->armings; }
  void again(Instant when) override {
    const uint64_t arming = ++state_->armings;
    loop_.world().at(when, [&loop = loop_, state = state_, arming] {
      if (state->armings != arming) return;
      loop.deliver([state, arming] {
        if (state->armings != arming) return;
        ++state->armings;
        const std::function<void()> callback = state->callback;
        callback();
      });
    });
  }
  void cancel() override { ++state_->armings; }

 private:
  struct State {
    std::function<void()> callback;
    uint64_t armings = 0;
  };
  SimLoop& loop_;
  std::shared_ptr<State> state_;
};

// Something that was begun; its report is dropped if it was given up meanwhile.
class SimPending final : public Pending {
 public:
  SimPending() = default;
  ~SimPending() override { *wanted = false; }

  const std::shared_ptr<bool> wanted = std::make_shared<bool>(true);
};

SimLoop::~SimLoop() { *alive_ = false; }

std::unique_ptr<Timer> SimLoop::timer(std::function<void()> callback) {
  return std::make_unique<SimTimer>(*this, std::move(callback));
}

Result<std::unique_ptr<Listener>> SimLoop::listen(const Address& address, bool,
                                                  ListenerEvents& events) {
  Address own = address;
  if (own.port == 0) own.port = static_cast<uint16_t>(40000 + listeners_.size());
  listeners_[own.port] = &events;
  return std::unique_ptr<Listener>(std::make_unique<SimListener>(*this, own));
}

std::unique_ptr<SimSocket> SimLoop::connect(SimWorld& world, const std::vector<SimLoop*>& loops,
                                            uint16_t port) {
  auto link = std::make_shared<Link>(world);
  auto socket = std::make_unique<SimSocket>(world, link);
  SimLoop* loop =
      loops[static_cast<size_t>(world.prng().between(0, static_cast<int64_t>(loops.size()) - 1))];
  world.after(world.some(world.faults.latency_max), [link, loop, port] {
    loop->deliver([link, loop, port] {
      const auto found = loop->listeners_.find(port);
      if (found == loop->listeners_.end()) {
        if (link->client != nullptr) link->client->on_reset();
        return;
      }
      found->second->on_accept(std::make_unique<SimStream>(*loop, link));
      link->push_to_server();
    });
  });
  return socket;
}

std::unique_ptr<Pending> SimLoop::connect(
    const Address& address, std::function<void(Result<std::unique_ptr<Stream>>)> done) {
  auto pending = std::make_unique<SimPending>();
  const std::string where = address.host + ":" + std::to_string(address.port);
  const auto report = [this, done = std::move(done), wanted = pending->wanted,
                       alive = alive_](const std::shared_ptr<Link>& link) {
    if (!*alive) return;
    deliver([this, done, wanted, link] {
      // The raw end learns from the stream's destruction that nobody wants the connection any more.
      std::unique_ptr<Stream> stream;
      if (link != nullptr) stream = std::make_unique<SimStream>(*this, link);
      if (!*wanted) return;
      if (stream == nullptr) return done(Error{Code::kUnavailable, "connection refused"});
      done(std::move(stream));
      link->push_to_server();
    });
  };
  // The way there, what is found there, and the way back.
  world_.after(world_.some(world_.faults.latency_max), [this, where, report] {
    const auto found = world_.ports.find(where);
    const SimPort::Answer answer =
        found == world_.ports.end() ? SimPort::Answer::kRefuse : found->second.answer();
    if (answer == SimPort::Answer::kIgnore) return;
    std::shared_ptr<Link> link;
    if (answer == SimPort::Answer::kAccept) {
      link = std::make_shared<Link>(world_);
      found->second.accept(std::make_unique<SimSocket>(world_, link));
    }
    world_.after(world_.some(world_.faults.latency_max), [report, link] { report(link); });
  });
  return pending;
}

std::unique_ptr<Pending> SimLoop::resolve(
    const std::string& host, std::function<void(Result<std::vector<std::string>>)> done) {
  auto pending = std::make_unique<SimPending>();
  const auto found = world_.names.find(host);
  const SimName name = found == world_.names.end() ? SimName{} : found->second;
  ++world_.names_asked;
  world_.after(name.after + world_.some(world_.faults.latency_max),
               [this, alive = alive_, wanted = pending->wanted, done = std::move(done),
                addresses = name.addresses, host] {
                 if (!*alive) return;
                 deliver([wanted, done, addresses, host] {
                   if (!*wanted) return;
                   if (addresses.empty())
                     return done(Error{Code::kUnavailable, "no address for " + host});
                   done(addresses);
                 });
               });
  return pending;
}

void SimLoop::deliver(std::function<void()> delivery) {
  pending_.push_back(std::move(delivery));
  schedule_turn();
}

void SimLoop::wake() {
  woken_ = true;
  schedule_turn();
}

void SimLoop::schedule_turn() {
  if (std::exchange(turn_scheduled_, true)) return;
  world_.after(world_.some(microseconds(20)), [this, alive = alive_] {
    if (*alive) turn();
  });
}

void SimLoop::turn() {
  turn_scheduled_ = false;
  turn_now_ = world_.now();
  for (auto& delivery : std::exchange(pending_, {})) delivery();
  if (std::exchange(woken_, false)) wake_handler_();
  turn_handler_();
}

}  // namespace sluice::sim
