// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/shadow.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace sluice::ptx {
namespace {

bool may_conflict(Record before, Record by, const Knowledge& knowledge) {
  if (before == 0) return false;
  if (is_strong(before) && is_strong(by)) return false;
  return !knowledge.is_before(before, lane_of(by));
}

// Whether two records are of one warp at one of its times.
bool same_moment(Record a, Record b) {
  return block_of(a) == block_of(b) && warp_of(a) == warp_of(b) && time_of(a) == time_of(b);
}

// Two reads of one warp as one record.
Record merge_reads(Record before, Record by) {
  RecordParts parts{block_of(by), warp_of(by), lane_of(by), is_strong(before) && is_strong(by),
                    time_of(by),  place_of(by)};
  if (lane_of(before) != lane_of(by)) parts.lane = kSeveralLanes;
  return pack(parts);
}

// Puts a read into one of two places. A read that happened before this one need not be kept: what
// is ordered after this one is ordered after that one.
void note_read(Cell& cell, Record by, const Knowledge& knowledge) {
  for (Record* kept : {&cell.read_a, &cell.read_b}) {
    if (*kept == 0) {
      *kept = by;
      return;
    }
    if (same_moment(*kept, by)) {
      *kept = merge_reads(*kept, by);
      return;
    }
    if (knowledge.is_before(*kept, lane_of(by))) {
      *kept = by;
      return;
    }
  }
}

}  // namespace

bool Knowledge::is_foreign_before(Record record) const {
  if (!foreign) return false;
  const auto found = foreign->find(block_of(record));
  return found != foreign->end() && time_of(record) <= found->second[warp_of(record)];
}

void Knowledge::join(const Knowledge& other) {
  for (size_t i = 0; i < seen.size(); ++i) seen[i] = std::max(seen[i], other.seen[i]);
  join_foreign(other.foreign);
}

void Knowledge::join_foreign(const std::shared_ptr<const Foreign>& other) {
  if (!other || other == foreign) return;
  if (!foreign) {
    foreign = other;
    return;
  }
  auto joined = std::make_shared<Foreign>(*foreign);
  for (const auto& [block_index, times] : *other) {
    Times& mine = (*joined)[block_index];
    for (size_t i = 0; i < mine.size(); ++i) mine[i] = std::max(mine[i], times[i]);
  }
  foreign = std::move(joined);
}

std::shared_ptr<const Foreign> Knowledge::publish() const {
  auto all = foreign ? std::make_shared<Foreign>(*foreign) : std::make_shared<Foreign>();
  Times& mine = (*all)[block];
  for (size_t i = 0; i < mine.size(); ++i) mine[i] = std::max(mine[i], seen[i]);
  mine[warp] = std::max(mine[warp], time);
  return all;
}

Shadow::Shadow(size_t bytes) : cells_((bytes + 3) / 4), split_(cells_.size(), 0) {}

void Shadow::reset() {
  std::fill(cells_.begin(), cells_.end(), Cell{});
  std::fill(split_.begin(), split_.end(), uint8_t{0});
}

// Calls `each` on the cells of the access: one per word where the word is not split and all of it
// is accessed, else one per byte. A write of a whole word joins its bytes again.
template <class Each>
void Shadow::each_cell(size_t offset, size_t bytes, bool is_write, Each each) {
  size_t at = offset;
  const size_t end = offset + bytes;
  while (at < end) {
    const size_t word = at / 4;
    const size_t word_end = std::min(end, (word + 1) * 4);
    const bool whole = at % 4 == 0 && word_end - at == 4;
    if (whole && split_[word] == 0) {
      each(cells_[word]);
      at = word_end;
      continue;
    }
    if (split_[word] == 0) {
      if (bytes_of_.empty()) bytes_of_.resize(cells_.size());
      bytes_of_[word].fill(cells_[word]);
      split_[word] = 1;
    }
    for (; at < word_end; ++at) each(bytes_of_[word][at % 4]);
    if (whole && is_write) {
      split_[word] = 0;
      cells_[word] = bytes_of_[word][0];
    }
  }
}

Touch Shadow::read(size_t offset, size_t bytes, Record by, const Knowledge& knowledge) {
  ASSERT(offset + bytes <= cells_.size() * 4);
  Touch touch;
  each_cell(offset, bytes, false, [&](Cell& cell) {
    if (cell.write == 0) touch.uninitialised = true;
    if (may_conflict(cell.write, by, knowledge) && touch.conflict == 0) {
      touch.conflict = cell.write;
      touch.conflict_is_write = true;
    }
    note_read(cell, by, knowledge);
  });
  return touch;
}

Touch Shadow::write(size_t offset, size_t bytes, Record by, const Knowledge& knowledge) {
  ASSERT(offset + bytes <= cells_.size() * 4);
  Touch touch;
  each_cell(offset, bytes, true, [&](Cell& cell) {
    for (const Record before : {cell.write, cell.read_a, cell.read_b}) {
      if (touch.conflict == 0 && may_conflict(before, by, knowledge)) {
        touch.conflict = before;
        touch.conflict_is_write = before == cell.write;
      }
    }
    cell = Cell{by, 0, 0};
  });
  return touch;
}

void PageBits::set(size_t offset, size_t bytes) {
  size_t at = offset;
  const size_t end = offset + bytes;
  while (at < end) {
    const size_t count = std::min(end - at, 64 - at % 64);
    const uint64_t ones = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    bits_[at / 64] |= ones << (at % 64);
    at += count;
  }
}

size_t PageBits::bytes_set() const {
  size_t count = 0;
  for (const uint64_t word : bits_) count += static_cast<size_t>(std::popcount(word));
  return count;
}

size_t PageBits::sectors_set() const {
  size_t count = 0;
  for (const uint64_t word : bits_) {
    count += ((word & 0xffffffffu) != 0 ? 1u : 0u) + ((word >> 32) != 0 ? 1u : 0u);
  }
  return count;
}

}  // namespace sluice::ptx
