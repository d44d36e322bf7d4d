// SPDX-License-Identifier: Apache-2.0
// The codecs of POST /embed and POST /embed_sparse, which differ in what a vector is.
#include <array>

#include "backends/codec_answer.h"
#include "backends/codec_inputs.h"
#include "backends/codec_scores.h"
#include "backends/codec_tei.h"
#include "backends/dialect_tei.h"
#include "backends/vector_text.h"

namespace sluice::tei {
namespace {

class VectorsCodec final : public Codec {
 public:
  VectorsCodec(Operation operation, std::string_view name, std::string_view path)
      : operation_(operation), name_(name), paths_{path} {}

  Operation operation() const override { return operation_; }
  std::string_view name() const override { return name_; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override;
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override;

 private:
  bool sparse() const { return operation_ == Operation::kSparse; }

  const Operation operation_;
  const std::string_view name_;
  const std::array<std::string_view, 1> paths_;
};

// Row::flags of the codec of OpenAI's embeddings: decimals, if the call is written by that one.
constexpr uint8_t kDecimals = 1;

Result<Asked> VectorsCodec::read_request(const RequestHead&, const Slice& body) const {
  Asked asked;
  asked.key.operation = operation_;
  auto error = codec::for_members(body, [&](std::string_view member, JsonView value) {
    if (member != "inputs")
      return codec::take_param(kVectorFields, name_, member, value, asked.key);
    std::vector<JsonView> inputs;
    auto wrong = codec::read_inputs(
        value, {.field = "inputs", .items_max = codec::kItemsMax, .mixed = true}, inputs);
    for (const JsonView input : inputs)
      asked.rows.push_back(
          {.payload = {}, .wire = codec::part_of(body, input), .flags = kDecimals});
    return wrong;
  });
  if (error) return std::move(*error);
  if (asked.rows.empty()) return codec::invalid("inputs", "'inputs' is missing.");
  codec::sort_params(asked.key);
  if (const auto dimensions = asked.key.param("dimensions"))
    asked.shape.dimensions = static_cast<uint32_t>(JsonView(*dimensions).integer().value_or(0));
  return asked;
}

Result<Body> VectorsCodec::write_response(const Asked& asked, const Answer& answer) const {
  codec::BodyWriter out;
  const codec::VectorForm form{.base64 = false, .dimensions = asked.shape.dimensions};
  for (size_t i = 0; i < answer.outputs.size(); ++i) {
    out.append(i == 0 ? "[" : ",");
    const Output& output = answer.outputs[i];
    if (!sparse()) {
      const Result<Done> written = codec::write_vector(out, output, form);
      if (!written.ok()) return written.error();
    } else if (output.form == Form::kJson && output.bytes.view().starts_with('[')) {
      out.append(output.bytes);
    } else {
      return codec::upstream("The upstream gave something that is not a sparse vector.");
    }
  }
  out.append("]");
  return out.take();
}

Result<CallRequest> VectorsCodec::write_call(const CallKey& key,
                                             std::span<const CallRow> rows) const {
  std::string params;
  const Result<Done> said = codec::say_params(key, *this, kVectorFields, {}, "", params);
  if (!said.ok()) return said.error();
  codec::BodyWriter out;
  out.append(R"({"inputs":)");
  codec::append_rows(out, rows);
  out.append(params);
  out.append("}");
  return CallRequest{.target = codec::target_of(key, paths_), .body = out.take()};
}

Result<std::vector<Outcome>> VectorsCodec::read_call(const CallKey&, std::span<const CallRow> rows,
                                                     const CallAnswer& answer) const {
  JsonCursor at(answer.body);
  std::vector<Output> outputs(rows.size());
  size_t index = 0;
  at.enter('[');
  while (at.next_item()) {
    if (index == rows.size()) at.fail("more items than were asked for");
    Slice vector =
        sparse() ? codec::read_entries(at, "value", "index", false) : codec::read_vector(at);
    if (!at.failed()) codec::place(at, outputs, index++, std::move(vector));
  }
  if (!at.finish()) return at.error();
  return outcomes_of(std::move(outputs), rows, answer);
}

}  // namespace

const Codec& embed_codec() {
  static const VectorsCodec codec(Operation::kEmbed, "tei.embed", "/embed");
  return codec;
}

const Codec& sparse_codec() {
  static const VectorsCodec codec(Operation::kSparse, "tei.embed_sparse", "/embed_sparse");
  return codec;
}

}  // namespace sluice::tei
