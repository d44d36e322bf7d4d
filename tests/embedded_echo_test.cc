// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "backends/embedded_model.h"
#include "backends/engine_echo.h"

namespace sluice {
namespace {

CallKey key(Operation operation, std::vector<std::pair<std::string, std::string>> params = {}) {
  CallKey key;
  key.operation = operation;
  key.params = std::move(params);
  return key;
}

std::vector<Row> rows(const std::vector<std::string>& wires) {
  std::vector<Row> rows;
  for (const std::string& wire : wires)
    rows.push_back({.payload = {}, .wire = Slice::copy_of(wire)});
  return rows;
}

// The engine's output for a row.
Slice echoed(std::string_view bytes) {
  const std::array<float, 8> vector = echo_vector(bytes);
  return Slice::copy_of({reinterpret_cast<const char*>(vector.data()), sizeof vector});
}

std::vector<float> numbers(const Output& output) {
  std::vector<float> values(output.bytes.size() / sizeof(float));
  std::memcpy(values.data(), output.bytes.data(), output.bytes.size());
  return values;
}

using namespace std::string_view_literals;

}  // namespace

TEST_CASE("echo's rows are the bytes of texts, pairs joined by a zero byte") {
  const EmbeddedEcho echo;
  std::vector<Row> texts = rows({R"("ab")", "[1,256]"});
  const Result<Prepared> prepared = echo.prepare(key(Operation::kEmbed), texts);
  REQUIRE(prepared.ok());
  CHECK(prepared.value().tokens == 10);
  CHECK(texts[0].payload.view() == "ab");
  CHECK(texts[1].payload.view() == "\1\0\0\0\0\1\0\0"sv);
  CHECK(texts[0].tokens == 0);
  std::vector<Row> documents = rows({R"("d\u00e9")", R"({"text":""})"});
  REQUIRE(echo.prepare(key(Operation::kRerank, {{"query", R"("q")"}}), documents).ok());
  CHECK(documents[0].payload.view() == "q\0d\xc3\xa9"sv);
  CHECK(documents[1].payload.view() == "q\0"sv);
  std::vector<Row> pairs = rows({R"("a")", R"(["a","b"])"});
  REQUIRE(echo.prepare(key(Operation::kClassify), pairs).ok());
  CHECK(pairs[1].payload.view() == "a\0b"sv);
}

TEST_CASE("echo's scores are the documented functions of its vector") {
  const EmbeddedEcho echo;
  const auto logit = [](std::string_view bytes, size_t i) {
    return 16.0 * static_cast<double>(echo_vector(bytes)[i]) - 8.0;
  };
  const std::vector<Slice> outputs = {echoed("q\0d"sv), echoed("x")};
  const auto query = std::pair<std::string, std::string>{"query", R"("q")"};
  const auto raw =
      echo.finish(key(Operation::kRerank, {query, {"raw_scores", "true"}}), outputs).value();
  CHECK(numbers(raw[0]) == std::vector<float>{static_cast<float>(logit("q\0d"sv, 0))});
  const auto scores = echo.finish(key(Operation::kRerank, {query}), outputs).value();
  CHECK(numbers(scores[1])[0] == doctest::Approx(1.0 / (1.0 + std::exp(-logit("x", 0)))));
  REQUIRE(echo.labels().size() == 2);
  const std::vector<float> classes =
      numbers(echo.finish(key(Operation::kClassify), outputs).value()[1]);
  REQUIRE(classes.size() == 2);
  CHECK(classes[0] == doctest::Approx(1.0 / (1.0 + std::exp(logit("x", 1) - logit("x", 0)))));
  CHECK(classes[0] + classes[1] == doctest::Approx(1.0));
  const auto vectors = echo.finish(key(Operation::kEmbed), outputs).value();
  CHECK(vectors[0].bytes.view() == outputs[0].view());
  CHECK(!echo.finish(key(Operation::kEmbed), std::vector{Slice::copy_of("short")}).ok());
}

TEST_CASE("echo refuses what it is not given rightly, and fills nothing in") {
  const EmbeddedEcho echo;
  const struct {
    CallKey key;
    std::string wire;
    std::string param;
  } cases[] = {
      {key(Operation::kEmbed), "[-1]", "input"},
      {key(Operation::kEmbed), "{}", "input"},
      {key(Operation::kEmbed, {{"dimensions", "9"}}), R"("a")", "dimensions"},
      {key(Operation::kEmbed, {{"prompt_name", R"("p")"}}), R"("a")", "prompt_name"},
      {key(Operation::kRerank), R"("a")", "query"},
      {key(Operation::kRerank, {{"query", R"("q")"}}), "3", "documents"},
      {key(Operation::kClassify), R"(["a"])", "input"},
      {key(Operation::kPredict), R"("a")", "model"},
  };
  for (const auto& [asked, wire, param] : cases) {
    CAPTURE(param);
    std::vector<Row> given = rows({R"("good")", wire});
    const Result<Prepared> prepared = echo.prepare(asked, given);
    REQUIRE(!prepared.ok());
    CHECK(prepared.error().code == Code::kInvalid);
    CHECK(prepared.error().param == param);
    CHECK(given[0].payload.empty());
  }
}

}  // namespace sluice
