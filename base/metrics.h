// SPDX-License-Identifier: Apache-2.0
#pragma once
// Metrics: what has been counted, for Prometheus. Everything is declared before threads start; then
// each thread counts in a shard of its own, which no other thread writes, so that counting is a
// load, an addition and a store, without a lock or an atomic read-modify-write. A scrape adds the
// shards up. The .cc is the only user of prometheus-cpp.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sluice {

// A value that only grows. These handles differ in type so that they cannot be mixed up.
struct CounterId {
  uint32_t cell = 0;
};
// A value that goes up and down.
struct GaugeId {
  uint32_t cell = 0;
};
// How often values fell into which range.
struct HistogramId {
  uint32_t index = 0;
};

// Upper bounds for latencies in seconds, 50 µs to 60 s in steps of about 1, 2.5, 5.
std::span<const double> latency_bounds();
// Upper bounds 1, 2, 4, … up to the first that reaches `max`, for sizes.
std::vector<double> size_bounds(double max);

class Metrics;

// The counts of one thread. Only that thread calls it; a scrape may read at any time.
class MetricsShard {
 public:
  // Adds to a counter. REQUIRES: amount >= 0. Sums are exact up to 2^53.
  void add(CounterId id, double amount = 1) { increase(id.cell, amount); }
  // Sets this thread's part of a gauge; what is shown is the sum of all threads' parts.
  void set(GaugeId id, double value) { cells_[id.cell].store(value, std::memory_order_relaxed); }
  // Counts `value` in the first bucket whose bound is not below it.
  void observe(HistogramId id, double value);

 private:
  friend class Metrics;
  MetricsShard(const Metrics& metrics, size_t cells);
  // One writer, so load and store will do; atomics, because a scrape reads meanwhile.
  void increase(size_t cell, double amount) {
    cells_[cell].store(cells_[cell].load(std::memory_order_relaxed) + amount,
                       std::memory_order_relaxed);
  }

  const Metrics& metrics_;
  std::unique_ptr<std::atomic<double>[]> cells_;
};

// The declarations and the shards. It outlives every thread that counts.
class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Declare a series. The same name may be declared again with other labels, and then has the same
  // help and type. REQUIRES: no shard() yet, Prometheus' syntax for names, `help` without line
  // feeds, `bounds` rising.
  CounterId counter(const std::string& name, const std::string& help, const Labels& labels = {});
  GaugeId gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // The same, with the upper bounds of its buckets; one without bound is added.
  HistogramId histogram(const std::string& name, const std::string& help,
                        std::span<const double> bounds, const Labels& labels = {});

  // A new shard, for the one thread that will count in it. From any thread; ends declaring.
  MetricsShard& shard();

  // All series as Prometheus' text format. From any thread, while others count: each number is one
  // that was true at some moment of the call, and a histogram's buckets add up to its count.
  std::string render() const;

 private:
  friend class MetricsShard;
  struct Impl;
  // What observe() needs: where a histogram's cells lie. One cell per bound, one for what is above
  // all bounds, and one for the sum of the values.
  struct HistogramCells {
    std::vector<double> bounds;
    uint32_t first = 0;
  };

  std::vector<HistogramCells> histograms_;  // constant once there are shards
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
