// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a load run has found: latencies, answers by status, failures by kind, and what the server's
// processes used meanwhile.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace sluice::load {

// CPU time and memory of a set of processes.
struct Usage {
  Duration cpu;            // user and system time of all threads, those that have ended included
  uint64_t rss_bytes = 0;  // resident set
};

// Adds up the processes `pids`; nothing where one of them cannot be read. The kernel counts CPU
// time in ticks of 10 ms, so measure over seconds.
std::optional<Usage> read_usage(const std::vector<pid_t>& pids);

struct Report {
  std::vector<int64_t> latencies_ns;  // one per answered, measured request
  std::map<int, uint64_t> by_status;  // measured requests
  // By cause: measured requests without an answer, and connections that could not be made or that
  // broke while idle.
  std::map<std::string, uint64_t> failures;
  uint64_t body_bytes = 0;          // of the measured answers
  uint64_t answered_in_window = 0;  // answers that came while the window was open
  Duration window;                  // from the end of the warm-up to the end of the load
  std::optional<Usage> before;      // the server when the window opened ...
  std::optional<Usage> after;       // ... and when it closed
  uint64_t idle_connections = 0;    // --keep-idle: connections that were open at once

  uint64_t failed() const;
};

// The smallest latency that at least the fraction `q` of the samples do not exceed, in ns; 0 where
// there is no sample. REQUIRES `sorted` ascending and 0 < q <= 1.
int64_t percentile(const std::vector<int64_t>& sorted, double q);

// The report for people, several lines. Sorts the latencies.
std::string to_text(Report& report);
// The report for programs, one JSON object on one line. Sorts the latencies.
std::string to_json(Report& report);

}  // namespace sluice::load
