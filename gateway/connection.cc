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
    case State::kStream:
      process(bytes);
      return;
    case State::kTunnel:
      owner_.on_tunnel_bytes(*this, bytes);
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
  while (state_ <= State::kStream && (parser_ || !bytes.empty())) {
    if (!parser_) {
      HttpLimits open = limits_.http;
      open.body_bytes_max = UINT64_MAX;  // whether it holds depends on the head
      parser_ = std::make_unique<RequestParser>(open);
    }
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
      if (!handle_body()) break;
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
  HeadVerdict verdict = owner_.on_head(*this, head_);
  if (!verdict.refused && !verdict.stream && head_.content_length &&
      *head_.content_length > limits_.http.body_bytes_max)
    verdict.refused = body_too_large();
  if (verdict.refused) {
    refuse(*verdict.refused);
    return false;
  }
  arm(limits_.body_timeout);
  if (head_.expects_continue) {
    const Slice go = Slice::copy_of("HTTP/1.1 100 Continue\r\n\r\n");
    stream_->write({&go, 1});
  }
  if (!verdict.stream) return true;
  state_ = State::kStream;
  streaming_ = true;
  owner_.on_stream(*this, std::move(head_));
  return state_ == State::kStream;
}

// Takes a part of the body. Returns false if the request was answered with that.
bool Connection::handle_body() {
  const std::string_view bytes = parser_->body();
  if (state_ == State::kStream) {
    if (!paused_) arm(limits_.body_timeout);
    owner_.on_stream_bytes(*this, bytes);
    return state_ == State::kStream;
  }
  if (bytes.size() > limits_.http.body_bytes_max - body_.size()) {
    refuse(body_too_large());
    return false;
  }
  if (!hold(bytes.size())) {
    refuse({.code = Code::kOverloaded,
            .message = "The server holds as many bytes as it may.",
            .retry_after = seconds(1)});
    return false;
  }
  body_.append(bytes);
  return true;
}

Error Connection::body_too_large() const {
  return {.code = Code::kTooLarge,
          .message =
              "the body is longer than " + std::to_string(limits_.http.body_bytes_max) + " bytes"};
}

void Connection::finish_request() {
  state_ = State::kWaiting;
  parser_.reset();
  timer_->cancel();
  if (streaming_) return owner_.on_stream_end(*this);
  Slice body = Slice::copy_of(body_);
  std::string().swap(body_);
  owner_.on_request(*this, std::move(head_), std::move(body));
}

// Answers before the request was read to its end; what follows could be anything, so the connection
// ends with it.
void Connection::refuse(const Error& error) {
  keep_alive_ = false;
  const bool begun = answering_;
  if (state_ == State::kStream) owner_.on_gone(*this);
  if (begun) return close();
  owner_.on_refused(*this, error);
  send(owner_.error_answer(*this, error), false);
}

void Connection::respond(const Response& response) {
  ASSERT((state_ == State::kWaiting || state_ == State::kStream) && !answering_);
  const bool complete = state_ == State::kWaiting;
  // After FIN only what was sent before it can still ask for something.
  const bool more = !ended_ || !pending_.empty();
  send(response, complete && keep_alive_ && !response.close && !owner_.draining() && more);
}

void Connection::send(const Response& response, bool keep_alive) {
  release_all();
  std::string().swap(body_);
  std::string head;
  write_response_head(head, response.status, response.headers,
                      {.content_length = response.body.size(),
                       .keep_alive = keep_alive,
                       .version_minor = version_minor_,
                       .date = owner_.http_date()});
  const std::string_view body = head_only_ ? std::string_view() : response.body;
  const Slice bytes(ChunkRef::make(head.size() + body.size(), [&](char* to) {
    std::copy(body.begin(), body.end(), std::copy(head.begin(), head.end(), to));
  }));
  // An answer that is ready is worth its bytes even when the budget is spent: it ends the request.
  count(bytes.size());
  responded_ = loop_.now();
  stream_->write({&bytes, 1});
  after_answer(keep_alive);
}

// The answer is written: what the connection does next.
void Connection::after_answer(bool keep_alive) {
  head_ = RequestHead{};
  if (!processing_ || state_ != State::kStream) parser_.reset();
  head_only_ = false;
  streaming_ = false;
  answering_ = false;
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
  if (answering_) {
    release_all();
    if (state_ == State::kWaiting || state_ == State::kTunnel) timer_->cancel();
    return owner_.on_stream_drained(*this);
  }
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
    case State::kStream:
      owner_.on_gone(*this);
      return close();
    case State::kTunnel:
      return owner_.on_tunnel_end(*this);
    case State::kLingering:
      if (stream_->unsent_bytes() > 0) return;
      return close();
    default:
      return close();
  }
}

void Connection::on_broken() {
  if (awaits_answer()) owner_.on_gone(*this);
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
    case State::kStream:
      return refuse(
          {.code = Code::kClientTimeout, .message = "The request's body did not arrive in time."});
    case State::kWaiting:  // a streamed answer that the client does not read
    case State::kTunnel:
      owner_.on_gone(*this);
      return close();
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

void Connection::count(size_t bytes) {
  owner_.count_bytes(bytes);
  held_ += bytes;
}

void Connection::release_all() { owner_.release_bytes(std::exchange(held_, 0)); }

bool Connection::busy() const {
  return reading() || awaits_answer() || (stream_ && stream_->unsent_bytes() > 0);
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
