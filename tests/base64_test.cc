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

TEST_CASE("what base64 says is read back, and what it cannot say is told") {
  for (const char* bytes : {"", "f", "fo", "foo", "\xff\xfe\xfd\x01"}) {
    const std::string text = encoded(bytes);
    CHECK(base64_size(text) == std::string_view(bytes).size());
    std::string back = "<";
    append_from_base64(back, text);
    CHECK(back == "<" + std::string(bytes));
  }
  for (const char* wrong : {"A", "AAA", "AAAAA", "AA A", "AA-_", "A===", "====", "AA=A", "AAA=AAAA",
                            "AA\\n", "AA\xc3\xa9"})
    CHECK(!base64_size(wrong));
  // Every character that is not of the alphabet, in every place.
  for (int c = 0; c < 256; ++c) {
    const char byte = static_cast<char>(c);
    const bool known = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                       (byte >= '0' && byte <= '9') || byte == '+' || byte == '/';
    std::string text(48, 'A');
    text[17] = byte;
    CHECK(base64_size(text).has_value() == known);
  }
}

}  // namespace
}  // namespace sluice
