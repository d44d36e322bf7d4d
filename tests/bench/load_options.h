// SPDX-License-Identifier: Apache-2.0
#pragma once
// Options of the load generator: the command line, read into values.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace sluice::load {

struct Options {
  std::string host;  // an IPv4 address
  uint16_t port = 80;
  std::string path = "/";
  std::string method;                // GET without a body, POST with one, unless --method says
  std::vector<std::string> headers;  // "name: value", added to each request
  std::vector<std::string> bodies;   // sent in turn; at least one, which may be empty
  size_t connections = 1;
  double rate = 0.0;               // requests per second, open loop; 0 is the closed loop
  bool poisson = true;             // spacing of the open loop; else uniform
  uint64_t seed = 1;               // of the Poisson spacing
  Duration duration;               // of the window; 0 where `requests` bounds the run
  uint64_t requests = 0;           // measured requests; 0 where `duration` bounds the run
  Duration warmup;                 // load before the window opens
  Duration timeout = seconds(60);  // an answer that takes longer is a failure
  size_t keep_idle = 0;            // hold this many idle connections instead of sending a load
  std::vector<pid_t> pids;         // the server's processes, whose CPU time and memory are read
  bool json = false;
};

// Text of --help.
std::string_view usage_text();
// Reads the arguments behind the program's name; an Error's message says what is wrong with them.
Result<Options> parse_options(const std::vector<std::string>& arguments);
// The bytes of each request, one per body, ready to send.
std::vector<std::string> write_requests(const Options& options);

}  // namespace sluice::load
