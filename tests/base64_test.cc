// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

std::string encoded(std::string_view bytes) {
  std::string out = "<";
  append_base64(out, bytes);
  return out.substr(1);
}

TEST_CASE("base64 gives the vectors of RFC 4648 section 10") {
  CHECK(encoded("") == "");
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foob") == "Zm9vYg==");
  CHECK(encoded("fooba") == "Zm9vYmE=");
  CHECK(encoded("foobar") == "Zm9vYmFy");
}

TEST_CASE("base64 takes bytes with the high bit") {
  CHECK(encoded("\xff\xfe\xfd") == "//79");
  CHECK(encoded(std::string_view("\0\x80", 2)) == "AIA=");
}

}  // namespace
}  // namespace sluice
