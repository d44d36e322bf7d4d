// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shadow: what merging would have saved, where nothing is merged yet. Requests that could have
// shared calls go on one by one; their copies run through a second core, whose calls take as long
// as the real ones did. Lives on the core's loop.

#include <deque>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/loop.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "batcher/core.h"
#include "gateway/telemetry.h"

namespace sluice {

// The real call of such a request has ended.
struct ShadowEnded {
  Duration took;
};
using ShadowEvent = std::variant<Arrived, ShadowEnded>;

class Shadow {
 public:
  // Both outlive it. `options` are those of the real core.
  Shadow(Loop& loop, CoreOptions options, const Telemetry& telemetry, MetricsShard& shard);

  // Where I/O threads tell of requests and their ends.
  Mailbox<ShadowEvent>& mail() { return mail_; }
  // Takes the mail and steps the second core. Called at the end of each turn of the loop.
  void turn();

 private:
  void take_mail();
  void act();
  void arm();

  // A call that would be in flight, and when it would end.
  struct Running {
    Instant end;
    CallId call;
    size_t rows;
  };

  Loop& loop_;
  Mailbox<ShadowEvent> mail_;
  Core core_;
  const Telemetry& telemetry_;
  MetricsShard& shard_;
  std::unique_ptr<Timer> timer_;
  Duration service_ = milliseconds(10);  // of a call, as the last ones took
  std::deque<Running> running_;          // in the order of their ends, near enough
  uint64_t requests_seen_ = 0;
  uint64_t calls_seen_ = 0;
  std::vector<Event> events_;
  std::vector<Action> actions_;
};

}  // namespace sluice
