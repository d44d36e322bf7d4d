// SPDX-License-Identifier: Apache-2.0
#pragma once
// Dialer: a connected stream to an upstream, from a URL: its name resolved (answers are cached),
// its addresses tried one after another, TLS on top where the scheme asks for it. One per loop.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "base/time.h"
#include "base/tls.h"

namespace sluice {

// What a base URL says: scheme://host[:port][/prefix].
struct Origin {
  bool tls = false;
  std::string host;  // a name or an address literal, without brackets
  uint16_t port = 80;
  std::string prefix;     // put before each path: "" or "/a/b", never ending in '/'
  std::string authority;  // for Host: as in the URL, without a default port
};

// Reads an http or https URL. kInvalid, with the reason, for anything else, and for user
// information, a query or a fragment.
Result<Origin> parse_origin(std::string_view url);

// Makes connections for one loop. Dials must be over or cancelled before it is destroyed.
class Dialer {
 public:
  // What is kept, and how long an address is tried.
  struct Options {
    Duration resolved_for = seconds(30);        // how long an answer is believed
    size_t names_max = 256;                     // that are cached
    Duration attempt_max = milliseconds(2000);  // for one of several addresses
  };
  // `loop` outlives it.
  static std::unique_ptr<Dialer> make(Loop& loop, Options options);
  virtual ~Dialer() = default;
  // Names that were asked for so far, because none was cached.
  virtual uint64_t lookups() const { return 0; }

  // Connects to `origin` within `timeout` (zero: as long as it takes), name, TCP and TLS together,
  // then calls `done` once, never inside this call. `tls` is used if origin.tls, and outlives the
  // dial. kUpstream with the reason on failure, kTimeout if the time ran out. Destroying what is
  // returned cancels.
  virtual std::unique_ptr<Pending> dial(
      const Origin& origin, TlsContext* tls, Duration timeout,
      std::function<void(Result<std::unique_ptr<Stream>>)> done) = 0;
};

}  // namespace sluice
