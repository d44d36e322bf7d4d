// SPDX-License-Identifier: Apache-2.0
#include "backends/tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "backends/utf8.h"

namespace sluice {
namespace {

bool is_utf8(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* const begin = at;
    // U+FFFD written out is three bytes that begin with 0xEF; any other is a replacement.
    if (decode_utf8(at, end) == kReplacementCharacter &&
        std::string_view(begin, static_cast<size_t>(at - begin)) != "\xEF\xBF\xBD") {
      return false;
    }
  }
  return true;
}

// What is wrong with `pieces`, or nothing; raises `size` above their ids.
std::optional<Error> check(const std::vector<VocabularyPiece>& pieces, uint32_t& size) {
  for (const VocabularyPiece& piece : pieces) {
    if (piece.id < 0) return Error{Code::kInvalid, "the token \"" + piece.text + "\" has no id"};
    if (!is_utf8(piece.text)) {
      return Error{Code::kInvalid, "the token of id " + std::to_string(piece.id) + " is not UTF-8"};
    }
    size = std::max(size, static_cast<uint32_t>(piece.id) + 1);
  }
  return std::nullopt;
}

// Takes the words of a text as they come and stops at the first id too many.
struct IdSink {
  const PieceTrie& added;
  const WordPiece& pieces;
  std::vector<int32_t>& ids;
  size_t size_max;
  int32_t token_id = -1;

  bool room() const { return ids.size() <= size_max; }
  bool word(std::string_view word) {
    pieces.append(word, ids);
    return room();
  }
  bool long_word() {
    ids.push_back(pieces.unknown());
    return room();
  }
  size_t match_token(std::string_view rest) {
    const PieceTrie::Match match = added.longest(PieceTrie::kRoot, rest);
    token_id = match.id;
    return match.length;
  }
  bool token() {
    ids.push_back(token_id);
    return room();
  }
};

}  // namespace

Result<std::unique_ptr<const Tokenizer>> Tokenizer::load(const std::string& folder,
                                                         uint32_t tokens_max) {
  Result<TokenizerSpec> spec = read_tokenizer_spec(folder);
  if (!spec.ok()) return spec.error();
  Result<std::unique_ptr<const Tokenizer>> made = make(std::move(spec).value(), tokens_max);
  if (made.ok()) return made;
  Error error = made.error();
  error.message = folder + ": the tokenizer: " + error.message;
  return error;
}

Result<std::unique_ptr<const Tokenizer>> Tokenizer::make(TokenizerSpec spec, uint32_t tokens_max) {
  if (tokens_max < 2) {
    return Error{Code::kInvalid, "a limit below 2 tokens leaves no room for special tokens"};
  }
  if (spec.word_characters_max == 0 || spec.word_characters_max > kWordCharactersLimit) {
    return Error{Code::kInvalid, "the longest word must have between 1 and 256 characters"};
  }
  uint32_t size = 0;
  if (auto error = check(spec.vocabulary, size)) return *error;
  if (auto error = check(spec.added, size)) return *error;
  if (auto error = check({{"[CLS]", spec.cls}, {"[SEP]", spec.sep}}, size)) return *error;
  int32_t unknown = -1;
  for (const VocabularyPiece& piece : spec.vocabulary) {
    if (piece.text == spec.unknown) unknown = std::max(unknown, piece.id);
  }
  if (unknown < 0) {
    return Error{Code::kInvalid, "the unknown token \"" + spec.unknown + "\" has no id"};
  }
  return std::unique_ptr<const Tokenizer>(
      new Tokenizer(std::move(spec), unknown, size, tokens_max));
}

Tokenizer::Tokenizer(TokenizerSpec spec, int32_t unknown, uint32_t vocabulary_size,
                     uint32_t tokens_max)
    : rules_(spec.flags, spec.word_characters_max),
      added_(spec.added),
      pieces_(std::move(spec.vocabulary), spec.prefix, unknown),
      cls_(spec.cls),
      sep_(spec.sep),
      vocabulary_size_(vocabulary_size),
      tokens_max_(tokens_max) {
  for (const VocabularyPiece& piece : spec.added) {
    if (!piece.text.empty()) rules_.add_token_start(piece.text.front());
  }
}

bool Tokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  ids.push_back(cls_);
  const size_t size_max = ids.size() + tokens_max_ - 2;
  IdSink sink{added_, pieces_, ids, size_max};
  WordSplitter<IdSink>(rules_, sink).split(text);
  const bool cut = ids.size() > size_max;
  if (cut) ids.resize(size_max);
  ids.push_back(sep_);
  return cut;
}

}  // namespace sluice
