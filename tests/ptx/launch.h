// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a kernel on the CPU.
//
//   Memory memory;
//   Result<Module> module = Module::load(text, memory);
//   const uint64_t out = memory.allocate(4 * n);
//   Arguments arguments;
//   arguments.add(out);
//   arguments.add(n);
//   Result<LaunchReport> report = launch(memory, *module.value().find("fill"),
//                                        {.grid = {8}, .block = {128}}, arguments.bytes());
//
// Warps have 32 lanes. Lanes that took different ways go on in groups, the one furthest behind in
// the code first, and join where they meet. Nothing is assumed of lanes that no instruction brings
// together: shfl.sync and the like wait for the lanes of their mask, as sm_70 and later do.
//
// Numbers: f32 and f64 instructions are IEEE, fused where PTX says so, also under .rz .rm .rp;
// arithmetic of f16 and bf16 is rounded once. The .approx instructions (ex2, lg2, sin, cos, tanh,
// rsqrt, rcp, sqrt, div) give the C library's result, which is closer than a GPU's. mma adds the
// products and the accumulator in double and rounds once to float: a GPU's own sum is cut at each
// step, so results agree with it to some units of the last place and not bit by bit.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "tests/ptx/memory.h"
#include "tests/ptx/module.h"
#include "tests/ptx/report.h"

namespace sluice::ptx {

struct Dim {
  uint32_t x = 1;
  uint32_t y = 1;
  uint32_t z = 1;

  uint64_t count() const { return uint64_t{x} * y * z; }
};

struct LaunchOptions {
  // 0: warps in order, each to its next barrier. Else warps take turns and blocks start in an order
  // that the seed decides.
  uint64_t seed = 0;
  // Lanes that have parted go on in an order that the seed decides, and meet again only where an
  // instruction brings them together or by chance: all that sm_70 and later promise.
  bool part_lanes = false;
  bool check_memory = true;     // races, uninitialised memory, distinct bytes; several times slower
  bool check_registers = true;  // registers used before they are set
  // The kernel was launched so that it may start while those before it still run: until
  // griddepcontrol.wait, what they write is not there.
  bool early = false;
  // Blocks that run at a time, for kernels whose blocks wait for each other; taken in turns.
  uint32_t blocks_resident = 1;
  uint64_t instructions_max = 4'000'000'000;  // of warps; then the launch stops with kLimit
};

struct LaunchShape {
  Dim grid = {};
  Dim block = {};
  Dim cluster = {};  // blocks that run together and reach each other's shared memory
  size_t shared_dynamic_bytes = 0;
};

// A kernel's parameters, one after another as CUDA lays them out.
class Arguments {
 public:
  // Appends a number, a device address as uint64_t, or a struct by value.
  template <class T>
  void add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.resize((bytes_.size() + alignof(T) - 1) / alignof(T) * alignof(T) + sizeof(T));
    std::memcpy(bytes_.data() + bytes_.size() - sizeof(T), &value, sizeof(T));
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// The parameters out of what cudaLaunchKernel takes: a pointer to each.
std::vector<std::byte> pack_arguments(const Kernel& kernel, void* const* arguments);

// Runs all blocks to their end, or to the first finding that stops them. An error if the shape or
// the parameters do not fit the kernel; `memory` is that of the kernel's module.
Result<LaunchReport> launch(Memory& memory, const Kernel& kernel, const LaunchShape& shape,
                            std::span<const std::byte> arguments,
                            const LaunchOptions& options = {});

}  // namespace sluice::ptx
