// SPDX-License-Identifier: Apache-2.0
#include "backends/oip_rows.h"

#include <cstdint>
#include <cstring>

namespace sluice::oip {

std::vector<Slice> gather(std::span<const std::vector<Slice>> columns) {
  ASSERT(!columns.empty());
  if (columns.size() == 1) return columns.front();
  const size_t count = columns.front().size();
  const size_t head = columns.size() * sizeof(uint64_t);
  std::vector<size_t> ends(count);
  size_t bytes = 0;
  for (size_t row = 0; row < count; ++row) {
    bytes += head;
    for (const std::vector<Slice>& column : columns) bytes += column[row].size();
    ends[row] = bytes;
  }
  const auto fill = [&](char* out) {
    for (size_t row = 0; row < count; ++row) {
      for (const std::vector<Slice>& column : columns) {
        const uint64_t length = column[row].size();
        std::memcpy(out, &length, sizeof(length));
        out += sizeof(length);
      }
      for (const std::vector<Slice>& column : columns) {
        if (column[row].empty()) continue;
        std::memcpy(out, column[row].data(), column[row].size());
        out += column[row].size();
      }
    }
  };
  const Slice all(ChunkRef::make(bytes, fill));
  std::vector<Slice> rows;
  rows.reserve(count);
  for (size_t row = 0; row < count; ++row) {
    const size_t begin = row == 0 ? 0 : ends[row - 1];
    rows.push_back(all.part(begin, ends[row] - begin));
  }
  return rows;
}

Result<std::vector<std::vector<Slice>>> scatter(std::span<const Slice> rows, size_t tensors) {
  std::vector<std::vector<Slice>> columns(tensors);
  if (tensors == 1) {
    columns.front().assign(rows.begin(), rows.end());
    return columns;
  }
  const Error broken{.code = Code::kInternal, .message = "A row of tensors is broken."};
  const size_t head = tensors * sizeof(uint64_t);
  for (std::vector<Slice>& column : columns) column.reserve(rows.size());
  for (const Slice& row : rows) {
    if (row.size() < head) return broken;
    size_t at = head;
    for (size_t i = 0; i < tensors; ++i) {
      uint64_t length = 0;
      std::memcpy(&length, row.data() + i * sizeof(length), sizeof(length));
      if (length > row.size() - at) return broken;
      columns[i].push_back(row.part(at, static_cast<size_t>(length)));
      at += static_cast<size_t>(length);
    }
    if (at != row.size()) return broken;
  }
  return columns;
}

}  // namespace sluice::oip
