// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/memory.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "base/assert.h"

namespace sluice::ptx {
namespace {

// Between two regions; an index that is wrong by less than this hits nothing.
constexpr uint64_t kGuardBytes = 1u << 16;
// Uninitialised memory holds this, which is a NaN or a huge number in every float format.
constexpr int kPoison = 0xff;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

bool Region::is_written(size_t offset, size_t size) const {
  if (written_wholly) return true;
  for (size_t i = offset; i < offset + size; ++i) {
    if ((written[i / 64] >> (i % 64) & 1u) == 0) return false;
  }
  return true;
}

void Region::mark_written(size_t offset, size_t size) {
  if (written_wholly) return;
  if (offset == 0 && size == bytes) {
    written_wholly = true;
    written.clear();
    return;
  }
  size_t i = offset;
  const size_t end = offset + size;
  while (i < end) {
    const size_t count = std::min(end - i, 64 - i % 64);
    const uint64_t ones = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    written[i / 64] |= ones << (i % 64);
    i += count;
  }
}

Region& Memory::place(size_t bytes, const Placement& placement) {
  ASSERT(bytes > 0 && std::has_single_bit(placement.alignment));
  const uint64_t alignment = placement.alignment;
  uint64_t base = (next_ + kGuardBytes + 2 * alignment - 1) / (2 * alignment) * (2 * alignment);
  base += alignment;
  next_ = base + bytes;
  auto region = std::make_unique<Region>();
  region->name = placement.name;
  region->base = base;
  region->bytes = bytes;
  region->read_only = placement.read_only;
  region->host_watches = placement.host_watches;
  region->pages.resize((bytes + PageBits::kBytes - 1) / PageBits::kBytes);
  Region& placed = *region;
  regions_.emplace(base, std::move(region));
  bytes_allocated_ += bytes;
  return placed;
}

uint64_t Memory::allocate(size_t bytes, const Placement& placement) {
  Region& region = place(bytes, placement);
  region.storage.assign(bytes, static_cast<std::byte>(kPoison));
  region.host = region.storage.data();
  region.written.assign((bytes + 63) / 64, 0);
  return region.base;
}

uint64_t Memory::map(std::byte* host, size_t bytes, const Placement& placement) {
  ASSERT(host != nullptr);
  Region& region = place(bytes, placement);
  region.host = host;
  region.written_wholly = true;
  return region.base;
}

void Memory::release(uint64_t address) {
  const auto found = regions_.find(address);
  ASSERT(found != regions_.end());
  bytes_allocated_ -= found->second->bytes;
  regions_.erase(found);
}

std::optional<Error> Memory::write(uint64_t address, const void* from, size_t bytes) {
  Region* region = find(address, bytes);
  if (region == nullptr) {
    return Error{Code::kInvalid, "copy to " + locate(address) + " is out of bounds"};
  }
  std::memcpy(region->host + (address - region->base), from, bytes);
  region->mark_written(address - region->base, bytes);
  return std::nullopt;
}

std::optional<Error> Memory::read(uint64_t address, void* to, size_t bytes) const {
  const Region* region = find(address, bytes);
  if (region == nullptr) {
    return Error{Code::kInvalid, "copy from " + locate(address) + " is out of bounds"};
  }
  const size_t offset = address - region->base;
  std::memcpy(to, region->host + offset, bytes);
  if (!region->is_written(offset, bytes)) {
    return Error{Code::kInvalid, "copy from " + locate(address) + " of bytes never written"};
  }
  return std::nullopt;
}

std::optional<Error> Memory::fill(uint64_t address, int value, size_t bytes) {
  Region* region = find(address, bytes);
  if (region == nullptr) {
    return Error{Code::kInvalid, "fill of " + locate(address) + " is out of bounds"};
  }
  std::memset(region->host + (address - region->base), value, bytes);
  region->mark_written(address - region->base, bytes);
  return std::nullopt;
}

Region* Memory::find(uint64_t address, size_t bytes) {
  auto next = regions_.upper_bound(address);
  if (next == regions_.begin()) return nullptr;
  Region& region = *std::prev(next)->second;
  const uint64_t offset = address - region.base;
  return offset <= region.bytes && bytes <= region.bytes - offset ? &region : nullptr;
}

const Region* Memory::find(uint64_t address, size_t bytes) const {
  return const_cast<Memory*>(this)->find(address, bytes);
}

std::string Memory::locate(uint64_t address) const {
  const Region* nearest = nullptr;
  auto next = regions_.upper_bound(address);
  if (next != regions_.end() && next->second->base - address <= kGuardBytes / 2) {
    nearest = next->second.get();
  }
  if (next != regions_.begin()) {
    const Region& before = *std::prev(next)->second;
    if (nearest == nullptr || address - before.base < before.bytes + kGuardBytes / 2) {
      nearest = &before;
    }
  }
  if (nearest == nullptr) return hex(address) + " (no region near)";
  const auto offset = static_cast<int64_t>(address - nearest->base);
  return "'" + nearest->name + "' at byte " + std::to_string(offset) + " of " +
         std::to_string(nearest->bytes);
}

}  // namespace sluice::ptx
