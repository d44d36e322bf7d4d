// SPDX-License-Identifier: Apache-2.0
#pragma once
// A block of zeroed memory straight from the system: aligned to a page, backed by huge pages where
// the system allows it, and given back at once when freed, so that a second copy of a model's
// weights leaves nothing behind. Allocation failure is an Error.

#include <cstddef>
#include <span>

#include "base/result.h"

namespace sluice {

class Pages {
 public:
  // `bytes` zeroed bytes; kInternal if the system has no memory for them.
  static Result<Pages> make(size_t bytes);

  Pages() = default;
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();

  std::byte* data() { return bytes_.data(); }
  const std::byte* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }

 private:
  std::span<std::byte> bytes_;
};

// Lays parts out one after the other in a block that is made later, each aligned to 64 bytes.
class PageLayout {
 public:
  // Reserves `bytes` and returns their offset.
  size_t reserve(size_t bytes) {
    const size_t at = size_;
    size_ += (bytes + 63) / 64 * 64;
    return at;
  }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
};

}  // namespace sluice
