// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokenizer: text to token ids, equal to Hugging Face's BertTokenizerFast for every text, and an
// order of magnitude faster: one pass, one word held, no copy of the text.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/tokenizer_spec.h"
#include "backends/word_splitter.h"
#include "backends/wordpiece.h"
#include "base/result.h"

namespace sluice {

// What to do with a text that is too long.
enum class Cut {
  kEnd,    // drop its last tokens
  kStart,  // drop its first tokens
  kUncut,  // keep all of it
};

// Immutable: one serves any number of threads.
class Tokenizer {
 public:
  // From a Hugging Face folder: see read_tokenizer_spec() for the files and make() for the rest.
  static Result<std::unique_ptr<const Tokenizer>> load(const std::string& folder,
                                                       uint32_t tokens_max);
  // `tokens_max`: the most ids of a text, [CLS] and [SEP] included; at least 2. kInvalid if that is
  // less, or if `spec` is of no use (empty or not UTF-8, negative ids, no unknown token).
  static Result<std::unique_ptr<const Tokenizer>> make(TokenizerSpec spec, uint32_t tokens_max);

  // Appends [CLS], the ids of `text` and [SEP] to `ids`: 2 to tokens_max() of them. Returns true if
  // the text had more and was cut; it is then not read to its end, so that the cost of a text is
  // bounded by tokens_max() unless it consists of blanks or of one endless word. Bytes that are no
  // UTF-8 count as U+FFFD.
  bool encode(std::string_view text, std::vector<int32_t>& ids) const;

  // The same with a choice. Any but kEnd reads a text to its end; kUncut appends all of its ids,
  // and returns false.
  bool encode(std::string_view text, Cut cut, std::vector<int32_t>& ids) const;

  // Whether there is a template for pairs, and room for it.
  bool takes_pairs() const { return pair_ && pair_->specials() < tokens_max_; }
  // Appends the ids of `text`, without special tokens, at most `count_max` + one word of them.
  void append_pieces(std::string_view text, size_t count_max, std::vector<int32_t>& ids) const;
  // Appends the row of a pair, by the folder's template, segments marked: `first` as
  // append_pieces() gave the whole of it, and the ids of `second`, both cut as Hugging Face's
  // LongestFirst does: the longer one alone while that is enough, else both to about half. Returns
  // true if something was cut. With Cut::kEnd `second` is read no further than the longer of
  // `first` and tokens_max(). REQUIRES: takes_pairs()
  bool encode_pair(std::span<const int32_t> first, std::string_view second, Cut cut,
                   std::vector<int32_t>& ids) const;

  uint32_t tokens_max() const { return tokens_max_; }
  // One more than the highest id that a row can have.
  uint32_t vocabulary_size() const { return vocabulary_size_; }
  int32_t cls() const { return cls_; }
  int32_t sep() const { return sep_; }
  int32_t unknown() const { return pieces_.unknown(); }

 private:
  Tokenizer(TokenizerSpec spec, int32_t unknown, uint32_t vocabulary_size, uint32_t tokens_max);

  SplitRules rules_;
  PieceTrie added_;
  WordPiece pieces_;
  int32_t cls_;
  int32_t sep_;
  std::optional<PairTemplate> pair_;
  uint32_t vocabulary_size_;
  uint32_t tokens_max_;
};

}  // namespace sluice
