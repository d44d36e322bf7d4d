// SPDX-License-Identifier: Apache-2.0
#pragma once
// HttpPool and HttpExchange: requests to one upstream, over kept-alive connections of one loop.
// Merged calls and pass-through both use it. It knows neither models nor batches. Everything
// belongs to the loop's thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dial.h"
#include "base/http1_response.h"
#include "base/loop.h"
#include "base/time.h"

namespace sluice {

// How many connections are kept, and how long.
struct PoolLimits {
  size_t connections_max = 4096;  // open at a time, idle ones included; beyond: exchanges wait
  size_t idle_max = 64;
  Duration idle_timeout = seconds(50);  // shorter than common servers' own, so that they rarely win
  Duration age_max = seconds(600);      // after this a connection is not used again
};

// How long an upstream may take. Zero: for ever.
struct HttpTimeouts {
  Duration connect = seconds(5);  // name, TCP and TLS together
  // The end of the request, or the last of its bytes that the upstream took, to the response's
  // head; and the wait for one of connections_max to get free.
  Duration first_byte = seconds(600);
  // Between two bytes, either way, once the head is there. While reading is stopped only bytes that
  // the upstream does not take count.
  Duration idle = seconds(600);
  Duration total = {};  // the whole exchange
};

// What went wrong with an exchange.
struct HttpFailure {
  // How far the exchange had come.
  enum class Kind {
    kConnect,   // no connection could be made; nothing was sent
    kReset,     // the connection ended before any byte of the response
    kCut,       // it ended, or broke HTTP, in the middle of the response
    kTimeout,   // one of HttpTimeouts; `connect` is kConnect instead
    kTooLarge,  // the response is larger than it may be
  };
  Kind kind = Kind::kConnect;
  bool sent = false;  // whether any byte of the request may have reached the upstream
  Error error;        // kUpstream or kTimeout, with the reason, for people
};

// What an exchange tells. Never called from inside a call to the exchange or the pool. After
// on_end, on_failed or on_switched comes nothing. The exchange may be destroyed in any of them, and
// in any other; the pool, too, once its exchanges are gone.
class HttpExchangeEvents {
 public:
  virtual ~HttpExchangeEvents() = default;
  // The request's first bytes are on their way on a connection.
  virtual void on_started() {}
  virtual void on_interim(UpstreamHead&) {}  // 1xx but 100 and 101
  // 100 Continue, once, where the request had Expect and is not complete: the body may go, if it
  // was held back. An upstream may answer without it, or wait for the body without a word.
  virtual void on_continue() {}
  virtual void on_head(UpstreamHead& head) = 0;
  virtual void on_body(std::string_view bytes) = 0;
  virtual void on_end(std::span<const Header> trailers) = 0;
  // 101: the connection is the caller's, who sets the stream's events in here; `rest` came after
  // the head. A request without Upgrade that gets one has failed.
  virtual void on_switched(UpstreamHead& head, std::unique_ptr<Stream> stream,
                           std::string_view rest) = 0;
  // All bytes given so far were handed to the system.
  virtual void on_drained() {}
  virtual void on_failed(const HttpFailure& failure) = 0;
};

// One request and its response. Destroying it before its end closes its connection (the only way
// HTTP/1.1 has to abort); after its end the connection goes back to the pool.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  // More of the body, as the head's framing wants it (the caller writes chunk frames).
  virtual void write(std::span<const Slice> parts) = 0;
  // The request is complete. An exchange whose response ends first is over all the same, and its
  // connection is not used again.
  virtual void finish() = 0;
  virtual size_t unsent_bytes() const = 0;
  // Stops and resumes on_body.
  virtual void read(bool wanted) = 0;
};

// A request's head, and what is already there of its body.
struct HttpRequest {
  std::string method;
  std::string target;
  // All of them, `Host` and framing included, in order. Views must live until on_started or
  // on_failed.
  std::vector<Header> headers;
  std::vector<Slice> body;
  bool complete = true;     // the body is whole; else write() and finish() follow
  bool retry_reset = true;  // reset before any byte on a reused connection: once more, on a new one
                            // (needs `complete`); without it only if no byte was sent
};

// Why a connection of a pool is no more.
enum class Closing : uint8_t {
  kIdle,      // nobody needed it for so long, or more were idle than may be
  kAge,       // it was old enough
  kUpstream,  // the upstream closed it between two exchanges
  kAnswer,    // the last answer said so, or came before its request was sent
  kFailed,    // the exchange on it broke, or took too long
  kAborted,   // nobody wanted the answer any more
  kSwitched,  // it speaks another protocol now, and is not the pool's
};
inline constexpr size_t kClosings = 7;
inline constexpr size_t kAnswerClasses = 6;

// The connections to one upstream, of one loop.
class HttpPool {
 public:
  // Where to, and within which limits.
  struct Options {
    Origin origin;
    TlsContext* tls = nullptr;  // for an https origin
    PoolLimits limits;
    HttpTimeouts timeouts;
    HttpResponseLimits response;
  };
  // `loop` and `dialer` outlive the pool; exchanges must be gone before it.
  static std::unique_ptr<HttpPool> make(Loop& loop, Dialer& dialer, Options options);
  virtual ~HttpPool() = default;
  // Starts an exchange on an idle connection, a new one, or, where connections_max are busy, the
  // first that gets free. `events` outlive the exchange.
  virtual std::unique_ptr<HttpExchange> start(HttpRequest request, HttpExchangeEvents& events) = 0;

  // What has happened so far, and what there is now.
  struct Stats {
    uint64_t opened = 0;                    // connections made
    uint64_t failed = 0;                    // connections that could not be made
    uint64_t reused = 0;                    // exchanges on kept connections
    uint64_t closed[kClosings] = {};        // connections by Closing
    uint64_t answers[kAnswerClasses] = {};  // heads of answers by the first digit of their status
    size_t open = 0;                        // connections and dials
    size_t idle = 0;                        // of these
    friend bool operator==(const Stats&, const Stats&) = default;
  };
  virtual Stats stats() const = 0;
};

}  // namespace sluice
