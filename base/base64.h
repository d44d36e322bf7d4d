// SPDX-License-Identifier: Apache-2.0
#pragma once
// Base64 as RFC 4648 section 4 has it, with padding.

#include <optional>
#include <string>
#include <string_view>

namespace sluice {

// Appends the encoding of `bytes` to `out`.
void append_base64(std::string& out, std::string_view bytes);

// How many bytes `text` encodes, if it is an encoding: whole groups of four, padded, with nothing
// else in it. Bits that padding leaves over are not looked at.
std::optional<size_t> base64_size(std::string_view text);
// Appends what `text` encodes. REQUIRES: base64_size(text)
void append_from_base64(std::string& out, std::string_view text);

}  // namespace sluice
