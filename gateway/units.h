// SPDX-License-Identifier: Apache-2.0
#pragma once
// Values as people write them: "10s", "4MiB", "127.0.0.1:8080". One reading of each, shared by the
// configuration file and the command line. Errors are kInvalid; their message continues "<field> "
// ("must be ...") and never repeats the text, which may be a secret.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "base/time.h"

namespace sluice {

// A whole number without sign, unit or separators, e.g. "4096".
Result<uint64_t> parse_count(std::string_view text);

// A span of time with its unit (ns, us, ms, s, m, h), e.g. "10s" or "0.1ms"; "0" alone is zero.
// Anything finer than a nanosecond is refused, not rounded.
Result<Duration> parse_duration(std::string_view text);

// A number of bytes, plain or with a unit: B, kB, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB,
// TiB (powers of 1024), e.g. "4MiB". A fraction must come to whole bytes.
Result<uint64_t> parse_bytes(std::string_view text);

// on, true, yes; off, false, no.
Result<bool> parse_switch(std::string_view text);

// HOST:PORT, where HOST is an IPv4 literal, an IPv6 literal in brackets, or localhost (which is
// 127.0.0.1), e.g. "[::1]:8080". Port 0: any free one.
Result<Address> parse_address(std::string_view text);

// The shortest text that parse_duration() reads back as `value`, in whole units: "75s", "500ms".
// REQUIRES: value is not negative.
std::string format_duration(Duration value);

// The shortest text that parse_bytes() reads back as `value`, in whole units: "4MiB", "1000B".
std::string format_bytes(uint64_t value);

// HOST:PORT as parse_address() reads it.
std::string format_address(const Address& address);

// The candidate that `word` was most likely meant to be: the fewest letters put in, left out,
// changed or swapped with a neighbour. Nothing when none is near enough to be a slip.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates);

// `text` in double quotes for an error message: control characters shown as '?', cut to 60 bytes.
std::string quote(std::string_view text);

}  // namespace sluice
