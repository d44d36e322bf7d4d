// SPDX-License-Identifier: Apache-2.0
#include "gateway/connection.h"

#include <algorithm>
#include <utility>

namespace sluice {

Connection::Connection(Loop& loop, std::unique_ptr<Stream> stream, Surface surface,
                       const ConnectionLimits& limits, ConnectionOwner& owner)
    : loop_(loop),
      owner_(owner),
      limits_(limits),
      surface_(surface),
      stream_(std::move(stream)),
      began_(loop.now()) {
  stream_->set_events(this);
  timer_ = loop_.timer([this] { on_timer(); });
  arm(limits_.header_timeout);  // a client that connects and says nothing is no better than slow
}

Connection::~Connection() { release_all(); }

void Connection::on_bytes(std::string_view bytes) {
  switch (state_) {
    case State::kIdle:
    case State::kHead:
    case State::kBody:
      process(bytes);
      return;
    case State::kWaiting:
      pending_.append(bytes);
      if (pending_.size() > limits_.pipelined_bytes_max) {
        paused_ = true;
        stream_->read(false);
      }
      return;
    case State::kLingering:
    case State::kClosed:
      return;
  }
}

// Feeds the parser until the bytes are used up or a request awaits its answer.
void Connection::process(std::string_view bytes) {
  processing_ = true;
  while (state_ <= State::kBody && (parser_ || !bytes.empty())) {
    if (!parser_) parser_ = std::make_unique<RequestParser>(limits_.http);
    size_t used = 0;
    const HttpEvent event = parser_->feed(bytes, used);
    bytes.remove_prefix(used);
    if (state_ == State::kIdle && (parser_->in_message() || event != HttpEvent::kNeedMore)) {
      state_ = State::kHead;
      began_ = loop_.now();
      arm(limits_.header_timeout);
    }
    if (event == HttpEvent::kNeedMore) break;
    if (event == HttpEvent::kHead) {
      if (!handle_head()) break;
    } else if (event == HttpEvent::kBody) {
      if (!hold(parser_->body().size())) {
        refuse({.code = Code::kOverloaded,
                .message = "The server holds as many bytes as it may.",
                .retry_after = seconds(1)});
        break;
      }
      body_.append(parser_->body());
    } else if (event == HttpEvent::kEnd) {
      finish_request();
    } else if (event == HttpEvent::kError) {
      refuse(parser_->error());
      break;
    }
  }
  if (state_ == State::kWaiting) pending_.append(bytes);
  processing_ = false;
}

// Returns false if the request was answered already.
bool Connection::handle_head() {
  head_ = std::move(parser_->head());
  head_read_ = loop_.now();
  keep_alive_ = head_.keep_alive;
  head_only_ = head_.method == "HEAD";
  version_minor_ = head_.version_minor;
  state_ = State::kBody;
  if (auto error = owner_.on_head(*this, head_)) {
    refuse(*error);
    return false;
  }
  arm(limits_.body_timeout);
  if (head_.expects_continue) {
    const Slice go = Slice::copy_of("HTTP/1.1 100 Continue\r\n\r\n");
    stream_->write({&go, 1});
  }
  return true;
}

void Connection::finish_request() {
  state_ = State::kWaiting;
  parser_.reset();
  timer_->cancel();
  Slice body = Slice::copy_of(body_);
  std::string().swap(body_);
  owner_.on_request(*this, std::move(head_), std::move(body));
}

// Answers before the request was read to its end; what follows could be anything, so the connection
// ends with it.
void Connection::refuse(const Error& error) {
  keep_alive_ = false;
  owner_.on_refused(*this, error);
  send(error_response(error), false);
}

void Connection::respond(const Response& response) {
  ASSERT(state_ == State::kWaiting);
  // After FIN only what was sent before it can still ask for something.
  const bool more = !ended_ || !pending_.empty();
  send(response, keep_alive_ && !response.close && !owner_.draining() && more);
}

void Connection::send(const Response& response, bool keep_alive) {
  release_all();
  std::string().swap(body_);
  std::string head;
  write_response_head(head, {.status = response.status, .headers = response.headers},
                      {.content_length = response.body.size(),
                       .keep_alive = keep_alive,
                       .version_minor = version_minor_,
                       .date = owner_.http_date()});
  const std::string_view body = head_only_ ? std::string_view() : response.body;
  const Slice bytes(ChunkRef::make(head.size() + body.size(), [&](char* to) {
    std::copy(body.begin(), body.end(), std::copy(head.begin(), head.end(), to));
  }));
  // An answer that is ready is worth its bytes even when the budget is spent: it ends the request.
  hold(bytes.size());
  responded_ = loop_.now();
  stream_->write({&bytes, 1});
  head_ = RequestHead{};
  parser_.reset();
  head_only_ = false;
  if (!keep_alive) {
    pending_.clear();
    state_ = State::kLingering;
    stream_->shut_down();
    if (paused_) stream_->read(true);
    paused_ = false;
    arm(stream_->unsent_bytes() > 0 ? limits_.idle_timeout : limits_.linger);
    return;
  }
  state_ = State::kIdle;
  arm(limits_.idle_timeout);
  if (!processing_) go_on();
}

// Reads the next request, if its bytes came already and the client takes its answers.
void Connection::go_on() {
  while (state_ == State::kIdle && !pending_.empty() &&
         stream_->unsent_bytes() <= limits_.output_bytes_max) {
    const std::string bytes = std::exchange(pending_, {});
    process(bytes);
  }
  if (ended_ && state_ <= State::kBody) return close();  // the rest of a request will not come
  const bool pause = state_ == State::kIdle && stream_->unsent_bytes() > limits_.output_bytes_max;
  if (state_ <= State::kBody && pause != paused_) {
    paused_ = pause;
    stream_->read(!pause);
  }
}

void Connection::on_drained() {
  if (state_ != State::kIdle && state_ != State::kLingering) return;  // "100 Continue" went out
  release_all();
  owner_.on_written(*this, loop_.now() - responded_);
  if (state_ == State::kLingering) {
    if (ended_) return close();
    arm(limits_.linger);
  } else if (state_ == State::kIdle) {
    go_on();
  }
}

void Connection::on_end() {
  ended_ = true;
  switch (state_) {
    case State::kWaiting:
      if (limits_.half_close) return;  // respond() ends the connection
      owner_.on_gone(*this);
      return close();
    case State::kLingering:
      if (stream_->unsent_bytes() > 0) return;
      return close();
    default:
      return close();
  }
}

void Connection::on_broken() {
  if (state_ == State::kWaiting) owner_.on_gone(*this);
  close();
}

void Connection::drain() {
  if (state_ == State::kIdle && pending_.empty() && stream_->unsent_bytes() == 0) close();
}

void Connection::on_timer() {
  switch (state_) {
    case State::kHead:
      return refuse(
          {.code = Code::kClientTimeout, .message = "The request's head did not arrive in time."});
    case State::kBody:
      return refuse(
          {.code = Code::kClientTimeout, .message = "The request's body did not arrive in time."});
    default:
      return close();
  }
}

void Connection::arm(Duration wait) { timer_->again(loop_.now() + wait); }

bool Connection::hold(size_t bytes) {
  if (!owner_.hold_bytes(bytes)) return false;
  held_ += bytes;
  return true;
}

void Connection::release_all() { owner_.release_bytes(std::exchange(held_, 0)); }

bool Connection::busy() const {
  return reading() || state_ == State::kWaiting || (stream_ && stream_->unsent_bytes() > 0);
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_->cancel();
  release_all();
  stream_.reset();
  owner_.on_closed(*this);
}

}  // namespace sluice
