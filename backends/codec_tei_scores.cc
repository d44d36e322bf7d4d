// SPDX-License-Identifier: Apache-2.0
// The codecs of POST /rerank and POST /predict.
#include <algorithm>

#include "backends/codec_answer.h"
#include "backends/codec_inputs.h"
#include "backends/codec_scores.h"
#include "backends/codec_tei.h"
#include "backends/dialect_tei.h"

namespace sluice::tei {
namespace {

constexpr std::string_view kRerankPaths[] = {"/rerank"};
constexpr std::string_view kPredictPaths[] = {"/predict"};

class RerankCodec final : public Codec {
 public:
  Operation operation() const override { return Operation::kRerank; }
  std::string_view name() const override { return "tei.rerank"; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;
};

Result<Asked> RerankCodec::read_request(const RequestHead&, const Slice& body) const {
  Asked asked;
  asked.key.operation = Operation::kRerank;
  auto error = codec::for_members(body, [&](std::string_view member, JsonView value) {
    if (member == "texts")
      return codec::read_texts(body, value, member, codec::kItemsMax, false, asked.rows);
    if (member == "query") return codec::take_query(value, asked.key);
    if (member == "return_text") return codec::read_flag(member, value, asked.shape.return_text);
    return codec::take_param(kScoreFields, name(), member, value, asked.key);
  });
  if (error) return std::move(*error);
  if (!asked.key.param("query")) return codec::invalid("query", "'query' is missing.");
  if (asked.rows.empty()) return codec::invalid("texts", "'texts' is missing.");
  codec::sort_params(asked.key);
  if (asked.shape.return_text) {
    for (const Row& row : asked.rows) asked.shape.texts.push_back(row.wire);
  }
  return asked;
}

Result<Body> RerankCodec::write_response(const Asked& asked, const Answer& answer) const {
  const Result<std::vector<codec::Ranked>> ranked = codec::rank(answer.outputs);
  if (!ranked.ok()) return ranked.error();
  codec::BodyWriter out;
  out.append("[");
  for (const codec::Ranked& one : ranked.value()) {
    if (&one != &ranked.value().front()) out.append(",");
    out.append(R"({"index":)");
    append_json_number(out.text(), static_cast<int64_t>(one.index));
    if (asked.shape.return_text) {
      out.append(R"(,"text":)");
      out.append(asked.shape.texts[one.index]);
    }
    out.append(R"(,"score":)");
    out.append(one.text);
    out.append("}");
  }
  out.append("]");
  return out.take();
}

// A document that is an object goes as its "text", which is all that this protocol takes.
Slice text_of(const Slice& wire) {
  const JsonView view(wire.view());
  if (!view.is(JsonType::kObject)) return wire;
  const std::optional<JsonView> text = view.member("text");
  return text && text->is(JsonType::kString) ? codec::part_of(wire, *text) : Slice();
}

Result<CallRequest> RerankCodec::write_call(const CallKey& key,
                                            std::span<const CallRow> rows) const {
  std::string params;
  const Result<Done> said = codec::say_params(key, *this, kScoreFields, {}, "query", params);
  if (!said.ok()) return said.error();
  const auto query = key.param("query");
  if (!query) return codec::invalid("query", "'query' is missing.");
  codec::BodyWriter out;
  out.append(R"({"query":)");
  out.append(*query);
  out.append(R"(,"texts":[)");
  for (const CallRow& row : rows) {
    const Slice text = text_of(row.wire);
    if (text.empty()) return codec::invalid("documents", "A document has no 'text'.");
    if (&row != rows.data()) out.append(",");
    out.append(text);
  }
  out.append("]");
  out.append(params);
  out.append("}");
  return CallRequest{.target = codec::target_of(key, kRerankPaths), .body = out.take()};
}

Result<std::vector<Outcome>> RerankCodec::read_call(const CallKey&, std::span<const CallRow> rows,
                                                    const CallAnswer& answer) const {
  JsonCursor at(answer.body);
  std::vector<Output> outputs(rows.size());
  at.enter('[');
  while (at.next_item()) codec::read_scored(at, "score", outputs);
  if (!at.finish()) return at.error();
  return outcomes_of(std::move(outputs), rows, answer);
}

class PredictCodec final : public Codec {
 public:
  Operation operation() const override { return Operation::kClassify; }
  std::string_view name() const override { return "tei.predict"; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;
};

// One or two strings in an array: a text, or a pair. `place` names it in messages.
std::optional<Error> read_sequence(const Slice& body, JsonView value, const std::string& place,
                                   std::vector<Row>& rows) {
  std::optional<Error> error;
  std::optional<JsonView> first;
  size_t count = 0;
  value.for_each_item([&](JsonView item) {
    if (!item.is(JsonType::kString))
      error =
          codec::wrong_type("inputs", place + "[" + std::to_string(count) + "]", "a string", item);
    if (count == 0) first = item;
    ++count;
    return !error && count <= 2;
  });
  if (!error && (count < 1 || count > 2))
    error = codec::invalid("inputs", "'" + place + "' must hold one text, or two for a pair.");
  if (!error)
    rows.push_back({.payload = {}, .wire = codec::part_of(body, count == 1 ? *first : value)});
  return error;
}

std::optional<Error> read_batch(const Slice& body, JsonView value, std::vector<Row>& rows) {
  std::optional<Error> error;
  value.for_each_item([&](JsonView item) {
    const std::string place = "inputs[" + std::to_string(rows.size()) + "]";
    if (rows.size() == codec::kItemsMax) {
      error = codec::invalid(
          "inputs", "'inputs' holds more than " + std::to_string(codec::kItemsMax) + " items.");
    } else if (!item.is(JsonType::kArray)) {
      error = codec::wrong_type("inputs", place, "an array of one or two strings", item);
    } else {
      error = read_sequence(body, item, place, rows);
    }
    return !error;
  });
  return error;
}

std::optional<Error> read_predict_inputs(const Slice& body, JsonView value, Asked& asked) {
  asked.shape.single = true;
  if (value.is(JsonType::kString)) {
    asked.rows.push_back({.payload = {}, .wire = codec::part_of(body, value)});
    return std::nullopt;
  }
  if (!value.is(JsonType::kArray))
    return codec::wrong_type("inputs", "inputs", "a string or an array", value);
  bool batch = false;
  value.for_each_item([&](JsonView item) {
    batch = item.is(JsonType::kArray);
    return false;
  });
  if (!batch) return read_sequence(body, value, "inputs", asked.rows);
  asked.shape.single = false;
  return read_batch(body, value, asked.rows);
}

Result<Asked> PredictCodec::read_request(const RequestHead&, const Slice& body) const {
  Asked asked;
  asked.key.operation = Operation::kClassify;
  auto error = codec::for_members(body, [&](std::string_view member, JsonView value) {
    if (member == "inputs") return read_predict_inputs(body, value, asked);
    return codec::take_param(kScoreFields, name(), member, value, asked.key);
  });
  if (error) return std::move(*error);
  if (asked.rows.empty()) return codec::invalid("inputs", "'inputs' is missing.");
  codec::sort_params(asked.key);
  return asked;
}

Result<Body> PredictCodec::write_response(const Asked& asked, const Answer& answer) const {
  codec::BodyWriter out;
  if (!asked.shape.single) out.append("[");
  for (const Output& output : answer.outputs) {
    if (&output != answer.outputs.data()) out.append(",");
    const Result<Done> written = codec::write_classes(out, output, answer.labels);
    if (!written.ok()) return written.error();
  }
  if (!asked.shape.single) out.append("]");
  return out.take();
}

Result<CallRequest> PredictCodec::write_call(const CallKey& key,
                                             std::span<const CallRow> rows) const {
  std::string params;
  const Result<Done> said = codec::say_params(key, *this, kScoreFields, {}, "", params);
  if (!said.ok()) return said.error();
  codec::BodyWriter out;
  out.append(R"({"inputs":[)");
  for (const CallRow& row : rows) {
    const bool pair = row.wire.view().starts_with('[');
    if (&row != rows.data()) out.append(",");
    if (!pair) out.append("[");
    out.append(row.wire);
    if (!pair) out.append("]");
  }
  out.append("]");
  out.append(params);
  out.append("}");
  return CallRequest{.target = codec::target_of(key, kPredictPaths), .body = out.take()};
}

Result<std::vector<Outcome>> PredictCodec::read_call(const CallKey&, std::span<const CallRow> rows,
                                                     const CallAnswer& answer) const {
  JsonCursor at(answer.body);
  std::vector<Output> outputs(rows.size());
  size_t index = 0;
  at.enter('[');
  while (at.next_item()) {
    if (index == rows.size()) at.fail("more items than were asked for");
    Slice classes = codec::read_entries(at, "score", "label", true);
    if (!at.failed()) codec::place(at, outputs, index++, std::move(classes));
  }
  if (!at.finish()) return at.error();
  return outcomes_of(std::move(outputs), rows, answer);
}

}  // namespace

const Codec& rerank_codec() {
  static const RerankCodec codec;
  return codec;
}

const Codec& predict_codec() {
  static const PredictCodec codec;
  return codec;
}

}  // namespace sluice::tei
