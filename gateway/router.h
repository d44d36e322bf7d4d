// SPDX-License-Identifier: Apache-2.0
#pragma once
// Router: what each path of the two listeners leads to. Immutable after construction; shared by all
// I/O threads.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dialect.h"
#include "backends/embedded_model.h"
#include "gateway/config.h"
#include "gateway/response.h"

namespace sluice {

// One model as clients see it, and what answers for it.
struct ServedModel {
  std::string name;  // kAnyModel: every name that no other model has
  std::vector<std::string> aliases = {};
  std::shared_ptr<const EmbeddedModel> model = {};  // null: none in this process
  std::vector<const Dialect*> upstreams = {};       // of its HTTP endpoints
  bool own_credentials = false;                     // the gateway's key is used upstream
  MergeMode merge = MergeMode::kOn;
};

// What has to be done with a request once its head is read.
enum class Route {
  kBatched,  // read the body by one of the spellings, queue its rows
  kModels,   // these are answered at once
  kModel,
  kInfo,
  kHealth,
  kReady,
  kMetrics,
  kPassThrough,
  kNotFound,
  kMethodNotAllowed,
};

// A codec that listens on a path, and the dialect whose errors are answered there.
struct Spelling {
  const Codec* codec = nullptr;
  const Dialect* dialect = nullptr;
};

// Where a request leads.
struct Match {
  Route route = Route::kNotFound;
  std::span<const Spelling> spellings = {};  // for kBatched; several where dialects share a path
  std::string_view allowed = {};             // for kMethodNotAllowed: the Allow header
};

class Router {
 public:
  // `passthrough`: what is no model's business goes to an endpoint, instead of 404.
  Router(std::span<const ServedModel> models, bool passthrough);

  // Where `method` on `path` leads; the path is without its query.
  Match match(Surface surface, std::string_view method, std::string_view path) const;
  // Whose errors are answered where no codec's path was asked for.
  const Dialect& fallback() const { return *fallback_; }

 private:
  struct Entry {
    std::string_view pattern;
    std::vector<Spelling> spellings;
  };
  void listen(const Dialect& dialect, bool embedded_only);

  std::vector<Entry> entries_;
  const bool passthrough_;
  const Dialect* fallback_;
};

}  // namespace sluice
