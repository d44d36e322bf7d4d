// SPDX-License-Identifier: Apache-2.0
#pragma once
// Arrivals: how soon the next request of a key may be expected, which tells whether waiting for it
// is worth anything.

#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/time.h"

namespace sluice {

class Arrivals {
 public:
  // Remembers `keys_max` keys, those that were seen last. REQUIRES: at least one
  explicit Arrivals(size_t keys_max) : keys_max_(keys_max) {}

  // A request of `key` arrives. The gap that is to be expected after it: the mean of those before,
  // of which later ones count more, but not less than the one that has just ended, so that a key
  // that was quiet counts as quiet however busy it was before. nullopt for the first of its key.
  std::optional<Duration> note(const std::string& key, Instant now);
  size_t size() const { return keys_.size(); }

 private:
  struct Rate {
    std::list<std::string>::iterator place;  // in by_age_
    Instant last;
    double gap_mean = 0;  // seconds
    int gaps = 0;         // seen, up to kGaps
  };

  size_t keys_max_;
  std::unordered_map<std::string, Rate> keys_;
  std::list<std::string> by_age_;  // the one seen last in front
};

}  // namespace sluice
