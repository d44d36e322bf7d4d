// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_kserve.h"

#include <optional>

#include "backends/codec_common.h"
#include "backends/codec_predict.h"

namespace sluice {
namespace {

using codec::invalid;

constexpr std::string_view kPath = "/v1/models/{}:predict";

const JsonPointer& predictions() {
  static const JsonPointer pointer = JsonPointer::parse("/predictions").value();
  return pointer;
}

// `text` as a segment of a path (RFC 3986).
std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (const char c : text) {
    if (kPlain.find(c) != kPlain.npos) {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

// One operation over instances and predictions.
class InstancesCodec final : public Codec {
 public:
  InstancesCodec(Operation operation, std::string_view name) : operation_(operation), name_(name) {}

  Operation operation() const override { return operation_; }
  std::string_view name() const override { return name_; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked&, const Answer& answer) const override {
    return codec::write_items(name_, predictions(), false, answer.outputs);
  }
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey&, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override {
    return codec::read_items(operation_, name_, predictions(), rows.size(), answer.body);
  }

 private:
  Operation operation_;
  std::string_view name_;
};

Result<Asked> InstancesCodec::read_request(const RequestHead& head, const Slice& body) const {
  const Result<JsonView> root = codec::parse_object(body);
  if (!root.ok()) return root.error();
  Asked asked;
  asked.key.operation = operation_;
  asked.key.target = head.target;
  std::vector<std::string> captures;
  if (match_path(kPath, head.path(), &captures)) asked.key.model = captures.front();
  std::optional<JsonView> instances;
  bool columns = false;
  root.value().for_each_member([&](std::string_view key, JsonView value) {
    if (key == "instances") {
      instances = value;
    } else if (key == "inputs") {
      columns = true;
    } else {
      asked.key.params.emplace_back(key, value.raw());
      asked.key.codec = name_;
    }
    return true;
  });
  codec::sort_params(asked.key);
  if (columns && instances)
    return invalid("inputs", "'inputs' and 'instances' exclude each other.");
  if (columns) {
    asked.pass_through = true;
    return asked;
  }
  if (!instances) return invalid("instances", "You must provide 'instances'.");
  if (!instances->is(JsonType::kArray))
    return codec::wrong_type("instances", "instances", "an array", *instances);
  const size_t count = instances->count();
  asked.pass_through = count == 0 || count > codec::kItemsMax;
  if (!asked.pass_through) asked.rows = codec::rows_of(body, *instances);
  return asked;
}

Result<CallRequest> InstancesCodec::write_call(const CallKey& key,
                                               std::span<const CallRow> rows) const {
  CallRequest call;
  call.target = key.target;
  if (!match_path(kPath, std::string_view(key.target).substr(0, key.target.find('?')))) {
    if (key.model.empty())
      return invalid("model", "KServe needs the name of a model, which the request does not give.");
    call.target = "/v1/models/" + percent_encoded(key.model) + ":predict";
  }
  codec::BodyWriter out;
  out.append(R"({"instances":)");
  codec::append_rows(out, rows);
  const Result<Done> said =
      codec::say_params(key, *this, {}, codec::defaults(operation_), "", out.text());
  if (!said.ok()) return said.error();
  out.append("}");
  call.body = out.take();
  return call;
}

class KserveDialect final : public Dialect {
 public:
  std::string_view name() const override { return "kserve-v1"; }
  std::span<const CodecRoute> routes() const override { return {&route_, 1}; }
  const Codec* upstream_codec(Operation operation) const override {
    for (const InstancesCodec* codec : {&predict_, &embed_, &classify_}) {
      if (codec->operation() == operation) return codec;
    }
    return nullptr;
  }
  std::string write_error(const Error& error, std::string_view) const override {
    return codec::error_text(error);
  }

 private:
  InstancesCodec predict_{Operation::kPredict, "kserve.predict"};
  InstancesCodec embed_{Operation::kEmbed, "kserve.embed"};
  InstancesCodec classify_{Operation::kClassify, "kserve.classify"};
  CodecRoute route_{"POST", kPath, &predict_};
};

}  // namespace

const Dialect& kserve_dialect() {
  static const KserveDialect dialect;
  return dialect;
}

}  // namespace sluice
