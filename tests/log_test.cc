// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"

namespace sluice {
namespace {

// A log whose lines are kept and whose clock stands still until told otherwise.
struct Fixture {
  explicit Fixture(const LogOptions& options = {})
      : log(
            options, [this] { return now.load(); },
            [this](std::string_view line) { lines.emplace_back(line); }) {}

  // The line without its time, which is not ours to tell.
  std::string text(size_t index) const {
    const std::string& line = lines.at(index);
    return line.substr(line.find(' ') + 1);
  }

  std::atomic<Instant> now = Instant{};
  std::vector<std::string> lines;
  Log log;
};

LogOptions json() {
  LogOptions options;
  options.format = LogFormat::kJson;
  return options;
}

TEST_CASE("a text line is time, level, message and fields") {
  Fixture fixture;
  fixture.log.info("listening", {{"address", "127.0.0.1:80"},
                                 {"port", uint16_t{80}},
                                 {"delta", -3},
                                 {"share", 0.5},
                                 {"shared", true}});
  REQUIRE(fixture.lines.size() == 1);
  std::string time = fixture.lines[0].substr(0, fixture.lines[0].find(' '));
  std::ranges::replace_if(time, [](char c) { return c >= '0' && c <= '9'; }, '9');
  CHECK(time == "9999-99-99T99:99:99.999Z");
  CHECK(fixture.text(0) ==
        "info listening address=127.0.0.1:80 port=80 delta=-3 share=0.5 shared=true\n");
}

TEST_CASE("text that could be misread is quoted, so that a line stays one line") {
  Fixture fixture;
  fixture.log.warn("odd", {{"a", ""}, {"b", "x y"}, {"c", "k=v"}, {"d", "one\ntwo\"\x1b[1m"}});
  CHECK(fixture.text(0) == R"(warning odd a="" b="x y" c="k=v" d="one\ntwo\"\u001b[1m")"
                           "\n");
}

TEST_CASE("a JSON line is one valid object whatever the fields hold") {
  Fixture fixture(json());
  const std::string hostile = "q\" b\\ n\n t\t nul\x01 \xff \xc3\xa9 %v {} </script>";
  const double infinity = std::numeric_limits<double>::infinity();
  fixture.log.error("a \"message\"", {{"text", hostile},
                                      {"big", std::numeric_limits<uint64_t>::max()},
                                      {"ratio", 1.5},
                                      {"none", infinity},
                                      {"yes", true}});
  REQUIRE(fixture.lines.size() == 1);
  const Slice line = Slice::copy_of(fixture.lines[0]);
  CHECK(line.view().find('\n') == line.size() - 1);
  const auto root = parse_json(line.part(0, line.size() - 1));
  REQUIRE(root.ok());
  CHECK(root.value().member("time")->text().size() == 24);
  CHECK(root.value().member("level")->text() == "error");
  CHECK(root.value().member("message")->text() == "a \"message\"");
  CHECK(root.value().member("text")->text() ==
        "q\" b\\ n\n t\t nul\x01 \xef\xbf\xbd \xc3\xa9 %v {} </script>");
  CHECK(root.value().member("big")->raw() == "18446744073709551615");
  CHECK(root.value().member("ratio")->number() == 1.5);
  CHECK(root.value().member("none")->is(JsonType::kNull));
  CHECK(root.value().member("yes")->boolean());
}

TEST_CASE("lines below the level are dropped") {
  LogOptions options;
  options.level = LogLevel::kWarn;
  Fixture fixture(options);
  fixture.log.debug("d");
  fixture.log.info("i");
  fixture.log.warn("w");
  fixture.log.error("e");
  CHECK(fixture.lines.size() == 2);
  CHECK_FALSE(fixture.log.enabled(LogLevel::kInfo));
  CHECK(fixture.log.enabled(LogLevel::kWarn));
}

TEST_CASE("the same message is limited per second, others are not, and the count is told") {
  LogOptions options;
  options.same_per_second_max = 2;
  Fixture fixture(options);
  for (int i = 0; i < 7; ++i) fixture.log.warn("reset", {{"peer", i}});
  fixture.log.warn("other");
  REQUIRE(fixture.lines.size() == 3);
  CHECK(fixture.text(1) == "warning reset peer=1\n");
  CHECK(fixture.text(2) == "warning other\n");
  fixture.now = Instant{999'999'999};
  fixture.log.warn("reset");
  CHECK(fixture.lines.size() == 3);
  fixture.now = Instant{1'000'000'000};
  fixture.log.warn("reset");
  fixture.log.warn("reset");
  REQUIRE(fixture.lines.size() == 5);
  CHECK(fixture.text(3) == "warning reset suppressed=6\n");
  CHECK(fixture.text(4) == "warning reset\n");
}

TEST_CASE("the access log is off by default, and knows neither level nor limit") {
  const AccessLine line = {.peer = "127.0.0.1:5",
                           .method = "POST",
                           .target = "/v1/embeddings?a=\" b",
                           .request_id = "r1",
                           .status = 200,
                           .bytes_received = 300,
                           .bytes_sent = 4000,
                           .took = microseconds(1500)};
  Fixture off;
  off.log.access(line);
  CHECK(off.lines.empty());

  LogOptions options;
  options.access = true;
  options.level = LogLevel::kError;
  options.same_per_second_max = 1;
  Fixture on(options);
  on.log.access(line);
  on.log.access(line);
  REQUIRE(on.lines.size() == 2);
  CHECK(on.text(1) ==
        "info request peer=127.0.0.1:5 method=POST target=\"/v1/embeddings?a=\\\" b\" status=200 "
        "bytes_received=300 bytes_sent=4000 took_ms=1.5 request_id=r1\n");
}

TEST_CASE("names of levels and formats are read, others are refused") {
  CHECK(log_level_from("debug") == LogLevel::kDebug);
  CHECK(log_level_from("error") == LogLevel::kError);
  CHECK_FALSE(log_level_from("ERROR").has_value());
  CHECK(log_format_from("json") == LogFormat::kJson);
  CHECK(log_format_from("text") == LogFormat::kText);
  CHECK_FALSE(log_format_from("").has_value());
}

TEST_CASE("lines of several threads are whole") {
  LogOptions options;
  options.same_per_second_max = 1'000'000;
  Fixture fixture(options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) fixture.log.info("same", {{"n", 1}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(fixture.lines.size() == 2000);
  for (size_t i = 0; i < fixture.lines.size(); ++i) {
    if (fixture.text(i) != "info same n=1\n") FAIL_CHECK(fixture.lines[i]);
  }
}

}  // namespace
}  // namespace sluice
