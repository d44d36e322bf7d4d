// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_oip.h"

#include <algorithm>
#include <optional>

#include "backends/codec_common.h"
#include "backends/oip_request.h"
#include "backends/oip_rows.h"
#include "backends/oip_tensor.h"
#include "backends/oip_text.h"

namespace sluice {
namespace {

using codec::BodyWriter;
using codec::invalid;
using oip::Columns;
using oip::kHeader;
using oip::kPaths;
using oip::Tensor;

// An error of reading a body, as one of an answer.
Error as_upstream(const Error& error) {
  return codec::upstream("The upstream's answer is not what was asked for: " + error.message);
}

// The body of JSON and the binary data of some columns behind it.
Body finish(BodyWriter json, const Columns& columns, const std::vector<bool>& binary) {
  Body body = json.take();
  if (std::ranges::find(binary, true) == binary.end()) return body;
  body.headers.emplace_back(kHeader, std::to_string(body.size()));
  body.content_type = "application/octet-stream";
  BodyWriter tail;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!binary[i]) continue;
    for (const Slice& row : columns[i]) tail.append(row);
  }
  Body data = tail.take();
  std::ranges::move(data.parts, std::back_inserter(body.parts));
  return body;
}

// Writes the array of tensors that `descriptions` tells of; says of each whether it is binary.
std::vector<bool> write_tensors(BodyWriter& out, JsonView descriptions, const Columns& columns) {
  std::vector<bool> binary;
  descriptions.for_each_item([&](JsonView description) {
    out.append(binary.empty() ? "[" : ",");
    binary.push_back(oip::write_tensor(out, description, columns[binary.size()]));
    return true;
  });
  out.append("]");
  return binary;
}

// As write_tensors(), but binary data becomes JSON too: there is such where the request was read
// for an endpoint that takes it. kInvalid if it has no form in JSON.
Result<Done> write_as_json(BodyWriter& out, JsonView descriptions, const Columns& columns) {
  size_t i = 0;
  std::optional<Error> error;
  descriptions.for_each_item([&](JsonView description) {
    out.append(i == 0 ? "[" : ",");
    if (description.member("data")) {
      oip::write_tensor(out, description, columns[i]);
    } else {
      const std::string place = "inputs[" + std::to_string(i) + "]";
      const Result<Done> done = oip::write_as_json(out, description, columns[i], place);
      if (!done.ok()) error = done.error();
    }
    ++i;
    return !error;
  });
  if (error) return std::move(*error);
  out.append("]");
  return Done{};
}

