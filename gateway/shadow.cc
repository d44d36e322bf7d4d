// SPDX-License-Identifier: Apache-2.0
#include "gateway/shadow.h"

#include <algorithm>
#include <utility>

namespace sluice {

Shadow::Shadow(Loop& loop, CoreOptions options, const Telemetry& telemetry, MetricsShard& shard)
    : loop_(loop),
      mail_([&loop] { loop.wake(); }),
      core_(std::move(options)),
      telemetry_(telemetry),
      shard_(shard),
      timer_(loop.timer([] {})) {}  // the turn handler does the rest

void Shadow::turn() {
  take_mail();
  const std::optional<Instant> wake = core_.next_wake();
  if (events_.empty() && (!wake || *wake > loop_.now())) return;
  core_.step(loop_.now(), events_, actions_);
  events_.clear();
  act();
  const CoreStats& stats = core_.stats();
  shard_.add(telemetry_.shadow_requests,
             static_cast<double>(stats.arrived - std::exchange(requests_seen_, stats.arrived)));
  shard_.add(telemetry_.shadow_calls,
             static_cast<double>(stats.calls - std::exchange(calls_seen_, stats.calls)));
  arm();
}

void Shadow::take_mail() {
  ShadowEvent event;
  while (mail_.take(event)) {
    if (auto* arrived = std::get_if<Arrived>(&event)) {
      events_.emplace_back(std::move(*arrived));
    } else {
      // The weight of the newest is an eighth: a few slow ones do not rule, a change is seen soon.
      const Duration took = std::get<ShadowEnded>(event).took;
      service_ = {service_.ns + (took.ns - service_.ns) / 8};
    }
  }
  while (!running_.empty() && running_.front().end <= loop_.now()) {
    CallDone done{.call = running_.front().call, .busy = {}};
    done.outcomes = std::vector<Outcome>(running_.front().rows, Outcome(Output{}));
    events_.emplace_back(std::move(done));
    running_.pop_front();
  }
}

// Its calls run for as long as real ones do; its replies are nobody's.
void Shadow::act() {
  for (const Action& action : actions_) {
    const auto* start = std::get_if<StartCall>(&action);
    if (start == nullptr) continue;
    const Running running{loop_.now() + std::max(service_, microseconds(1)), start->call,
                          start->rows.size()};
    const auto later = [](const Running& a, const Running& b) { return a.end < b.end; };
    running_.insert(std::upper_bound(running_.begin(), running_.end(), running, later), running);
  }
  actions_.clear();
}

void Shadow::arm() {
  std::optional<Instant> wake = core_.next_wake();
  if (!running_.empty() && (!wake || running_.front().end < *wake)) wake = running_.front().end;
  if (wake) {
    timer_->again(*wake);
  } else {
    timer_->cancel();
  }
}

}  // namespace sluice
