// SPDX-License-Identifier: Apache-2.0
// A stream must be read the same in whatever pieces it arrives, and never again after an error.

#include <algorithm>

#include "base/assert.h"
#include "base/prng.h"
#include "tests/http1_events.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  // The first byte chooses small limits or the defaults, and seeds the pieces.
  if (size == 0) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data + 1), size - 1);
  HttpLimits limits;
  if (data[0] % 2 == 0) {
    limits = {
        .line_bytes_max = 40, .headers_max = 6, .headers_bytes_max = 200, .body_bytes_max = 30};
  }
  const std::string whole = event_log(stream, limits);
  ASSERT(whole.find('!') == whole.npos || stream.find('!') != stream.npos);
  const std::string bytewise = event_log(stream, [](size_t) { return size_t{1}; }, limits);
  ASSERT(whole == bytewise);
  Prng prng(data[0]);
  const auto random_size = [&](size_t left) {
    return std::min(left, static_cast<size_t>(prng.between(1, 24)));
  };
  ASSERT(whole == event_log(stream, random_size, limits));
  return 0;
}
