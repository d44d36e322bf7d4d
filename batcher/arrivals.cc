// SPDX-License-Identifier: Apache-2.0
#include "batcher/arrivals.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr int kGaps = 16;        // that the mean is made of, about
constexpr double kOutlier = 16;  // a gap counts as that many mean ones at most, so that one night
                                 // does not make the whole morning look quiet

}  // namespace

std::optional<Duration> Arrivals::note(const std::string& key, Instant now) {
  const auto [found, is_new] = keys_.try_emplace(key);
  Rate& rate = found->second;
  if (is_new) {
    by_age_.push_front(key);
    rate.place = by_age_.begin();
    rate.last = now;
    if (keys_.size() > keys_max_) {
      keys_.erase(by_age_.back());
      by_age_.pop_back();
    }
    return std::nullopt;
  }
  by_age_.splice(by_age_.begin(), by_age_, rate.place);
  const double gap = (now - rate.last).seconds();
  rate.last = now;
  rate.gaps = std::min(rate.gaps + 1, kGaps);
  const double counted = rate.gap_mean > 0 ? std::min(gap, kOutlier * rate.gap_mean) : gap;
  rate.gap_mean += (counted - rate.gap_mean) / rate.gaps;
  return from_seconds(std::max(rate.gap_mean, gap));
}

}  // namespace sluice
