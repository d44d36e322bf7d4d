// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "base/http1.h"

namespace sluice {

using namespace std::literals;

TEST_CASE("a response's head says how it is framed, once") {
  const auto written = [](int status, const HeaderLines& headers, const ResponseFraming& framing) {
    std::string out;
    write_response_head(out, status, headers, framing);
    return out;
  };
  CHECK(written(200, {{"Content-Type", "text/plain"}}, {.content_length = 5, .date = "now"}) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: now\r\nContent-Length: 5\r\n\r\n");
  CHECK(written(400, {}, {.keep_alive = false}) ==
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  CHECK(written(200, {}, {.version_minor = 0}) ==
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(written(204, {}, {}) == "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(written(304, {}, {}) == "HTTP/1.1 304 Not Modified\r\n\r\n");
  CHECK(written(100, {}, {.keep_alive = false}) == "HTTP/1.1 100 Continue\r\n\r\n");
}

TEST_CASE("a header that would break the message is left out") {
  const HeaderLines lines = {{"A", "x\r\nB: y"},
                             {"C", "\0"s},
                             {"D\n", "x"},
                             {"E F", "x"},
                             {"", "x"},
                             {"content-length", "9"},
                             {"Transfer-Encoding", "chunked"},
                             {"connection", "close"},
                             {"DATE", "never"},
                             {"G", "ok"},
                             {"H", ""}};
  CHECK(lines.text() == "G: ok\r\nH: \r\n");
}

TEST_CASE("a header is found and replaced by its name in any case") {
  HeaderLines lines = {{"A", "1: 2"}, {"B", "3"}, {"a", "4"}, {"AB", ""}};
  CHECK(lines.find("a") == "1: 2");
  CHECK(lines.find("ab") == "");
  CHECK(!lines.find("c"));
  lines.set("a", "5");
  CHECK(lines.text() == "B: 3\r\nAB: \r\na: 5\r\n");
}

}  // namespace sluice
