// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which headers mean what to a gateway: those that end at each hop, those that never matter to a
// merge, those that are credentials. Names are compared without regard to case.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/http1.h"

namespace sluice {

// Whether `name` is about one connection only (RFC 9110, 7.6.1) or about framing.
bool is_hop_by_hop(std::string_view name);
// Whether requests that differ only in `name` may share a call.
bool is_harmless(std::string_view name);
// Whether `name` says who asks.
bool is_credential(std::string_view name);
// Whether a Connection header of `headers` lists `name`, which then ends here too.
bool is_listed_in_connection(std::span<const Header> headers, std::string_view name);

// What of a client's headers goes into the key of its request, and so to the upstream: all that are
// neither harmless nor hop-by-hop nor a codec's business; no credentials if the gateway has its
// own. Names in lower case, in the client's order.
std::vector<std::pair<std::string, std::string>> merge_headers(std::span<const Header> headers,
                                                               bool own_credentials);
// Whose fair share a request takes: a fingerprint of its credentials; 0 if it brings none.
uint64_t tenant_of(std::span<const Header> headers);

}  // namespace sluice
