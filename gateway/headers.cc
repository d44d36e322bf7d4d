// SPDX-License-Identifier: Apache-2.0
#include "gateway/headers.h"

#include <algorithm>

#include "base/http1_head.h"

namespace sluice {

namespace {

constexpr std::string_view kHopByHop[] = {
    "connection",          "keep-alive", "proxy-connection", "te",     "trailer",
    "transfer-encoding",   "upgrade",    "content-length",   "expect", "proxy-authenticate",
    "proxy-authorization", "host"};

constexpr std::string_view kHarmless[] = {
    "user-agent", "accept",  "accept-encoding", "accept-language", "date",      "traceparent",
    "tracestate", "baggage", "x-request-id",    "x-amzn-trace-id", "forwarded", "via"};
constexpr std::string_view kHarmlessPrefixes[] = {"x-stainless-", "x-fern-", "x-sluice-",
                                                  "x-forwarded-"};

// What codecs read and write themselves.
constexpr std::string_view kCodecs[] = {"content-type", "content-encoding",
                                        "inference-header-content-length"};

constexpr std::string_view kCredentials[] = {
    "authorization", "x-api-key", "api-key", "cookie", "openai-organization", "openai-project"};

template <size_t N>
bool one_of(std::string_view name, const std::string_view (&names)[N]) {
  return std::ranges::any_of(
      names, [&](std::string_view one) { return http1::equal_any_case(one, name); });
}

// FNV-1a; whose share a request takes need not be a secret, only the same for the same credentials.
uint64_t fingerprint(std::string_view bytes, uint64_t hash) {
  for (const char byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3ull;
  return hash;
}

}  // namespace

bool is_hop_by_hop(std::string_view name) { return one_of(name, kHopByHop); }

bool is_harmless(std::string_view name) {
  return one_of(name, kHarmless) ||
         std::ranges::any_of(kHarmlessPrefixes, [&](std::string_view prefix) {
           return name.size() >= prefix.size() &&
                  http1::equal_any_case(name.substr(0, prefix.size()), prefix);
         });
}

bool is_credential(std::string_view name) { return one_of(name, kCredentials); }

bool is_listed_in_connection(std::span<const Header> headers, std::string_view name) {
  for (const Header& header : headers) {
    if (!http1::equal_any_case(header.name, "connection")) continue;
    bool listed = false;
    http1::for_each_element(header.value, [&](std::string_view one) {
      listed |= !one.empty() && http1::equal_any_case(one, name);
    });
    if (listed) return true;
  }
  return false;
}

std::vector<std::pair<std::string, std::string>> merge_headers(std::span<const Header> headers,
                                                               bool own_credentials) {
  std::vector<std::pair<std::string, std::string>> kept;
  for (const Header& header : headers) {
    if (is_hop_by_hop(header.name) || is_harmless(header.name) || one_of(header.name, kCodecs))
      continue;
    if (own_credentials && is_credential(header.name)) continue;
    if (is_listed_in_connection(headers, header.name)) continue;
    std::string name(header.name);
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    kept.emplace_back(std::move(name), header.value);
  }
  return kept;
}

uint64_t tenant_of(std::span<const Header> headers) {
  constexpr uint64_t kStart = 0xcbf29ce484222325ull;
  uint64_t hash = kStart;
  for (const Header& header : headers) {
    if (is_credential(header.name)) hash = fingerprint(header.value, hash);
  }
  return hash == kStart ? 0 : std::max<uint64_t>(hash, 1);
}

}  // namespace sluice
