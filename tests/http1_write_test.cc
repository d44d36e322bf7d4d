// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "base/http1.h"

namespace sluice {

using namespace std::literals;

TEST_CASE("a response's head says how it is framed, once") {
  const auto written = [](const ResponseHead& head, const ResponseFraming& framing) {
    std::string out;
    write_response_head(out, head, framing);
    return out;
  };
  CHECK(written({200, {{"Content-Type", "text/plain"}}}, {.content_length = 5, .date = "now"}) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: now\r\nContent-Length: 5\r\n\r\n");
  CHECK(written({400, {}}, {.keep_alive = false}) ==
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  CHECK(written({200, {}}, {.version_minor = 0}) ==
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(written({204, {}}, {}) == "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(written({304, {}}, {}) == "HTTP/1.1 304 Not Modified\r\n\r\n");
  CHECK(written({100, {}}, {.keep_alive = false}) == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(written({200,
                 {{"A", "x\r\nB: y"},
                  {"C", "\0"s},
                  {"D\n", "x"},
                  {"E F", "x"},
                  {"", "x"},
                  {"content-length", "9"},
                  {"Transfer-Encoding", "chunked"},
                  {"connection", "close"},
                  {"G", "ok"}}},
                {}) == "HTTP/1.1 200 OK\r\nG: ok\r\nContent-Length: 0\r\n\r\n");
}

}  // namespace sluice
