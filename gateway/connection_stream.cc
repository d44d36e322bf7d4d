// SPDX-License-Identifier: Apache-2.0
// Connection, where an answer is written in pieces, or bytes go by unread.
#include <utility>

#include "gateway/connection.h"

namespace sluice {

void Connection::begin_answer(std::string_view head) {
  ASSERT(awaits_answer() && !answering_);
  answering_ = true;
  responded_ = loop_.now();
  const Slice bytes = Slice::copy_of(head);
  write_answer({&bytes, 1});
}

void Connection::interim(std::string_view head) {
  ASSERT(awaits_answer() && !answering_);
  const Slice bytes = Slice::copy_of(head);
  stream_->write({&bytes, 1});
}

void Connection::write_answer(std::span<const Slice> parts) {
  ASSERT(answering_);
  for (const Slice& part : parts) count(part.size());
  stream_->write(parts);
  // A client that takes nothing for so long has left without a word.
  if (state_ == State::kWaiting || state_ == State::kTunnel) arm(limits_.idle_timeout);
}

void Connection::end_answer(bool keep_alive) {
  ASSERT(answering_);
  const bool more = !ended_ || !pending_.empty();
  // A request that is not read to its end leaves bytes that could be anything.
  after_answer(keep_alive && keep_alive_wanted() && request_complete() && more);
}

void Connection::abort_answer() { close(); }

void Connection::begin_tunnel() {
  ASSERT(answering_ && state_ == State::kWaiting);
  state_ = State::kTunnel;  // the timer runs until the client has taken the head
  if (paused_) read(true);
  const std::string early = std::exchange(pending_, {});
  if (!early.empty()) owner_.on_tunnel_bytes(*this, early);
}

void Connection::end_tunnel() {
  ASSERT(state_ == State::kTunnel);
  after_answer(false);
}

void Connection::read(bool wanted) {
  if (!stream_ || paused_ != wanted) return;
  paused_ = !wanted;
  stream_->read(wanted);
  if (state_ != State::kStream) return;
  if (wanted) {
    arm(limits_.body_timeout);
  } else {
    timer_->cancel();  // it is not the client who is slow
  }
}

}  // namespace sluice
