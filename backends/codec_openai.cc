// SPDX-License-Identifier: Apache-2.0
// The codec of POST /v1/embeddings, and the dialect around it.
#include <algorithm>

#include "backends/codec_answer.h"
#include "backends/codec_common.h"
#include "backends/codec_inputs.h"
#include "backends/dialect_openai.h"
#include "backends/vector_text.h"

namespace sluice {
namespace openai {
namespace {

// Row::flags: what the caller said of encoding_format. Neither is set if it said nothing.
constexpr uint8_t kSaidFloat = 1;
constexpr uint8_t kSaidBase64 = 2;

constexpr std::string_view kPaths[] = {"/v1/embeddings", "/embeddings"};
constexpr codec::Field kFields[] = {{"dimensions", codec::Kind::kPositive}};
// What OpenAI's vectors are anyway.
constexpr codec::Implied kImplied[] = {{"normalize", "true"},
                                       {"truncate", "false"},
                                       {"truncation_direction", R"("right")"},
                                       {"truncation_direction", R"("Right")"}};

class EmbeddingsCodec final : public Codec {
 public:
  Operation operation() const override { return Operation::kEmbed; }
  std::string_view name() const override { return "openai.embeddings"; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;
};

// What the members of a request say that is in no other place yet.
struct Draft {
  Asked asked;
  bool has_model = false;
  uint8_t flags = 0;
};

std::optional<Error> read_format(JsonView value, Draft& draft) {
  const std::string format = value.is(JsonType::kString) ? value.text() : "";
  if (format != "float" && format != "base64")
    return codec::invalid("encoding_format", R"('encoding_format' must be "float" or "base64".)");
  draft.asked.shape.base64 = format == "base64";
  draft.flags = format == "base64" ? kSaidBase64 : kSaidFloat;
  return std::nullopt;
}

std::optional<Error> read_rows(const Slice& body, JsonView value, std::vector<Row>& rows) {
  std::vector<JsonView> inputs;
  if (auto error = codec::read_inputs(value, {.field = "input", .items_max = kInputsMax}, inputs))
    return error;
  rows.reserve(inputs.size());
  for (const JsonView input : inputs)
    rows.push_back({.payload = {}, .wire = codec::part_of(body, input)});
  return std::nullopt;
}

std::optional<Error> read_member(const Slice& body, std::string_view name, JsonView value,
                                 std::string_view codec_name, Draft& draft) {
  if (name == "input") return read_rows(body, value, draft.asked.rows);
  if (name == "model") {
    if (!value.is(JsonType::kString)) return codec::wrong_type("model", "model", "a string", value);
    draft.asked.key.model = value.text();
    draft.has_model = true;
    return std::nullopt;
  }
  if (name == "encoding_format")
    return value.is(JsonType::kNull) ? std::nullopt : read_format(value, draft);
  if (name == "user") {  // who asks does not change the answer
    return value.is(JsonType::kNull) || value.is(JsonType::kString)
               ? std::nullopt
               : std::optional(codec::wrong_type("user", "user", "a string", value));
  }
  return codec::take_param(kFields, codec_name, name, value, draft.asked.key);
}

Result<Asked> EmbeddingsCodec::read_request(const RequestHead& head, const Slice& body) const {
  const Result<JsonView> root = codec::parse_object(body);
  if (!root.ok()) return root.error();
  Draft draft;
  std::optional<Error> error;
  root.value().for_each_member([&](std::string_view key, JsonView value) {
    error = read_member(body, key, value, name(), draft);
    return !error;
  });
  if (error) return std::move(*error);
  // Servers that listen at the root of their URL have a model for those who name none.
  if (!draft.has_model && head.path() != kPaths[1])
    return codec::invalid("model", "You must provide a 'model'.");
  if (draft.asked.rows.empty()) return codec::invalid("input", "You must provide an 'input'.");
  for (Row& row : draft.asked.rows) row.flags = draft.flags;
  Asked& asked = draft.asked;
  asked.key.operation = Operation::kEmbed;
  codec::sort_params(asked.key);
  asked.shape.model = asked.key.model;
  if (const auto dimensions = asked.key.param("dimensions"))
    asked.shape.dimensions = static_cast<uint32_t>(*JsonView(*dimensions).integer());
  return std::move(asked);
}

Result<Body> EmbeddingsCodec::write_response(const Asked& asked, const Answer& answer) const {
  codec::BodyWriter out;
  const codec::VectorForm form{.base64 = asked.shape.base64, .dimensions = asked.shape.dimensions};
  out.append(R"({"object":"list","data":[)");
  for (size_t i = 0; i < answer.outputs.size(); ++i) {
    out.append(i == 0 ? R"({"object":"embedding","index":)" : R"(,{"object":"embedding","index":)");
    append_json_number(out.text(), static_cast<int64_t>(i));
    out.append(R"(,"embedding":)");
    const Result<Done> written = codec::write_vector(out, answer.outputs[i], form);
    if (!written.ok()) return written.error();
    out.append("}");
  }
  out.append("],");
  const std::string_view beside = codec::Envelope::read(answer.outputs, *this);
  if (!beside.starts_with(R"("model":)")) {
    out.append(R"("model":)");
    append_json_string(out.text(), asked.shape.model);
    out.append(",");
  }
  out.append(beside);
  if (!beside.empty()) out.append(",");
  codec::append_usage(out.text(), answer.tokens);
  out.append("}");
  return out.take();
}

// One form for all: base64 if all want that, decimals if any says so, else what the endpoint gives
// to one who does not ask.
std::string_view format_of(std::span<const CallRow> rows) {
  const auto says = [](uint8_t flag) {
    return [flag](const CallRow& row) { return row.flags == flag; };
  };
  if (std::ranges::all_of(rows, says(kSaidBase64))) return R"(,"encoding_format":"base64")";
  if (std::ranges::all_of(rows, says(0))) return "";
  return R"(,"encoding_format":"float")";
}

Result<CallRequest> EmbeddingsCodec::write_call(const CallKey& key,
                                                std::span<const CallRow> rows) const {
  std::string params;
  const Result<Done> said = codec::say_params(key, *this, kFields, kImplied, "", params);
  if (!said.ok()) return said.error();
  codec::BodyWriter out;
  out.append("{");
  if (!key.model.empty()) {
    out.append(R"("model":)");
    append_json_string(out.text(), key.model);
    out.append(",");
  }
  out.append(R"("input":)");
  codec::append_rows(out, rows);
  out.append(params);
  out.append(format_of(rows));
  out.append("}");
  return CallRequest{.target = codec::target_of(key, kPaths), .body = out.take()};
}

// One entry of "data": its vector goes to the place that its index names.
void read_entry(JsonCursor& at, std::span<Output> outputs) {
  std::string_view key;
  uint64_t index = outputs.size() == 1 ? 0 : outputs.size();
  bool indexed = false;
  Slice vector;
  at.enter('{');
  while (at.next_member(key)) {
    if (key == "embedding") {
      if (!vector.empty()) at.fail("two members 'embedding'");
      vector = codec::read_vector(at);
    } else if (key == "index") {
      if (indexed) at.fail("two members 'index'");
      indexed = at.count(outputs.size() - 1, index);
    } else {
      at.value();
    }
  }
  if (at.failed()) return;
  codec::place(at, outputs, index, std::move(vector));
}

Result<std::vector<Outcome>> EmbeddingsCodec::read_call(const CallKey&,
                                                        std::span<const CallRow> rows,
                                                        const CallAnswer& answer) const {
  std::vector<Output> outputs(rows.size());
  codec::AnswerReader reader(answer.body);
  JsonCursor& at = reader.at();
  std::string_view key;
  while (reader.next(key)) {
    if (key == "data") {
      reader.items_begin();
      while (at.next_item()) read_entry(at, outputs);
    } else if (key == "object") {
      at.value();
    } else {
      reader.beside(key);
    }
  }
  return reader.finish(*this, rows, std::move(outputs));
}

class OpenAiDialect final : public Dialect {
 public:
  std::string_view name() const override { return "openai"; }
  std::span<const CodecRoute> routes() const override { return routes_; }
  const Codec* upstream_codec(Operation operation) const override {
    return operation == Operation::kEmbed ? &embeddings_codec() : nullptr;
  }
  std::string write_error(const Error& error, std::string_view request_id) const override {
    std::string body = openai::write_error(error);
    if (request_id.empty()) return body;
    body.pop_back();
    body += R"(,"request_id":)";
    append_json_string(body, request_id);
    return body + '}';
  }

 private:
  const CodecRoute routes_[2] = {{"POST", kPaths[0], &embeddings_codec()},
                                 {"POST", kPaths[1], &embeddings_codec()}};
};

}  // namespace

const Codec& embeddings_codec() {
  static const EmbeddingsCodec codec;
  return codec;
}

}  // namespace openai

const Dialect& openai_dialect() {
  static const openai::OpenAiDialect dialect;
  return dialect;
}

}  // namespace sluice
