// SPDX-License-Identifier: Apache-2.0
#include "gateway/api.h"

#include <algorithm>
#include <charconv>

#include "backends/dialect_openai.h"

namespace sluice {
namespace {

constexpr std::string_view kModelsPath = "/v1/models";

struct PathRoute {
  std::string_view path;
  Route route;
  bool post;   // POST only; else GET and HEAD
  bool main;   // on the main listener
  bool admin;  // on the admin listener
};

// The whole surface. With an embedded model there is no upstream whose paths could be shadowed, so
// health and metrics answer on the main listener too.
constexpr PathRoute kRoutes[] = {
    {"/v1/embeddings", Route::kEmbeddings, true, true, false},
    {"/v1/models", Route::kModels, false, true, false},
    {"/healthz", Route::kHealth, false, true, true},
    {"/health", Route::kHealth, false, true, true},
    {"/readyz", Route::kReady, false, true, true},
    {"/metrics", Route::kMetrics, false, true, true},
};

const PathRoute* find_path(Surface surface, std::string_view path) {
  static constexpr PathRoute kOneModel{"", Route::kModel, false, true, false};
  for (const PathRoute& entry : kRoutes) {
    if (entry.path == path && (surface == Surface::kMain ? entry.main : entry.admin)) return &entry;
  }
  const bool one_model = surface == Surface::kMain && path.size() > kModelsPath.size() + 1 &&
                         path.starts_with(kModelsPath) && path[kModelsPath.size()] == '/';
  return one_model ? &kOneModel : nullptr;
}

Response json(std::string body) {
  return Response{.headers = {{"content-type", "application/json"}}, .body = std::move(body)};
}

Response text(int status, std::string body) {
  return Response{.status = status,
                  .headers = {{"content-type", "text/plain; charset=utf-8"}},
                  .body = std::move(body)};
}

// The path's percent-encoding undone; a broken escape stays as it is, and then names no model.
std::string decode_path(std::string_view path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    unsigned value = 0;
    if (path[i] == '%' && i + 2 < path.size() &&
        std::from_chars(path.data() + i + 1, path.data() + i + 3, value, 16).ptr ==
            path.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += path[i];
    }
  }
  return out;
}

// A whole header value as an integer in [low, high].
std::optional<int64_t> parse_integer(std::string_view text, int64_t low, int64_t high) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < low || value > high) return std::nullopt;
  return value;
}

Error bad_header(std::string name, const char* wanted) {
  std::string message = "The header " + name + " must be " + wanted + ".";
  return Error{.code = Code::kInvalid, .message = std::move(message), .param = std::move(name)};
}

// FNV-1a; whose share a request takes need not be a secret, only the same for the same credentials.
uint64_t fingerprint(std::string_view bytes, uint64_t hash) {
  for (const char byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3ull;
  return hash;
}

uint64_t tenant_of(const RequestHead& head) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char* name : {"authorization", "x-api-key", "api-key"}) {
    if (const auto value = head.find(name)) hash = fingerprint(*value, hash);
  }
  return hash;
}

// x-sluice-deadline-ms and x-sluice-priority.
std::optional<Error> read_sluice_headers(const RequestHead& head, Instant received,
                                         Request& request) {
  if (const auto value = head.find("x-sluice-deadline-ms")) {
    const auto ms = parse_integer(*value, 1, 86'400'000);
    if (!ms) return bad_header("x-sluice-deadline-ms", "an integer from 1 to 86400000");
    request.deadline = received + milliseconds(*ms);
  }
  if (const auto value = head.find("x-sluice-priority")) {
    const auto level = parse_integer(*value, -10, 10);
    if (!level) return bad_header("x-sluice-priority", "an integer from -10 to 10");
    request.priority = static_cast<int32_t>(*level);
  }
  return std::nullopt;
}

// Appends whole and thousandths of a millisecond.
void append_ms(std::string& out, Duration time) {
  const int64_t us = std::max<int64_t>(time.ns / 1000, 0);
  append_json_number(out, us / 1000);
  const int64_t rest = us % 1000;
  out += '.';
  for (const int64_t place : {100, 10, 1}) out += static_cast<char>('0' + rest / place % 10);
}

std::string server_timing(const Timings& timings) {
  std::string line = "queue;dur=";
  line.reserve(80);
  append_ms(line, timings.queued);
  line += ", backend;dur=";
  append_ms(line, timings.backend);
  line += ", batch;desc=\"";
  append_json_number(line, static_cast<int64_t>(timings.batch_items));
  line += " items\"";
  return line;
}

}  // namespace

Api::Api(Options options) : options_(std::move(options)) {
  for (const ServedModel& model : options_.models) ids_.push_back(model.name);
  for (const ServedModel& model : options_.models)
    ids_.insert(ids_.end(), model.aliases.begin(), model.aliases.end());
}

Route Api::route(Surface surface, std::string_view method, std::string_view path) {
  const PathRoute* entry = find_path(surface, path);
  if (entry == nullptr) return Route::kNotFound;
  const bool fits = entry->post ? method == "POST" : method == "GET" || method == "HEAD";
  return fits ? entry->route : Route::kMethodNotAllowed;
}

std::string_view Api::allowed_methods(Surface surface, std::string_view path) {
  const PathRoute* entry = find_path(surface, path);
  if (entry == nullptr) return "";
  return entry->post ? "POST" : "GET, HEAD";
}

