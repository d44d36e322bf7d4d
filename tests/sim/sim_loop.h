// SPDX-License-Identifier: Apache-2.0
#pragma once
// SimWorld and SimLoop: loops, sockets and mail on virtual time, in one real thread. Every loop of
// a gateway is an actor here; how long a turn, a wake-up or a packet takes is drawn from the seed,
// so thread timing is one more thing that a seed decides and a replay repeats.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/prng.h"

namespace sluice::sim {

// What may go wrong on the way, as probabilities and spans; each seed draws its own.
struct Faults {
  Duration latency_max = microseconds(200);  // of a packet, and of a wake-up
  double one_byte = 0;                       // a piece of a write arrives as one byte
  double split = 0.3;                        // a piece is cut somewhere
  Duration coarse = {};                      // if set, all events fall on multiples of it
};

class SimSocket;

// Where a raw actor listens; it gets the connections of every loop's connect().
struct SimPort {
  enum class Answer { kAccept, kRefuse, kIgnore };
  // How the next connection is met; kIgnore lets it wait for ever.
  std::function<Answer()> answer = [] { return Answer::kAccept; };
  std::function<void(std::unique_ptr<SimSocket>)> accept;
};

// What a name resolves to, and when.
struct SimName {
  std::vector<std::string> addresses;  // none: the name is not known
  Duration after = {};
};

// Virtual time and what is to happen. Events at the same time run in an order the seed decides.
class SimWorld {
 public:
  explicit SimWorld(uint64_t seed) : prng_(seed) {}

  Instant now() const { return now_; }
  Prng& prng() { return prng_; }
  // A span in [0, max].
  Duration some(Duration max) { return {prng_.between(0, max.ns)}; }
  // Runs `callback` at `when`, or now if that is past.
  void at(Instant when, std::function<void()> callback);
  void after(Duration wait, std::function<void()> callback) {
    at(now_ + wait, std::move(callback));
  }
  // Runs the next event; returns false if there is none.
  bool step();
  // Adds to the hash of all that happened.
  void trace(uint64_t value);
  void trace(std::string_view bytes);
  uint64_t trace_hash() const { return trace_; }
  uint64_t steps() const { return steps_; }

  Faults faults;
  // What lies outside of the loops: listeners by "host:port", and the names of hosts.
  std::map<std::string, SimPort> ports;
  std::map<std::string, SimName> names;
  uint64_t names_asked = 0;

 private:
  struct Entry {
    Instant when;
    uint64_t order;  // random, then by schedule: a tie-break that a replay repeats
    uint64_t serial;
    std::function<void()> callback;
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const {
      if (a.when != b.when) return a.when > b.when;
      return a.order != b.order ? a.order > b.order : a.serial > b.serial;
    }
  };

  Instant now_{1'000'000'000};
  Prng prng_;
  std::priority_queue<Entry, std::vector<Entry>, Later> events_;
  uint64_t serial_ = 0;
  uint64_t steps_ = 0;
  uint64_t trace_ = 0xcbf29ce484222325ull;
};

struct Link;

// The raw actor's end of a connection: a client's of a gateway, or an upstream's.
class SimSocket {
 public:
  explicit SimSocket(SimWorld& world, std::shared_ptr<Link> link);
  ~SimSocket();
  // What arrives; `on_end` is FIN, `on_reset` an abort by the other end or a refused connection.
  std::function<void(std::string_view)> on_bytes = [](std::string_view) {};
  std::function<void()> on_end = [] {};
  std::function<void()> on_reset = [] {};
  void send(std::string_view bytes);
  void finish();  // FIN
  void reset();   // RST, at once; what was sent and has not arrived is lost
  // RST once all that was sent has arrived.
  void reset_when_sent();
  // Bytes that the client takes off the wire at a time, and how often; for slow readers.
  void read_slowly(size_t bytes, Duration every);

 private:
  SimWorld& world_;
  std::shared_ptr<Link> link_;
};

class SimLoop final : public Loop {
 public:
  explicit SimLoop(SimWorld& world) : world_(world) {}
  ~SimLoop() override;

  Instant now() const override { return turn_now_; }
  int64_t unix_seconds() const override { return 1'700'000'000 + turn_now_.ns / 1'000'000'000; }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override;
  Result<std::unique_ptr<Listener>> listen(const Address& address, bool shared,
                                           ListenerEvents& events) override;
  std::unique_ptr<Pending> connect(
      const Address& address, std::function<void(Result<std::unique_ptr<Stream>>)> done) override;
  std::unique_ptr<Pending> resolve(
      const std::string& host, std::function<void(Result<std::vector<std::string>>)> done) override;
  void wake() override;
  void on_wake(std::function<void()> handler) override { wake_handler_ = std::move(handler); }
  void on_turn(std::function<void()> handler) override { turn_handler_ = std::move(handler); }

  // Connects to whoever listens on `port` on any of `loops`; the socket is reset if nobody does.
  static std::unique_ptr<SimSocket> connect(SimWorld& world, const std::vector<SimLoop*>& loops,
                                            uint16_t port);
  // Has `delivery` run in a turn of this loop soon, together with what else has come by then.
  void deliver(std::function<void()> delivery);
  SimWorld& world() { return world_; }
  // Sockets of this loop that are still open.
  size_t streams_open() const { return streams_open_; }

 private:
  friend struct Link;
  friend class SimStream;
  friend class SimListener;
  void schedule_turn();
  void turn();

  SimWorld& world_;
  Instant turn_now_{1'000'000'000};
  std::vector<std::function<void()>> pending_;
  bool turn_scheduled_ = false;
  bool woken_ = false;
  bool in_turn_ = false;
  size_t streams_open_ = 0;
  std::function<void()> wake_handler_ = [] {};
  std::function<void()> turn_handler_ = [] {};
  std::map<uint16_t, ListenerEvents*> listeners_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::sim
