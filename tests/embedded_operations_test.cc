// SPDX-License-Identifier: Apache-2.0
// What an embedded BERT makes of the operations: rows from wire forms, parameters, scores.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backends/embedded_model.h"
#include "backends/engine.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;
using Params = std::vector<std::pair<std::string, std::string>>;
constexpr int32_t kB = kSecondSegment;

// A model of up to `tokens_max` tokens whose ids are 2 [CLS], 3 [SEP], 4 a, 5 b, 6 c, 7 d.
EmbeddedBert bert(EmbeddedBertOptions options, uint32_t tokens_max = 8) {
  TokenizerSpec spec;
  for (const char* piece : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"})
    spec.vocabulary.push_back({piece, static_cast<int32_t>(spec.vocabulary.size())});
  spec.cls = 2;
  spec.sep = 3;
  spec.pair = bert_pair(2, 3);
  options.name = "m";
  options.tokens_max = tokens_max;
  options.width =
      options.head.labels.empty() ? 4 : static_cast<uint32_t>(options.head.labels.size());
  return EmbeddedBert(std::move(options), Tokenizer::make(spec, tokens_max).value());
}
EmbeddedBert encoder(EmbeddedBertOptions options = {}) { return bert(std::move(options)); }
EmbeddedBert cross_encoder(EmbeddedBertOptions options = {}) {
  options.head = {{"relevant"}, Activation::kSigmoid};
  return bert(std::move(options));
}
EmbeddedBert classifier() {
  EmbeddedBertOptions options;
  options.head = {{"x", "y", "z"}, Activation::kSoftmax};
  return bert(std::move(options));
}

CallKey key(Operation operation, Params params = {}) {
  CallKey key;
  key.operation = operation;
  key.params = std::move(params);
  return key;
}

// A request of `model` for rows with these wire forms.
struct Attempt {
  std::vector<Row> rows;
  Result<Prepared> prepared = Error{};

  Attempt(const EmbeddedModel& model, const CallKey& key, const std::vector<std::string>& wires) {
    for (const std::string& wire : wires)
      rows.push_back({.payload = {}, .wire = Slice::copy_of(wire)});
    prepared = model.prepare(key, rows);
  }
  Ids ids(size_t row) const {
    REQUIRE(prepared.ok());
    Ids ids(rows[row].payload.size() / sizeof(int32_t));
    std::memcpy(ids.data(), rows[row].payload.data(), rows[row].payload.size());
    CHECK(rows[row].tokens == ids.size());
    return ids;
  }
  // Whether it was refused so, and nothing was filled in.
  bool refused(Code code, const std::string& param, const std::string& part) const {
    REQUIRE(!prepared.ok());
    CAPTURE(prepared.error().message);
    CHECK(prepared.error().code == code);
    CHECK(prepared.error().param == param);
    for (const Row& row : rows) CHECK(row.payload.empty());
    return prepared.error().message.find(part) != std::string::npos;
  }
};

Slice floats(const std::vector<float>& values) {
  return Slice::copy_of(
      {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}
std::vector<float> numbers(const Output& output) {
  CHECK(output.form == Form::kFloats);
  std::vector<float> values(output.bytes.size() / sizeof(float));
  std::memcpy(values.data(), output.bytes.data(), output.bytes.size());
  return values;
}

}  // namespace

TEST_CASE("embed takes strings and token arrays") {
  const Attempt asked(encoder(), key(Operation::kEmbed), {R"("a\u0020b")", "[4,5]", R"("")"});
  CHECK(asked.ids(0) == Ids{2, 4, 5, 3});
  CHECK(asked.ids(1) == Ids{2, 4, 5, 3});
  CHECK(asked.ids(2) == Ids{2, 3});
  CHECK(asked.prepared.value().tokens == 10);
  CHECK(asked.prepared.value().truncated == 0);
  CHECK(Attempt(encoder(), key(Operation::kEmbed), {"true"})
            .refused(Code::kInvalid, "input", "'input[0]' must be a string or"));
  CHECK(Attempt(encoder(), key(Operation::kEmbed), {R"("a")", R"([4,"b"])"})
            .refused(Code::kInvalid, "input", "'input[1]' holds the token id \"b\""));
}

TEST_CASE("rerank makes a pair of the query and each document") {
  const CallKey query = key(Operation::kRerank, {{"query", R"("a b")"}});
  const Attempt asked(cross_encoder(), query, {R"("c")", R"({"id":1,"text":"d c"})", R"("")"});
  CHECK(asked.ids(0) == Ids{2, 4, 5, 3, 6 | kB, 3 | kB});
  CHECK(asked.ids(1) == Ids{2, 4, 5, 3, 7 | kB, 6 | kB, 3 | kB});
  CHECK(asked.ids(2) == Ids{2, 4, 5, 3, 3 | kB});
  CHECK(asked.prepared.value().tokens == 18);
  CHECK(Attempt(cross_encoder(), query, {R"("c")", R"({"title":"d"})"})
            .refused(Code::kInvalid, "documents", "'documents[1]' must be"));
  CHECK(Attempt(cross_encoder(), key(Operation::kRerank), {R"("c")"})
            .refused(Code::kInvalid, "query", "missing"));
  CHECK(Attempt(cross_encoder(), key(Operation::kRerank, {{"query", "7"}}), {R"("c")"})
            .refused(Code::kInvalid, "query", "must be a string"));
}

TEST_CASE("classify takes a text or a pair of texts") {
  const Attempt asked(classifier(), key(Operation::kClassify), {R"("a b")", R"(["a","b c"])"});
  CHECK(asked.ids(0) == Ids{2, 4, 5, 3});
  CHECK(asked.ids(1) == Ids{2, 4, 3, 5 | kB, 6 | kB, 3 | kB});
  for (const char* wire : {"[]", R"(["a"])", R"(["a","b","c"])", R"(["a",1])", "{}", "1"}) {
    CAPTURE(wire);
    CHECK(Attempt(classifier(), key(Operation::kClassify), {wire})
              .refused(Code::kInvalid, "input", "must be a string or an array of two strings"));
  }
}

TEST_CASE("a model does what its head is for, and refuses the rest by its name") {
  CHECK(encoder().supports(Operation::kEmbed));
  CHECK(!encoder().supports(Operation::kRerank));
  CHECK(!encoder().supports(Operation::kClassify));
  CHECK(!cross_encoder().supports(Operation::kEmbed));
  CHECK(cross_encoder().supports(Operation::kRerank));
  CHECK(cross_encoder().supports(Operation::kClassify));
  CHECK(!classifier().supports(Operation::kRerank));
  CHECK(classifier().supports(Operation::kClassify));
  for (const Operation operation : {Operation::kSparse, Operation::kPredict, Operation::kInfer})
    CHECK(!classifier().supports(operation));
  const CallKey rerank = key(Operation::kRerank, {{"query", R"("a")"}});
  CHECK(Attempt(encoder(), rerank, {R"("c")"})
            .refused(Code::kInvalid, "model", "'m' makes embeddings; it cannot rerank."));
  CHECK(Attempt(classifier(), rerank, {R"("c")"})
            .refused(Code::kInvalid, "model", "3 labels where a cross-encoder has one"));
  CHECK(Attempt(cross_encoder(), key(Operation::kEmbed), {R"("c")"})
            .refused(Code::kInvalid, "model", "'m' classifies; it cannot make embeddings."));
  CHECK(encoder().labels().empty());
  CHECK(classifier().labels().size() == 3);
  CHECK(classifier().width() == 3);
}

TEST_CASE("a model of one segment takes no pairs") {
  EmbeddedBertOptions options;
  options.segments = false;
  const EmbeddedBert model = cross_encoder(options);
  CHECK(!model.supports(Operation::kRerank));
  CHECK(Attempt(model, key(Operation::kClassify), {R"(["a","b"])"})
            .refused(Code::kInvalid, "input", "does not take"));
}

TEST_CASE("what is too long is cut or refused as the request says, else as the setting") {
  const std::string text = R"("a b c d a b c")";  // 9 tokens; the model takes 8
  const auto embed = [&](OnTooLong setting, Params params) {
    EmbeddedBertOptions options;
    options.on_too_long = setting;
    return Attempt(encoder(options), key(Operation::kEmbed, std::move(params)), {R"("a")", text});
  };
  const Ids end_cut = {2, 4, 5, 6, 7, 4, 5, 3};
  const Ids start_cut = {2, 5, 6, 7, 4, 5, 6, 3};
  CHECK(embed(OnTooLong::kTruncate, {}).ids(1) == end_cut);
  CHECK(embed(OnTooLong::kTruncate, {}).prepared.value().truncated == 1);
  CHECK(embed(OnTooLong::kError, {{"truncate", "true"}}).ids(1) == end_cut);
  CHECK(embed(OnTooLong::kTruncate, {{"truncation_direction", R"("Left")"}}).ids(1) == start_cut);
  CHECK(embed(OnTooLong::kTruncate, {{"truncation_direction", R"("right")"}}).ids(1) == end_cut);
  CHECK(embed(OnTooLong::kTruncate, {{"truncate", "null"}}).ids(1) == end_cut);
  CHECK(
      embed(OnTooLong::kError, {})
          .refused(Code::kInvalid, "input", "'input[1]' is 9 tokens long; the model 'm' takes 8"));
  CHECK(embed(OnTooLong::kTruncate, {{"truncate", "false"}})
            .refused(Code::kTooLarge, "input", "'input[1]' is 9 tokens long"));
  CHECK(embed(OnTooLong::kTruncate, {{"truncation_direction", R"("up")"}})
            .refused(Code::kInvalid, "truncation_direction", "'left' or 'right'"));
}

TEST_CASE("token arrays and pairs that are too long are cut at the end the request says") {
  const Params left = {{"truncation_direction", R"("left")"}};
  const std::vector<std::string> array = {"[4,5,6,7,4,5,6]"};
  CHECK(Attempt(encoder(), key(Operation::kEmbed), array).ids(0) == Ids{2, 4, 5, 6, 7, 4, 5, 3});
  CHECK(Attempt(encoder(), key(Operation::kEmbed, left), array).ids(0) ==
        Ids{2, 5, 6, 7, 4, 5, 6, 3});
  CHECK(Attempt(encoder(), key(Operation::kEmbed, {{"truncate", "false"}}), array)
            .refused(Code::kTooLarge, "input", "is 9 tokens long"));
  const Attempt pair(cross_encoder(),
                     key(Operation::kRerank, {{"query", R"("a b")"}, {"truncate", "true"}}),
                     {R"("c d c d c")"});
  CHECK(pair.ids(0) == Ids{2, 4, 5, 3, 6 | kB, 7 | kB, 6 | kB, 3 | kB});
  CHECK(pair.prepared.value().truncated == 1);
  CHECK(Attempt(cross_encoder(),
                key(Operation::kRerank, {{"query", R"("a b")"}, {"truncate", "false"}}),
                {R"("c")", R"("c d c d c")"})
            .refused(Code::kTooLarge, "documents", "'documents[1]' is 10 tokens long"));
}

TEST_CASE("a prompt stands before a text if the request or the folder names one") {
  EmbeddedBertOptions options;
  options.prompts.by_name = {{"query", "a b "}, {"none", ""}};
  options.prompts.usual = "b ";
  const EmbeddedBert model = encoder(options);
  const auto with = [](const char* name) { return Params{{"prompt_name", name}}; };
  CHECK(Attempt(model, key(Operation::kEmbed, with(R"("query")")), {R"("c")"}).ids(0) ==
        Ids{2, 4, 5, 6, 3});
  CHECK(Attempt(model, key(Operation::kEmbed, with(R"("none")")), {R"("c")"}).ids(0) ==
        Ids{2, 6, 3});
  CHECK(Attempt(model, key(Operation::kEmbed), {R"("c")", "[6]"}).ids(0) == Ids{2, 5, 6, 3});
  CHECK(Attempt(model, key(Operation::kEmbed), {R"("c")", "[6]"}).ids(1) == Ids{2, 6, 3});
  CHECK(Attempt(model, key(Operation::kEmbed, with(R"("query")")), {"[6]"})
            .refused(Code::kInvalid, "prompt_name", "token ids"));
  CHECK(Attempt(model, key(Operation::kEmbed, with(R"("passage")")), {R"("c")"})
            .refused(Code::kInvalid, "prompt_name", "'query', 'none'"));
  CHECK(Attempt(encoder(), key(Operation::kEmbed, with(R"("query")")), {R"("c")"})
            .refused(Code::kInvalid, "prompt_name", "has no prompts"));
}

TEST_CASE("parameters the model cannot honour are refused by name") {
  EmbeddedBertOptions raw;
  raw.normalize = false;
  const auto asked = [](const EmbeddedBert& model, const char* name, const char* value) {
    return Attempt(model, key(Operation::kEmbed, {{name, value}}), {R"("a")"});
  };
  CHECK(asked(encoder(), "normalize", "false").refused(Code::kInvalid, "normalize", "length one"));
  CHECK(asked(encoder(), "normalize", "true").prepared.ok());
  CHECK(asked(encoder(raw), "normalize", "false").prepared.ok());
  CHECK(asked(encoder(), "normalize", "1").refused(Code::kInvalid, "normalize", "boolean"));
  CHECK(asked(encoder(), "dimensions", "4").prepared.ok());
  CHECK(asked(encoder(), "dimensions", "2").refused(Code::kInvalid, "dimensions", "not trained"));
  CHECK(asked(encoder(), "dimensions", "4294967300")
            .refused(Code::kInvalid, "dimensions", "at most 4"));
  CHECK(asked(encoder(), "dimensions", "0").refused(Code::kInvalid, "dimensions", "positive"));
  CHECK(
      asked(encoder(), "raw_scores", "true").refused(Code::kInvalid, "raw_scores", "Unrecognized"));
  CHECK(asked(encoder(), "colour", "1").refused(Code::kInvalid, "colour", "supplied: colour"));
  CHECK(asked(encoder(), "colour", "null").refused(Code::kInvalid, "colour", "supplied: colour"));
  const std::string endless(5000, 'x');
  const std::string shown(100, 'x');
  CHECK(asked(encoder(), endless.c_str(), "1").refused(Code::kInvalid, shown, shown));
}

TEST_CASE("scores come from logits by the head's function, or are the logits if asked raw") {
  const Slice row = floats({-1.0F, 0.5F, 2.0F});
  const CallKey plain = key(Operation::kClassify);
  const auto scores = classifier().finish(plain, std::vector{row, row});
  REQUIRE(scores.ok());
  REQUIRE(scores.value().size() == 2);
  const std::vector<float> soft = numbers(scores.value()[1]);
  const double sum = std::exp(-1.0) + std::exp(0.5) + std::exp(2.0);
  CHECK(soft[0] == doctest::Approx(std::exp(-1.0) / sum));
  CHECK(soft[2] == doctest::Approx(std::exp(2.0) / sum));
  const auto raw =
      classifier().finish(key(Operation::kClassify, {{"raw_scores", "true"}}), std::vector{row});
  CHECK(numbers(raw.value()[0]) == std::vector<float>{-1.0F, 0.5F, 2.0F});
  const CallKey rerank = key(Operation::kRerank, {{"query", R"("a")"}});
  const auto score = cross_encoder().finish(rerank, std::vector{floats({0.5F}), floats({-90.0F})});
  CHECK(numbers(score.value()[0])[0] == doctest::Approx(1.0 / (1.0 + std::exp(-0.5))));
  CHECK(numbers(score.value()[1])[0] >= 0.0F);
  const auto wrong = classifier().finish(plain, std::vector{floats({1.0F, 2.0F})});
  REQUIRE(!wrong.ok());
  CHECK(wrong.error().code == Code::kInternal);
}

TEST_CASE("softmax and sigmoid stay in range at the ends of it") {
  std::vector<float> logits = {1e30F, -1e30F, 0.0F};
  activate(Activation::kSoftmax, logits);
  CHECK(logits == std::vector<float>{1.0F, 0.0F, 0.0F});
  logits = {1e30F, -1e30F, 0.0F};
  activate(Activation::kSigmoid, logits);
  CHECK(logits == std::vector<float>{1.0F, 0.0F, 0.5F});
}

TEST_CASE("vectors go out as the engine made them, and scaled only where asked") {
  const Slice vector = floats({3.0F, 0.0F, 4.0F, 0.0F});
  EmbeddedBertOptions options;
  options.normalize = false;
  const EmbeddedBert raw = encoder(options);
  const CallKey plain = key(Operation::kEmbed);
  const CallKey scaled = key(Operation::kEmbed, {{"normalize", "true"}});
  CHECK(raw.finish(plain, std::vector{vector}).value()[0].bytes.data() == vector.data());
  CHECK(numbers(raw.finish(scaled, std::vector{vector}).value()[0]) ==
        std::vector<float>{0.6F, 0.0F, 0.8F, 0.0F});
  CHECK(encoder().finish(scaled, std::vector{vector}).value()[0].bytes.data() == vector.data());
}

}  // namespace sluice