Response Api::answer(Route route, Surface surface, const RequestHead& head) const {
  switch (route) {
    case Route::kModels:
      return json(openai::write_models(ids_, options_.started_unix_seconds));
    case Route::kModel: {
      const std::string id = decode_path(head.path().substr(kModelsPath.size() + 1));
      if (find_model(id)) return json(openai::write_model(id, options_.started_unix_seconds));
      return error_response({.code = Code::kNotFound,
                             .message = "The model '" + id + "' does not exist.",
                             .param = "model"});
    }
    case Route::kHealth:
      return text(200, "ok\n");
    case Route::kReady:
      return ready();
    case Route::kMetrics: {
      Response response = text(200, options_.render_metrics());
      response.headers[0].second = "text/plain; version=0.0.4; charset=utf-8";
      return response;
    }
    case Route::kMethodNotAllowed: {
      const std::string allowed(allowed_methods(surface, head.path()));
      Response response =
          error_response({.code = Code::kMethodNotAllowed,
                          .message = "Not allowed: " + head.method + " on " +
                                     std::string(head.path()) + "; allowed: " + allowed + "."});
      response.headers.emplace_back("allow", allowed);
      return response;
    }
    case Route::kNotFound:
    case Route::kEmbeddings:
      break;
  }
  return error_response({.code = Code::kNotFound,
                         .message = "Unknown request URL: " + head.method + " " +
                                    std::string(head.path().substr(0, 200)) + "."});
}

Response Api::ready() const {
  switch (phase()) {
    case Phase::kReady:
      return text(200, "ready\n");
    case Phase::kWarming:
      return text(503, "warming up\n");
    case Phase::kDraining:
      break;
  }
  return text(503, "draining\n");
}

std::optional<Error> Api::check_head(const RequestHead& head) const {
  const auto coding = head.find("content-encoding");
  if (coding && *coding != "identity")
    return Error{.code = Code::kMediaType,
                 .message = "A body with Content-Encoding is not taken here: send it plain.",
                 .param = "content-encoding"};
  return std::nullopt;
}

Result<EmbeddingsCall> Api::read_embeddings(const RequestHead& head, const Slice& body,
                                            Instant received, Request& request) const {
  if (auto error = read_sluice_headers(head, received, request)) return std::move(*error);
  Result<openai::EmbeddingsRequest> read = openai::read_embeddings(body);
  if (!read.ok()) return read.error();
  const openai::EmbeddingsRequest& asked = read.value();
  const std::optional<ModelIndex> index = find_model(asked.model);
  if (!index)
    return Error{.code = Code::kNotFound,
                 .message = "The model '" + asked.model + "' does not exist.",
                 .param = "model"};
  const EmbeddedModel& model = *options_.models[*index].model;
  if (asked.dimensions) {
    if (auto error = model.check_dimensions(*asked.dimensions)) return std::move(*error);
  }
  Result<PreparedRows> prepared = model.prepare(asked.inputs);
  if (!prepared.ok()) return prepared.error();
  request.model = *index;
  request.key.clear();  // a vector depends on nothing else: encoding and cut are the caller's own
  request.tenant = tenant_of(head);
  request.rows = std::move(prepared.value().rows);
  return EmbeddingsCall{.model = *index,
                        .base64 = asked.base64,
                        .dimensions = asked.dimensions,
                        .prompt_tokens = prepared.value().prompt_tokens,
                        .inputs_truncated = prepared.value().inputs_truncated};
}

Response Api::write_embeddings(const EmbeddingsCall& call, const Reply& reply) const {
  if (!reply.outcomes.ok()) return error_response(reply.outcomes.error());
  std::vector<Slice> vectors;
  vectors.reserve(reply.outcomes.value().size());
  for (const Outcome& outcome : reply.outcomes.value()) {
    // OpenAI's answer has no place for an error per input, so one failed row fails its request.
    if (!outcome.ok()) return error_response(outcome.error());
    vectors.push_back(outcome.value().bytes);
  }
  Response response = json(openai::write_embeddings({.model = options_.models[call.model].name,
                                                     .base64 = call.base64,
                                                     .vectors = vectors,
                                                     .dimensions = call.dimensions,
                                                     .prompt_tokens = call.prompt_tokens}));
  response.headers.emplace_back("server-timing", server_timing(reply.timings));
  response.headers.emplace_back("x-sluice-backend", "local");
  response.headers.emplace_back("x-sluice-batch-items", std::to_string(reply.timings.batch_items));
  if (call.inputs_truncated > 0)
    response.headers.emplace_back("x-sluice-truncated", std::to_string(call.inputs_truncated));
  return response;
}

std::optional<ModelIndex> Api::find_model(std::string_view name) const {
  for (size_t i = 0; i < options_.models.size(); ++i) {
    const ServedModel& model = options_.models[i];
    if (model.name == name || std::ranges::find(model.aliases, name) != model.aliases.end())
      return static_cast<ModelIndex>(i);
  }
  return std::nullopt;
}

Response error_response(const Error& error) {
  Response response = json(openai::write_error(error));
  response.status = http_status(error.code);
  if (error.retry_after > Duration{}) {
    const int64_t whole = (error.retry_after.ns + 999'999'999) / 1'000'000'000;
    response.headers.emplace_back("retry-after", std::to_string(whole));
  }
  return response;
}

}  // namespace sluice
