// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "gpu/plan.h"
#include "gpu/weights.h"

namespace sluice {
namespace {

GpuShape minilm() {
  GpuShape shape;
  shape.layers = 6;
  shape.hidden = 384;
  shape.heads = 12;
  shape.intermediate = 1536;
  shape.vocabulary = 30522;
  shape.positions = 512;
  shape.types = 2;
  shape.tokens_max = 512;
  return shape;
}

TEST_CASE("gpu plan: shapes that no kernel takes are refused by name") {
  CHECK(check_shape(minilm()).ok());
  const auto refused = [](auto&& change) {
    GpuShape shape = minilm();
    change(shape);
    const Result<Done> checked = check_shape(shape);
    return checked.ok() ? "" : checked.error().message;
  };
  const auto names = [](const std::string& message, const char* what) {
    return message.find(what) != std::string::npos;
  };
  CHECK(names(refused([](GpuShape& s) { s.hidden = 312; }), "hidden_size"));
  CHECK(names(refused([](GpuShape& s) { s.hidden = 1088; }), "hidden_size"));
  CHECK(names(refused([](GpuShape& s) { s.hidden = 0; }), "hidden_size"));
  CHECK(names(refused([](GpuShape& s) { s.intermediate = 100; }), "intermediate_size"));
  CHECK(names(refused([](GpuShape& s) { s.heads = 4; }), "num_attention_heads"));
  CHECK(names(refused([](GpuShape& s) { s.heads = 0; }), "num_attention_heads"));
  CHECK(names(refused([](GpuShape& s) { s.labels = 1025; }), "labels"));
  CHECK(names(refused([](GpuShape& s) { s.types = 0; }), "type_vocab_size"));
  CHECK(names(refused([](GpuShape& s) { s.tokens_max = 513; }), "longest text"));
}

TEST_CASE("gpu plan: graphs are few, ascending, and end at the limit") {
  for (const uint32_t tokens_max : {1U, 31U, 32U, 33U, 512U, 16384U, 20000U, kGraphTokensMax}) {
    const std::vector<uint32_t> buckets = plan_buckets(tokens_max);
    CHECK(buckets.size() <= 24);
    CHECK(buckets.back() == tokens_max);
    for (size_t i = 1; i < buckets.size(); ++i) CHECK(buckets[i - 1] < buckets[i]);
  }
}

TEST_CASE("gpu plan: each plan covers every row and column and fits the device") {
  const GpuTraits devices[] = {
      {75, 40, 65536}, {80, 108, 166912}, {86, 28, 101376}, {90, 132, 232448}, {120, 84, 101376}};
  for (const GpuTraits& device : devices) {
    for (const uint32_t hidden : {64U, 128U, 384U, 512U, 768U, 1024U}) {
      GpuShape shape = minilm();
      shape.hidden = hidden;
      shape.heads = hidden / 32;
      shape.intermediate = 4 * hidden;
      for (const uint32_t tokens : plan_buckets(kGraphTokensMax)) {
        const BucketPlan plan = plan_bucket(device, shape, tokens);
        for (const KernelPlan* kernel :
             {&plan.embed, &plan.qkv, &plan.attention, &plan.attention_output, &plan.intermediate,
              &plan.output, &plan.finish}) {
          CHECK(!kernel->kernel.empty());
          CHECK(kernel->shared_bytes <= device.shared_max);
          CHECK(kernel->grid_x % kernel->cluster_x == 0);
          CHECK(kernel->cluster_x <= kClusterMax);
          if (!device.clusters()) CHECK(kernel->cluster_x == 1);
          if (device.capability != 90) CHECK(kernel->kernel.find("wide") == std::string::npos);
        }
        CHECK(plan.embed.grid_x * 8 >= tokens);
        CHECK(plan.output_norm.kernel.empty() == plan.attention_norm.kernel.empty());
        CHECK(plan.normed == !plan.last_norm.kernel.empty());
        CHECK(plan.normed == !plan.later_qkv.kernel.empty());
        CHECK(plan.later_qkv.shared_bytes <= device.shared_max);
      }
    }
  }
}

TEST_CASE("gpu plan: MiniLM is 32 kernels with clusters and 44 without, 33 for few tokens") {
  for (const uint32_t tokens : plan_buckets(kGraphTokensMax)) {
    const bool few = tokens <= kFewTokens;
    CHECK(plan_bucket({90, 132, 232448}, minilm(), tokens).kernels(6) == (few ? 33 : 32));
    CHECK(plan_bucket({80, 108, 166912}, minilm(), tokens).kernels(6) == (few ? 33 : 44));
    CHECK(plan_bucket({75, 40, 65536}, minilm(), tokens).kernels(6) == 44);
  }
}

TEST_CASE("gpu weights: halves are rounded to nearest, ties to even") {
  CHECK(half_of(0.0F) == 0x0000);
  CHECK(half_of(-0.0F) == 0x8000);
  CHECK(half_of(1.0F) == 0x3c00);
  CHECK(half_of(-2.0F) == 0xc000);
  CHECK(half_of(65504.0F) == 0x7bff);
  CHECK(half_of(65519.9F) == 0x7bff);
  CHECK(half_of(65520.0F) == 0x7c00);
  CHECK(half_of(1e10F) == 0x7c00);
  CHECK(half_of(-std::numeric_limits<float>::infinity()) == 0xfc00);
  CHECK((half_of(std::numeric_limits<float>::quiet_NaN()) & 0x7fff) > 0x7c00);
  CHECK(half_of(1.0F + std::ldexp(1.0F, -11)) == 0x3c00);      // a tie, down to even
  CHECK(half_of(1.0F + 3 * std::ldexp(1.0F, -11)) == 0x3c02);  // a tie, up to even
  CHECK(half_of(std::ldexp(1.0F, -24)) == 0x0001);             // the least one
  CHECK(half_of(std::ldexp(1.0F, -25)) == 0x0000);             // a tie with zero
  CHECK(half_of(std::ldexp(1.5F, -25)) == 0x0001);
  CHECK(half_of(std::ldexp(1023.75F, -24)) == 0x0400);  // up to the least normal one
}

TEST_CASE("gpu weights: a tensor of another size or too large a value is refused by name") {
  GpuShape shape;
  shape.hidden = 64;
  shape.vocabulary = 2;
  shape.positions = 1;
  shape.types = 1;
  std::vector<float> table(128, 0.5F);
  GpuModel model;
  model.shape = shape;
  const auto bytes = [&](size_t count) { return std::as_bytes(std::span(table).first(count)); };
  model.words = {"words", GpuTensorType::kF32, bytes(128)};
  model.positions = {"positions", GpuTensorType::kF32, bytes(64)};
  model.types = {"types", GpuTensorType::kF32, bytes(64)};
  model.embeddings_norm = {{"scale", GpuTensorType::kF32, bytes(64)},
                           {"shift", GpuTensorType::kF32, bytes(64)}};
  const WeightPlaces places = place_weights(shape);
  std::vector<std::byte> to(places.bytes);
  REQUIRE(convert_weights(model, places, to.data()).ok());
  CHECK(reinterpret_cast<const HalfBits*>(to.data() + places.words)[127] == 0x3800);

  model.types.bytes = bytes(32);
  Result<Done> converted = convert_weights(model, places, to.data());
  REQUIRE(!converted.ok());
  CHECK(converted.error().message.find("'types'") != std::string::npos);

  model.types.bytes = bytes(64);
  table[100] = 70000.0F;
  converted = convert_weights(model, places, to.data());
  REQUIRE(!converted.ok());
  CHECK(converted.error().message.find("'words'") != std::string::npos);
}

}  // namespace
}  // namespace sluice
