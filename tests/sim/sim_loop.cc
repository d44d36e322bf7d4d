// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_loop.h"

#include <algorithm>
#include <utility>

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

// What both ends share: the bytes under way in each direction, and who is still there.
struct Link : std::enable_shared_from_this<Link> {
  explicit Link(SimWorld& w) : world(w) {}

  // Client to server. Pieces keep their order because each is sent when the one before has arrived.
  void push_to_server() {
    if (server_busy || loop == nullptr || (to_server.empty() && !client_fin)) return;
    server_busy = true;
    world.after(world.some(world.faults.latency_max), [self = shared_from_this()] {
      self->server_busy = false;
      self->arrive_at_server();
    });
  }
  void arrive_at_server();
  // Server to client.
  void push_to_client() {
    if (client_busy || (to_client.empty() && !server_fin)) return;
    client_busy = true;
    world.after(slow_every + world.some(world.faults.latency_max), [self = shared_from_this()] {
      self->client_busy = false;
      self->arrive_at_client();
    });
  }
  void arrive_at_client();
  size_t piece(size_t available) {
    if (world.prng().chance(world.faults.one_byte)) return 1;
    if (available > 1 && world.prng().chance(world.faults.split))
      return static_cast<size_t>(world.prng().between(1, static_cast<int64_t>(available)));
    return available;
  }
  void server_gone();
  void break_server();

  SimWorld& world;
  SimLoop* loop = nullptr;  // null once the server has let go
  StreamEvents* events = nullptr;
  SimSocket* client = nullptr;  // null once the client has let go
  std::string to_server;
  std::string to_client;
  std::string unread;  // arrived, but the server is not reading
  bool reading = true;
  bool client_fin = false;
  bool fin_told = false;
  bool server_fin = false;
  bool server_busy = false;
  bool client_busy = false;
  size_t slow_bytes = 0;
  Duration slow_every = {};
};

void Link::arrive_at_server() {
  if (loop == nullptr) return;
  const size_t size = to_server.empty() ? 0 : piece(to_server.size());
  unread.append(to_server, 0, size);
  to_server.erase(0, size);
  loop->deliver([self = shared_from_this()] {
    if (self->loop == nullptr || !self->reading) return;
    if (!self->unread.empty()) {
      const std::string bytes = std::exchange(self->unread, {});
      self->world.trace(bytes);
      self->events->on_bytes(bytes);
    }
    if (self->loop == nullptr || !self->reading) return;
    if (self->client_fin && self->to_server.empty() && self->unread.empty() &&
        !std::exchange(self->fin_told, true))
      self->events->on_end();
  });
  if (!to_server.empty()) push_to_server();
}

void Link::arrive_at_client() {
  if (client == nullptr) return break_server();  // the system of a client that left answers RST
  const size_t most = slow_bytes > 0 ? std::min(slow_bytes, to_client.size()) : to_client.size();
  const size_t size = to_client.empty() ? 0 : piece(most);
  const std::string bytes = to_client.substr(0, size);
  to_client.erase(0, size);
  if (to_client.empty() && size > 0 && loop != nullptr)
    loop->deliver([self = shared_from_this()] {
      if (self->loop != nullptr && self->to_client.empty()) self->events->on_drained();
    });
  world.trace(bytes);
  if (!bytes.empty()) client->on_bytes(bytes);
  if (client == nullptr) return;
  if (!to_client.empty()) return push_to_client();
  if (server_fin) {
    server_fin = false;
    client->on_end();
  }
}

void Link::break_server() {
  to_client.clear();
  if (loop == nullptr) return;
  loop->deliver([self = shared_from_this()] {
    if (self->loop != nullptr) self->events->on_broken();
  });
}

// The server closed: what it had not sent is lost, and the client sees FIN after what was sent, or
// a reset if it goes on writing; here, FIN.
void Link::server_gone() {
  loop = nullptr;
  events = nullptr;
  if (client == nullptr) return;
  const bool lost = !to_client.empty() || !unread.empty() || !to_server.empty();
  to_client.clear();
  world.after(world.some(world.faults.latency_max), [self = shared_from_this(), lost] {
    if (self->client == nullptr) return;
    if (lost) {
      self->client->on_reset();
    } else {
      self->client->on_end();
    }
  });
}

SimSocket::SimSocket(SimWorld& world, std::shared_ptr<Link> link)
    : world_(world), link_(std::move(link)) {
  link_->client = this;
}

SimSocket::~SimSocket() {
  if (link_->client == this) finish();
  link_->client = nullptr;
  link_->to_client.clear();
}

void SimSocket::send(std::string_view bytes) {
  if (link_->client_fin) return;
  link_->to_server.append(bytes);
  link_->push_to_server();
}

void SimSocket::finish() {
  if (std::exchange(link_->client_fin, true)) return;
  link_->push_to_server();
}

void SimSocket::reset() {
  link_->client = nullptr;
  link_->to_server.clear();
  link_->to_client.clear();
  if (link_->loop == nullptr) return;
  world_.after(world_.some(world_.faults.latency_max), [link = link_] { link->break_server(); });
}

void SimSocket::read_slowly(size_t bytes, Duration every) {
  link_->slow_bytes = bytes;
  link_->slow_every = every;
}

// The server's end.
class SimStream final : public Stream {
 public:
  SimStream(SimLoop& loop, std::shared_ptr<Link> link) : loop_(loop), link_(std::move(link)) {
    ++loop_.streams_open_;
    link_->loop = &loop;
  }
  ~SimStream() override {
    --loop_.streams_open_;
    link_->server_gone();
  }
  void set_events(StreamEvents* events) override { link_->events = events; }
  void write(std::span<const Slice> parts) override {
    ASSERT(!finished_);
    for (const Slice& part : parts) link_->to_client.append(part.view());
    link_->push_to_client();
  }
  size_t unsent_bytes() const override { return link_->to_client.size(); }
  void read(bool wanted) override {
    link_->reading = wanted;
    if (wanted) link_->arrive_at_server();
  }
  void shut_down() override {
    finished_ = true;
    link_->server_fin = true;
    link_->push_to_client();
  }
  std::string peer() const override { return "sim:0"; }

 private:
  SimLoop& loop_;
  std::shared_ptr<Link> link_;
  bool finished_ = false;
};

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
