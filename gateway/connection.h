// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connection: one client's bytes become requests, one at a time, and answers go back in the same
// order. While a request waits for its answer the connection reads on, into a small buffer, so that
// it sees a client leave. A request whose owner wants it streamed is told of at its head, its body
// goes by without being kept, and its answer is written piece by piece. Owned by its Server; lives
// on one I/O loop.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/http1.h"
#include "base/loop.h"
#include "gateway/response.h"

namespace sluice {

class Connection;

// How long a client may take, and how much it may leave with us.
struct ConnectionLimits {
  HttpLimits http;  // its body_bytes_max is of bodies that are kept whole, not of streamed ones
  Duration header_timeout = seconds(10);   // first byte of a request to the end of its head
  Duration body_timeout = seconds(60);     // end of the head to the end of the body
  Duration idle_timeout = seconds(75);     // between requests, and for a client that does not read
  Duration linger = seconds(2);            // reading on after an early answer, so that it arrives
  size_t pipelined_bytes_max = 64 * 1024;  // read ahead while an answer is awaited
  size_t output_bytes_max = 1024 * 1024;   // unsent; beyond, the next request is not read
  bool half_close = false;                 // a client's FIN is no cancel: it still gets its answer
};

// What is to be done with a request, by its head.
struct HeadVerdict {
  std::optional<Error> refused;  // answered at once, instead of reading the body
  bool stream = false;           // the body is not kept: on_stream() instead of on_request()
};

// What a Connection asks of its Server. Called on the loop's thread.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  // A head is complete.
  virtual HeadVerdict on_head(Connection& connection, const RequestHead& head) = 0;
  // `bytes` more are held for clients. Returns false, and holds none of them, if the process would
  // hold too much.
  virtual bool hold_bytes(size_t bytes) = 0;
  // The same for bytes that are there already and cannot be refused any more.
  virtual void count_bytes(size_t bytes) = 0;
  // `bytes` of those are held no longer.
  virtual void release_bytes(size_t bytes) = 0;
  // A request is complete; exactly one respond() must follow, now or later, unless on_gone() comes
  // first.
  virtual void on_request(Connection& connection, RequestHead head, Slice body) = 0;
  // A streamed request has begun. Its body follows, then on_stream_end(), unless on_gone() comes
  // first; an answer is owed as after on_request().
  virtual void on_stream(Connection& connection, RequestHead head) = 0;
  virtual void on_stream_bytes(Connection& connection, std::string_view bytes) = 0;
  virtual void on_stream_end(Connection& connection) = 0;
  // All of a streamed answer that was written was handed to the system.
  virtual void on_stream_drained(Connection& connection) = 0;
  // In a tunnel: bytes from the client, and its FIN.
  virtual void on_tunnel_bytes(Connection& connection, std::string_view bytes) = 0;
  virtual void on_tunnel_end(Connection& connection) = 0;
  // The answer to an error that this connection found itself.
  virtual Response error_answer(Connection& connection, const Error& error) = 0;
  // The stream could not be read further; `error` was answered. For counting.
  virtual void on_refused(Connection& connection, const Error& error) = 0;
  // The client left while its request awaited the answer.
  virtual void on_gone(Connection& connection) = 0;
  // The connection has ended; the owner destroys it later, not inside this call.
  virtual void on_closed(Connection& connection) = 0;
  // The last byte of an answer was handed to the system, `took` after respond().
  virtual void on_written(Connection& connection, Duration took) = 0;
  // Whether connections should close after the current request.
  virtual bool draining() const = 0;
  // Seconds since 1970 as an HTTP date.
  virtual std::string_view http_date() = 0;
};

class Connection final : public StreamEvents {
 public:
  // Takes over `stream`, which has just been accepted; `limits` and `owner` outlive it.
  Connection(Loop& loop, std::unique_ptr<Stream> stream, Surface surface,
             const ConnectionLimits& limits, ConnectionOwner& owner);
  ~Connection() override;

