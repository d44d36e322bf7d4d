// SPDX-License-Identifier: Apache-2.0
#include "batcher/service.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice {
namespace {

constexpr double kKeep = 0.98;           // what a sample keeps of its weight with each newer one
constexpr double kHalfLifeSeconds = 10;  // of an estimate that nothing confirms
constexpr size_t kSamplesMin = 4;        // fewer say too little to refuse anyone
constexpr double kPredictMaxSeconds = 1e6;

double half_life_factor(double seconds) {
  return std::exp2(-std::max(seconds, 0.0) / kHalfLifeSeconds);
}

}  // namespace

void ServiceModel::learn(Instant now, double units, Duration took) {
  const double seconds = std::max(took.seconds(), 0.0);
  samples_[samples_seen_ % kSamples] = {units, seconds};
  ++samples_seen_;
  last_ = now;
  residual_.reset();

  count_ = count_ * kKeep + 1;
  const double units_step = units - units_mean_;
  const double took_step = seconds - took_mean_;
  units_mean_ += units_step / count_;
  took_mean_ += took_step / count_;
  units_units_ = units_units_ * kKeep + units_step * (units - units_mean_);
  units_took_ = units_took_ * kKeep + units_step * (seconds - took_mean_);
  fit();
}

void ServiceModel::fit() {
  took_max_ = std::numeric_limits<double>::infinity();
  const double spread = std::sqrt(std::max(units_units_, 0.0) / count_);
  if (spread < 1e-3 * units_mean_ || units_mean_ <= 0) {
    // All batches are alike: what is fixed cannot be told from what is per unit. Say the least for
    // any other size.
    fixed_ = units_mean_ > 0 ? 0 : took_mean_;
    per_unit_ = units_mean_ > 0 ? took_mean_ / units_mean_ : 0;
    took_max_ = took_mean_;
    return;
  }
  per_unit_ = units_took_ / units_units_;
  fixed_ = took_mean_ - per_unit_ * units_mean_;
  if (per_unit_ < 0) {
    per_unit_ = 0;
    fixed_ = took_mean_;
  } else if (fixed_ < 0) {
    fixed_ = 0;
    per_unit_ = took_mean_ / units_mean_;
  }
}

double ServiceModel::predict(double units) const {
  return std::min(fixed_ + per_unit_ * units, took_max_);
}

double ServiceModel::residual_p99() const {
  if (residual_) return *residual_;
  std::array<double, kSamples> residuals;
  const size_t count = std::min(samples_seen_, kSamples);
  for (size_t i = 0; i < count; ++i) residuals[i] = samples_[i].took - predict(samples_[i].units);
  const size_t rank = (count * 99 + 99) / 100 - 1;
  const auto end = residuals.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(residuals.begin(), residuals.begin() + static_cast<std::ptrdiff_t>(rank), end);
  residual_ = residuals[rank];
  return *residual_;
}

std::optional<Duration> ServiceModel::fade(Instant now, double took) const {
  const double faded = took * half_life_factor((now - last_).seconds());
  return from_seconds(std::clamp(faded, 0.0, kPredictMaxSeconds));
}

std::optional<Duration> ServiceModel::mean(Instant now, double units) const {
  if (samples_seen_ < kSamplesMin) return std::nullopt;
  return fade(now, predict(units));
}

std::optional<Duration> ServiceModel::p99(Instant now, double units) const {
  if (samples_seen_ < kSamplesMin) return std::nullopt;
  return fade(now, predict(units) + residual_p99());
}

void DrainRate::note(Instant now, double units_left, bool waiting) {
  if (waiting_) {
    const double passed = (now - since_).seconds();
    const double keep = half_life_factor(passed);
    units_ = units_ * keep + units_left;
    seconds_ = seconds_ * keep + passed;
  }
  waiting_ = waiting;
  since_ = now;
}

std::optional<double> DrainRate::rate() const {
  if (seconds_ <= 0 || units_ <= 0) return std::nullopt;
  return units_ / seconds_;
}

Duration whole_seconds(Duration wait) {
  return seconds(std::max<int64_t>(1, (wait.ns + seconds(1).ns - 1) / seconds(1).ns));
}

Duration retry_after(double units, std::optional<double> rate) {
  constexpr double kMaxSeconds = 60;
  if (!rate || *rate <= 0) return seconds(1);
  return seconds(static_cast<int64_t>(std::ceil(std::clamp(units / *rate, 1.0, kMaxSeconds))));
}

}  // namespace sluice
