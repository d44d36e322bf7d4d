// SPDX-License-Identifier: Apache-2.0
#include "backends/tokenizer.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "backends/engine.h"
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

// No limit to the ids of a text.
constexpr size_t kAll = std::numeric_limits<size_t>::max();

// How many tokens of the two texts of a pair.
struct PairLengths {
  size_t first;
  size_t second;
};

// What Hugging Face's LongestFirst leaves of a pair that has more than `room` tokens. The shorter
// text keeps all of its tokens if it has at most half of the room; else each gets half, and where
// that leaves one over, the longer one, or the second of two as long, has it.
PairLengths longest_first(PairLengths pair, size_t room) {
  const bool first_is_longer = pair.first > pair.second;
  const size_t shorter = std::min(pair.first, pair.second);
  PairLengths kept{shorter, shorter < room ? std::max(shorter, room - shorter) : shorter};
  if (kept.first + kept.second > room) kept = {room / 2, room - room / 2};
  if (first_is_longer) std::swap(kept.first, kept.second);
  return kept;
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
  if (spec.pair) {
    for (const auto* tokens : {&spec.pair->before, &spec.pair->between, &spec.pair->behind}) {
      for (const int32_t token : *tokens)
        size = std::max(size, static_cast<uint32_t>(token & ~kSecondSegment) + 1);
    }
  }
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
      pair_(std::move(spec.pair)),
      vocabulary_size_(vocabulary_size),
      tokens_max_(tokens_max) {
  for (const VocabularyPiece& piece : spec.added) {
    if (!piece.text.empty()) rules_.add_token_start(piece.text.front());
  }
}

void Tokenizer::append_pieces(std::string_view text, size_t count_max,
                              std::vector<int32_t>& ids) const {
  const size_t room = std::numeric_limits<size_t>::max() - ids.size();
  IdSink sink{added_, pieces_, ids, ids.size() + std::min(count_max, room)};
  WordSplitter<IdSink>(rules_, sink).split(text);
}

bool Tokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  ids.push_back(cls_);
  const size_t size_max = ids.size() + tokens_max_ - 2;
  append_pieces(text, tokens_max_ - 2, ids);
  const bool cut = ids.size() > size_max;
  if (cut) ids.resize(size_max);
  ids.push_back(sep_);
  return cut;
}

bool Tokenizer::encode(std::string_view text, Cut cut, std::vector<int32_t>& ids) const {
  if (cut == Cut::kEnd) return encode(text, ids);
  ids.push_back(cls_);
  const size_t begin = ids.size();
  append_pieces(text, kAll, ids);
  const size_t count = ids.size() - begin;
  const size_t room = tokens_max_ - 2;
  const bool too_long = cut == Cut::kStart && count > room;
  if (too_long) {
    const auto from = ids.begin() + static_cast<ptrdiff_t>(begin);
    ids.erase(from, from + static_cast<ptrdiff_t>(count - room));
  }
  ids.push_back(sep_);
  return too_long;
}

bool Tokenizer::encode_pair(std::span<const int32_t> first, std::string_view second, Cut cut,
                            std::vector<int32_t>& ids) const {
  ASSERT(takes_pairs());
  const size_t room = tokens_max_ - pair_->specials();
  std::vector<int32_t> other;
  // Beyond this nothing depends on how long the second text is.
  append_pieces(second, cut == Cut::kEnd ? std::max(room, first.size()) : kAll, other);
  std::span<const int32_t> last(other);
  const bool too_long = cut != Cut::kUncut && first.size() + last.size() > room;
  if (too_long) {
    const PairLengths lengths = longest_first({first.size(), last.size()}, room);
    const auto keep = [cut](std::span<const int32_t> text, size_t count) {
      return cut == Cut::kEnd ? text.first(count) : text.last(count);
    };
    first = keep(first, lengths.first);
    last = keep(last, lengths.second);
  }
  const auto put = [&ids](std::span<const int32_t> from, int32_t mark) {
    for (const int32_t id : from) ids.push_back(id | mark);
  };
  put(pair_->before, 0);
  put(first, pair_->first_mark);
  put(pair_->between, 0);
  put(last, pair_->second_mark);
  put(pair_->behind, 0);
  return too_long;
}

}  // namespace sluice
