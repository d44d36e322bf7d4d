// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is measured about service: how long a batch takes as a function of its weight, and how fast
// a queue drains. Weight here is one number of units: tokens where they are counted, else items.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace sluice {

// The time a batch takes, as a + b * units, from the batches seen; recent ones count more. An
// estimate that keeps requests out also keeps out the samples that could correct it, so without
// samples it fades: every ten seconds of silence halve it.
class ServiceModel {
 public:
  // One batch of `units` took `took`. `now` never goes back.
  void learn(Instant now, double units, Duration took);

  // The expected time of a batch of `units`, at least zero; nullopt before the fourth sample.
  std::optional<Duration> mean(Instant now, double units) const;
  // The time that a batch of `units` exceeds once in a hundred, as far as the last 256 show;
  // nullopt before the fourth sample.
  std::optional<Duration> p99(Instant now, double units) const;

  // The fitted curve, in seconds and seconds per unit; both at least zero.
  double fixed() const { return fixed_; }
  double per_unit() const { return per_unit_; }

 private:
  struct Sample {
    double units = 0;
    double took = 0;
  };
  static constexpr size_t kSamples = 256;

  void fit();
  double predict(double units) const;
  double residual_p99() const;
  std::optional<Duration> fade(Instant now, double took) const;

  // Sums over the samples with weights that shrink geometrically, kept around the running means so
  // that nothing cancels: least squares with forgetting, without the matrix that blows up when all
  // batches are alike.
  double count_ = 0;
  double units_mean_ = 0;
  double took_mean_ = 0;
  double units_units_ = 0;
  double units_took_ = 0;
  double fixed_ = 0;
  double per_unit_ = 0;
  double took_max_ = 0;  // never predict more than this while all batches are alike; else infinite

  std::array<Sample, kSamples> samples_;
  size_t samples_seen_ = 0;
  Instant last_;
  mutable std::optional<double> residual_;  // residual_p99() of the present samples, once asked for
};

// How fast rows leave a queue while rows wait in it, which is the rate that a full queue drains
// at; idle time says nothing about it.
class DrainRate {
 public:
  // Since the last call `units_left` have left; now rows wait, or none do. `now` never goes back.
  void note(Instant now, double units_left, bool waiting);
  // Units per second; nullopt before anything was measured.
  std::optional<double> rate() const;

 private:
  bool waiting_ = false;
  Instant since_;
  double units_ = 0;  // both fade with waiting time, halving every ten seconds of it
  double seconds_ = 0;
};

// `wait` for a Retry-After header: rounded up, at least one second.
Duration whole_seconds(Duration wait);
// When a client may come back to a queue with `units` in it: the time they take to leave at `rate`,
// in whole seconds rounded up, from 1 to 60; 1 s if the rate is not known.
Duration retry_after(double units, std::optional<double> rate);

}  // namespace sluice
