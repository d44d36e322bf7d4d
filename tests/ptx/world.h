// SPDX-License-Identifier: Apache-2.0
#pragma once
// What tests of kernels share: a memory with a module, and short ways to run a kernel in it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/ptx/launch.h"

namespace sluice::ptx {

class World {
 public:
  // REQUIRES: the text is understood as a whole.
  explicit World(std::string_view text, const ModuleOptions& options = {});

  // Runs a kernel. REQUIRES: there is one of that name, and the arguments fit it.
  LaunchReport run(std::string_view kernel, const LaunchShape& shape, const Arguments& arguments,
                   const LaunchOptions& options = {});

  // A new region that holds `values`.
  template <class T>
  uint64_t put(const std::vector<T>& values, const Placement& placement = {}) {
    const uint64_t address = memory.allocate(sizeof(T) * values.size(), placement);
    write(address, values.data(), sizeof(T) * values.size());
    return address;
  }
  // `count` values at `address`. REQUIRES: all of them were written.
  template <class T>
  std::vector<T> get(uint64_t address, size_t count) const {
    std::vector<T> values(count);
    read(address, values.data(), sizeof(T) * count);
    return values;
  }

  Memory memory;
  Module module;

 private:
  void write(uint64_t address, const void* from, size_t bytes);
  void read(uint64_t address, void* to, size_t bytes) const;
};

// A PTX text with one kernel `k` whose parameters are addresses p0, p1, ... and whose body is
// given.
std::string kernel_text(std::string_view body, size_t parameters = 1);

// How one instruction is tried: with operands %a, %b, %c, result %d and a predicate %p to use.
struct Trial {
  std::string code;              // e.g. "add.f32 %d, %a, %b;"
  std::string result;            // type of %d, e.g. "b32"
  std::string operands = "b32";  // type of %a, %b and %c
  std::string operand_b = {};    // type of %b and %c if it is another
};
// The bits of %d, zero-extended, for each lane's %a, %b and %c. Up to 32 lanes. REQUIRES: no
// findings.
struct Lane {
  uint64_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
};
std::vector<uint64_t> try_lanes(const Trial& trial, const std::vector<Lane>& lanes);
// For one lane.
uint64_t try_one(const Trial& trial, uint64_t a, uint64_t b = 0, uint64_t c = 0);

// Whether the report has a finding of that kind, and none but that.
bool only(const LaunchReport& report, FindingKind kind);
// All findings, for messages.
std::string describe(const LaunchReport& report);

}  // namespace sluice::ptx
