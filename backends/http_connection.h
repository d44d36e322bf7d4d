// SPDX-License-Identifier: Apache-2.0
#pragma once
// HttpConnection: one connection to an upstream: its stream, the parser of what comes, and the one
// timer that watches over all its time limits. It serves one exchange at a time, which owns it
// meanwhile; between exchanges the pool does.
//
// The timer is lazy: it is set forward only. When it fires early because a deadline has moved back,
// as deadlines do with every byte and every exchange, it looks and sets itself again. So an
// exchange costs no work on timers at all, but for the first on its connection.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backends/http_client.h"
#include "base/http1_response.h"
#include "base/loop.h"

namespace sluice {

class Exchange;
class Pool;

class HttpConnection final : public StreamEvents {
 public:
  // Takes over `stream`, which was just connected; `pool` outlives it.
  HttpConnection(Pool& pool, std::unique_ptr<Stream> stream);
  ~HttpConnection() override;

  // `exchange` has it now. REQUIRES: it serves none.
  void begin(Exchange& exchange, std::string_view method);
  // Sends more of the request.
  void write(std::span<const Slice> parts);
  // The request is complete: the time to the first byte runs.
  void finish();
  // Stops and resumes what it tells of the response.
  void read(bool wanted);
  // It is idle now and belongs to the pool.
  void rest();

  size_t unsent_bytes() const { return stream_ ? stream_->unsent_bytes() : 0; }
  // Whether the system took any byte of the current request.
  bool sent() const { return written_ > unsent_bytes(); }
  // Whether a byte of the current response was read.
  bool begun() const { return parser_.begun(); }
  // Whether it has served an exchange before the current one.
  bool reused() const { return exchanges_ > 1; }
  // Whether nothing on the wire speaks against another exchange.
  bool clean() const { return keep_alive_ && !surplus_ && !fin_ && stream_ && unsent_bytes() == 0; }
  Instant born() const { return born_; }
  std::span<const Header> trailers() const { return parser_.trailers(); }

 private:
  void on_bytes(std::string_view bytes) override;
  void on_end() override;
  void on_drained() override;
  void on_broken() override;

  bool consume(std::string_view bytes);
  bool tell(ResponseEvent event, std::string_view rest);
  void switch_over(std::string_view rest);
  void fail();
  void lose();
  bool tell_started();
  void soon();
  void on_soon();
  Instant deadline() const;
  void watch();
  void on_timer();

  Pool& pool_;
  Exchange* exchange_ = nullptr;
  std::unique_ptr<Stream> stream_;
  ResponseParser parser_;
  std::unique_ptr<Timer> timer_;
  Instant armed_ = kNever;  // what the timer is set to
  // Fires at once: for what may be told only after a call has returned, which is rare.
  std::unique_ptr<Timer> soon_;
  const Instant born_;
  Instant activity_;      // the last byte, either way, or the last thing the exchange did
  bool* gone_ = nullptr;  // set by the destructor, for those on the stack
  uint64_t exchanges_ = 0;
  size_t written_ = 0;      // bytes of the current request
  size_t unsent_seen_ = 0;  // unsent_bytes() when it was last looked at
  bool started_told_ = false;
  bool complete_ = false;  // the request
  bool got_head_ = false;
  bool keep_alive_ = false;
  bool surplus_ = false;  // bytes came behind the response
  bool paused_ = false;
  bool stalled_ = false;  // paused in the middle of what came: `held_`, perhaps empty, and more
  bool fin_ = false;      // the upstream will send nothing more
  bool broken_ = false;
  std::string held_;
};

}  // namespace sluice
