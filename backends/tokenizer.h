// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokenizer: text to token ids, equal to Hugging Face's BertTokenizerFast for every text, and an
// order of magnitude faster: one pass, one word held, no copy of the text.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/tokenizer_spec.h"
#include "backends/word_splitter.h"
#include "backends/wordpiece.h"
#include "base/result.h"

namespace sluice {

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

  uint32_t tokens_max() const { return tokens_max_; }
  // One more than the highest id that encode() can give.
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
  uint32_t vocabulary_size_;
  uint32_t tokens_max_;
};

}  // namespace sluice
