// SPDX-License-Identifier: Apache-2.0
#pragma once
// Calls: merged calls to HTTP endpoints, run on one loop. A call is written by its backend's codec,
// sent over the backend's pool, and its answer read back into one outcome per row, or into the kind
// of failure it was. It decides nothing: whether to try again is the core's business.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "backends/dialect.h"
#include "backends/http_client.h"
#include "base/loop.h"
#include "batcher/row.h"

namespace sluice {

// Where the calls of one backend go. Immutable; shared by all loops.
struct CallTarget {
  std::string name;  // for messages
  Origin origin;
  const Dialect* dialect = nullptr;
  // Set on every call, in place of the key's headers of the same names.
  std::vector<std::pair<std::string, std::string>> headers;
};

// How a call of `key` is spelled for an endpoint of `dialect`: by the codec whose path the client
// used, if the dialect has it, else by the dialect's own for the operation. kInvalid if there is
// none, or if the request has a field that only another codec knows.
Result<const Codec*> choose_codec(const Dialect& dialect, const CallKey& key);

// What kind of failure an HTTP status is. REQUIRES: not 2xx
Failure failure_of_status(int status);

// Seconds, or an HTTP date seen at `unix_seconds`, as Retry-After gives them; zero if neither.
Duration parse_retry_after(std::string_view value, int64_t unix_seconds);

// The calls of one loop, whatever their backends. See above.
class Calls {
 public:
  // CallStarted and CallDone; called on the loop's thread, never inside start().
  using Sink = std::function<void(Event)>;
  // `account` has the bytes of answers, from when they are read to when their last slice goes; a
  // call whose answer finds no room there fails for good. All outlive the Calls.
  Calls(Loop& loop, Sink sink, ByteAccount& account);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // Begins `call` at `target` over `pool`; both outlive the call. Exactly one CallDone follows.
  void start(StartCall call, const CallTarget& target, HttpPool& pool);
  // Ends a call that nobody waits for; its CallDone comes all the same. Unknown ones are ignored.
  void abort(CallId call);
  // Calls that have not ended.
  size_t running() const { return running_.size(); }

 private:
  class Running;
  void end(CallId call, CallDone done);

  Loop& loop_;
  const Sink sink_;
  ByteAccount& account_;
  std::unordered_map<CallId, std::unique_ptr<Running>> running_;
};

}  // namespace sluice
