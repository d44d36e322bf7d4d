// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace sluice {
namespace {

// The text format, read back: series with labels → value, and how often each comment was seen.
struct Scrape {
  std::map<std::string, double> values;
  std::map<std::string, int> comments;  // "HELP name" and "TYPE name kind"
};

Scrape read(const std::string& text) {
  Scrape scrape;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      ++scrape.comments[line.substr(2, line.find(' ', 7) - 2)];
    } else if (line.starts_with("# TYPE ")) {
      ++scrape.comments[line.substr(2)];
    } else {
      const size_t blank = line.rfind(' ');
      REQUIRE(blank != std::string::npos);
      REQUIRE(scrape.values.emplace(line.substr(0, blank), std::stod(line.substr(blank))).second);
    }
  }
  return scrape;
}

TEST_CASE("counters and gauges are the sum over all shards") {
  Metrics metrics;
  const CounterId requests = metrics.counter("requests_total", "Requests.");
  const GaugeId queued = metrics.gauge("queued", "Rows waiting.");
  MetricsShard& one = metrics.shard();
  MetricsShard& two = metrics.shard();
  one.add(requests);
  one.add(requests, 41);
  two.add(requests, 0.5);
  one.set(queued, 7);
  one.set(queued, 3);
  two.set(queued, 10);
  const Scrape scrape = read(metrics.render());
  CHECK(scrape.values.at("requests_total") == 42.5);
  CHECK(scrape.values.at("queued") == 13);
}

TEST_CASE("a large count is shown exactly") {
  Metrics metrics;
  const CounterId bytes = metrics.counter("bytes_total", "Bytes.");
  metrics.shard().add(bytes, 9'007'199'254'740'991.0);
  CHECK(read(metrics.render()).values.at("bytes_total") == 9'007'199'254'740'991.0);
}

TEST_CASE("HELP and TYPE stand once per family, before its series") {
  Metrics metrics;
  metrics.counter("answers_total", "Answers by status.", {{"status", "200"}});
  metrics.gauge("up", "Whether it runs.");
  metrics.counter("answers_total", "Answers by status.", {{"status", "429"}});
  metrics.histogram("took_seconds", "Latency.", latency_bounds());
  MetricsShard& shard = metrics.shard();
  static_cast<void>(shard);
  const std::string text = metrics.render();
  const Scrape scrape = read(text);
  CHECK(scrape.comments.size() == 6);
  for (const auto& [comment, count] : scrape.comments) CHECK_MESSAGE(count == 1, comment);
  CHECK(scrape.comments.contains("TYPE answers_total counter"));
  CHECK(scrape.comments.contains("TYPE up gauge"));
  CHECK(scrape.comments.contains("TYPE took_seconds histogram"));
  CHECK(scrape.values.contains("answers_total{status=\"200\"}"));
  CHECK(scrape.values.contains("answers_total{status=\"429\"}"));
  CHECK(text.find("# TYPE answers_total") < text.find("answers_total{"));
}

TEST_CASE("label values are escaped") {
  Metrics metrics;
  metrics.gauge("info", "About.", {{"model", "a\"b\\c\nd"}});
  metrics.shard();
  CHECK(read(metrics.render()).values.contains("info{model=\"a\\\"b\\\\c\\nd\"}"));
}

TEST_CASE("histogram buckets are cumulative, bounds belong to their bucket, +Inf is the count") {
  Metrics metrics;
  const std::vector<double> bounds = {1, 2, 4};
  const HistogramId sizes = metrics.histogram("size", "Sizes.", bounds, {{"model", "m"}});
  const HistogramId other = metrics.histogram("other", "Others.", bounds);
  MetricsShard& one = metrics.shard();
  MetricsShard& two = metrics.shard();
  for (const double value : {0.0, 1.0, 1.5, 2.0}) one.observe(sizes, value);
  for (const double value : {3.0, 4.0, 4.5, 1e9}) two.observe(sizes, value);
  two.observe(other, 4);
  const Scrape scrape = read(metrics.render());
  CHECK(scrape.values.at("size_bucket{model=\"m\",le=\"1\"}") == 2);
  CHECK(scrape.values.at("size_bucket{model=\"m\",le=\"2\"}") == 4);
  CHECK(scrape.values.at("size_bucket{model=\"m\",le=\"4\"}") == 6);
  CHECK(scrape.values.at("size_bucket{model=\"m\",le=\"+Inf\"}") == 8);
  CHECK(scrape.values.at("size_count{model=\"m\"}") == 8);
  CHECK(scrape.values.at("size_sum{model=\"m\"}") == 1e9 + 16);
  CHECK(scrape.values.at("other_bucket{le=\"2\"}") == 0);
  CHECK(scrape.values.at("other_count") == 1);
}

TEST_CASE("bound lists rise and reach their ends") {
  const auto latency = latency_bounds();
  CHECK(latency.front() == 50e-6);
  CHECK(latency.back() == 60);
  for (size_t i = 1; i < latency.size(); ++i) CHECK(latency[i - 1] < latency[i]);
  CHECK(size_bounds(1) == std::vector<double>{1});
  CHECK(size_bounds(64) == std::vector<double>{1, 2, 4, 8, 16, 32, 64});
  CHECK(size_bounds(65).back() == 128);
}

TEST_CASE("scrapes while threads count see whole histograms and, at the end, everything") {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  Metrics metrics;
  const CounterId done = metrics.counter("done_total", "Done.");
  const HistogramId took = metrics.histogram("took", "Took.", size_bounds(8));
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      MetricsShard& shard = metrics.shard();
      for (int i = 0; i < kRounds; ++i) {
        shard.add(done);
        shard.observe(took, i % 10);
      }
      --running;
    });
  }
  double before = 0;
  do {
    const Scrape scrape = read(metrics.render());
    const double now = scrape.values.at("done_total");
    CHECK(now >= before);
    before = now;
    CHECK(scrape.values.at("took_bucket{le=\"+Inf\"}") == scrape.values.at("took_count"));
    CHECK(scrape.values.at("took_bucket{le=\"1\"}") <= scrape.values.at("took_bucket{le=\"2\"}"));
  } while (running > 0);
  for (std::thread& thread : threads) thread.join();
  const Scrape scrape = read(metrics.render());
  CHECK(scrape.values.at("done_total") == kThreads * kRounds);
  CHECK(scrape.values.at("took_count") == kThreads * kRounds);
}

}  // namespace
}  // namespace sluice