  // Answers the request that on_request() told of.
  // REQUIRES: a request is awaiting its answer.
  void respond(const Response& response);
  // The same answer in pieces: its head, as bytes that include all framing; its body, framed; its
  // end, after which the next request is read if `keep_alive` and the request is complete.
  // REQUIRES: an answer is owed and respond() was not called.
  void begin_answer(std::string_view head);
  void write_answer(std::span<const Slice> parts);
  void end_answer(bool keep_alive);
  // The answer cannot be completed: closes at once, which the client can tell from an end.
  void abort_answer();
  // A 1xx before the answer. REQUIRES as begin_answer()
  void interim(std::string_view head);
  // After begin_answer() of a 101: from now on bytes go by unread, both ways.
  void begin_tunnel();
  // Sends FIN in a tunnel; the connection ends when both sides have.
  void end_tunnel();
  // The body that on_request() gave is counted by who took it from now on.
  void hand_over() { release_all(); }
  // Stops and resumes reading, for a streamed body or a tunnel whose taker is slower.
  void read(bool wanted);
  // Written and not yet taken by the system.
  size_t unsent_bytes() const { return stream_ ? stream_->unsent_bytes() : 0; }
  // Whether the current request's body was read to its end.
  bool request_complete() const { return state_ == State::kWaiting; }
  bool keep_alive_wanted() const { return keep_alive_ && !owner_.draining(); }
  uint8_t version_minor() const { return version_minor_; }

  // Answers `error` without waiting for a request, and ends. REQUIRES: nothing was read yet.
  void reject(const Error& error) { refuse(error); }
  // The process is draining: closes at once if no request has begun.
  void drain();
  // Whether a request is being read, and whether one awaits its answer or an answer its way out.
  bool reading() const { return state_ == State::kHead || state_ == State::kBody; }
  // Whether a part of the current answer was written.
  bool answering() const { return answering_; }
  bool busy() const;
  Surface surface() const { return surface_; }
  std::string peer() const { return stream_ ? stream_->peer() : "-"; }
  // When the first byte of the current request and the end of its head were read; before the
  // first request, when the connection was accepted.
  Instant request_began() const { return began_; }
  Instant head_read() const { return head_read_; }
  // Whatever the owner wants to find its state for the current request by.
  uint64_t tag = 0;

 private:
  enum class State {
    kIdle,       // between requests
    kHead,       // a request's first byte was read
    kBody,       // its head is complete
    kStream,     // on_stream() was called, its body is still coming
    kWaiting,    // on_request() was called, or on_stream_end()
    kTunnel,     // bytes go by unread
    kLingering,  // the last answer is out; reading and dropping until FIN or a time
    kClosed,
  };

  void on_bytes(std::string_view bytes) override;
  void on_end() override;
  void on_drained() override;
  void on_broken() override;

  void process(std::string_view bytes);
  bool handle_head();
  bool handle_body();
  Error body_too_large() const;
  bool awaits_answer() const {
    return state_ == State::kStream || state_ == State::kWaiting || state_ == State::kTunnel;
  }
  void refuse(const Error& error);
  void finish_request();
  void send(const Response& response, bool keep_alive);
  void after_answer(bool keep_alive);
  void go_on();
  void on_timer();
  void arm(Duration wait);
  void close();
  bool hold(size_t bytes);
  void count(size_t bytes);
  void release_all();

  Loop& loop_;
  ConnectionOwner& owner_;
  const ConnectionLimits& limits_;
  const Surface surface_;
  State state_ = State::kIdle;
  bool ended_ = false;       // FIN was read
  bool keep_alive_ = true;   // after the current request
  bool head_only_ = false;   // the current request is HEAD
  bool paused_ = false;      // reading is off
  bool processing_ = false;  // process() is on the stack
  bool streaming_ = false;   // the current request is streamed
  bool answering_ = false;   // begin_answer() was called for it
  uint8_t version_minor_ = 1;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<RequestParser> parser_;  // only while a request is being read
  std::unique_ptr<Timer> timer_;
  RequestHead head_;
  std::string body_;
  std::string pending_;  // bytes read while waiting: pipelined requests
  size_t held_ = 0;      // of hold_bytes(): body and answer
  Instant responded_;
  Instant began_;
  Instant head_read_;
};

}  // namespace sluice
