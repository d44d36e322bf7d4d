// SPDX-License-Identifier: Apache-2.0
#pragma once
// PTX text as words and marks.

#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice::ptx {

// A word (a name, a number or a mnemonic with all of its parts), a quoted string, or one mark such
// as `[`. The views are into the text.
struct Token {
  std::string_view text;
  uint32_t line = 0;  // from 1
  bool is_word = false;
};

// Comments are left out.
std::vector<Token> tokenize(std::string_view text);

}  // namespace sluice::ptx
