// SPDX-License-Identifier: Apache-2.0
#include "backends/pages.h"

#include <sys/mman.h>

#include <string>
#include <utility>

namespace sluice {

Result<Pages> Pages::make(size_t bytes) {
  Pages pages;
  if (bytes == 0) return pages;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{Code::kInternal, "no memory for " + std::to_string(bytes) + " bytes"};
  }
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // a hint; ignored where there are none
  pages.bytes_ = {static_cast<std::byte*>(memory), bytes};
  return pages;
}

Pages::Pages(Pages&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}
Pages::~Pages() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace sluice
