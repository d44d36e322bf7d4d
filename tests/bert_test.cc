// SPDX-License-Identifier: Apache-2.0
#include "backends/bert.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "base/prng.h"
#include "tests/reference_bert.h"

namespace sluice {
namespace {

// Small models of each shape that matters: heads of 32 and 64 columns, widths that are no power of
// two, an intermediate width that is not four times the hidden one.
BertConfig small_config(uint32_t layers, uint32_t heads, uint32_t head_width, uint32_t wide) {
  BertConfig config;
  config.layers = layers;
  config.heads = heads;
  config.hidden = heads * head_width;
  config.intermediate = wide;
  config.vocabulary = 211;
  config.positions = 512;
  config.types = 2;
  return config;
}

// A model on disk, loaded, with a runner.
struct Loaded {
  TempFolder disk;
  ReferenceBert reference;
  ModelFolder folder;
  std::unique_ptr<BertModel> model;
  std::unique_ptr<BertRunner> runner;

  static ModelFolder read(const ReferenceBert& reference, const TempFolder& disk) {
    reference.write(disk);
    Result<ModelFolder> folder = read_model_folder(disk.path());
    if (!folder.ok()) FAIL(folder.error().message);
    return std::move(folder).value();
  }
  Loaded(const ReferenceBert::Options& options, Precision precision, bool dnnl = cpu_has_amx())
      : reference(options), folder(read(reference, disk)) {
    Result<std::unique_ptr<BertModel>> loaded = BertModel::load(folder, precision, dnnl);
    if (!loaded.ok()) FAIL(loaded.error().message);
    model = std::move(loaded).value();
    Result<std::unique_ptr<BertRunner>> made = BertRunner::make(*model);
    if (!made.ok()) FAIL(made.error().message);
    runner = std::move(made).value();
  }

  std::vector<std::vector<float>> embed(const std::vector<std::vector<int32_t>>& rows) {
    const std::vector<std::span<const int32_t>> views(rows.begin(), rows.end());
    std::vector<float> out(rows.size() * model->width());
    const Result<Done> done = runner->embed(views, out.data());
    if (!done.ok()) FAIL(done.error().message);
    std::vector<std::vector<float>> vectors;
    for (size_t i = 0; i < rows.size(); ++i) {
      const float* from = out.data() + i * model->width();
      vectors.emplace_back(from, from + model->width());
    }
    return vectors;
  }
};

template <typename A, typename B>
double cosine(const std::vector<A>& a, const std::vector<B>& b) {
  double product = 0.0;
  double square_a = 0.0;
  double square_b = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]);
    const auto y = static_cast<double>(b[i]);
    product += x * y;
    square_a += x * x;
    square_b += y * y;
  }
  return product / std::sqrt(square_a * square_b);
}

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    largest = difference > largest || std::isnan(difference) ? difference : largest;
  }
  return largest;
}

bool has_bf16() { return cpu_level() >= CpuLevel::kAvx512Bf16; }

// Batches of texts of these lengths cross every edge: one token, the query block of six, the key
// panel of 32, the chunk of 256, the position table's end.
std::vector<std::vector<int32_t>> odd_rows(const ReferenceBert& reference) {
  std::vector<std::vector<int32_t>> rows;
  uint64_t seed = 100;
  for (const size_t length : {1, 7, 16, 17, 65, 31, 32, 33, 6, 5, 128, 2}) {
    rows.push_back(reference.random_ids(length, ++seed));
  }
  return rows;
}

void check_against_reference(const ReferenceBert::Options& options, Precision precision,
                             const std::vector<size_t>& lengths, double difference_max,
                             double cosine_min, bool dnnl = cpu_has_amx()) {
  Loaded loaded(options, precision, dnnl);
  std::vector<std::vector<int32_t>> rows = odd_rows(loaded.reference);
  if (!lengths.empty()) {
    rows.clear();
    for (const size_t length : lengths) rows.push_back(loaded.reference.random_ids(length, length));
  }
  const std::vector<std::vector<float>> vectors = loaded.embed(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(rows[i].size());
    const std::vector<double> expected = loaded.reference.embed(rows[i]);
    CHECK(largest_difference(vectors[i], expected) < difference_max);
    CHECK(cosine(vectors[i], expected) >= cosine_min);
  }
}

