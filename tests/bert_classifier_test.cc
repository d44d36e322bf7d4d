// SPDX-License-Identifier: Apache-2.0
// Classifiers and cross-encoders: the CPU's logits beside a double precision reference, and beside
// what `transformers` gave for the same seeded model.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "backends/bert.h"
#include "backends/engine.h"
#include "base/json.h"
#include "tests/reference_bert.h"

namespace sluice {
namespace {

using Row = std::vector<int32_t>;

BertConfig classifier_config(uint32_t labels, uint32_t types = 2) {
  return {.layers = 2,
          .hidden = 96,
          .heads = 3,
          .intermediate = 160,
          .vocabulary = 211,
          .positions = 300,
          .types = types,
          .labels = labels};
}

// A classifier on disk, loaded, with a runner.
struct Classifier {
  TempFolder disk;
  ReferenceBert reference;
  ModelFolder folder;
  std::unique_ptr<BertModel> model;
  std::unique_ptr<BertRunner> runner;

  explicit Classifier(const ReferenceBert::Options& options, Precision precision = Precision::kF32)
      : reference(options) {
    reference.write(disk);
    Result<ModelFolder> read = read_model_folder(disk.path());
    if (!read.ok()) FAIL(read.error().message);
    folder = std::move(read).value();
    Result<std::unique_ptr<BertModel>> loaded = BertModel::load(folder, precision);
    if (!loaded.ok()) FAIL(loaded.error().message);
    model = std::move(loaded).value();
    Result<std::unique_ptr<BertRunner>> made = BertRunner::make(*model);
    if (!made.ok()) FAIL(made.error().message);
    runner = std::move(made).value();
  }

  std::vector<std::vector<float>> logits(const std::vector<Row>& rows) {
    const std::vector<std::span<const int32_t>> views(rows.begin(), rows.end());
    std::vector<float> out(rows.size() * model->width());
    const Result<Done> done = runner->embed(views, out.data());
    if (!done.ok()) FAIL(done.error().message);
    std::vector<std::vector<float>> all;
    for (auto at = out.begin(); at != out.end(); at += static_cast<ptrdiff_t>(model->width()))
      all.emplace_back(at, at + static_cast<ptrdiff_t>(model->width()));
    return all;
  }
};

bool has_bf16() { return cpu_level() >= CpuLevel::kAvx512Bf16; }

// Pairs and single texts whose lengths cross the edges of blocks and chunks.
std::vector<Row> odd_pairs(const ReferenceBert& reference) {
  std::vector<Row> rows;
  const std::pair<size_t, size_t> lengths[] = {{1, 0},  {1, 1},   {5, 2},  {9, 31},   {16, 17},
                                               {40, 3}, {3, 120}, {64, 0}, {150, 150}};
  for (const auto& [first, second] : lengths) {
    rows.push_back(reference.random_pair(first, second, 7 + rows.size()));
  }
  return rows;
}

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    largest = difference <= largest ? largest : (std::isnan(difference) ? HUGE_VAL : difference);
  }
  return largest;
}

void check_logits(uint32_t labels, const std::string& prefix, Precision precision,
                  double difference_max) {
  Classifier classifier({.config = classifier_config(labels), .prefix = prefix}, precision);
  CHECK(classifier.model->width() == labels);
  const std::vector<Row> rows = odd_pairs(classifier.reference);
  const std::vector<std::vector<float>> logits = classifier.logits(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(rows[i].size());
    CHECK(largest_difference(logits[i], classifier.reference.logits(rows[i])) < difference_max);
  }
}

constexpr double kF32Difference = 2e-5;
constexpr double kBf16Difference = 5e-2;

}  // namespace

TEST_CASE("f32 logits of pairs are those of a double precision reference") {
  check_logits(1, "bert.", Precision::kF32, kF32Difference);
  check_logits(7, "", Precision::kF32, kF32Difference);
}

TEST_CASE("bf16 logits of pairs are near those of a double precision reference") {
  if (!has_bf16()) return;
  check_logits(1, "bert.", Precision::kBf16, kBf16Difference);
  check_logits(7, "bert.", Precision::kBf16, kBf16Difference);
}

TEST_CASE("which text a token belongs to matters to a logit") {
  Classifier classifier({.config = classifier_config(1)});
  const ReferenceBert& reference = classifier.reference;
  const std::vector<std::vector<float>> logits =
      classifier.logits({reference.random_pair(9, 9, 1), reference.random_pair(10, 8, 1)});
  CHECK(std::abs(logits[0][0] - logits[1][0]) > 1e-3F);
}

