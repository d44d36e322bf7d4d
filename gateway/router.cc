// SPDX-License-Identifier: Apache-2.0
#include "gateway/router.h"

#include <algorithm>

namespace sluice {

namespace {

constexpr std::string_view kModelsPath = "/v1/models";
constexpr std::string_view kGet = "GET, HEAD";
constexpr std::string_view kPost = "POST";

// What the gateway answers itself.
struct OwnPath {
  std::string_view path;
  Route route;
  bool main;   // on the main listener, if nothing is passed through
  bool admin;  // on the admin listener
};

constexpr OwnPath kOwnPaths[] = {
    {kModelsPath, Route::kModels, true, false}, {"/info", Route::kInfo, true, false},
    {"/healthz", Route::kHealth, true, true},   {"/health", Route::kHealth, true, true},
    {"/readyz", Route::kReady, true, true},     {"/metrics", Route::kMetrics, true, true},
};

constexpr std::string_view kNamedDialects[] = {"openai", "tei", "cohere", "kserve-v1", "oip-v2"};

// What a model inside the process can be asked.
bool is_embedded_operation(Operation operation) {
  return operation == Operation::kEmbed || operation == Operation::kRerank ||
         operation == Operation::kClassify;
}

}  // namespace

Router::Router(std::span<const ServedModel> models, bool passthrough)
    : passthrough_(passthrough), fallback_(find_dialect("openai")) {
  for (const ServedModel& model : models) {
    for (const Dialect* dialect : model.upstreams) listen(*dialect, false);
    // An endpoint that stands in for another one speaks only what that one speaks.
    if (model.name == kAnyModel) {
      if (!model.upstreams.empty()) fallback_ = model.upstreams.front();
      continue;
    }
    for (const std::string_view name : kNamedDialects) {
      if (const Dialect* dialect = find_dialect(name)) listen(*dialect, model.upstreams.empty());
    }
  }
}

void Router::listen(const Dialect& dialect, bool embedded_only) {
  for (const CodecRoute& route : dialect.routes()) {
    if (embedded_only && !is_embedded_operation(route.codec->operation())) continue;
    auto entry = std::ranges::find(entries_, route.pattern, &Entry::pattern);
    if (entry == entries_.end()) entry = entries_.insert(entry, Entry{route.pattern, {}});
    const bool known = std::ranges::any_of(
        entry->spellings, [&](const Spelling& one) { return one.codec == route.codec; });
    if (!known) entry->spellings.push_back({route.codec, &dialect});
  }
}

Match Router::match(Surface surface, std::string_view method, std::string_view path) const {
  if (surface == Surface::kMain) {
    for (const Entry& entry : entries_) {
      if (!match_path(entry.pattern, path)) continue;
      if (method == "POST") return {Route::kBatched, entry.spellings, {}};
      if (passthrough_) return {.route = Route::kPassThrough};
      return {Route::kMethodNotAllowed, entry.spellings, kPost};
    }
    if (passthrough_) return {.route = Route::kPassThrough};
  }
  Route route = Route::kNotFound;
  for (const OwnPath& own : kOwnPaths) {
    if (own.path == path && (surface == Surface::kMain ? own.main : own.admin)) route = own.route;
  }
  const bool one_model = surface == Surface::kMain && path.size() > kModelsPath.size() + 1 &&
                         path.starts_with(kModelsPath) && path[kModelsPath.size()] == '/';
  if (one_model) route = Route::kModel;
  if (route != Route::kNotFound && method != "GET" && method != "HEAD")
    return {Route::kMethodNotAllowed, {}, kGet};
  return {.route = route};
}

}  // namespace sluice
