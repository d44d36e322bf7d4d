// SPDX-License-Identifier: Apache-2.0
#include "gateway/api.h"

#include <algorithm>
#include <charconv>

#include "backends/dialect_openai.h"
#include "backends/dialect_tei.h"
#include "gateway/headers.h"

namespace sluice {
namespace {

constexpr std::string_view kModelsPrefix = "/v1/models/";

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

Api::Api(Options options)
    : options_(std::move(options)), router_(options_.models, options_.passthrough) {
  for (size_t i = 0; i < options_.models.size(); ++i) {
    const ServedModel& model = options_.models[i];
    if (model.name == kAnyModel) {
      any_model_ = static_cast<ModelIndex>(i);
    } else {
      ids_.push_back(model.name);
    }
  }
  for (const ServedModel& model : options_.models)
    ids_.insert(ids_.end(), model.aliases.begin(), model.aliases.end());
}

Response Api::answer(const Match& match, const RequestHead& head) const {
  const Dialect* dialect = match.spellings.empty() ? nullptr : match.spellings.front().dialect;
  switch (match.route) {
    case Route::kModels:
      return json(openai::write_models(ids_, options_.started_unix_seconds));
    case Route::kModel:
      return one_model(head);
    case Route::kInfo:
      return json(tei::write_info(ids_.empty() ? "" : ids_.front()));
    case Route::kHealth:
      return text(200, "ok\n");
    case Route::kReady:
      return ready();
    case Route::kMetrics: {
      Response response = text(200, options_.render_metrics());
      response.headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
      return response;
    }
    case Route::kMethodNotAllowed: {
      const std::string allowed(match.allowed);
      Response response =
          error({.code = Code::kMethodNotAllowed,
                 .message = "Not allowed: " + head.method + " on " + std::string(head.path()) +
                            "; allowed: " + allowed + "."},
                dialect, {});
      response.headers.add("allow", allowed);
      return response;
    }
    case Route::kNotFound:
    case Route::kBatched:
    case Route::kPassThrough:
      break;
  }
  return error({.code = Code::kNotFound,
                .message = "Unknown request URL: " + head.method + " " +
                           std::string(head.path().substr(0, 200)) + "."},
               dialect, {});
}

Response Api::one_model(const RequestHead& head) const {
  const std::string id = decode_path(head.path().substr(kModelsPrefix.size()));
  if (std::ranges::find(ids_, id) != ids_.end())
    return json(openai::write_model(id, options_.started_unix_seconds));
  return error({.code = Code::kNotFound,
                .message = "The model '" + id + "' does not exist.",
                .param = "model"},
               nullptr, {});
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

Api::HeadChoice Api::check_head(const RequestHead& head) const {
  const auto coding = head.find("content-encoding");
  if (!coding || *coding == "identity") return {};
  if (options_.passthrough) return {.refused = std::nullopt, .pass_through = true};
  return {.refused =
              Error{.code = Code::kMediaType,
                    .message = "A body with Content-Encoding is not taken here: send it plain.",
                    .param = "content-encoding"}};
}

std::optional<Error> Api::read_headers(const RequestHead& head, Instant received,
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

Result<Inquiry> Api::read(const Match& match, const RequestHead& head, const Slice& body,
                          Instant received, Request& request) const {
  if (auto error = read_headers(head, received, request)) return std::move(*error);
  std::optional<Error> first_error;
  for (const Spelling& spelling : match.spellings) {
    Result<Asked> asked = spelling.codec->read_request(head, body);
    if (!asked.ok()) {
      if (!first_error) first_error = asked.error();
      continue;
    }
    Inquiry inquiry;
    inquiry.spelling = spelling;
    inquiry.asked = std::move(asked).value();
    Result<Done> bound = bind(inquiry, head, request);
    if (!bound.ok()) return bound.error();
    return inquiry;
  }
  return std::move(*first_error);
}

// Finds the model that was asked, and makes its rows and its key.
Result<Done> Api::bind(Inquiry& inquiry, const RequestHead& head, Request& request) const {
  CallKey& key = inquiry.asked.key;
  const std::optional<ModelIndex> index = find_model(key.model);
  inquiry.pass_through = inquiry.asked.pass_through || !index;
  if (inquiry.pass_through && options_.passthrough) return Done{};
  if (!index)
    return Error{.code = Code::kNotFound,
                 .message = "The model '" + key.model + "' does not exist.",
                 .param = "model"};
  if (inquiry.pass_through)
    return Error{.code = Code::kNotImplemented,
                 .message =
                     "This form of request cannot be batched, and there is no endpoint to "
                     "pass it on to."};
  inquiry.model = *index;
  request.model = *index;
  request.tenant = tenant_of(head.headers);
  request.rows = std::move(inquiry.asked.rows);
  const ServedModel& served = options_.models[*index];
  // An endpoint that wants a model named gets the one that was meant.
  if (key.model.empty() && served.name != kAnyModel) key.model = served.name;
  if (served.model) {
    const Result<Prepared> prepared = served.model->prepare(key, request.rows);
    if (!prepared.ok()) return prepared.error();
    inquiry.tokens = prepared.value().tokens;
    inquiry.inputs_truncated = prepared.value().truncated;
  }
  request.key.clear();  // an engine's output depends on nothing but the row
  if (served.upstreams.empty()) return Done{};
  key.headers = merge_headers(head.headers, served.own_credentials);
  key.target = head.target;
  request.key = key.encode();
  return Done{};
}

Result<std::vector<Output>> Api::outputs_of(const Inquiry& inquiry, const Reply& reply) const {
  std::vector<Output> outputs;
  outputs.reserve(reply.outcomes.value().size());
  std::vector<Slice> raw;
  for (const Outcome& outcome : reply.outcomes.value()) {
    // These dialects have no place for an error per item, so one failed row fails its request.
    if (!outcome.ok()) return outcome.error();
    outputs.push_back(outcome.value());
    if (outcome.value().form == Form::kFloats) raw.push_back(outcome.value().bytes);
  }
  const EmbeddedModel* model = options_.models[inquiry.model].model.get();
  if (model == nullptr || raw.empty()) return outputs;
  Result<std::vector<Output>> finished = model->finish(inquiry.asked.key, raw);
  if (!finished.ok()) return finished.error();
  size_t next = 0;
  for (Output& output : outputs) {
    if (output.form == Form::kFloats) output = std::move(finished.value()[next++]);
  }
  return outputs;
}

Response Api::write(const Inquiry& inquiry, const Reply& reply) const {
  const Dialect* dialect = inquiry.spelling.dialect;
  if (!reply.outcomes.ok()) return error(reply.outcomes.error(), dialect, {});
  const ServedModel& served = options_.models[inquiry.model];
  const Result<std::vector<Output>> outputs = outputs_of(inquiry, reply);
  if (!outputs.ok()) return error(outputs.error(), dialect, {});
  Answer answer{.outputs = outputs.value(), .tokens = 0, .labels = {}};
  for (const Output& output : outputs.value()) answer.tokens += output.tokens;
  if (answer.tokens == 0) answer.tokens = inquiry.tokens;
  if (served.model) answer.labels = served.model->labels();
  Result<Body> body = inquiry.spelling.codec->write_response(inquiry.asked, answer);
  if (!body.ok()) return error(body.error(), dialect, {});
  Response response;
  response.headers.add("content-type", body.value().content_type);
  for (const auto& [name, value] : body.value().headers) response.headers.add(name, value);
  response.body.reserve(body.value().size());
  for (const Slice& part : body.value().parts) response.body.append(part.view());
  response.headers.add("server-timing", server_timing(reply.timings));
  response.headers.add("x-sluice-backend", options_.backends[reply.timings.answered_by]);
  response.headers.add("x-sluice-batch-items", std::to_string(reply.timings.batch_items));
  if (inquiry.inputs_truncated > 0)
    response.headers.add("x-sluice-truncated", std::to_string(inquiry.inputs_truncated));
  return response;
}

Response Api::error(const Error& error, const Dialect* dialect, std::string_view request_id) const {
  const bool refused = error.upstream_status >= 400 && error.upstream_status < 500 &&
                       (error.code == Code::kUpstream || error.code == Code::kInvalid);
  Response response;
  if (refused && !error.upstream_body.empty()) {
    // The caller's own fault, told as the endpoint told it.
    response = json(std::string(error.upstream_body.view()));
    if (!error.upstream_type.empty()) response.headers.set("content-type", error.upstream_type);
  } else {
    response =
        json((dialect != nullptr ? *dialect : router_.fallback()).write_error(error, request_id));
  }
  response.status = refused ? error.upstream_status : http_status(error.code);
  if (error.retry_after > Duration{}) {
    const int64_t whole = (error.retry_after.ns + 999'999'999) / 1'000'000'000;
    response.headers.add("retry-after", std::to_string(whole));
  }
  return response;
}

std::optional<ModelIndex> Api::find_model(std::string_view name) const {
  for (size_t i = 0; i < options_.models.size(); ++i) {
    const ServedModel& model = options_.models[i];
    // Dialects without a model's name ask for the first.
    if (name.empty() || model.name == name ||
        std::ranges::find(model.aliases, name) != model.aliases.end())
      return static_cast<ModelIndex>(i);
  }
  return any_model_;
}

}  // namespace sluice
