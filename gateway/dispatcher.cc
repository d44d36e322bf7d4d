// SPDX-License-Identifier: Apache-2.0
#include "gateway/dispatcher.h"

#include <algorithm>
#include <utility>

namespace sluice {

Dispatcher::Dispatcher(Loop& loop, Mailbox<Event>& mail, Options options)
    : loop_(loop), mail_(mail), options_(std::move(options)), core_(options_.core) {
  timer_ = loop_.timer([this] { armed_.reset(); });  // the turn handler does the rest
}

void Dispatcher::turn() {
  take_mail();
  const std::optional<Instant> wake = core_.next_wake();
  if (events_.empty() && (!wake || *wake > loop_.now())) return arm_timer();
  core_.step(loop_.now(), events_, actions_);
  for (Action& action : actions_) {
    if (auto* start = std::get_if<StartCall>(&action)) {
      act(*start);
    } else if (auto* reply = std::get_if<Reply>(&action)) {
      options_.replies[io_of(reply->request)]->post(std::move(*reply));
    } else if (const auto* abort = std::get_if<AbortCall>(&action)) {
      act(*abort);
    }
    // A backend that would have to be woken does not exist: there is nothing to Prewarm.
  }
  events_.clear();
  actions_.clear();
  options_.telemetry->publish_core(*options_.shard, published_, core_.stats());
  published_ = core_.stats();
  arm_timer();
}

void Dispatcher::take_mail() {
  Event event;
  while (mail_.take(event)) {
    if (const auto* done = std::get_if<CallDone>(&event)) note_done(*done);
    events_.push_back(std::move(event));
  }
}

void Dispatcher::note_done(const CallDone& done) {
  const auto found = started_.find(done.call);
  ASSERT(found != started_.end());
  const Duration took = loop_.now() - found->second.at;
  const Duration around = std::max(took - done.busy, Duration{});
  options_.shard->observe(options_.telemetry->stage_backend, done.busy.seconds());
  options_.shard->observe(options_.telemetry->stage_batch, around.seconds());
  started_.erase(found);
}

void Dispatcher::act(StartCall& start) {
  Started& started = started_[start.call];
  started.at = loop_.now();
  options_.shard->observe(options_.telemetry->batch_items, static_cast<double>(start.weight.items));
  options_.shard->observe(options_.telemetry->batch_tokens,
                          static_cast<double>(start.weight.tokens));
  if (options_.engines[start.backend] == nullptr) {
    // The thread of the oldest request: for a request that is passed through, its client's own.
    started.io = io_of(start.rows.front().request);
    options_.orders[started.io]->post(std::move(start));
    return;
  }
  EngineJob job{.call = start.call, .rows = {}};
  job.rows.reserve(start.rows.size());
  for (CallRow& row : start.rows) job.rows.push_back(std::move(row.payload));
  options_.engines[start.backend]->submit(std::move(job));
}

// A batch of an engine cannot be aborted once it runs.
void Dispatcher::act(const AbortCall& abort) {
  const auto found = started_.find(abort.call);
  if (found == started_.end() || found->second.io == SIZE_MAX) return;
  options_.orders[found->second.io]->post(abort);
}

void Dispatcher::arm_timer() {
  const std::optional<Instant> wake = core_.next_wake();
  if (wake == armed_) return;
  armed_ = wake;
  if (wake) {
    timer_->again(*wake);
  } else {
    timer_->cancel();
  }
}

EngineSink engine_mail(Mailbox<Event>& mail) {
  return [&mail](EngineDone done) {
    CallDone event{.call = done.call, .failure = Failure::kBroken, .busy = done.busy};
    if (done.outputs.ok()) {
      std::vector<Outcome> outcomes;
      outcomes.reserve(done.outputs.value().size());
      for (Slice& output : done.outputs.value()) outcomes.emplace_back(Output(std::move(output)));
      event.outcomes = std::move(outcomes);
    } else {
      event.outcomes = done.outputs.error();
    }
    mail.post(std::move(event));
  };
}

}  // namespace sluice
