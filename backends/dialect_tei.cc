// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_tei.h"

#include <algorithm>
#include <charconv>

#include "backends/codec_answer.h"
#include "backends/codec_tei.h"
#include "backends/dialect_openai.h"
#include "base/http1_head.h"
#include "base/json.h"

namespace sluice {
namespace tei {
namespace {

// The kinds of error that the server knows.
std::string_view error_type(Code code) {
  switch (code) {
    case Code::kOverloaded:
      return "Overloaded";
    case Code::kUnavailable:
      return "Unhealthy";
    case Code::kUpstream:
    case Code::kTimeout:
    case Code::kInternal:
      return "Backend";
    default:
      return "Validation";
  }
}

class TeiDialect final : public Dialect {
 public:
  std::string_view name() const override { return "tei"; }
  std::span<const CodecRoute> routes() const override { return routes_; }
  const Codec* upstream_codec(Operation operation) const override {
    switch (operation) {
      case Operation::kEmbed:
        return &embed_codec();
      case Operation::kSparse:
        return &sparse_codec();
      case Operation::kRerank:
        return &rerank_codec();
      case Operation::kClassify:
        return &predict_codec();
      case Operation::kPredict:
      case Operation::kInfer:
        break;
    }
    return nullptr;
  }
  std::string write_error(const Error& error, std::string_view request_id) const override;

 private:
  const CodecRoute routes_[6] = {
      {"POST", "/embed", &embed_codec()},
      {"POST", "/embed_sparse", &sparse_codec()},
      {"POST", "/rerank", &rerank_codec()},
      {"POST", "/predict", &predict_codec()},
      {"POST", "/v1/embeddings", &openai::embeddings_codec()},
      {"POST", "/embeddings", &openai::embeddings_codec()},
  };
};

// Its own paths and the OpenAI one have other members; clients of either find theirs.
std::string TeiDialect::write_error(const Error& error, std::string_view request_id) const {
  std::string body = R"({"error":)";
  append_json_string(body, error.message);
  body += R"(,"error_type":)";
  append_json_string(body, error_type(error.code));
  body += R"(,"message":)";
  append_json_string(body, error.message);
  body += R"(,"code":)";
  append_json_number(body, static_cast<int64_t>(http_status(error.code)));
  if (!request_id.empty()) {
    body += R"(,"request_id":)";
    append_json_string(body, request_id);
  }
  return body + '}';
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  append_json_string(out, name);
  out += ':';
  append_json_string(out, text);
  out += ',';
}

void append_member(std::string& out, std::string_view name, uint32_t number) {
  append_json_string(out, name);
  out += ':';
  append_json_number(out, static_cast<int64_t>(number));
  out += ',';
}

}  // namespace

Result<std::vector<Outcome>> outcomes_of(std::vector<Output> outputs, std::span<const CallRow> rows,
                                         const CallAnswer& answer) {
  constexpr std::string_view kTokens = "x-compute-tokens";
  for (const Header& header : answer.headers) {
    if (!http1::equal_any_case(header.name, kTokens)) continue;
    uint32_t tokens = 0;
    const char* const end = header.value.data() + header.value.size();
    const auto parsed = std::from_chars(header.value.data(), end, tokens);
    if (parsed.ec == std::errc() && parsed.ptr == end) codec::share_tokens(tokens, rows, outputs);
    break;
  }
  return codec::outcomes_of(std::move(outputs));
}

std::string write_info(const Info& info) {
  std::string out = "{";
  append_member(out, "model_id", info.model);
  out += R"("model_sha":null,"model_dtype":"float32","model_type":{)";
  append_json_string(out, info.type);
  out +=
      info.type == "embedding" ? R"(:{"pooling":"mean"}},)" : R"(:{"id2label":{},"label2id":{}}},)";
  append_member(out, "max_concurrent_requests", info.requests_max);
  append_member(out, "max_input_length", info.input_tokens_max);
  append_member(out, "max_batch_tokens", info.batch_tokens_max);
  append_member(out, "max_client_batch_size", info.client_batch_items_max);
  append_member(out, "version", info.version);
  out += R"("max_batch_requests":null,"auto_truncate":true,"tokenization_workers":1})";
  return out;
}

std::string write_info(std::string_view model) { return write_info(Info{.model = model}); }

}  // namespace tei

const Dialect& tei_dialect() {
  static const tei::TeiDialect dialect;
  return dialect;
}

}  // namespace sluice