constexpr double kF32Difference = 2e-5;
constexpr double kF32Cosine = 0.99999999;
constexpr double kBf16Difference = 0.05;
constexpr double kBf16Cosine = 0.9995;

}  // namespace

TEST_CASE("f32 vectors are those of a double precision reference, heads of 32") {
  check_against_reference({.config = small_config(2, 3, 32, 160)}, Precision::kF32, {},
                          kF32Difference, kF32Cosine);
}

TEST_CASE("f32 vectors are those of a double precision reference, heads of 64, no normalisation") {
  check_against_reference(
      {.config = small_config(2, 2, 64, 512), .normalize = false, .prefix = "bert."},
      Precision::kF32, {}, kF32Difference, kF32Cosine);
}

TEST_CASE("the first token's vector is the text's where the folder says so") {
  check_against_reference({.config = small_config(1, 2, 32, 128), .pooling = Pooling::kCls},
                          Precision::kF32, {}, kF32Difference, kF32Cosine);
}

TEST_CASE("texts as long as the position table are right") {
  check_against_reference({.config = small_config(1, 2, 32, 64)}, Precision::kF32, {512, 3, 511},
                          kF32Difference, kF32Cosine);
}

TEST_CASE("weights stored as bfloat16 give the vectors of those weights") {
  check_against_reference({.config = small_config(1, 2, 32, 64), .type = "BF16"}, Precision::kF32,
                          {1, 7, 40}, kF32Difference, kF32Cosine);
}

TEST_CASE("bf16 vectors point where the reference's do, by oneDNN and by our own products") {
  if (!has_bf16()) return;
  for (const bool dnnl : {false, true}) {
    CAPTURE(dnnl);
    const auto check = [&](const BertConfig& config, const std::vector<size_t>& lengths) {
      check_against_reference({.config = config}, Precision::kBf16, lengths, kBf16Difference,
                              kBf16Cosine, dnnl);
    };
    check(small_config(2, 3, 32, 160), {});
    check(small_config(2, 2, 64, 512), {});
    check(small_config(1, 2, 32, 64), {512, 3, 511});
  }
}

TEST_CASE("a text's vector does not depend on the batch it is in") {
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    if (precision == Precision::kBf16 && !has_bf16()) continue;
    Loaded loaded({.config = small_config(2, 2, 32, 128)}, precision);
    const std::vector<std::vector<int32_t>> rows = odd_rows(loaded.reference);
    const std::vector<std::vector<float>> together = loaded.embed(rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::vector<float> alone = loaded.embed({rows[i]})[0];
      CAPTURE(rows[i].size());
      CHECK(cosine(together[i], alone) >= 0.999999);
    }
  }
}

TEST_CASE("bf16 is refused where the CPU has no instructions for it") {
  if (has_bf16()) return;
  const ReferenceBert reference({.config = small_config(1, 1, 32, 32)});
  const TempFolder disk;
  const ModelFolder folder = Loaded::read(reference, disk);
  const auto model = BertModel::load(folder, Precision::kBf16);
  REQUIRE(!model.ok());
  CHECK(model.error().code == Code::kInvalid);
}

TEST_CASE("rows a model cannot take are refused by number and nothing is computed") {
  Loaded loaded({.config = small_config(1, 1, 32, 32)}, Precision::kF32);
  const std::vector<int32_t> good = {1, 2, 3};
  const struct {
    std::vector<int32_t> row;
    const char* message;
  } cases[] = {
      {{}, "row 1 has no tokens"},
      {{-1}, "row 1 has the token id -1"},
      {{5, 211}, "row 1 has the token id 211"},
      {std::vector<int32_t>(513, 1), "row 1 has 513 tokens; the model takes 512"},
  };
  for (const auto& [row, message] : cases) {
    const std::vector<std::span<const int32_t>> views = {good, row};
    std::vector<float> out(2 * loaded.model->width(), 42.0F);
    const Result<Done> done = loaded.runner->embed(views, out.data());
    REQUIRE(!done.ok());
    CHECK(done.error().code == Code::kInvalid);
    CHECK(done.error().message.starts_with(message));
    CHECK(out == std::vector<float>(out.size(), 42.0F));
  }
}

