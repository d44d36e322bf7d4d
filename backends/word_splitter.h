// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a text to the words that WordPiece cuts, exactly as Hugging Face's BertNormalizer and
// BertPreTokenizer do it in five passes over the text: clean-up, CJK spacing, accent stripping
// (canonical decomposition, canonical order of combining marks, nonspacing marks dropped),
// lower-casing, splitting at blanks and punctuation. Here it is one pass that holds one word and
// copies nothing else, so that it can stop as soon as enough tokens are known; ASCII takes a short
// path.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "backends/unicode_tables.h"
#include "backends/utf8.h"
#include "base/assert.h"

namespace sluice {

// What is done to a text; the fields of BertNormalizer. `strip_accents` is never "as lowercase":
// whoever reads a file resolves that.
struct SplitFlags {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

// The largest SplitRules::word_characters_max: a splitter holds one word on the stack.
inline constexpr uint32_t kWordCharactersLimit = 256;

// The flags, made into tables. Immutable; any number of splitters use it, on any thread.
class SplitRules {
 public:
  // What a byte of ASCII means; kOther is a byte of a longer sequence.
  enum class Action : uint8_t { kLetter, kSpace, kPunctuation, kDelete, kOther };

  // REQUIRES: 0 < word_characters_max <= kWordCharactersLimit
  explicit SplitRules(SplitFlags flags, uint32_t word_characters_max);
  // Says that an added token may begin with `byte`.
  void add_token_start(char byte) { token_start_[static_cast<uint8_t>(byte)] = true; }

  const SplitFlags& flags() const { return flags_; }
  uint32_t word_characters_max() const { return word_characters_max_; }
  Action action(char byte) const { return action_[static_cast<uint8_t>(byte)]; }
  char lower(char byte) const { return lower_[static_cast<uint8_t>(byte)]; }
  bool is_token_start(char byte) const { return token_start_[static_cast<uint8_t>(byte)]; }

 private:
  SplitFlags flags_;
  uint32_t word_characters_max_;
  std::array<Action, 256> action_{};
  std::array<char, 256> lower_{};
  std::array<bool, 256> token_start_{};
};

// Splits one text. Sink has, each called in the order of the text:
//   bool word(std::string_view word)   a word of 1 to word_characters_max characters, in UTF-8;
//   bool long_word()                   a word of more characters;
//   size_t match_token(std::string_view rest)   length of the added token that `rest` begins with,
//                                               or 0;
//   bool token()                       the added token matched last stands here.
// The bools say whether to go on.
template <typename Sink>
class WordSplitter {
 public:
  // Both must outlive the splitter.
  WordSplitter(const SplitRules& rules, Sink& sink)
      : rules_(rules),
        flags_(rules.flags()),
        characters_max_(rules.word_characters_max()),
        sink_(sink) {}

  // Hands the words of `text` to the sink. Bytes that are no UTF-8 count as U+FFFD.
  void split(std::string_view text);

 private:
  // A combining mark that waits for its run to end.
  struct Mark {
    char32_t c;
    uint8_t rank;
  };
  using Action = SplitRules::Action;

  const char* letters(const char* at, const char* end);
  const char* added_token(const char* at, const char* end);
  void character(char32_t c);
  void without_accents(char32_t c, const CodePointClass& of);
  void ordered(char32_t c, uint8_t rank);
  void end_run();
  void lowered(char32_t c);
  void put(char32_t c);
  void end_word();

