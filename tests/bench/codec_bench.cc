// SPDX-License-Identifier: Apache-2.0
// What the OpenAI codec costs a request that shares its call with others: CPU time of reading the
// request, its share of writing the call and reading the answer, and writing the response. Prints
// one line per form of vectors; the least of several rounds, as the others measure neighbours.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "backends/dialect_openai.h"
#include "backends/vector_text.h"
#include "base/prng.h"

namespace sluice {
namespace {

constexpr size_t kRequests = 32;  // of one row each, in one call
constexpr size_t kWidth = 384;

double cpu_ns() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// The CPU time of `run` per request.
template <typename Run>
double measure(Run run) {
  double least = 1e18;
  for (int round = 0; round < 200; ++round) {
    const double begin = cpu_ns();
    run();
    least = std::min(least, (cpu_ns() - begin) / kRequests);
  }
  return least;
}

Slice request_body(bool base64) {
  std::string body = R"({"model":"all-MiniLM-L6-v2","encoding_format":")";
  body += base64 ? "base64" : "float";
  body += R"(","input":")";
  while (body.size() < 298) body += "words and ";
  return Slice::copy_of(body + "\"}");
}

Slice answer_body(bool base64) {
  Prng prng(1);
  std::string body = R"({"object":"list","data":[)";
  for (size_t i = 0; i < kRequests; ++i) {
    std::vector<float> vector(kWidth);
    for (float& x : vector) x = static_cast<float>(prng.unit() / 5 - 0.1);
    body += i > 0 ? "," : "";
    body += R"({"object":"embedding","index":)" + std::to_string(i) + R"(,"embedding":)";
    codec::append_vector(body, vector, {.base64 = base64});
    body += '}';
  }
  return Slice::copy_of(body +
                        R"(],"model":"m","usage":{"prompt_tokens":999,"total_tokens":999}})");
}

void bench(bool base64) {
  const Codec& codec = openai::embeddings_codec();
  RequestHead head;
  head.target = "/v1/embeddings";
  const Slice body = request_body(base64);
  const Slice answer = answer_body(base64);
  const Asked asked = codec.read_request(head, body).value();
  std::vector<CallRow> rows;
  for (size_t i = 0; i < kRequests; ++i)
    rows.push_back({i, 0, {}, asked.rows[0].wire, asked.rows[0].flags});
  const std::vector<Outcome> outcomes = codec.read_call(asked.key, rows, {{}, answer}).value();
  const double read = measure([&] {
    for (size_t i = 0; i < kRequests; ++i) ASSERT(codec.read_request(head, body).ok());
  });
  const double key = measure([&] {
    for (size_t i = 0; i < kRequests; ++i) ASSERT(!asked.key.encode().empty());
  });
  const double call = measure([&] { ASSERT(codec.write_call(asked.key, rows).ok()); });
  const double split =
      measure([&] { ASSERT(codec.read_call(asked.key, rows, {{}, answer}).ok()); });
  const double write = measure([&] {
    for (const Outcome& outcome : outcomes)
      ASSERT(codec.write_response(asked, {{&outcome.value(), 1}, 9, {}}).ok());
  });
  std::printf(
      "%-8s %zu bytes in, %zu out: read_request %.0f ns, encode %.0f, write_call %.0f, "
      "read_call %.0f, write_response %.0f; together %.0f\n",
      base64 ? "base64" : "decimals", body.size(), answer.size() / kRequests, read, key, call,
      split, write, read + key + call + split + write);
}

}  // namespace
}  // namespace sluice

int main() {
  sluice::bench(true);
  sluice::bench(false);
  return 0;
}
