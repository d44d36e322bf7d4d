// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bytes that are shared and never change. A Chunk is one block, reference-counted atomically, so
// that it may be held on several threads; it is the only shared ownership in the program. A Slice
// is a part of a Chunk. Every Chunk is followed by kPadding zero bytes, so that a SIMD parser may
// read beyond its end.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "base/assert.h"

namespace sluice {

class ChunkRef;

// Counts the bytes of blocks against a limit. From any thread.
class ByteAccount {
 public:
  virtual ~ByteAccount() = default;
  // Takes `bytes`, or takes nothing and returns false if that would be too much.
  virtual bool take(uint64_t bytes) = 0;
  // Gives back what was taken.
  virtual void give(uint64_t bytes) = 0;
};

// The block itself: a header, then the bytes. Only ChunkRef makes and frees one.
class Chunk {
 public:
  static constexpr size_t kPadding = 64;  // simdjson reads up to 64 bytes past the end

  size_t size() const { return size_; }
  const char* data() const { return reinterpret_cast<const char*>(this + 1); }

 private:
  friend class ChunkRef;
  explicit Chunk(size_t size) : size_(size) {}
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
  static constexpr size_t kAccountBytes = sizeof(ByteAccount*);
  // Where a counted block says whose it is; behind the padding, and so without alignment.
  char* account_place() { return bytes() + size_ + kPadding; }
  ByteAccount* account() {
    ByteAccount* account = nullptr;
    if (counted_) std::memcpy(&account, account_place(), kAccountBytes);
    return account;
  }

  std::atomic<uint32_t> references_{1};
  bool counted_ = false;
  size_t size_;
};
static_assert(sizeof(Chunk) % alignof(std::max_align_t) == 0, "the bytes start aligned");

// A counted reference; empty after default construction or a move.
class ChunkRef {
 public:
  ChunkRef() = default;
  ChunkRef(const ChunkRef& other) : chunk_(other.chunk_) {
    if (chunk_ != nullptr) chunk_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  ChunkRef(ChunkRef&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
  ChunkRef& operator=(ChunkRef other) noexcept {
    std::swap(chunk_, other.chunk_);
    return *this;
  }
  ~ChunkRef() { release(); }

  // A block of `size` bytes; `fill(char* bytes)` writes them before anyone else can see them.
  template <typename Fill>
  static ChunkRef make(size_t size, Fill&& fill) {
    return make_with(size, nullptr, std::forward<Fill>(fill));
  }
  // The same; `account` gets its `size` bytes back when the last reference goes, on whatever
  // thread. REQUIRES: they were taken; the account outlives the block.
  template <typename Fill>
  static ChunkRef make_counted(size_t size, ByteAccount& account, Fill&& fill) {
    return make_with(size, &account, std::forward<Fill>(fill));
  }
  // A block that holds a copy of `bytes`.
  static ChunkRef copy_of(std::string_view bytes) {
    return make(bytes.size(), [&](char* to) {
      if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    });
  }

  explicit operator bool() const { return chunk_ != nullptr; }
  // REQUIRES: not empty
  const Chunk* operator->() const {
    ASSERT(chunk_ != nullptr);
    return chunk_;
  }

 private:
  explicit ChunkRef(Chunk* chunk) : chunk_(chunk) {}
  template <typename Fill>
  static ChunkRef make_with(size_t size, ByteAccount* account, Fill&& fill) {
    const size_t behind = account != nullptr ? Chunk::kAccountBytes : 0;
    void* memory = ::operator new(sizeof(Chunk) + size + Chunk::kPadding + behind);
    Chunk* chunk = new (memory) Chunk(size);
    fill(chunk->bytes());
    std::memset(chunk->bytes() + size, 0, Chunk::kPadding);
    chunk->counted_ = account != nullptr;
    if (account != nullptr) std::memcpy(chunk->account_place(), &account, Chunk::kAccountBytes);
    return ChunkRef(chunk);
  }
  void release() {
    if (chunk_ == nullptr || chunk_->references_.fetch_sub(1, std::memory_order_acq_rel) != 1)
      return;
    ByteAccount* const account = chunk_->account();
    const size_t size = chunk_->size_;
    chunk_->~Chunk();
    ::operator delete(chunk_);
    if (account != nullptr) account->give(size);
  }

  Chunk* chunk_ = nullptr;
};

// Part of a Chunk, which it keeps alive. An empty Slice needs no Chunk. May cross threads.
class Slice {
 public:
  Slice() = default;
  // The whole of `chunk`.
  explicit Slice(ChunkRef chunk) : size_(chunk ? chunk->size() : 0), chunk_(std::move(chunk)) {}
  // REQUIRES: offset + size <= chunk->size()
  Slice(ChunkRef chunk, size_t offset, size_t size)
      : offset_(offset), size_(size), chunk_(std::move(chunk)) {
    ASSERT(size == 0 || (chunk_ && offset <= chunk_->size() && size <= chunk_->size() - offset));
  }
  static Slice copy_of(std::string_view bytes) { return Slice(ChunkRef::copy_of(bytes)); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const char* data() const { return size_ == 0 ? nullptr : chunk_->data() + offset_; }
  std::string_view view() const { return {data(), size_}; }
  // The part [offset, offset + size) of this slice. REQUIRES: it lies inside.
  Slice part(size_t offset, size_t size) const {
    ASSERT(offset <= size_ && size <= size_ - offset);
    return Slice(chunk_, offset_ + offset, size);
  }
  // The bytes as an array of T. REQUIRES: size and alignment fit T, as for chunks made of T.
  template <typename T>
  std::span<const T> as() const {
    ASSERT(size_ % sizeof(T) == 0 && reinterpret_cast<uintptr_t>(data()) % alignof(T) == 0);
    return {reinterpret_cast<const T*>(data()), size_ / sizeof(T)};
  }

 private:
  size_t offset_ = 0;
  size_t size_ = 0;
  ChunkRef chunk_;
};

}  // namespace sluice
