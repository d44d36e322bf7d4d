// SPDX-License-Identifier: Apache-2.0
#pragma once
// WordPiece: a word becomes the longest piece of the vocabulary that it begins with, then the
// longest that the rest begins with, and so on; or the unknown token if any rest begins with none.
// The vocabulary is a double-array trie: the longest piece costs one look-up per byte.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

// A string and the id it stands for.
struct VocabularyPiece {
  std::string text;
  int32_t id = 0;
};

// A set of strings, each with an id, that finds the longest one a text begins with. Immutable.
class PieceTrie {
 public:
  // A place in the trie; kRoot is where every string begins.
  using Node = uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr Node kNowhere = UINT32_MAX;

  // The longest string found; length 0 and id -1 if none.
  struct Match {
    size_t length = 0;
    int32_t id = -1;
  };

  // Of pieces with the same text the one of the highest id counts; empty texts are left out.
  // REQUIRES: ids are not negative.
  explicit PieceTrie(std::vector<VocabularyPiece> pieces);

  // The longest string s, not empty, such that `text` begins with s and the trie holds what leads
  // to `from`, followed by s. REQUIRES: `from` is kRoot or came from walk().
  Match longest(Node from, std::string_view text) const {
    Match match;
    if (from == kNowhere) return match;
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t next = units_[from].base + static_cast<uint8_t>(text[i]);
      if (units_[next].parent != from) break;
      from = next;
      if (units_[from].id >= 0) match = {i + 1, units_[from].id};
    }
    return match;
  }
  // Where `text` leads from the root; kNowhere if no string begins with it.
  Node walk(std::string_view text) const;

 private:
  // The children of a node are at base + byte, and name it as their parent.
  struct Unit {
    uint32_t base = 0;
    uint32_t parent = kNowhere;
    int32_t id = -1;
  };
  // What was not built yet: node `node` covers pieces [begin, end), which agree in `depth` bytes.
  struct Branch {
    Node node;
    size_t begin, end, depth;
  };

  void expand(const std::vector<VocabularyPiece>& pieces, const Branch& branch,
              std::vector<Branch>& todo);
  uint32_t find_base(const std::vector<uint8_t>& bytes);

  std::vector<Unit> units_;
  uint32_t search_from_ = 1;
};

// Cuts words into pieces. Immutable; may be used by any number of threads.
class WordPiece {
 public:
  // `prefix`, e.g. "##", marks pieces that continue a word. REQUIRES: ids are not negative.
  WordPiece(std::vector<VocabularyPiece> vocabulary, std::string_view prefix, int32_t unknown)
      : trie_(std::move(vocabulary)), continued_(trie_.walk(prefix)), unknown_(unknown) {}

  // Appends the pieces of `word`: at least one id, at most one per character.
  // REQUIRES: word is not empty.
  void append(std::string_view word, std::vector<int32_t>& ids) const;
  int32_t unknown() const { return unknown_; }

 private:
  PieceTrie trie_;
  PieceTrie::Node continued_;  // where the prefix leads: continuing pieces begin there
  int32_t unknown_;
};

}  // namespace sluice