  const SplitRules& rules_;
  const SplitFlags flags_;
  const uint32_t characters_max_;
  Sink& sink_;
  bool go_on_ = true;
  // The word so far: the first characters_max_ characters in word_, and how many there were, which
  // stays at characters_max_ + 1 once it is too long.
  size_t bytes_ = 0;
  uint32_t characters_ = 0;
  uint32_t marks_ = 0;
  std::array<char, kWordCharactersLimit * 4> word_;
  std::array<Mark, kWordCharactersLimit> mark_;
};

template <typename Sink>
void WordSplitter<Sink>::split(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end && go_on_) {
    if (rules_.is_token_start(*at)) {
      const char* behind = added_token(at, end);
      if (behind != at) {
        at = behind;
        continue;
      }
    }
    switch (rules_.action(*at)) {
      case Action::kLetter:
        at = letters(at, end);
        break;
      case Action::kSpace:
        end_word();
        ++at;
        break;
      case Action::kPunctuation:
        end_word();
        if (!go_on_) break;
        put(static_cast<uint8_t>(*at++));
        end_word();
        break;
      case Action::kDelete:
        ++at;
        break;
      case Action::kOther:
        character(decode_utf8(at, end));
        break;
    }
  }
  if (go_on_) end_word();
}

// Takes the letter at `at` and the letters behind it that cannot begin an added token.
template <typename Sink>
const char* WordSplitter<Sink>::letters(const char* at, const char* end) {
  end_run();
  const auto go = [&] {
    return at != end && rules_.action(*at) == Action::kLetter && !rules_.is_token_start(*at);
  };
  const uint32_t characters_before = characters_;
  char* to = word_.data() + bytes_;
  char* const to_end = to + (characters_max_ - std::min(characters_, characters_max_));
  char* const to_begin = to;
  if (to != to_end) {
    do {
      *to++ = rules_.lower(*at++);
    } while (to != to_end && go());
  }
  bytes_ += static_cast<size_t>(to - to_begin);
  characters_ = characters_before + static_cast<uint32_t>(to - to_begin);
  if (to == to_end && (characters_before >= characters_max_ || go())) {
    characters_ = characters_max_ + 1;
    do {
      ++at;
    } while (go());
  }
  return at;
}

template <typename Sink>
const char* WordSplitter<Sink>::added_token(const char* at, const char* end) {
  const size_t size = sink_.match_token({at, static_cast<size_t>(end - at)});
  if (size == 0) return at;
  end_word();
  if (go_on_) go_on_ = sink_.token();
  return at + size;
}

// One character through clean-up and CJK spacing.
template <typename Sink>
void WordSplitter<Sink>::character(char32_t c) {
  const CodePointClass& of = class_of(c);
  if (flags_.clean_text && of.has(CodePointClass::kControl)) return;
  const bool alone = flags_.handle_chinese_chars && of.has(CodePointClass::kCjk);
  if (alone) end_word();
  if (!go_on_) return;
  if (flags_.strip_accents) {
    without_accents(c, of);
  } else {
    lowered(c);
  }
  if (alone) end_word();
}

// Decomposes `c` and drops its marks. A dropped mark matters still if it is a starter, for it ends
// a run.
template <typename Sink>
void WordSplitter<Sink>::without_accents(char32_t c, const CodePointClass& of) {
  if (of.has(CodePointClass::kMark)) {
    if (of.rank == 0) end_run();
    return;
  }
  char32_t form[3] = {c, 0, 0};
  size_t size = 1;
  if (of.has(CodePointClass::kHasBareForm)) {
    size = bare_form(c, form);
  } else if (is_hangul_syllable(c)) {
    size = decompose_hangul(c, form);
  } else {
    return ordered(c, of.rank);
  }
  for (size_t i = 0; i < size; ++i) ordered(form[i], class_of(form[i]).rank);
}

// Canonical order: marks wait until a starter or the end of the word, then go in order of rank.
template <typename Sink>
void WordSplitter<Sink>::ordered(char32_t c, uint8_t rank) {
  if (rank == 0) {
    end_run();
    lowered(c);
    return;
  }
  if (characters_ + marks_ >= characters_max_) {
    // Too long whatever comes, so that the order no longer matters and the run need not be held.
    characters_ = characters_max_ + 1;
    marks_ = 0;
    return;
  }
  uint32_t i = marks_++;
  for (; i > 0 && mark_[i - 1].rank > rank; --i) mark_[i] = mark_[i - 1];
  mark_[i] = {c, rank};
}

template <typename Sink>
void WordSplitter<Sink>::end_run() {
  const uint32_t marks = std::exchange(marks_, 0);
  for (uint32_t i = 0; i < marks; ++i) lowered(mark_[i].c);
}

// Lower case, then what the pre-tokenizer makes of the result.
template <typename Sink>
void WordSplitter<Sink>::lowered(char32_t c) {
  const CodePointClass* of = &class_of(c);
  if (flags_.lowercase && of->to_lower != 0) {
    const bool dotted_capital_i = c == 0x130;
    c = static_cast<char32_t>(static_cast<int32_t>(c) + of->to_lower);
    of = &class_of(c);
    if (dotted_capital_i) {
      put(c);
      return put(0x307);
    }
  }
  if (!of->has(CodePointClass::kSpace | CodePointClass::kPunctuation)) return put(c);
  end_word();
  if (of->has(CodePointClass::kSpace) || !go_on_) return;
  put(c);
  end_word();
}

template <typename Sink>
void WordSplitter<Sink>::put(char32_t c) {
  if (characters_ >= characters_max_) {
    characters_ = characters_max_ + 1;
    return;
  }
  ASSERT(bytes_ + 4 <= word_.size());
  bytes_ += encode_utf8(c, word_.data() + bytes_);
  ++characters_;
}

template <typename Sink>
void WordSplitter<Sink>::end_word() {
  if (marks_ != 0) end_run();
  if (characters_ == 0) return;
  go_on_ = characters_ <= characters_max_ ? sink_.word({word_.data(), bytes_}) : sink_.long_word();
  bytes_ = 0;
  characters_ = 0;
}

}  // namespace sluice
