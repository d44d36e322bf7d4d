// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_openai.h"

#include "backends/codec_common.h"
#include "backends/codec_inputs.h"
#include "backends/vector_text.h"

namespace sluice::openai {
namespace {

using codec::invalid;
using codec::wrong_type;

std::optional<Error> read_input(JsonView value, std::vector<Input>& inputs) {
  std::vector<JsonView> views;
  auto error = codec::read_inputs(value, {.field = "input", .items_max = kInputsMax}, views);
  for (const JsonView view : views)
    inputs.push_back(
        {view.is(JsonType::kString) ? Input::Kind::kText : Input::Kind::kTokens, view});
  return error;
}

std::optional<Error> read_member(std::string_view key, JsonView value, EmbeddingsRequest& request) {
  if (key == "model") {
    if (!value.is(JsonType::kString)) return wrong_type("model", "model", "a string", value);
    request.model = value.text();
  } else if (key == "input") {
    return read_input(value, request.inputs);
  } else if (value.is(JsonType::kNull) &&
             (key == "encoding_format" || key == "dimensions" || key == "user")) {
    return std::nullopt;  // as if it had been left out
  } else if (key == "encoding_format") {
    const std::string format = value.is(JsonType::kString) ? value.text() : "";
    if (format != "float" && format != "base64")
      return invalid("encoding_format", "'encoding_format' must be \"float\" or \"base64\".");
    request.base64 = format == "base64";
  } else if (key == "dimensions") {
    const std::optional<int64_t> n =
        value.is(JsonType::kNumber) ? value.integer() : std::optional<int64_t>();
    if (!n || *n < 1 || *n > UINT32_MAX)
      return invalid("dimensions", "'dimensions' must be a positive integer.");
    request.dimensions = static_cast<uint32_t>(*n);
  } else if (key == "user") {
    if (!value.is(JsonType::kString)) return wrong_type("user", "user", "a string", value);
  } else {
    std::string name(key.substr(0, 100));
    return invalid(name, "Unrecognized request argument supplied: " + name);
  }
  return std::nullopt;
}

// OpenAI's names for kinds of failure.
std::pair<std::string_view, std::string_view> type_and_code(const Error& error) {
  switch (error.code) {
    case Code::kUnauthorized:
      return {"invalid_request_error", "invalid_api_key"};
    case Code::kForbidden:
      return {"invalid_request_error", "forbidden"};
    case Code::kNotFound:
      return {"invalid_request_error", error.param == "model" ? "model_not_found" : "not_found"};
    case Code::kTooLarge:
    case Code::kHeadersTooLarge:
      return {"invalid_request_error", "request_too_large"};
    case Code::kOverloaded:
      return {"rate_limit_error", "rate_limit_exceeded"};
    case Code::kTimeout:
      return {"server_error", "deadline_exceeded"};
    case Code::kUnavailable:
      return {"server_error", "service_unavailable"};
    case Code::kUpstream:
      return {"server_error", "bad_gateway"};
    case Code::kInternal:
      return {"server_error", "internal_error"};
    case Code::kNotImplemented:
      return {"invalid_request_error", "not_implemented"};
    default:
      return {"invalid_request_error", ""};
  }
}

void append_string_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    append_json_string(out, text);
  }
}

void append_model(std::string& out, std::string_view id, int64_t created) {
  out += R"({"id":)";
  append_json_string(out, id);
  out += R"(,"object":"model","created":)";
  append_json_number(out, created);
  out += R"(,"owned_by":"sluice"})";
}

}  // namespace

Result<EmbeddingsRequest> read_embeddings(const Slice& body) {
  const Result<JsonView> root = codec::parse_object(body);
  if (!root.ok()) return root.error();
  EmbeddingsRequest request;
  std::optional<Error> error;
  root.value().for_each_member([&](std::string_view key, JsonView value) {
    error = read_member(key, value, request);
    return !error;
  });
  if (error) return std::move(*error);
  if (!root.value().member("model")) return invalid("model", "You must provide a 'model'.");
  if (request.inputs.empty()) return invalid("input", "You must provide an 'input'.");
  return request;
}

std::string write_embeddings(const EmbeddingsResponse& response) {
  std::string out;
  size_t floats = 0;
  for (const Slice& vector : response.vectors) floats += vector.size() / sizeof(float);
  // About 12 characters a number as text, 16 for three in base64; one allocation either way.
  out.reserve(200 + response.vectors.size() * 64 + floats * (response.base64 ? 6 : 13));
  out += R"({"object":"list","data":[)";
  for (size_t i = 0; i < response.vectors.size(); ++i) {
    out += i == 0 ? R"({"object":"embedding","index":)" : R"(,{"object":"embedding","index":)";
    append_json_number(out, static_cast<int64_t>(i));
    out += R"(,"embedding":)";
    codec::append_vector(out, response.vectors[i].as<float>(),
                         {.base64 = response.base64, .dimensions = response.dimensions});
    out += '}';
  }
  out += R"(],"model":)";
  append_json_string(out, response.model);
  out += ',';
  codec::append_usage(out, response.prompt_tokens);
  out += '}';
  return out;
}

std::string write_error(const Error& error) {
  const auto [type, code] = type_and_code(error);
  std::string out = R"({"error":{"message":)";
  append_json_string(out, error.message);
  out += R"(,"type":)";
  append_json_string(out, type);
  out += R"(,"param":)";
  append_string_or_null(out, error.param);
  out += R"(,"code":)";
  append_string_or_null(out, code);
  out += "}}";
  return out;
}

std::string write_models(std::span<const std::string> ids, int64_t created) {
  std::string out = R"({"object":"list","data":[)";
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    append_model(out, ids[i], created);
  }
  out += "]}";
  return out;
}

std::string write_model(std::string_view id, int64_t created) {
  std::string out;
  append_model(out, id, created);
  return out;
}

}  // namespace sluice::openai
