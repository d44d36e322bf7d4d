// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <vector>

namespace sluice {
namespace {

// Nested deeper than any system nests its groups.
constexpr int kGroupDepthMax = 64;

uint32_t whole_cores(double quota, double period) {
  if (!(quota > 0.0) || !(period > 0.0)) return 0;
  return static_cast<uint32_t>(std::clamp(quota / period, 1.0, 1e6));
}

// Version 2: "max 100000" or "200000 100000".
uint32_t cores_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0.0;
  double period = 0.0;
  return file >> quota >> period ? whole_cores(quota, period) : 0;
}

// Version 1: two files; a quota of -1 is none.
uint32_t cores_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
  std::ifstream period_file(folder + "/cpu.cfs_period_us");
  double quota = 0.0;
  double period = 0.0;
  return quota_file >> quota && period_file >> period ? whole_cores(quota, period) : 0;
}

uint32_t smaller(uint32_t a, uint32_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// The smallest limit from `group` up to the root. A container often sees its own group as the
// root, whatever the path says; folders that are not there set no limit.
uint32_t cores_up(const std::string& root, std::string group,
                  uint32_t (*cores)(const std::string&)) {
  uint32_t limit = cores(root);
  for (int depth = 0; depth < kGroupDepthMax && group.size() > 1; ++depth) {
    limit = smaller(limit, cores(root + group));
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  return limit;
}

bool lists_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

uint32_t cgroup_cores(const CgroupFiles& files) {
  std::ifstream membership(files.membership);
  uint32_t limit = 0;
  // Each line is "number:controllers:path"; version 2 has no controllers.
  for (std::string line; std::getline(membership, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) {
      limit = smaller(limit, cores_up(files.root, group, cores_v2));
    } else if (lists_cpu(controllers)) {
      limit = smaller(limit, cores_up(files.root + "/cpu", group, cores_v1));
    }
  }
  return limit;
}

uint32_t affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
}

uint32_t usable_cores() { return smaller(affinity_cores(), cgroup_cores({})); }

uint32_t worker_count_default() { return std::max(2U, usable_cores()) - 1; }

}  // namespace sluice
