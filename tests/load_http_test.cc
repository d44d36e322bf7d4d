// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load_http.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/bench/load_stats.h"

namespace sluice::load {
namespace {

// Feeds `text` in pieces of `piece` bytes and returns how many were taken.
size_t feed_in_pieces(ResponseReader& reader, std::string_view text, size_t piece) {
  size_t taken = 0;
  for (size_t at = 0; at < text.size(); at += piece) {
    taken += reader.feed(text.substr(at, piece));
  }
  return taken;
}

TEST_CASE("load generator: a response ends where its framing says, however it is cut") {
  struct Case {
    std::string text;
    uint64_t body_bytes;
    bool keeps_alive;
  };
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 5, true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 0, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n"
       "0\r\ntrailer: 1\r\n\r\n",
       15, true},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 2, true},
      {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2, false},
      {"HTTP/1.1 204 No Content\r\n\r\n", 0, true},
  };
  for (const Case& c : cases) {
    for (const size_t piece : {size_t{1}, size_t{3}, c.text.size()}) {
      CAPTURE(c.text);
      CAPTURE(piece);
      ResponseReader reader;
      reader.begin(false);
      CHECK(feed_in_pieces(reader, c.text, piece) == c.text.size());
      CHECK(reader.done());
      CHECK(reader.body_bytes() == c.body_bytes);
      CHECK(reader.keeps_alive() == c.keeps_alive);
      CHECK(reader.feed("HTTP/1.1 200 OK") == 0);
    }
  }
}

TEST_CASE("load generator: an answer to HEAD has no body, whatever its length says") {
  ResponseReader reader;
  reader.begin(true);
  const std::string_view text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  CHECK(reader.feed(text) == text.size());
  CHECK(reader.done());
}

TEST_CASE("load generator: without framing the body lasts until the stream ends") {
  ResponseReader reader;
  reader.begin(false);
  reader.feed("HTTP/1.1 200 OK\r\n\r\nabc");
  CHECK(!reader.done());
  reader.end_of_stream();
  CHECK(reader.done());
  CHECK(reader.body_bytes() == 3);
  CHECK(!reader.keeps_alive());
}

TEST_CASE("load generator: a malformed or unfinished response is no answer") {
  for (const std::string_view text :
       {"HTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    CAPTURE(text);
    ResponseReader reader;
    reader.begin(false);
    reader.feed(text);
    CHECK(reader.bad());
  }
  ResponseReader cut;
  cut.begin(false);
  cut.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
  cut.end_of_stream();
  CHECK(cut.bad());
}

TEST_CASE("load generator: a percentile is the smallest sample that enough samples do not exceed") {
  const std::vector<int64_t> ten{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  CHECK(percentile(ten, 0.5) == 5);
  CHECK(percentile(ten, 0.9) == 9);
  CHECK(percentile(ten, 0.99) == 10);
  CHECK(percentile(ten, 1.0) == 10);
  CHECK(percentile({7}, 0.001) == 7);
  CHECK(percentile({}, 0.5) == 0);
}

}  // namespace
}  // namespace sluice::load
