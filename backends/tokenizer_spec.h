// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a Hugging Face folder says about its tokenizer, read into one value. Only BERT's kind is
// understood (BertNormalizer, BertPreTokenizer, WordPiece); anything else is refused by name rather
// than answered with ids that are nearly right.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/word_splitter.h"
#include "backends/wordpiece.h"
#include "base/result.h"

namespace sluice {

// How two texts become one row: tokens before the first, between the two and behind the second,
// and what is added to the ids of each text; kSecondSegment (backends/engine.h) is in all of them
// where it belongs.
struct PairTemplate {
  std::vector<int32_t> before, between, behind;
  int32_t first_mark = 0;
  int32_t second_mark = 0;

  size_t specials() const { return before.size() + between.size() + behind.size(); }
};

struct TokenizerSpec {
  SplitFlags flags;
  std::vector<VocabularyPiece> vocabulary;
  // Tokens found in the text as it came, before anything is done to it, e.g. "[SEP]".
  std::vector<VocabularyPiece> added;
  std::string prefix = "##";  // of pieces that continue a word
  std::string unknown = "[UNK]";
  uint32_t word_characters_max = 100;  // a longer word is one unknown token
  int32_t cls = -1;                    // before the text
  int32_t sep = -1;                    // behind it
  std::optional<PairTemplate> pair;    // nothing if the folder has none that a row can hold
};

// BERT's own: [CLS] a [SEP] b [SEP], of which b and what is behind it are the second segment.
PairTemplate bert_pair(int32_t cls, int32_t sep);

// Reads `folder`/tokenizer.json, or, where there is none, vocab.txt; then tokenizer_config.json,
// whose do_lower_case, strip_accents and tokenize_chinese_chars overrule tokenizer.json where they
// are given, as BertTokenizerFast has it. The truncation and padding that tokenizer.json holds are
// not read: the limit is the caller's. kNotFound if neither file is there; kInvalid, naming the
// file and the field, for what is malformed or not supported.
Result<TokenizerSpec> read_tokenizer_spec(const std::string& folder);

}  // namespace sluice
