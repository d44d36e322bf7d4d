// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many processor cores this process may really use. The machine's number is wrong in a
// container: a limit of two cores on a machine of 64 means 62 threads that wait for each other.

#include <cstdint>
#include <string>

namespace sluice {

// Where the kernel tells a process its limits; tests point this elsewhere.
struct CgroupFiles {
  std::string membership = "/proc/self/cgroup";
  std::string root = "/sys/fs/cgroup";
};

// The limit in whole cores, rounded down but at least 1, that the control groups (version 1 or 2)
// of this process or of any group around it set; 0 if there is none or it cannot be read.
uint32_t cgroup_cores(const CgroupFiles& files);
// The cores in this process' affinity mask, at least 1.
uint32_t affinity_cores();

// The smaller of the two limits.
uint32_t usable_cores();
// Workers for a CPU engine: one core less, which is for I/O, but at least 1.
uint32_t worker_count_default();

}  // namespace sluice
