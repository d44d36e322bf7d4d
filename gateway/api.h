// SPDX-License-Identifier: Apache-2.0
#pragma once
// Api: a request's head and body become rows for the core, and a Reply becomes a response. It knows
// no dialect by name: codecs read and write, it adds what holds for all of them: whose model it is,
// the key, the deadline, the headers of the answer. Immutable after start and free of I/O; all I/O
// threads share one.

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/dialect.h"
#include "base/http1.h"
#include "base/result.h"
#include "batcher/row.h"
#include "gateway/response.h"
#include "gateway/router.h"

namespace sluice {

// What the process is doing; read by every thread, written by the one that starts and stops it.
enum class Phase { kWarming, kReady, kDraining };

// A request for a model, between its arrival and its answer.
struct Inquiry {
  ModelIndex model = 0;
  Spelling spelling;
  Asked asked;                    // its rows have moved into the Request
  uint64_t tokens = 0;            // that a model in this process will see
  uint32_t inputs_truncated = 0;  // by a model in this process
  bool pass_through = false;      // valid, but not to be merged: goes on as it came
};

class Api {
 public:
  // What there is to serve.
  struct Options {
    std::vector<ServedModel> models;    // by ModelIndex
    std::vector<std::string> backends;  // their names, by BackendIndex
    bool passthrough = false;           // there is an endpoint for what is no model's
    int64_t started_unix_seconds = 0;
    std::function<std::string()> render_metrics;  // may be called on any I/O thread
  };
  explicit Api(Options options);

  const Router& router() const { return router_; }
  // The answer to a route that needs neither batch nor endpoint.
  Response answer(const Match& match, const RequestHead& head) const;

  // What a batched request's head alone decides: an error that needs no body, or that it is to be
  // passed through.
  struct HeadChoice {
    std::optional<Error> refused;
    bool pass_through = false;
  };
  // See HeadChoice.
  HeadChoice check_head(const RequestHead& head) const;

  // Reads x-sluice-deadline-ms, which counts from `received`, and x-sluice-priority into `request`;
  // why one of them cannot be, if so.
  static std::optional<Error> read_headers(const RequestHead& head, Instant received,
                                           Request& request);
  // Reads head and body into `request` (model, key, rows, tenant, priority and, relative to
  // `received`, the deadline) by the first of the spellings that can. On failure `request` is left
  // in an unspecified state. REQUIRES: match.route is kBatched
  Result<Inquiry> read(const Match& match, const RequestHead& head, const Slice& body,
                       Instant received, Request& request) const;
  // The answer once the core has replied.
  Response write(const Inquiry& inquiry, const Reply& reply) const;

  // The answer to a failed request in the dialect spoken; `dialect` null: the fallback's.
  Response error(const Error& error, const Dialect* dialect, std::string_view request_id) const;

  // Whether requests for this model are only counted as mergeable.
  MergeMode merge_mode(ModelIndex model) const { return options_.models[model].merge; }

  void set_phase(Phase phase) { phase_.store(phase, std::memory_order_release); }
  Phase phase() const { return phase_.load(std::memory_order_acquire); }

 private:
  std::optional<ModelIndex> find_model(std::string_view name) const;
  // The outputs of a reply as the operation wants them, or the error of the first row that failed.
  Result<std::vector<Output>> outputs_of(const Inquiry& inquiry, const Reply& reply) const;
  Result<Done> bind(Inquiry& inquiry, const RequestHead& head, Request& request) const;
  Response ready() const;
  Response one_model(const RequestHead& head) const;

  const Options options_;
  const Router router_;
  std::vector<std::string> ids_;  // of /v1/models: names, then aliases
  std::optional<ModelIndex> any_model_;
  std::atomic<Phase> phase_{Phase::kWarming};
};

}  // namespace sluice
