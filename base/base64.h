// SPDX-License-Identifier: Apache-2.0
#pragma once
// Base64 as RFC 4648 section 4 has it, with padding.

#include <string>
#include <string_view>

namespace sluice {

// Appends the encoding of `bytes` to `out`.
void append_base64(std::string& out, std::string_view bytes);

}  // namespace sluice
