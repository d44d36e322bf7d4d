// SPDX-License-Identifier: Apache-2.0
#include "backends/word_splitter.h"

namespace sluice {

SplitRules::SplitRules(SplitFlags flags, uint32_t word_characters_max)
    : flags_(flags), word_characters_max_(word_characters_max) {
  ASSERT(word_characters_max > 0 && word_characters_max <= kWordCharactersLimit);
  action_.fill(Action::kOther);
  for (uint8_t byte = 0; byte < 0x80; ++byte) {
    const CodePointClass& of = class_of(byte);
    action_[byte] = flags.clean_text && of.has(CodePointClass::kControl) ? Action::kDelete
                    : of.has(CodePointClass::kSpace)                     ? Action::kSpace
                    : of.has(CodePointClass::kPunctuation)               ? Action::kPunctuation
                                                                         : Action::kLetter;
    lower_[byte] = static_cast<char>(flags.lowercase ? byte + of.to_lower : byte);
  }
}

}  // namespace sluice
