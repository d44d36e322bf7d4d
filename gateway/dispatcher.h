// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dispatcher: the core's hands. It takes the mail of I/O threads and engines, steps the Core once
// per turn of its loop, and carries out what the Core decides: batches for an engine go to it,
// calls of an endpoint to the I/O thread that will make them. Lives on the core's loop, which with
// one I/O thread is that thread's own.

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <variant>
#include <vector>

#include "backends/engine.h"
#include "base/loop.h"
#include "base/mailbox.h"
#include "batcher/core.h"
#include "gateway/telemetry.h"

namespace sluice {

// What an I/O thread is told to do about a call of an endpoint.
using CallOrder = std::variant<StartCall, AbortCall>;

class Dispatcher {
 public:
  // What it decides by and whom it gives work to.
  struct Options {
    CoreOptions core;
    std::vector<Engine*> engines;  // by BackendIndex, null for endpoints; they outlive its use
    std::vector<Mailbox<Reply>*> replies;     // by I/O thread, see io_of()
    std::vector<Mailbox<CallOrder>*> orders;  // by I/O thread
    const Telemetry* telemetry = nullptr;
    MetricsShard* shard = nullptr;  // of the core's thread
  };
  // `mail` is where Events come in; it outlives the dispatcher.
  Dispatcher(Loop& loop, Mailbox<Event>& mail, Options options);

  // Drains the mail and steps the core once. Called at the end of each turn of the loop.
  void turn();
  // Whether nothing waits and nothing is in flight.
  bool idle() const { return core_.idle(); }

  // Request ids carry the number of their I/O thread in the upper 8 bits.
  static constexpr int kIoShift = 56;
  static size_t io_of(RequestId id) { return static_cast<size_t>(id >> kIoShift); }

 private:
  void take_mail();
  void note_done(const CallDone& done);
  void act(StartCall& start);
  void act(const AbortCall& abort);
  void arm_timer();

  Loop& loop_;
  Mailbox<Event>& mail_;
  Options options_;
  Core core_;
  CoreStats published_;
  std::unique_ptr<Timer> timer_;
  std::optional<Instant> armed_;
  // A call that a backend has.
  struct Started {
    Instant at;
    size_t io = SIZE_MAX;  // the I/O thread that makes it; none for an engine's
  };
  std::unordered_map<CallId, Started> started_;
  std::vector<Event> events_;  // reused, so that a turn allocates nothing
  std::vector<Action> actions_;
};

// The sink that an engine is built with: its reports become CallDone mail.
EngineSink engine_mail(Mailbox<Event>& mail);

}  // namespace sluice
