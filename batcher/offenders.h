// SPDX-License-Identifier: Apache-2.0
#pragma once
// Offenders: tenants whose requests made calls fail for everybody in them, and who therefore travel
// without others for a while.

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/time.h"

namespace sluice {

class Offenders {
 public:
  // Two faults within this time, and for as long after the later one a tenant travels alone.
  static constexpr Duration kMemory = seconds(60);

  // Remembers `tenants_max` tenants; more drive out the ones at fault longest ago.
  explicit Offenders(size_t tenants_max) : tenants_max_(tenants_max) {}

  // A request of `tenant` was found at fault. Requests without credentials are nobody's: tenant 0
  // is never an offender.
  void found_guilty(uint64_t tenant, Instant now);
  // Whether `tenant` travels alone now.
  bool travels_alone(uint64_t tenant, Instant now) const;
  size_t size() const { return tenants_.size(); }

 private:
  struct Record {
    Instant last;         // fault
    Instant alone_until;  // in the past: it need not
  };
  void make_room(Instant now);

  size_t tenants_max_;
  std::unordered_map<uint64_t, Record> tenants_;
};

}  // namespace sluice