TEST_CASE("an encoder embeds pairs with both segments too") {
  ReferenceBert::Options options{.config = classifier_config(0)};
  Classifier encoder(options);
  const Row row = encoder.reference.random_pair(12, 21, 3);
  CHECK(largest_difference(encoder.logits({row})[0], encoder.reference.embed(row)) <
        kF32Difference);
}

TEST_CASE("a pair's logits do not depend on the batch it is in") {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    if (precision == Precision::kBf16 && !has_bf16()) continue;
    Classifier classifier({.config = classifier_config(3)}, precision);
    const std::vector<Row> rows = odd_pairs(classifier.reference);
    const std::vector<std::vector<float>> together = classifier.logits(rows);
    std::vector<Row> reversed(rows.rbegin(), rows.rend());
    const std::vector<std::vector<float>> backwards = classifier.logits(reversed);
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::vector<float> alone = classifier.logits({rows[i]})[0];
      const std::vector<double> expected(alone.begin(), alone.end());
      CAPTURE(rows[i].size());
      const double most = precision == Precision::kF32 ? 1e-5 : 1e-2;
      CHECK(largest_difference(together[i], expected) < most);
      CHECK(largest_difference(backwards[rows.size() - 1 - i], expected) < most);
    }
  }
}

TEST_CASE("a second segment is refused by a model that knows one, and bad ids in it by all") {
  Classifier one({.config = classifier_config(1, 1)});
  Classifier two({.config = classifier_config(1, 2)});
  const struct {
    Classifier& classifier;
    Row row;
    std::string message;
  } cases[] = {
      {one, {1, 2 | kSecondSegment}, "row 0 has a second segment"},
      {two, {1, 211 | kSecondSegment}, "row 0 has the token id 211"},
      {two, {-1}, "row 0 has the token id"},
  };
  for (const auto& [classifier, row, message] : cases) {
    const std::vector<std::span<const int32_t>> views = {row};
    float out = 42.0F;
    const Result<Done> done = classifier.runner->embed(views, &out);
    REQUIRE(!done.ok());
    CHECK(done.error().code == Code::kInvalid);
    CHECK(done.error().message.starts_with(message));
    CHECK(out == 42.0F);
  }
}

TEST_CASE("a classifier without its head's weights is refused by the tensor's name") {
  for (const char* name : {"pooler.dense.weight", "classifier.weight", "classifier.bias"}) {
    const TempFolder disk;
    ReferenceBert({.config = classifier_config(2), .prefix = "bert.", .left_out = name})
        .write(disk);
    const Result<ModelFolder> folder = read_model_folder(disk.path());
    REQUIRE(!folder.ok());
    CHECK(folder.error().message.find(std::string(name) + "' is missing") != std::string::npos);
  }
}

namespace {

std::vector<double> numbers(JsonView array) {
  std::vector<double> all;
  array.for_each_item([&](JsonView item) {
    all.push_back(item.number());
    return true;
  });
  return all;
}

// The rows of tests/golden/classifier.jsonl for a model with `labels` labels, with logits that
// tests/e2e/compare_classifiers.py had from `transformers`. It says how the file is made.
struct GoldenRow {
  Row row;
  std::vector<double> logits;
};

std::vector<GoldenRow> golden_rows(uint32_t labels) {
  std::ifstream file(std::string(SLUICE_SOURCE_DIR) + "/tests/golden/classifier.jsonl");
  std::vector<GoldenRow> rows;
  for (std::string line; std::getline(file, line);) {
    const Slice text = Slice::copy_of(line);
    const JsonView view = parse_json(text).value();
    GoldenRow golden;
    for (const double token : numbers(*view.member("tokens")))
      golden.row.push_back(static_cast<int32_t>(token));
    golden.logits = numbers(*view.member("logits"));
    if (golden.logits.size() == labels) rows.push_back(std::move(golden));
  }
  return rows;
}

}  // namespace

TEST_CASE("logits are those that transformers gave for the same weights") {
  for (const uint32_t labels : {1U, 3U}) {
    const std::vector<GoldenRow> golden = golden_rows(labels);
    REQUIRE(golden.size() == ReferenceBert::kGoldenRows);
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      if (precision == Precision::kBf16 && !has_bf16()) continue;
      Classifier classifier(ReferenceBert::golden_options(labels), precision);
      std::vector<Row> rows;
      for (const GoldenRow& one : golden) rows.push_back(one.row);
      const std::vector<std::vector<float>> logits = classifier.logits(rows);
      const double most = precision == Precision::kF32 ? 1e-4 : kBf16Difference;
      for (size_t i = 0; i < rows.size(); ++i) {
        CAPTURE(i);
        CHECK(rows[i] == classifier.reference.golden_row(i));
        CHECK(largest_difference(logits[i], golden[i].logits) < most);
      }
    }
  }
}

}  // namespace sluice