class InferCodec final : public Codec {
 public:
  // `json_only`: calls have their tensors as JSON, whatever form these came in.
  explicit InferCodec(bool json_only) : json_only_(json_only) {}
  Operation operation() const override { return Operation::kInfer; }
  std::string_view name() const override { return "oip.infer"; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override {
    return oip::read_request(head, body, name(), json_only_);
  }
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;

 private:
  const bool json_only_;
};

Result<CallRequest> InferCodec::write_call(const CallKey& key,
                                           std::span<const CallRow> rows) const {
  const auto inputs = key.param("inputs");
  if (key.codec != name() || !inputs)
    return invalid("", "A request for '" + std::string(to_text(key.operation)) +
                           "' cannot be said in the Open Inference Protocol.");
  const Slice text = Slice::copy_of(*inputs);
  const Result<JsonView> list = parse_json(text);
  if (!list.ok() || !list.value().is(JsonType::kArray))
    return Error{.code = Code::kInternal, .message = "The key of a call is broken."};
  std::vector<Slice> wires;
  wires.reserve(rows.size());
  for (const CallRow& row : rows) wires.push_back(row.wire);
  const Result<Columns> columns = oip::scatter(wires, list.value().count());
  if (!columns.ok()) return columns.error();
  BodyWriter out;
  out.append(R"({"inputs":)");
  std::vector<bool> binary;
  if (!json_only_) {
    binary = write_tensors(out, list.value(), columns.value());
  } else if (const auto done = write_as_json(out, list.value(), columns.value()); !done.ok()) {
    return done.error();
  }
  for (const auto& [param, raw] : key.params) {
    if (param == "inputs") continue;
    out.append(",");
    append_json_string(out.text(), param);
    out.append(":");
    out.append(raw);
  }
  out.append("}");
  return CallRequest{.method = "POST",
                     .target = key.target,
                     .body = finish(std::move(out), columns.value(), binary)};
}

// The outputs that an answer declares, each with a row for each of `rows`.
Result<std::vector<Tensor>> read_outputs(const Slice& body, JsonView root, size_t json_bytes,
                                         size_t rows) {
  const std::optional<JsonView> list = root.member("outputs");
  if (!list) {
    const std::optional<JsonView> message = root.member("error");
    return codec::upstream(
        "The upstream's answer has no 'outputs'" +
        (message ? ": " + std::string(message->raw().substr(0, 200)) : std::string(".")));
  }
  auto outputs = oip::read_tensors(body, *list, "outputs", json_bytes);
  if (!outputs.ok()) return as_upstream(outputs.error());
  for (const Tensor& output : outputs.value()) {
    if (output.form == oip::Form::kShared)
      return codec::upstream("The upstream's '" + output.place + "' is in shared memory.");
    if (output.shape.empty() || static_cast<uint64_t>(output.shape[0]) != rows)
      return codec::upstream("The upstream's '" + output.place + "' has the shape " +
                             oip::shape_text(output.shape) + " for a call of " +
                             std::to_string(rows) + " rows: it does not batch along dimension 0.");
  }
  return outputs;
}

Result<std::vector<Outcome>> InferCodec::read_call(const CallKey&, std::span<const CallRow> rows,
                                                   const CallAnswer& answer) const {
  std::optional<std::string_view> header;
  for (const Header& field : answer.headers) {
    if (std::ranges::equal(field.name, kHeader,
                           [](char a, char b) { return (a | 32) == (b | 32); }))
      header = field.value;
  }
  const Result<size_t> json_bytes = oip::json_size(header, answer.body.size());
  if (!json_bytes.ok()) return as_upstream(json_bytes.error());
  const Result<JsonView> root = codec::parse_object(answer.body.part(0, json_bytes.value()));
  if (!root.ok()) return as_upstream(root.error());
  const auto outputs = read_outputs(answer.body, root.value(), json_bytes.value(), rows.size());
  if (!outputs.ok()) return outputs.error();
  const Result<Columns> columns = oip::read_columns(outputs.value(), false, true);
  if (!columns.ok()) return as_upstream(columns.error());
  std::string envelope = "{";
  root.value().for_each_member([&](std::string_view key, JsonView value) {
    if (envelope.size() > 1) envelope += ',';
    append_json_string(envelope, key);
    envelope += ':';
    envelope += key == "outputs" ? oip::describe_all(outputs.value()) : value.raw();
    return true;
  });
  const Slice shared = Slice::copy_of(envelope + "}");
  std::vector<Outcome> outcomes;
  outcomes.reserve(rows.size());
  for (Slice& row : oip::gather(columns.value())) {
    Output output(std::move(row), sluice::Form::kBytes);
    output.envelope = shared;
    outcomes.emplace_back(std::move(output));
  }
  return outcomes;
}

// Whether rows of two answers may stand in one: the same model gave the same outputs.
bool joinable(JsonView a, JsonView b) {
  return std::ranges::all_of(
      std::initializer_list<std::string_view>{"outputs", "model_name", "model_version"},
      [&](std::string_view key) {
        const auto of_a = a.member(key), of_b = b.member(key);
        return of_a.has_value() == of_b.has_value() && (!of_a || of_a->raw() == of_b->raw());
      });
}

// The envelope that all outputs fit. kUpstream if they do not go together.
Result<JsonView> common_envelope(std::span<const Output> outputs) {
  const Error strange = codec::upstream("An output is none of the Open Inference Protocol.");
  if (outputs.empty()) return strange;
  const Slice& first = outputs.front().envelope;
  const Result<JsonView> root = parse_json(first);
  if (!root.ok() || !root.value().is(JsonType::kObject)) return strange;
  const std::optional<JsonView> list = root.value().member("outputs");
  if (!list || !list->is(JsonType::kArray)) return strange;
  const char* last = first.data();
  for (const Output& output : outputs) {
    if (output.form != sluice::Form::kBytes) return strange;
    if (output.envelope.data() == last) continue;
    last = output.envelope.data();
    const Result<JsonView> other = parse_json(output.envelope);
    if (!other.ok() || !other.value().is(JsonType::kObject)) return strange;
    if (!joinable(root.value(), other.value()))
      return codec::upstream(
          "The request was answered in parts whose outputs, model or version differ.");
  }
  return root.value();
}

Result<Body> InferCodec::write_response(const Asked& asked, const Answer& answer) const {
  const Result<JsonView> envelope = common_envelope(answer.outputs);
  if (!envelope.ok()) return envelope.error();
  std::vector<Slice> bytes;
  bytes.reserve(answer.outputs.size());
  for (const Output& output : answer.outputs) bytes.push_back(output.bytes);
  const Result<Columns> columns = oip::scatter(bytes, envelope.value().member("outputs")->count());
  if (!columns.ok()) return columns.error();
  BodyWriter out;
  std::vector<bool> binary;
  std::string_view between = "{";
  const auto append_key = [&](std::string_view key) {
    out.append(between);
    append_json_string(out.text(), key);
    out.append(":");
    between = ",";
  };
  const std::string& id = asked.shape.id;
  if (!id.empty() && !envelope.value().member("id")) {
    append_key("id");  // in front, where Triton has it
    append_json_string(out.text(), id);
  }
  envelope.value().for_each_member([&](std::string_view key, JsonView value) {
    append_key(key);
    if (key == "outputs") {
      binary = write_tensors(out, value, columns.value());
    } else if (key == "id" && !id.empty()) {
      append_json_string(out.text(), id);
    } else {
      out.append(value.raw());
    }
    return true;
  });
  out.append("}");
  return finish(std::move(out), columns.value(), binary);
}

class OipDialect final : public Dialect {
 public:
  OipDialect(std::string_view name, bool json_only) : name_(name), infer_(json_only) {}
  std::string_view name() const override { return name_; }
  std::span<const CodecRoute> routes() const override { return routes_; }
  const Codec* upstream_codec(Operation operation) const override {
    return operation == Operation::kInfer ? &infer_ : nullptr;
  }
  std::string write_error(const Error& error, std::string_view) const override {
    std::string out = R"({"error":)";
    append_json_string(out, error.message);
    return out + "}";
  }

 private:
  const std::string_view name_;
  const InferCodec infer_;
  CodecRoute routes_[2] = {{"POST", kPaths[0], &infer_}, {"POST", kPaths[1], &infer_}};
};

}  // namespace

const Dialect& oip_dialect() {
  static const OipDialect dialect("oip-v2", false);
  return dialect;
}

const Dialect& oip_json_dialect() {
  static const OipDialect dialect("oip-v2-json", true);
  return dialect;
}

}  // namespace sluice
