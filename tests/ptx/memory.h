// SPDX-License-Identifier: Apache-2.0
#pragma once
// The device's global memory: regions at addresses that are just as well aligned as was promised
// and no better, with unmapped zones between them, so that no access out of bounds hits a
// neighbour.
//
// Used by one thread at a time.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/ptx/shadow.h"

namespace sluice::ptx {

// How a region is placed.
struct Placement {
  std::string name = {};  // for findings
  size_t alignment =
      256;  // a power of two; the address is no multiple of twice this. cudaMalloc: 256
  bool read_only = false;     // a kernel's write is a finding; needs no bookkeeping of who reads
  bool host_watches = false;  // the host looks at it while kernels run
};

// One piece of global memory that kernels may touch.
struct Region {
  std::string name;
  uint64_t base = 0;
  size_t bytes = 0;
  std::byte* host = nullptr;  // `bytes` of them; of `storage`, or the caller's
  std::vector<std::byte> storage;
  bool read_only = false;
  bool host_watches = false;
  bool written_wholly = false;
  uint32_t written_first = 0;          // the launch that wrote to it first; 0 if none did
  std::vector<uint64_t> written = {};  // one bit per byte; empty if written_wholly
  std::vector<std::unique_ptr<ShadowPage>> pages = {};

  // Whether all of [offset, offset + size) has been written.
  bool is_written(size_t offset, size_t size) const;
  void mark_written(size_t offset, size_t size);
};

class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // A new region of `bytes` > 0, not initialised; gives its address. Addresses are never used
  // twice.
  uint64_t allocate(size_t bytes, const Placement& placement = {});
  // The same over bytes of the caller, which stay where they are until release(). They count as
  // initialised.
  uint64_t map(std::byte* host, size_t bytes, const Placement& placement = {});
  // Takes the region away that begins at `address`. REQUIRES: there is one.
  void release(uint64_t address);

  // Copies to and from kernels' addresses; initialises what it writes. An error if no one region
  // holds all of the bytes, or, for read(), if some were never written.
  std::optional<Error> write(uint64_t address, const void* from, size_t bytes);
  std::optional<Error> read(uint64_t address, void* to, size_t bytes) const;
  std::optional<Error> fill(uint64_t address, int value, size_t bytes);

  // The region that holds [address, address + bytes), or null. The pointer lasts until release().
  Region* find(uint64_t address, size_t bytes);
  const Region* find(uint64_t address, size_t bytes) const;
  // Where `address` is, for people: "'weights' + 70 of 64 bytes", or "no region near".
  std::string locate(uint64_t address) const;

  size_t bytes_allocated() const { return bytes_allocated_; }
  const std::map<uint64_t, std::unique_ptr<Region>>& regions() const { return regions_; }

  // A number that no launch on this memory had before; shadow pages of earlier ones are stale.
  uint32_t next_launch() { return ++launches_; }

 private:
  Region& place(size_t bytes, const Placement& placement);

  std::map<uint64_t, std::unique_ptr<Region>> regions_;  // by base
  uint64_t next_ = 0x00007f0000000000;
  size_t bytes_allocated_ = 0;
  uint32_t launches_ = 0;
};

}  // namespace sluice::ptx
