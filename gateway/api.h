// SPDX-License-Identifier: Apache-2.0
#pragma once
// Api: what each path of the two listeners means. It turns a request's head and body into rows for
// the core and a Reply into a response. Immutable after start and free of I/O; all I/O threads
// share one.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/embedded_model.h"
#include "base/http1.h"
#include "base/result.h"
#include "batcher/row.h"

namespace sluice {

// A whole HTTP answer, before framing.
struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  bool close = false;  // no further request on this connection
};

// Which of the two listeners a connection came in by.
enum class Surface { kMain, kAdmin };

// What the process is doing; read by every thread, written by the one that starts and stops it.
enum class Phase { kWarming, kReady, kDraining };

// One model as clients see it.
struct ServedModel {
  std::string name;
  std::vector<std::string> aliases;
  std::shared_ptr<const EmbeddedModel> model;
};

// A request for embeddings, between its arrival and its answer.
struct EmbeddingsCall {
  ModelIndex model = 0;
  bool base64 = false;
  std::optional<uint32_t> dimensions;
  uint64_t prompt_tokens = 0;
  uint32_t inputs_truncated = 0;
};

// What has to be done with a request once its head is read.
enum class Route {
  kEmbeddings,  // read the body, queue its rows
  kModels,      // the others are answered at once
  kModel,
  kHealth,
  kReady,
  kMetrics,
  kNotFound,
  kMethodNotAllowed,
};

class Api {
 public:
  // What there is to serve.
  struct Options {
    std::vector<ServedModel> models;  // by ModelIndex
    int64_t started_unix_seconds = 0;
    std::function<std::string()> render_metrics;  // may be called on any I/O thread
  };
  explicit Api(Options options);

  // Where a method on a path leads; the path is without its query.
  static Route route(Surface surface, std::string_view method, std::string_view path);
  // The methods a path answers to, for the Allow header, e.g. "GET, HEAD"; empty if it has none.
  static std::string_view allowed_methods(Surface surface, std::string_view path);

  // The answer to a route that needs no batch.
  Response answer(Route route, Surface surface, const RequestHead& head) const;

  // Why a POST /v1/embeddings can be refused by its head alone; nothing if it cannot.
  std::optional<Error> check_head(const RequestHead& head) const;
  // Reads head and body of POST /v1/embeddings into `request` (model, key, rows, tenant, priority
  // and, relative to `received`, the deadline). On failure `request` is left in an unspecified
  // state.
  Result<EmbeddingsCall> read_embeddings(const RequestHead& head, const Slice& body,
                                         Instant received, Request& request) const;
  // The answer once the core has replied.
  Response write_embeddings(const EmbeddingsCall& call, const Reply& reply) const;

  void set_phase(Phase phase) { phase_.store(phase, std::memory_order_release); }
  Phase phase() const { return phase_.load(std::memory_order_acquire); }

 private:
  std::optional<ModelIndex> find_model(std::string_view name) const;
  Response ready() const;

  const Options options_;
  std::vector<std::string> ids_;  // of /v1/models: names, then aliases
  std::atomic<Phase> phase_{Phase::kWarming};
};

// The answer to a failed request: the error in OpenAI's shape, with Retry-After where it is known.
Response error_response(const Error& error);

}  // namespace sluice
