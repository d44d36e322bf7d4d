// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a load: connections on one epoll, one thread. A connection carries one request at a time.
//
// Closed loop: every connection sends its next request when the last one is answered. Open loop:
// requests fall due at times that do not depend on the server, any idle connection takes the
// oldest one due, and its latency counts from when it fell due; so a server that stalls is charged
// for all the requests that the stall delayed, and not only for those it had in hand.

#include "base/result.h"
#include "tests/bench/load_options.h"
#include "tests/bench/load_stats.h"

namespace sluice::load {

// Runs the whole load, warm-up included. Requests that fail are part of the report; an Error is
// only what makes a run meaningless (no connection can be made, a process in --pid is not there).
Result<Report> run_load(const Options& options);

// Opens options.keep_idle connections, gets one answer on each, then holds them for
// options.duration and reads the server's memory: before the first, and after holding the last.
Result<Report> run_keep_idle(const Options& options);

}  // namespace sluice::load
