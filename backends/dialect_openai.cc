// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_openai.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/base64.h"

namespace sluice::openai {
namespace {

static_assert(std::endian::native == std::endian::little, "vectors go out as they lie in memory");

Error invalid(std::string param, std::string message) {
  return Error{.code = Code::kInvalid, .message = std::move(message), .param = std::move(param)};
}

const char* name_of(JsonType type) {
  switch (type) {
    case JsonType::kNull:
      return "null";
    case JsonType::kBool:
      return "a boolean";
    case JsonType::kNumber:
      return "a number";
    case JsonType::kString:
      return "a string";
    case JsonType::kArray:
      return "an array";
    case JsonType::kObject:
      return "an object";
  }
  return "unknown";
}

Error wrong_type(const std::string& param, const char* wanted, JsonView got) {
  return invalid(param, "'" + param + "' must be " + wanted + ", not " + name_of(got.type()) + ".");
}

// A token array must hold at least one integer and nothing else. `param` names it in errors.
std::optional<Error> check_tokens(JsonView array, const std::string& param) {
  std::optional<Error> error;
  size_t index = 0;
  array.for_each_item([&](JsonView token) {
    if (!token.is(JsonType::kNumber) || !token.integer()) {
      error =
          wrong_type(param + "[" + std::to_string(index) + "]", "a token id (an integer)", token);
      error->param = "input";
    }
    ++index;
    return !error;
  });
  if (!error && index == 0) error = invalid("input", "'" + param + "' must not be empty.");
  return error;
}

// The items of "input" when it is an array of texts or of token arrays.
std::optional<Error> read_list(JsonView array, bool texts, std::vector<Input>& inputs) {
  std::optional<Error> error;
  array.for_each_item([&](JsonView item) {
    const std::string param = "input[" + std::to_string(inputs.size()) + "]";
    if (inputs.size() == kInputsMax) {
      error = invalid("input", "'input' holds more than " + std::to_string(kInputsMax) + " items.");
    } else if (texts && !item.is(JsonType::kString)) {
      error = wrong_type(param, "a string like the items before it", item);
    } else if (!texts && !item.is(JsonType::kArray)) {
      error = wrong_type(param, "an array of token ids like the items before it", item);
    } else if (!texts) {
      error = check_tokens(item, param);
    }
    if (error) {
      error->param = "input";
      return false;
    }
    inputs.push_back({texts ? Input::Kind::kText : Input::Kind::kTokens, item});
    return true;
  });
  return error;
}

std::optional<Error> read_input(JsonView value, std::vector<Input>& inputs) {
  if (value.is(JsonType::kString)) {
    inputs.push_back({Input::Kind::kText, value});
    return std::nullopt;
  }
  if (!value.is(JsonType::kArray))
    return wrong_type("input", "a string, an array of strings, or arrays of token ids", value);
  std::optional<JsonType> first;
  value.for_each_item([&](JsonView item) {
    first = item.type();
    return false;
  });
  if (!first) return invalid("input", "'input' must not be an empty array.");
  if (*first == JsonType::kNumber) {  // one flat array of ids is one input
    inputs.push_back({Input::Kind::kTokens, value});
    return check_tokens(value, "input");
  }
  if (*first != JsonType::kString && *first != JsonType::kArray)
    return invalid("input", std::string("'input[0]' must be a string or a token id, not ") +
                                name_of(*first) + ".");
  return read_list(value, *first == JsonType::kString, inputs);
}

std::optional<Error> read_member(std::string_view key, JsonView value, EmbeddingsRequest& request) {
  if (key == "model") {
    if (!value.is(JsonType::kString)) return wrong_type("model", "a string", value);
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
    if (!value.is(JsonType::kString)) return wrong_type("user", "a string", value);
  } else {
    std::string name(key.substr(0, 100));
    return invalid(name, "Unrecognized request argument supplied: " + name);
  }
  return std::nullopt;
}

// The vector's leading `dimensions` numbers, scaled to length 1.
std::vector<float> cut(std::span<const float> vector, uint32_t dimensions) {
  std::vector<float> result(
      vector.begin(),
      vector.begin() + static_cast<ptrdiff_t>(std::min<size_t>(dimensions, vector.size())));
  double squares = 0;
  for (float x : result) squares += static_cast<double>(x) * x;
  if (squares > 0) {
    const double scale = 1 / std::sqrt(squares);
    for (float& x : result) x = static_cast<float>(x * scale);
  }
  return result;
}

void append_vector(std::string& out, std::span<const float> vector, bool base64) {
  if (base64) {
    out += '"';
    append_base64(out, {reinterpret_cast<const char*>(vector.data()), vector.size_bytes()});
    out += '"';
    return;
  }
  out += '[';
  for (size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, vector[i]);
  }
  out += ']';
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
  Result<JsonView> root = parse_json(body);
  if (!root.ok()) return root.error();
  if (!root.value().is(JsonType::kObject))
    return invalid("", std::string("The body must be a JSON object, not ") +
                           name_of(root.value().type()) + ".");
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
    const std::span<const float> vector = response.vectors[i].as<float>();
    if (response.dimensions) {
      append_vector(out, cut(vector, *response.dimensions), response.base64);
    } else {
      append_vector(out, vector, response.base64);
    }
    out += '}';
  }
  out += R"(],"model":)";
  append_json_string(out, response.model);
  out += R"(,"usage":{"prompt_tokens":)";
  append_json_number(out, static_cast<int64_t>(response.prompt_tokens));
  out += R"(,"total_tokens":)";
  append_json_number(out, static_cast<int64_t>(response.prompt_tokens));
  out += "}}";
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
