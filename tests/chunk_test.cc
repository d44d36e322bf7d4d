// SPDX-License-Identifier: Apache-2.0
#include "base/chunk.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace sluice {

TEST_CASE("a block holds its bytes and is followed by zeros") {
  const ChunkRef chunk = ChunkRef::copy_of("hello");
  CHECK(chunk->size() == 5);
  CHECK(std::string_view(chunk->data(), 5) == "hello");
  CHECK(std::all_of(chunk->data() + 5, chunk->data() + 5 + Chunk::kPadding,
                    [](char c) { return c == '\0'; }));
  CHECK(ChunkRef::copy_of("")->size() == 0);
}

TEST_CASE("a block lives as long as the last slice of it") {
  Slice part;
  {
    const Slice whole = Slice::copy_of("a text that is long enough to be on the heap");
    part = whole.part(2, 4);
  }
  CHECK(part.view() == "text");
  const Slice copy = part;
  part = Slice();
  CHECK(copy.view() == "text");
  CHECK(part.empty());
  CHECK(part.view().empty());
}

TEST_CASE("a counted block gives its bytes back when the last slice of it goes") {
  struct Account final : ByteAccount {
    bool take(uint64_t bytes) override {
      held += bytes;
      return true;
    }
    void give(uint64_t bytes) override { held -= bytes; }
    uint64_t held = 0;
  };
  Account account;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{13}, size_t{4096}}) {
    CHECK(account.take(size));
    Slice part;
    {
      const Slice whole(
          ChunkRef::make_counted(size, account, [&](char* to) { std::fill_n(to, size, 'x'); }));
      CHECK(whole.view() == std::string(size, 'x'));
      CHECK(std::all_of(whole.view().data() + size,
                        whole.view().data() + (size > 0 ? size + Chunk::kPadding : 0),
                        [](char c) { return c == '\0'; }));
      part = whole.part(0, size / 2);
      CHECK(account.held == size);
    }
    CHECK(account.held == size);
    part = Slice();
    CHECK(account.held == 0);
  }
}

TEST_CASE("parts of parts keep their place") {
  const Slice whole = Slice::copy_of("0123456789");
  CHECK(whole.part(2, 6).part(1, 3).view() == "345");
  CHECK(whole.part(10, 0).empty());
  CHECK(whole.part(0, 10).view() == whole.view());
}

TEST_CASE("a reference that was moved from is empty, and assignment to itself is harmless") {
  ChunkRef first = ChunkRef::copy_of("x");
  ChunkRef second = std::move(first);
  CHECK_FALSE(static_cast<bool>(first));
  ChunkRef& alias = second;
  second = alias;
  CHECK(second->size() == 1);
  first = second;
  second = ChunkRef();
  CHECK(first->data()[0] == 'x');
}

TEST_CASE("a block made of numbers is read as numbers") {
  const std::vector<float> numbers{1.5f, -2.0f, 0.25f};
  const Slice slice(ChunkRef::make(12, [&](char* to) { std::memcpy(to, numbers.data(), 12); }));
  CHECK(std::ranges::equal(slice.as<float>(), numbers));
  CHECK(slice.part(4, 4).as<float>()[0] == -2.0f);
}

TEST_CASE("slices of one block may be copied and dropped on many threads") {
  const Slice whole = Slice::copy_of(std::string(1000, 'x'));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i) {
    threads.emplace_back([mine = whole.part(i, 100)] {
      for (int round = 0; round < 1000; ++round) {
        const Slice copy = mine;
        const Slice part = copy.part(1, 10);
        if (part.view() != "xxxxxxxxxx") std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(whole.view().size() == 1000);
}

}  // namespace sluice
