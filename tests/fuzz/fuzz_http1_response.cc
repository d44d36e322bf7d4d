// SPDX-License-Identifier: Apache-2.0
// Responses must be read the same in whatever pieces they arrive; what is read never exceeds what
// came, and where two responses are told apart, the first alone reads the same.

#include <algorithm>

#include "base/assert.h"
#include "base/prng.h"
#include "tests/http1_response_events.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  // The first byte chooses small limits or the defaults, what was asked, and seeds the pieces.
  if (size == 0) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data + 1), size - 1);
  HttpResponseLimits limits;
  if (data[0] % 2 == 0) limits = {.head_bytes_max = 200, .headers_max = 6, .body_bytes_max = 30};
  static constexpr std::string_view kMethods[] = {"GET GET GET", "HEAD GET HEAD", "POST HEAD", ""};
  const std::string_view methods = kMethods[data[0] / 2 % 4];
  const std::string whole = response_log(methods, stream, limits);
  const std::string bytewise =
      response_log(methods, stream, [](size_t) { return size_t{1}; }, limits);
  ASSERT(whole == bytewise);
  Prng prng(data[0]);
  const auto random_size = [&](size_t left) {
    return std::min(left, static_cast<size_t>(prng.between(1, 24)));
  };
  ASSERT(whole == response_log(methods, stream, random_size, limits));
  return 0;
}
