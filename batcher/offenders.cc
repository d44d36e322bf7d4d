// SPDX-License-Identifier: Apache-2.0
#include "batcher/offenders.h"

#include <algorithm>

namespace sluice {

void Offenders::found_guilty(uint64_t tenant, Instant now) {
  if (tenant == 0 || tenants_max_ == 0) return;
  const auto found = tenants_.find(tenant);
  if (found == tenants_.end()) {
    make_room(now);
    tenants_.emplace(tenant, Record{now, now});
    return;
  }
  Record& record = found->second;
  if (now - record.last <= kMemory) record.alone_until = now + kMemory;
  record.last = now;
}

bool Offenders::travels_alone(uint64_t tenant, Instant now) const {
  if (tenants_.empty()) return false;
  const auto found = tenants_.find(tenant);
  return found != tenants_.end() && now < found->second.alone_until;
}

// Looks at all of them, which only a full table needs, and each fault costs a failed call.
void Offenders::make_room(Instant now) {
  if (tenants_.size() < tenants_max_) return;
  std::erase_if(tenants_, [now](const auto& one) { return now - one.second.last > kMemory; });
  if (tenants_.size() < tenants_max_) return;
  tenants_.erase(
      std::min_element(tenants_.begin(), tenants_.end(), [](const auto& a, const auto& b) {
        return a.second.last != b.second.last ? a.second.last < b.second.last : a.first < b.first;
      }));
}

}  // namespace sluice
