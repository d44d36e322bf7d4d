// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who touched which bytes last, for the detection of races. It does not depend on the order in
// which warps happen to run: two accesses conflict if no barrier orders them, whichever came first.
//
// Each warp counts its synchronisations (its time). A Record says who touched a byte and at what
// time of theirs; a warp knows up to which time of each other warp everything has happened before.
// A cell holds the last write and up to two unordered reads since. Cells are for words of 4 bytes,
// and for single bytes of words that are accessed in parts.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace sluice::ptx {

constexpr uint32_t kWarpsMax = 32;  // of a block

// Limits of what a Record can say.
constexpr uint32_t kRecordBlocksMax = 1u << 20;
constexpr uint32_t kRecordTimeMax = (1u << 16) - 1;
constexpr uint32_t kRecordPlacesMax = 1u << 16;

// Who touched a byte: block (20 bits), warp (5), lane or "several lanes" (6), strong (1), time
// (16), index of the instruction (16). 0 says nobody: a time is never 0.
using Record = uint64_t;
constexpr uint32_t kSeveralLanes = 32;

struct RecordParts {
  uint32_t block = 0;
  uint32_t warp = 0;
  uint32_t lane = 0;    // or kSeveralLanes
  bool strong = false;  // atomic, volatile, relaxed or the like: does not race with its equals
  uint32_t time = 0;
  uint32_t place = 0;  // index of the instruction
};

constexpr Record pack(const RecordParts& p) {
  return (static_cast<uint64_t>(p.block) << 44) | (static_cast<uint64_t>(p.warp) << 39) |
         (static_cast<uint64_t>(p.lane) << 33) | (static_cast<uint64_t>(p.strong ? 1 : 0) << 32) |
         (static_cast<uint64_t>(p.time) << 16) | p.place;
}
constexpr uint32_t block_of(Record r) { return static_cast<uint32_t>(r >> 44); }
constexpr uint32_t warp_of(Record r) { return static_cast<uint32_t>(r >> 39) & 31u; }
constexpr uint32_t lane_of(Record r) { return static_cast<uint32_t>(r >> 33) & 63u; }
constexpr bool is_strong(Record r) { return ((r >> 32) & 1u) != 0; }
constexpr uint32_t time_of(Record r) { return static_cast<uint32_t>(r >> 16) & 0xffffu; }
constexpr uint32_t place_of(Record r) { return static_cast<uint32_t>(r) & 0xffffu; }

// Times of the warps of one block.
using Times = std::array<uint16_t, kWarpsMax>;
// What is known of other blocks, by block.
using Foreign = std::map<uint32_t, Times>;

// What a warp knows to have happened before.
struct Knowledge {
  uint32_t block = 0;
  uint32_t warp = 0;
  uint16_t time = 1;                            // its own
  Times seen = {};                              // of the warps of its block
  std::shared_ptr<const Foreign> foreign = {};  // null if it synchronised with no other block

  // Whether the access of `record` happened before one by `lane` of this warp now.
  bool is_before(Record record, uint32_t lane) const {
    if (block_of(record) != block) return is_foreign_before(record);
    if (warp_of(record) == warp) return lane_of(record) == lane || time_of(record) < time;
    return time_of(record) <= seen[warp_of(record)];
  }
  // Makes all that `other` knows known.
  void join(const Knowledge& other);
  void join_foreign(const std::shared_ptr<const Foreign>& other);
  // All that is known, with itself, in the form in which another block takes it.
  std::shared_ptr<const Foreign> publish() const;

 private:
  bool is_foreign_before(Record record) const;
};

struct Cell {
  Record write = 0;
  Record read_a = 0;
  Record read_b = 0;
};

// What an access found.
struct Touch {
  Record conflict = 0;  // the other side, or 0
  bool conflict_is_write = false;
  bool uninitialised = false;  // it read bytes that have no write
};

// The cells of a stretch of memory.
class Shadow {
 public:
  explicit Shadow(size_t bytes);

  // Forgets everything.
  void reset();
  // Notes an access of [offset, offset + bytes) and compares it with what was before.
  Touch read(size_t offset, size_t bytes, Record by, const Knowledge& knowledge);
  Touch write(size_t offset, size_t bytes, Record by, const Knowledge& knowledge);
  // The first record of a write for which `wanted` holds, or 0.
  template <class Wanted>
  Record find_write(Wanted&& wanted) const {
    for (size_t word = 0; word < cells_.size(); ++word) {
      if (split_[word] != 0) {
        for (const Cell& cell : bytes_of_[word]) {
          if (cell.write != 0 && wanted(cell.write)) return cell.write;
        }
      } else if (cells_[word].write != 0 && wanted(cells_[word].write)) {
        return cells_[word].write;
      }
    }
    return 0;
  }
  size_t bytes() const { return cells_.size() * 4; }

 private:
  template <class Each>
  void each_cell(size_t offset, size_t bytes, bool is_write, Each each);

  std::vector<Cell> cells_;
  std::vector<uint8_t> split_;                 // per word: its bytes have cells of their own
  std::vector<std::array<Cell, 4>> bytes_of_;  // empty until a word is split
};

// One bit per byte of a page.
class PageBits {
 public:
  static constexpr size_t kBytes = 4096;

  void set(size_t offset, size_t bytes);
  void reset() { bits_.fill(0); }
  size_t bytes_set() const;
  // Of 32 bytes each, those with any byte set.
  size_t sectors_set() const;

 private:
  std::array<uint64_t, kBytes / 64> bits_ = {};
};

// A page of a region in one launch: cells, and which bytes were touched at all.
struct ShadowPage {
  uint32_t launch = 0;
  std::unique_ptr<Shadow> shadow = {};  // none for read-only regions
  PageBits read = {};
  PageBits written = {};
};

}  // namespace sluice::ptx