TEST_CASE("every instruction set computes the same attention and layer norm") {
  const AttentionShape shape{37, 2, 32};
  const size_t hidden = shape.heads * shape.head_width;
  Prng random(5);
  std::vector<float> qkv(shape.tokens * 3 * hidden);
  for (float& value : qkv) value = static_cast<float>(4.0 * random.unit() - 2.0);
  std::vector<float> scale(hidden);
  for (float& value : scale) value = static_cast<float>(random.unit());
  Result<Pages> scratch = Pages::make(attention_scratch_bytes(shape.tokens, shape.head_width));
  REQUIRE(scratch.ok());
  std::vector<std::vector<float>> contexts;
  std::vector<std::vector<float>> norms;
  for (int level = 0; level <= static_cast<int>(cpu_level()); ++level) {
    const Kernels& kernels = kernels_of(static_cast<CpuLevel>(level));
    std::vector<float>& context = contexts.emplace_back(shape.tokens * hidden);
    kernels.attention(shape, qkv.data(), context.data(), scratch.value().data());
    std::vector<float>& norm = norms.emplace_back(qkv);
    std::vector<uint16_t> rounded(norm.size());
    kernels.layer_norm({3 * shape.tokens, hidden, 1e-5F}, norm.data(), scale.data(), scale.data(),
                       rounded.data());
    CAPTURE(kernels.name);
    for (size_t i = 0; i < context.size(); ++i) {
      REQUIRE(context[i] == doctest::Approx(contexts[0][i]).epsilon(1e-5));
    }
    for (size_t i = 0; i < norm.size(); ++i) {
      REQUIRE(norm[i] == doctest::Approx(norms[0][i]).epsilon(1e-5));
      const float back = std::bit_cast<float>(static_cast<uint32_t>(rounded[i]) << 16);
      REQUIRE(back == doctest::Approx(norm[i]).epsilon(0.004));
    }
  }
}

namespace {

// A product to check: random operands and the sums in double precision.
struct Operands {
  static constexpr size_t kRowsMax = 300;
  size_t inputs;
  size_t outputs;
  std::vector<float> weights, bias, x, before;
  std::vector<double> sums;

  // `low`: all operands are numbers bfloat16 can hold.
  Operands(size_t i, size_t o, bool low) : inputs(i), outputs(o) {
    Prng random(9);
    const size_t rows = gemm_padded_rows(kRowsMax);
    // Not a choice inside the loop: GCC 12 drops a mask of 0xffff0000 on one side of a condition.
    const uint32_t mask = low ? 0xffff0000U : 0xffffffffU;
    for (auto [values, count] :
         {std::pair{&weights, i * o}, {&bias, o}, {&x, rows * i}, {&before, rows * o}}) {
      for (size_t n = 0; n < count; ++n) {
        const auto bits = std::bit_cast<uint32_t>(static_cast<float>(random.unit() - 0.5));
        values->push_back(std::bit_cast<float>(bits & mask));
      }
    }
    for (size_t row = 0; row < kRowsMax; ++row) {
      for (size_t column = 0; column < o; ++column) {
        double sum = static_cast<double>(bias[column]);
        for (size_t k = 0; k < i; ++k) {
          sum += static_cast<double>(x[row * i + k]) * static_cast<double>(weights[column * i + k]);
        }
        sums.push_back(sum);
      }
    }
  }
  double expected(size_t at, Finish finish) const {
    const double sum = sums[at];
    if (finish == Finish::kGelu) return 0.5 * sum * (1.0 + std::erf(sum / std::sqrt(2.0)));
    return finish == Finish::kBiasAdd ? sum + static_cast<double>(before[at]) : sum;
  }
  // The largest error of y [rows, outputs].
  double error(const std::vector<float>& y, size_t rows, Finish finish) const {
    double largest = 0.0;
    for (size_t i = 0; i < rows * outputs; ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(y[i]) - expected(i, finish)));
    }
    return largest;
  }
};

