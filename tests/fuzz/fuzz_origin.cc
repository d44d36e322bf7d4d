// SPDX-License-Identifier: Apache-2.0
// Base URLs: any text is read without a crash; what is refused has a reason; what is taken can
// stand in a request, and says the same when it is written down and read again.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backends/dial.h"
#include "base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const std::string_view url(reinterpret_cast<const char*>(data), size);
  const Result<Origin> read = parse_origin(url);
  if (!read.ok()) {
    ASSERT(read.error().code == Code::kInvalid && !read.error().message.empty());
    return 0;
  }
  const Origin& origin = read.value();
  const auto visible = [](std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
  };
  ASSERT(!origin.host.empty() && origin.port > 0);
  ASSERT(visible(origin.host) && visible(origin.authority) && visible(origin.prefix));
  ASSERT(origin.host.find_first_of("[]/?#@") == std::string::npos);
  ASSERT(origin.authority.find_first_of("/?#@") == std::string::npos);
  ASSERT(origin.prefix.find_first_of("?#") == std::string::npos);
  ASSERT(origin.prefix.empty() || (origin.prefix.front() == '/' && origin.prefix.back() != '/'));

  const std::string written =
      (origin.tls ? "https://" : "http://") + origin.authority + origin.prefix;
  const Result<Origin> again = parse_origin(written);
  ASSERT(again.ok());
  ASSERT(again.value().tls == origin.tls && again.value().host == origin.host);
  ASSERT(again.value().port == origin.port && again.value().prefix == origin.prefix);
  ASSERT(again.value().authority == origin.authority);
  return 0;
}
