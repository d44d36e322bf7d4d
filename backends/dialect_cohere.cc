// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_cohere.h"

#include <algorithm>

#include "backends/codec_answer.h"
#include "backends/codec_common.h"
#include "backends/codec_inputs.h"
#include "backends/codec_scores.h"

namespace sluice {
namespace cohere {
namespace {

constexpr std::string_view kRerankPaths[] = {"/v1/rerank", "/v2/rerank", "/rerank"};
constexpr std::string_view kClassifyPaths[] = {"/classify"};
constexpr codec::Field kFields[] = {{"raw_scores", codec::Kind::kBool}};
// Long texts are cut at their end, whatever one asks.
constexpr codec::Implied kImplied[] = {{"truncate", "true"},
                                       {"truncation_direction", R"("right")"},
                                       {"truncation_direction", R"("Right")"}};

bool is_version_2(std::string_view target) { return target.starts_with("/v2/"); }

std::optional<Error> read_model(JsonView value, CallKey& key) {
  if (value.is(JsonType::kNull)) return std::nullopt;
  if (!value.is(JsonType::kString)) return codec::wrong_type("model", "model", "a string", value);
  key.model = value.text();
  return std::nullopt;
}

void append_model(codec::BodyWriter& out, std::string_view model) {
  if (model.empty()) return;
  out.append(R"("model":)");
  append_json_string(out.text(), model);
  out.append(",");
}

class RerankCodec final : public Codec {
 public:
  Operation operation() const override { return Operation::kRerank; }
  std::string_view name() const override { return "cohere.rerank"; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;
};

std::optional<Error> read_top_n(JsonView value, Asked& asked) {
  if (value.is(JsonType::kNull)) return std::nullopt;
  if (auto error = codec::check({"top_n", codec::Kind::kPositive}, value)) return error;
  asked.shape.top_n = static_cast<uint32_t>(value.integer().value_or(0));
  return std::nullopt;
}

Result<Asked> RerankCodec::read_request(const RequestHead& head, const Slice& body) const {
  Asked asked;
  asked.key.operation = Operation::kRerank;
  asked.key.target = head.target;
  auto error = codec::for_members(
      body, [&](std::string_view member, JsonView value) -> std::optional<Error> {
        if (member == "documents")
          return codec::read_texts(body, value, member, codec::kItemsMax, true, asked.rows);
        if (member == "query") return codec::take_query(value, asked.key);
        if (member == "model") return read_model(value, asked.key);
        if (member == "top_n") return read_top_n(value, asked);
        if (member == "return_documents")
          return codec::read_flag(member, value, asked.shape.return_text);
        return codec::take_param(kFields, name(), member, value, asked.key);
      });
  if (error) return std::move(*error);
  if (!asked.key.param("query")) return codec::invalid("query", "'query' is missing.");
  if (asked.rows.empty()) return codec::invalid("documents", "'documents' is missing.");
  codec::sort_params(asked.key);
  asked.shape.model = asked.key.model;
  if (asked.shape.return_text) {
    for (const Row& row : asked.rows) asked.shape.texts.push_back(row.wire);
  }
  return asked;
}

void append_document(codec::BodyWriter& out, const Slice& document) {
  const bool bare = document.view().starts_with('"');
  out.append(bare ? R"(,"document":{"text":)" : R"(,"document":)");
  out.append(document);
  if (bare) out.append("}");
}

void append_results(codec::BodyWriter& out, const Asked& asked,
                    std::span<const codec::Ranked> ranked) {
  out.append(R"("results":[)");
  for (const codec::Ranked& one : ranked) {
    out.append(&one == ranked.data() ? R"({"index":)" : R"(,{"index":)");
    append_json_number(out.text(), static_cast<int64_t>(one.index));
    out.append(R"(,"relevance_score":)");
    out.append(one.text);
    if (asked.shape.return_text) append_document(out, asked.shape.texts[one.index]);
    out.append("}");
  }
  out.append("]");
}

Result<Body> RerankCodec::write_response(const Asked& asked, const Answer& answer) const {
  const Result<std::vector<codec::Ranked>> all = codec::rank(answer.outputs);
  if (!all.ok()) return all.error();
  std::span<const codec::Ranked> ranked(all.value());
  if (asked.shape.top_n) ranked = ranked.first(std::min<size_t>(ranked.size(), *asked.shape.top_n));
  codec::BodyWriter out;
  out.append("{");
  const std::string_view beside = codec::Envelope::read(answer.outputs, *this);
  if (!beside.empty()) {
    out.append(beside);
    out.append(",");
    append_results(out, asked, ranked);
  } else {
    out.append(R"("object":"rerank",)");
    append_model(out, asked.shape.model);
    append_results(out, asked, ranked);
    out.append(is_version_2(asked.key.target) ? R"(,"meta":{"api_version":{"version":"2"},)"
                                              : R"(,"meta":{"api_version":{"version":"1"},)");
    out.append(R"("billed_units":{"search_units":1}})");
  }
  // Cohere itself bills searches, and tells no tokens.
  if (answer.tokens > 0) {
    out.append(",");
    codec::append_usage(out.text(), answer.tokens);
  }
  out.append("}");
  return out.take();
}

Result<CallRequest> RerankCodec::write_call(const CallKey& key,
                                            std::span<const CallRow> rows) const {
  std::string params;
  const Result<Done> said = codec::say_params(key, *this, kFields, kImplied, "query", params);
  if (!said.ok()) return said.error();
  const auto query = key.param("query");
  if (!query) return codec::invalid("query", "'query' is missing.");
  CallRequest call{.target = codec::target_of(key, kRerankPaths), .body = {}};
  codec::BodyWriter out;
  out.append("{");
  append_model(out, key.model);
  out.append(R"("query":)");
  out.append(*query);
  out.append(R"(,"documents":)");
  codec::append_rows(out, rows);
  out.append(params);
  // Some endpoints send the documents back unless told otherwise; version 2 has no such field.
  out.append(is_version_2(call.target) ? "}" : R"(,"return_documents":false})");
  call.body = out.take();
  return call;
}

Result<std::vector<Outcome>> RerankCodec::read_call(const CallKey&, std::span<const CallRow> rows,
                                                    const CallAnswer& answer) const {
  std::vector<Output> outputs(rows.size());
  codec::AnswerReader reader(answer.body);
  std::string_view key;
  while (reader.next(key)) {
    if (key != "results") {
      reader.beside(key);
      continue;
    }
    reader.items_begin();
    while (reader.at().next_item()) codec::read_scored(reader.at(), "relevance_score", outputs);
  }
  return reader.finish(*this, rows, std::move(outputs));
}

class ClassifyCodec final : public Codec {
 public:
  Operation operation() const override { return Operation::kClassify; }
  std::string_view name() const override { return "cohere.classify"; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;
};

Result<Asked> ClassifyCodec::read_request(const RequestHead& head, const Slice& body) const {
  Asked asked;
  asked.key.operation = Operation::kClassify;
  asked.key.target = head.target;
  auto error = codec::for_members(
      body, [&](std::string_view member, JsonView value) -> std::optional<Error> {
        if (member == "input")
          return codec::read_texts(body, value, member, codec::kItemsMax, false, asked.rows);
        if (member == "model") return read_model(value, asked.key);
        return codec::take_param(kFields, name(), member, value, asked.key);
      });
  if (error) return std::move(*error);
  if (asked.rows.empty()) return codec::invalid("input", "'input' is missing.");
  codec::sort_params(asked.key);
  asked.shape.model = asked.key.model;
  return asked;
}

Result<Body> ClassifyCodec::write_response(const Asked& asked, const Answer& answer) const {
  codec::BodyWriter out;
  out.append("{");
  const std::string_view beside = codec::Envelope::read(answer.outputs, *this);
  if (beside.empty()) {
    out.append(R"("object":"classify",)");
    append_model(out, asked.shape.model);
  } else {
    out.append(beside);
    out.append(",");
  }
  out.append(R"("data":[)");
  for (const Output& output : answer.outputs) {
    if (&output != answer.outputs.data()) out.append(",");
    const Result<Done> written = codec::write_classes(out, output, answer.labels);
    if (!written.ok()) return written.error();
  }
  out.append("],");
  codec::append_usage(out.text(), answer.tokens);
  out.append("}");
  return out.take();
}

Result<CallRequest> ClassifyCodec::write_call(const CallKey& key,
                                              std::span<const CallRow> rows) const {
  std::string params;
  const Result<Done> said = codec::say_params(key, *this, kFields, kImplied, "", params);
  if (!said.ok()) return said.error();
  codec::BodyWriter out;
  out.append("{");
  append_model(out, key.model);
  for (const CallRow& row : rows) {
    if (!row.wire.view().starts_with('"'))
      return codec::invalid("inputs", "A pair of texts cannot be asked of what serves this model.");
  }
  out.append(R"("input":)");
  codec::append_rows(out, rows);
  out.append(params);
  out.append("}");
  return CallRequest{.target = codec::target_of(key, kClassifyPaths), .body = out.take()};
}

Result<std::vector<Outcome>> ClassifyCodec::read_call(const CallKey&, std::span<const CallRow> rows,
                                                      const CallAnswer& answer) const {
  std::vector<Output> outputs(rows.size());
  codec::AnswerReader reader(answer.body);
  JsonCursor& at = reader.at();
  std::string_view key;
  size_t index = 0;
  while (reader.next(key)) {
    if (key != "data") {
      reader.beside(key);
      continue;
    }
    reader.items_begin();
    while (at.next_item()) {
      if (index == rows.size()) at.fail("more items than were asked for");
      Slice classes = codec::read_entries(at, "score", "label", true);
      if (!at.failed()) codec::place(at, outputs, index++, std::move(classes));
    }
  }
  return reader.finish(*this, rows, std::move(outputs));
}

class CohereDialect final : public Dialect {
 public:
  std::string_view name() const override { return "cohere"; }
  std::span<const CodecRoute> routes() const override { return routes_; }
  const Codec* upstream_codec(Operation operation) const override {
    if (operation == Operation::kRerank) return &rerank_codec();
    return operation == Operation::kClassify ? &classify_codec() : nullptr;
  }
  std::string write_error(const Error& error, std::string_view request_id) const override {
    std::string body = "{";
    if (!request_id.empty()) {
      body += R"("id":)";
      append_json_string(body, request_id);
      body += ',';
    }
    body += R"("message":)";
    append_json_string(body, error.message);
    return body + '}';
  }

 private:
  const CodecRoute routes_[4] = {{"POST", kRerankPaths[0], &rerank_codec()},
                                 {"POST", kRerankPaths[1], &rerank_codec()},
                                 {"POST", kRerankPaths[2], &rerank_codec()},
                                 {"POST", kClassifyPaths[0], &classify_codec()}};
};

}  // namespace

const Codec& rerank_codec() {
  static const RerankCodec codec;
  return codec;
}

const Codec& classify_codec() {
  static const ClassifyCodec codec;
  return codec;
}

}  // namespace cohere

const Dialect& cohere_dialect() {
  static const cohere::CohereDialect dialect;
  return dialect;
}

}  // namespace sluice
