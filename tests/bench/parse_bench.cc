// SPDX-License-Identifier: Apache-2.0
// What reading one small embeddings request costs: CPU time of head, body and JSON, per request.
// Prints one line per measurement; the least of several rounds, as the others measure neighbours.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>

#include "base/http1.h"
#include "base/json.h"

namespace sluice {
namespace {

double cpu_ns() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Calls `run` often and prints the CPU time of one call.
template <typename Run>
void measure(const char* name, int calls, Run run) {
  double least = 1e18;
  for (int round = 0; round < 15; ++round) {
    const double begin = cpu_ns();
    for (int i = 0; i < calls; ++i) run();
    least = std::min(least, (cpu_ns() - begin) / calls);
  }
  std::printf("%-28s %10.0f ns\n", name, least);
}

const std::string kBody =
    R"({"input":"The quick brown fox jumps over the lazy dog.","model":"all-MiniLM-L6-v2"})";
const std::string kRequest =
    "POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    "Authorization: Bearer sk-0123456789abcdef\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"
    "Content-Length: " +
    std::to_string(kBody.size()) + "\r\n\r\n" + kBody;

// Reads `stream` to its end and returns the number of body bytes.
size_t read_all(RequestParser& parser, std::string_view stream) {
  size_t body_bytes = 0;
  for (;;) {
    size_t used = 0;
    const HttpEvent event = parser.feed(stream, used);
    stream.remove_prefix(used);
    if (event == HttpEvent::kBody) body_bytes += parser.body().size();
    if (event == HttpEvent::kNeedMore || event == HttpEvent::kError) return body_bytes;
  }
}

}  // namespace
}  // namespace sluice

int main() {
  using namespace sluice;
  std::printf("request of %zu bytes, body of %zu bytes\n", kRequest.size(), kBody.size());
  RequestParser parser(HttpLimits{});
  measure("feed, whole", 20'000, [&] { ASSERT(read_all(parser, kRequest) == kBody.size()); });
  const std::string_view request = kRequest;
  measure("feed, in two pieces", 20'000, [&] {
    read_all(parser, request.substr(0, 100));
    ASSERT(read_all(parser, request.substr(100)) == kBody.size());
  });
  const Slice small = Slice::copy_of(kBody);
  measure("parse_json", 20'000, [&] { ASSERT(parse_json(small).ok()); });
  measure("parse_json and two members", 20'000, [&] {
    const JsonView root = parse_json(small).value();
    ASSERT(root.member("input")->text().size() == 44 && root.member("model").has_value());
  });
  std::string tokens = "{\"input\":[";
  for (int i = 0; i < 2000; ++i) tokens += "[101,7592,2088,1010,2129,2024,2017,102],";
  tokens.back() = ']';
  const Slice large = Slice::copy_of(tokens + "}");
  std::printf("token arrays of %zu bytes\n", large.size());
  measure("parse_json, token arrays", 100, [&] { ASSERT(parse_json(large).ok()); });
  return 0;
}
