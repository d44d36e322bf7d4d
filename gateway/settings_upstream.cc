// SPDX-License-Identifier: Apache-2.0
#include "gateway/settings_upstream.h"

#include <algorithm>

#include "backends/dialect.h"

namespace sluice {

namespace {

using B = BackendConfig;
using Text = TextField<B>;
constexpr Duration kDay = seconds(86'400);
constexpr size_t kPathBytesMax = 4000;  // the system's own limit is 4096

Error invalid(std::string message) {
  return {.code = Code::kInvalid, .message = std::move(message)};
}

Result<Done> set_url(B& backend, std::string_view text) {
  const Result<Origin> origin = parse_origin(text);
  if (!origin.ok()) return origin.error();
  backend.upstream.url = text;
  backend.kind = B::Kind::kHttp;
  return Done{};
}

Result<Done> set_dialect(B& backend, std::string_view text) {
  if (text != "json" && find_dialect(text) == nullptr)
    return invalid("must be one of " + dialect_names() + ", json");
  backend.upstream.dialect = text;
  return Done{};
}

Result<Done> set_forwarded(B& backend, std::string_view text) {
  if (text != "off" && text != "x-forwarded" && text != "forwarded")
    return invalid("must be off, x-forwarded or forwarded");
  backend.upstream.forwarded = text == "off"           ? ForwardedStyle::kOff
                               : text == "x-forwarded" ? ForwardedStyle::kXForwarded
                                                       : ForwardedStyle::kForwarded;
  return Done{};
}

std::string show_forwarded(const B& backend) {
  switch (backend.upstream.forwarded) {
    case ForwardedStyle::kXForwarded:
      return "x-forwarded";
    case ForwardedStyle::kForwarded:
      return "forwarded";
    case ForwardedStyle::kOff:
      break;
  }
  return "off";
}

// A setting that is a text of the TLS options; `Member` says which.
template <std::string TlsOptions::* Member>
Text tls_text(std::string_view accepts) {
  return Text{[](B& backend, std::string_view text) -> Result<Done> {
                if (text.size() > kPathBytesMax || text.find('\0') != std::string_view::npos)
                  return invalid("is too long, or holds a NUL");
                backend.upstream.tls.*Member = text;
                return Done{};
              },
              [](const B& backend) { return backend.upstream.tls.*Member; }, accepts};
}

Result<Done> set_json_paths(B& backend, std::string_view text) {
  constexpr size_t kPathsMax = 32;
  std::vector<std::string> paths;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    if (!one.starts_with('/') || one.size() > kPathBytesMax || paths.size() == kPathsMax)
      return invalid("must be at most 32 paths that begin with \"/\", with commas between them");
    paths.emplace_back(one);
  }
  if (paths.empty()) return invalid("must name a path");
  backend.upstream.json_paths = std::move(paths);
  return Done{};
}

std::string show_json_paths(const B& backend) {
  std::string all;
  for (const std::string& path : backend.upstream.json_paths)
    all += (all.empty() ? "" : ",") + path;
  return all;
}

// A JSON pointer (RFC 6901).
template <std::string UpstreamConfig::* Member>
Text json_text(std::string_view accepts) {
  return Text{[](B& backend, std::string_view text) -> Result<Done> {
                if (!text.empty() && text.front() != '/') return invalid("must begin with \"/\"");
                if (text.size() > kPathBytesMax) return invalid("is too long");
                backend.upstream.*Member = text;
                return Done{};
              },
              [](const B& backend) { return backend.upstream.*Member; }, accepts};
}

void append_endpoint(std::vector<Setting<B>>& table) {
  const Setting<B> keys[] = {
      {"url", "--upstream", "the endpoint's base URL; a path in it is put before every path",
       Text{set_url, [](const B& b) { return b.upstream.url; }, "URL"}},
      {"dialect", "--dialect", "what the endpoint speaks where requests are merged",
       Text{set_dialect, [](const B& b) { return b.upstream.dialect; },
            "openai, tei, cohere, kserve-v1, oip-v2, oip-v2-json or json"}},
      {"slots", "--slots",
       "calls the endpoint gets at a time; 0: 4, and for what is passed through no limit",
       CountField<B>{[](B& b) -> uint64_t& { return b.upstream.slots; }, 0, 65'536}},
      {"preserve_host", "", "requests passed through keep the client's Host",
       SwitchField<B>{[](B& b) -> bool& { return b.upstream.preserve_host; }}},
      {"forwarded", "", "which headers tell the endpoint whom a passed-through request came from",
       Text{set_forwarded, show_forwarded, "off, x-forwarded or forwarded"}},
      {"bisect_5xx", "", "a 500 may be the fault of one item: look for it",
       SwitchField<B>{[](B& b) -> bool& { return b.upstream.bisect_5xx; }}},
      {"repeatable", "", "a call that broke in the middle may be made again",
       SwitchField<B>{[](B& b) -> bool& { return b.upstream.repeatable; }}},
      {"response_bytes_max", "", "bytes of the answer to a merged call; beyond: 502",
       BytesField<B>{[](B& b) -> uint64_t& { return b.upstream.response_bytes_max; }, 1024,
                     uint64_t{1} << 30}},
      {"json.paths", "", "dialect json: the paths of requests that can be merged",
       Text{set_json_paths, show_json_paths, "PATH[,PATH…]"}},
      {"json.single", "", "dialect json: a request is one item, not a list",
       SwitchField<B>{[](B& b) -> bool& { return b.upstream.json_single; }}},
      {"json.items", "", "dialect json: where a request's items are; empty: the body is the list",
       json_text<&UpstreamConfig::json_items>("JSON pointer")},
      {"json.answers", "", "dialect json: where an answer's items are; empty: the whole of it",
       json_text<&UpstreamConfig::json_answers>("JSON pointer")},
  };
  table.insert(table.end(), std::begin(keys), std::end(keys));
}

void append_connections(std::vector<Setting<B>>& table) {
  using Time = DurationField<B>;
  constexpr Duration kLeast = milliseconds(10);
  const Setting<B> keys[] = {
      {"timeouts.connect", "", "for name, TCP and TLS together",
       Time{[](B& b) -> Duration& { return b.upstream.timeouts.connect; }, kLeast, kDay}},
      {"timeouts.first_byte", "",
       "from the end of a request to the head of its answer; 0: no limit",
       Time{[](B& b) -> Duration& { return b.upstream.timeouts.first_byte; }, {}, kDay}},
      {"timeouts.idle", "", "between two pieces of a body; 0: no limit",
       Time{[](B& b) -> Duration& { return b.upstream.timeouts.idle; }, {}, kDay}},
      {"timeouts.total", "", "for a whole merged call; 0: no limit",
       Time{[](B& b) -> Duration& { return b.upstream.timeouts.total; }, {}, kDay}},
      {"connections.max", "", "connections to the endpoint, per I/O thread",
       CountField<B>{[](B& b) -> uint64_t& { return b.upstream.connections_max; }, 1, 1'000'000}},
      {"connections.idle_max", "", "of these kept open without a request",
       CountField<B>{[](B& b) -> uint64_t& { return b.upstream.idle_connections_max; }, 0,
                     1'000'000}},
      {"connections.keep_alive", "", "how long a connection is kept without a request",
       Time{[](B& b) -> Duration& { return b.upstream.keep_alive; }, {}, kDay}},
      {"connections.age_max", "", "after this a connection gets no further request",
       Time{[](B& b) -> Duration& { return b.upstream.age_max; }, kLeast, kDay}},
      {"tls.verify", "", "the endpoint's certificate must be right",
       SwitchField<B>{[](B& b) -> bool& { return b.upstream.tls.verify; }}},
      {"tls.ca_file", "", "PEM file of the authorities believed; empty: the system's",
       tls_text<&TlsOptions::ca_file>("FILE")},
      {"tls.certificate_file", "", "PEM file of the certificate shown to the endpoint",
       tls_text<&TlsOptions::certificate_file>("FILE")},
      {"tls.key_file", "", "PEM file of that certificate's key",
       tls_text<&TlsOptions::key_file>("FILE")},
      {"tls.server_name", "", "the name asked for and verified; empty: the URL's host",
       tls_text<&TlsOptions::server_name>("NAME")},
  };
  table.insert(table.end(), std::begin(keys), std::end(keys));
}

}  // namespace

void append_upstream_settings(std::vector<Setting<B>>& table) {
  append_endpoint(table);
  append_connections(table);
}

}  // namespace sluice