constexpr Finish kFinishes[] = {Finish::kBias, Finish::kGelu, Finish::kBiasAdd};

}  // namespace

TEST_CASE("a product is right at every number of rows, on every instruction set") {
  const Operands operands(64, 160, false);
  for (int level = 0; level <= static_cast<int>(cpu_level()); ++level) {
    const Kernels& kernels = kernels_of(static_cast<CpuLevel>(level));
    std::vector<float> packed(packed_values(kernels, operands.inputs, operands.outputs));
    pack_weights(kernels, operands.inputs, operands.outputs, operands.weights.data(),
                 packed.data());
    for (const Finish finish : kFinishes) {
      for (size_t rows = 1; rows <= 40; ++rows) {
        CAPTURE(kernels.name);
        CAPTURE(rows);
        std::vector<float> y(
            operands.before.begin(),
            operands.before.begin() + static_cast<ptrdiff_t>(rows * operands.outputs));
        kernels.product({rows, operands.inputs, operands.outputs, finish}, operands.x.data(),
                        packed.data(), operands.bias.data(), y.data());
        CHECK(operands.error(y, rows, finish) < 2e-6);
      }
    }
  }
}

TEST_CASE("a bfloat16 product is right at every number of rows, by oneDNN and by our own") {
  if (!has_bf16()) return;
  const Operands operands(64, 160, true);
  const Kernels& kernels = kernels_of(CpuLevel::kAvx512Bf16);
  std::vector<uint16_t> x;
  for (const float value : operands.x) {
    x.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  }
  std::vector<uint16_t> own(packed_values(kernels, operands.inputs, operands.outputs));
  pack_weights_bf16(kernels, operands.inputs, operands.outputs, operands.weights.data(),
                    own.data());
  for (const Finish finish : kFinishes) {
    Result<std::unique_ptr<GemmPlan>> plan =
        GemmPlan::make({operands.inputs, operands.outputs, finish});
    REQUIRE(plan.ok());
    Result<std::unique_ptr<GemmCaller>> caller = GemmCaller::make(*plan.value());
    REQUIRE(caller.ok());
    Result<Pages> packed = Pages::make(plan.value()->packed_bytes());
    Result<Pages> scratch = Pages::make(plan.value()->scratch_bytes());
    REQUIRE((packed.ok() && scratch.ok()));
    REQUIRE(plan.value()->pack(operands.weights.data(), packed.value().data()).ok());
    const bool is_wide = finish == Finish::kBiasAdd;
    for (size_t rows = 1; rows <= Operands::kRowsMax; rows += rows < 80 ? 1 : 31) {
      for (const bool dnnl : {false, true}) {
        CAPTURE(rows);
        CAPTURE(dnnl);
        std::vector<float> wide(operands.before);
        std::vector<uint16_t> low(wide.size());
        void* y = is_wide ? static_cast<void*>(wide.data()) : low.data();
        if (dnnl) {
          REQUIRE(caller.value()
                      ->run(rows, x.data(), packed.value().data(), operands.bias.data(), y,
                            scratch.value().data())
                      .ok());
        } else {
          kernels.product_bf16({rows, operands.inputs, operands.outputs, finish}, x.data(),
                               own.data(), operands.bias.data(), y);
        }
        for (size_t i = 0; i < low.size() && !is_wide; ++i) {
          wide[i] = std::bit_cast<float>(static_cast<uint32_t>(low[i]) << 16);
        }
        CHECK(operands.error(wide, rows, finish) < (is_wide ? 1e-5 : 0.02));
      }
    }
  }
}

}  // namespace sluice
