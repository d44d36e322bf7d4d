// SPDX-License-Identifier: Apache-2.0
#include "backends/wordpiece.h"

#include <algorithm>
#include <tuple>

#include "base/assert.h"

namespace sluice {

PieceTrie::PieceTrie(std::vector<VocabularyPiece> pieces) {
  std::sort(pieces.begin(), pieces.end(), [](const VocabularyPiece& a, const VocabularyPiece& b) {
    return std::tie(a.text, a.id) < std::tie(b.text, b.id);
  });
  units_.resize(2 * 256);
  std::vector<Branch> todo = {{kRoot, 0, pieces.size(), 0}};
  while (!todo.empty()) {
    const Branch branch = todo.back();
    todo.pop_back();
    expand(pieces, branch, todo);
  }
  // A look-up from any node reaches at most 255 units beyond its base.
  units_.shrink_to_fit();
}

// Gives `branch` its id and its children, and leaves those to do.
void PieceTrie::expand(const std::vector<VocabularyPiece>& pieces, const Branch& branch,
                       std::vector<Branch>& todo) {
  size_t begin = branch.begin;
  while (begin != branch.end && pieces[begin].text.size() == branch.depth) {
    ASSERT(pieces[begin].id >= 0);
    if (branch.depth > 0) units_[branch.node].id = pieces[begin].id;
    ++begin;
  }
  std::vector<uint8_t> bytes;
  std::vector<size_t> begins;
  for (size_t i = begin; i != branch.end; ++i) {
    const uint8_t byte = static_cast<uint8_t>(pieces[i].text[branch.depth]);
    if (!bytes.empty() && bytes.back() == byte) continue;
    bytes.push_back(byte);
    begins.push_back(i);
  }
  if (bytes.empty()) return;
  begins.push_back(branch.end);
  const uint32_t base = find_base(bytes);
  units_[branch.node].base = base;
  for (size_t i = 0; i < bytes.size(); ++i) {
    units_[base + bytes[i]].parent = branch.node;
    todo.push_back({base + bytes[i], begins[i], begins[i + 1], branch.depth + 1});
  }
}

// The first base that leaves `bytes` on free units, searched from where free units are not rare.
// Unit 0 is the root and never free. REQUIRES: bytes ascend and are not empty.
uint32_t PieceTrie::find_base(const std::vector<uint8_t>& bytes) {
  uint32_t used = 0;
  const uint32_t first = std::max<uint32_t>(search_from_, bytes[0] + 1u);
  for (uint32_t at = first;; ++at) {
    const uint32_t base = at - bytes[0];
    if (base + 2 * 256 > units_.size()) units_.resize(units_.size() + units_.size() / 2);
    const auto is_free = [&](uint8_t byte) { return units_[base + byte].parent == kNowhere; };
    if (!is_free(bytes[0])) {
      ++used;
      continue;
    }
    if (!std::all_of(bytes.begin(), bytes.end(), is_free)) continue;
    // Where nearly all units are taken, searching again would cost time and find nothing.
    if (used * 20ull >= (at - first + 1) * 19ull) search_from_ = at;
    return base;
  }
}

PieceTrie::Node PieceTrie::walk(std::string_view text) const {
  Node node = kRoot;
  for (const char byte : text) {
    const uint32_t next = units_[node].base + static_cast<uint8_t>(byte);
    if (units_[next].parent != node) return kNowhere;
    node = next;
  }
  return node;
}

void WordPiece::append(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t size_before = ids.size();
  PieceTrie::Node from = PieceTrie::kRoot;
  while (!word.empty()) {
    const PieceTrie::Match match = trie_.longest(from, word);
    if (match.length == 0) {
      ids.resize(size_before);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(match.id);
    word.remove_prefix(match.length);
    from = continued_;
  }
}

}  // namespace sluice
