// SPDX-License-Identifier: Apache-2.0
#include "base/metrics.h"

#include <prometheus/check_names.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <mutex>

#include "base/assert.h"

namespace sluice {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kLatencyBounds[] = {50e-6, 100e-6, 250e-6, 500e-6, 0.001, 0.0025, 0.005,
                                     0.01,  0.025,  0.05,   0.1,    0.25,  0.5,    1,
                                     2.5,   5,      10,     30,     60};

}  // namespace

std::span<const double> latency_bounds() { return kLatencyBounds; }

std::vector<double> size_bounds(double max) {
  std::vector<double> bounds = {1};
  while (bounds.back() < max) bounds.push_back(bounds.back() * 2);
  return bounds;
}

// What was declared, as a Collectable: a scrape asks it for its families.
struct Metrics::Impl final : prometheus::Collectable {
  struct Series {
    size_t family = 0;
    size_t metric = 0;  // in its family
    uint32_t first_cell = 0;
    std::vector<double> bounds;  // of a histogram
  };

  std::vector<MetricFamily> families;  // the shape, with values left at zero
  std::vector<Series> series;
  uint32_t cells = 0;

  mutable std::mutex mutex;  // guards `shards`
  std::vector<std::unique_ptr<MetricsShard>> shards;

  // Returns the series' first cell, and reserves `size` of them.
  uint32_t declare(const std::string& name, const std::string& help, MetricType type,
                   const Labels& labels, std::span<const double> bounds, size_t size) {
    const std::lock_guard lock(mutex);
    ASSERT(shards.empty());
    ASSERT(prometheus::CheckMetricName(name));
    ASSERT(help.find('\n') == std::string::npos);
    auto family = std::ranges::find(families, name, &MetricFamily::name);
    if (family == families.end()) {
      families.push_back({name, help, type, {}});
      family = families.end() - 1;
    }
    ASSERT(family->type == type && family->help == help);
    ClientMetric metric;
    for (const auto& [label, value] : labels) {
      ASSERT(prometheus::CheckLabelName(label));
      metric.label.push_back({label, value});
    }
    ASSERT(std::ranges::none_of(
        family->metric, [&](const ClientMetric& other) { return other.label == metric.label; }));
    family->metric.push_back(std::move(metric));
    series.push_back({static_cast<size_t>(family - families.begin()), family->metric.size() - 1,
                      cells, std::vector<double>(bounds.begin(), bounds.end())});
    cells += static_cast<uint32_t>(size);
    return series.back().first_cell;
  }

  // REQUIRES: mutex held
  double sum(size_t cell) const {
    double total = 0;
    for (const auto& shard : shards) total += shard->cells_[cell].load(std::memory_order_relaxed);
    return total;
  }

  // REQUIRES: mutex held
  void fill_histogram(const Series& from, ClientMetric::Histogram& histogram) const {
    double count = 0;
    for (size_t i = 0; i < from.bounds.size(); ++i) {
      count += sum(from.first_cell + i);
      histogram.bucket.push_back({static_cast<uint64_t>(count), from.bounds[i]});
    }
    count += sum(from.first_cell + from.bounds.size());
    histogram.sample_count = static_cast<uint64_t>(count);
    histogram.sample_sum = sum(from.first_cell + from.bounds.size() + 1);
  }

  std::vector<MetricFamily> Collect() const override {
    const std::lock_guard lock(mutex);
    std::vector<MetricFamily> result = families;
    for (const Series& one : series) {
      MetricFamily& family = result[one.family];
      ClientMetric& metric = family.metric[one.metric];
      if (family.type == MetricType::Histogram) {
        fill_histogram(one, metric.histogram);
      } else if (family.type == MetricType::Gauge) {
        metric.gauge.value = sum(one.first_cell);
      } else {
        metric.counter.value = sum(one.first_cell);
      }
    }
    return result;
  }
};

MetricsShard::MetricsShard(const Metrics& metrics, size_t cells)
    : metrics_(metrics), cells_(std::make_unique<std::atomic<double>[]>(cells)) {}

void MetricsShard::observe(HistogramId id, double value) {
  const Metrics::HistogramCells& histogram = metrics_.histograms_[id.index];
  const auto& bounds = histogram.bounds;
  const auto bucket =
      static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin());
  increase(histogram.first + bucket, 1);
  increase(histogram.first + bounds.size() + 1, value);
}

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

CounterId Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  return {impl_->declare(name, help, MetricType::Counter, labels, {}, 1)};
}

GaugeId Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return {impl_->declare(name, help, MetricType::Gauge, labels, {}, 1)};
}

HistogramId Metrics::histogram(const std::string& name, const std::string& help,
                               std::span<const double> bounds, const Labels& labels) {
  ASSERT(!bounds.empty());
  ASSERT(std::ranges::is_sorted(bounds, std::ranges::less_equal()));
  const uint32_t first =
      impl_->declare(name, help, MetricType::Histogram, labels, bounds, bounds.size() + 2);
  histograms_.push_back({std::vector<double>(bounds.begin(), bounds.end()), first});
  return {static_cast<uint32_t>(histograms_.size() - 1)};
}

MetricsShard& Metrics::shard() {
  const std::lock_guard lock(impl_->mutex);
  impl_->shards.push_back(std::unique_ptr<MetricsShard>(new MetricsShard(*this, impl_->cells)));
  return *impl_->shards.back();
}

std::string Metrics::render() const {
  return prometheus::TextSerializer().Serialize(impl_->Collect());
}

}  // namespace sluice
