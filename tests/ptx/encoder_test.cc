// SPDX-License-Identifier: Apache-2.0
// The kernels of an encoder, compiled for three architectures, against plain loops in double.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/ptx/compiled.h"
#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

bool has(const LaunchReport& report, FindingKind kind) {
  for (const Finding& finding : report.findings) {
    if (finding.kind == kind) return true;
  }
  return false;
}

double value(Half half) { return static_cast<double>(to_float(half)); }

struct Gemm {
  struct Shape {
    int32_t m, n, k;
  };

  static size_t size(int32_t rows, int32_t columns) {
    return static_cast<size_t>(rows) * static_cast<size_t>(columns);
  }
  explicit Gemm(const Shape& its_shape) : shape(its_shape) {
    Prng prng(1);
    a = random_halves(prng, size(shape.m, shape.k), 1);
    b = random_halves(prng, size(shape.n, shape.k), 0.25);
    bias = random_floats(prng, static_cast<size_t>(shape.n), 1);
  }

  LaunchReport run(World& world, std::string_view kernel, const LaunchOptions& options = {}) {
    const size_t count = size(shape.m, shape.n);
    out = world.memory.allocate(2 * count, {.name = "c"});
    Arguments arguments;
    arguments.add(world.put(a, {.name = "a", .read_only = true}));
    arguments.add(world.put(b, {.name = "b", .read_only = true}));
    arguments.add(world.put(bias, {.name = "bias", .read_only = true}));
    arguments.add(out);
    arguments.add(shape);
    const auto tiles = [](int32_t size) { return static_cast<uint32_t>((size + 63) / 64); };
    return world.run(kernel, {.grid = {tiles(shape.n), tiles(shape.m)}, .block = {128}}, arguments,
                     options);
  }

  // The largest difference from the exact result.
  double error(const World& world) const {
    const auto m = static_cast<size_t>(shape.m);
    const auto n = static_cast<size_t>(shape.n);
    const auto k = static_cast<size_t>(shape.k);
    const std::vector<Half> c = world.get<Half>(out, m * n);
    double worst = 0;
    for (size_t row = 0; row < m; ++row) {
      for (size_t column = 0; column < n; ++column) {
        double sum = static_cast<double>(bias[column]);
        for (size_t i = 0; i < k; ++i) sum += value(a[k * row + i]) * value(b[k * column + i]);
        const double exact = 0.5 * sum * (1 + std::erf(sum * M_SQRT1_2));
        worst = std::max(worst, std::abs(exact - value(c[n * row + column])));
      }
    }
    return worst;
  }

  Shape shape;
  std::vector<Half> a;
  std::vector<Half> b;
  std::vector<float> bias;
  uint64_t out = 0;
};

TEST_CASE(
    "ptx: a compiled matrix product with bias and GELU is right at the edges of its tiles too") {
  for (const std::string& text : compiled("gemm")) {
    World world(text);
    for (const Gemm::Shape shape : {Gemm::Shape{64, 64, 64}, {65, 72, 96}, {7, 136, 32}}) {
      Gemm gemm(shape);
      const LaunchReport report = gemm.run(world, "gemm_gelu", {.seed = 1});
      INFO(describe(report));
      CHECK(report.completed);
      CHECK(report.findings.empty());
      CHECK(gemm.error(world) < 5e-3);
    }
  }
}

TEST_CASE("ptx: a stage that is loaded while others still read it is found") {
  for (const std::string& text : compiled("gemm")) {
    World world(text);
    Gemm gemm({64, 64, 128});
    const LaunchReport report = gemm.run(world, "gemm_wrong");
    INFO(describe(report));
    CHECK(has(report, FindingKind::kSharedRace));
    CHECK(report.findings[0].source_line > 0);
  }
}

TEST_CASE("ptx: checks change nothing but what they cost, and the seed nothing at all") {
  World world(compiled("gemm").back());
  Gemm gemm({65, 72, 96});
  const LaunchReport report = gemm.run(world, "gemm_gelu");
  const std::vector<uint16_t> expected = world.get<uint16_t>(gemm.out, 65 * 72);
  for (const LaunchOptions& options :
       {LaunchOptions{.seed = 9}, LaunchOptions{.check_memory = false, .check_registers = false}}) {
    const LaunchReport other = gemm.run(world, "gemm_gelu", options);
    CHECK(world.get<uint16_t>(gemm.out, 65 * 72) == expected);
    CHECK(other.counters.warp_instructions == report.counters.warp_instructions);
    CHECK(other.counters.global_bytes_read == report.counters.global_bytes_read);
  }
  CHECK(report.counters.distinct_bytes_written == 2 * 65 * 72);
  CHECK(report.counters.distinct_bytes_read == 2 * (65 + 72) * 96 + 4 * 72);
}

struct AttentionInput {
  uint64_t qkv = 0;
  uint64_t out = 0;
  uint64_t starts = 0;
  uint64_t tiles = 0;
  int32_t heads = 0;
  float scale = 0;
};

// Exact attention of one head of one sequence for query `i`, element `d`.
double exact_attention(const std::vector<Half>& qkv, size_t begin, size_t end, size_t i,
                       size_t head, size_t heads, size_t d) {
  const size_t width = 32 * heads;
  const auto at = [&](size_t token, size_t part, size_t element) {
    return value(qkv[token * 3 * width + part * width + 32 * head + element]);
  };
  double total = 0;
  double sum = 0;
  for (size_t j = begin; j < end; ++j) {
    double score = 0;
    for (size_t e = 0; e < 32; ++e) score += at(i, 0, e) * at(j, 1, e);
    const double weight = std::exp(score / std::sqrt(32.0));
    total += weight;
    sum += weight * at(j, 2, d);
  }
  return sum / total;
}

TEST_CASE("ptx: compiled attention over sequences of different lengths") {
  const std::vector<int32_t> lengths = {1, 17, 32, 33, 50};
  constexpr size_t kHeads = 2;
  std::vector<int32_t> starts = {0};
  std::vector<int32_t> tiles;
  for (size_t i = 0; i < lengths.size(); ++i) {
    starts.push_back(starts.back() + lengths[i]);
    for (int32_t first = 0; first < lengths[i]; first += 32) {
      tiles.push_back(static_cast<int32_t>(i));
      tiles.push_back(first);
    }
  }
  const auto tokens = static_cast<size_t>(starts.back());
  Prng prng(3);
  const std::vector<Half> qkv = random_halves(prng, tokens * 3 * 32 * kHeads, 2);
  for (const std::string& text : compiled("attention")) {
    World world(text);
    AttentionInput input{.qkv = world.put(qkv, {.name = "qkv", .read_only = true}),
                         .out = world.memory.allocate(tokens * 64 * kHeads, {.name = "out"}),
                         .starts = world.put(starts),
                         .tiles = world.put(tiles),
                         .heads = kHeads,
                         .scale = static_cast<float>(M_LOG2E / std::sqrt(32.0))};
    Arguments arguments;
    arguments.add(input);
    const auto blocks = static_cast<uint32_t>(tiles.size() / 2);
    const LaunchReport report =
        world.run("attention", {.grid = {blocks, kHeads}, .block = {64}}, arguments, {.seed = 5});
    INFO(describe(report));
    REQUIRE(report.findings.empty());
    const std::vector<Half> out = world.get<Half>(input.out, tokens * 32 * kHeads);
    double worst = 0;
    for (size_t s = 0; s < lengths.size(); ++s) {
      const auto begin = static_cast<size_t>(starts[s]);
      const auto end = static_cast<size_t>(starts[s + 1]);
      for (size_t i = begin; i < end; ++i) {
        for (size_t d = 0; d < 32 * kHeads; ++d) {
          const double exact = exact_attention(qkv, begin, end, i, d / 32, kHeads, d % 32);
          worst = std::max(worst, std::abs(exact - value(out[i * 32 * kHeads + d])));
        }
      }
    }
    CHECK(worst < 4e-3);
  }
}

TEST_CASE("ptx: compiled embedding and LayerNorm; without its barriers it races") {
  constexpr size_t kWidth = 384;
  Prng prng(4);
  const std::vector<int32_t> ids = {3, 0, 9, 3, 7};
  const std::vector<Half> words = random_halves(prng, 10 * kWidth, 1);
  const std::vector<Half> positions = random_halves(prng, 5 * kWidth, 1);
  const std::vector<float> gamma = random_floats(prng, kWidth, 1);
  const std::vector<float> beta = random_floats(prng, kWidth, 1);
  for (const std::string& text : compiled("layer_norm")) {
    World world(text);
    const uint64_t out = world.memory.allocate(2 * 5 * kWidth);
    Arguments arguments;
    arguments.add(world.put(ids));
    arguments.add(world.put(words));
    arguments.add(world.put(positions));
    arguments.add(world.put(gamma));
    arguments.add(world.put(beta));
    arguments.add(out);
    arguments.add(int32_t{kWidth});
    const LaunchShape shape{.grid = {5}, .block = {128}, .shared_dynamic_bytes = 4 * kWidth};
    const LaunchReport wrong = world.run("embed_wrong", shape, arguments);
    CHECK(has(wrong, FindingKind::kSharedRace));
    const LaunchReport report = world.run("embed_norm", shape, arguments);
    INFO(describe(report));
    REQUIRE(report.findings.empty());
    const std::vector<Half> got = world.get<Half>(out, 5 * kWidth);
    for (size_t row = 0; row < 5; ++row) {
      const auto x = [&](size_t i) {
        return value(words[static_cast<size_t>(ids[row]) * kWidth + i]) +
               value(positions[row * kWidth + i]);
      };
      double mean = 0;
      double square = 0;
      for (size_t i = 0; i < kWidth; ++i) mean += x(i) / kWidth;
      for (size_t i = 0; i < kWidth; ++i) square += (x(i) - mean) * (x(i) - mean) / kWidth;
      double worst = 0;
      for (size_t i = 0; i < kWidth; ++i) {
        const double exact =
            (x(i) - mean) / std::sqrt(square + 1e-12) * static_cast<double>(gamma[i]) +
            static_cast<double>(beta[i]);
        worst = std::max(worst, std::abs(exact - value(got[row * kWidth + i])));
      }
      CHECK(worst < 2e-3);
    }
  }
}

TEST_CASE(
    "ptx: compiled pooling sets the host's flag once all blocks are done, launch after launch") {
  constexpr size_t kWidth = 200;
  Prng prng(6);
  const std::vector<int32_t> starts = {0, 1, 6, 8};
  const std::vector<Half> rows = random_halves(prng, 8 * kWidth, 1);
  for (const std::string& text : compiled("layer_norm")) {
    World world(text);
    uint32_t flag = 0;
    const uint64_t flag_at = world.memory.map(reinterpret_cast<std::byte*>(&flag), 4);
    const uint64_t out = world.memory.allocate(4 * 3 * kWidth);
    for (uint32_t epoch = 1; epoch <= 3; ++epoch) {
      Arguments arguments;
      arguments.add(world.put(rows));
      arguments.add(world.put(starts));
      arguments.add(out);
      arguments.add(int32_t{kWidth});
      arguments.add(flag_at);
      arguments.add(epoch);
      const LaunchReport report =
          world.run("pool", {.grid = {3}, .block = {96}}, arguments, {.seed = epoch});
      INFO(describe(report));
      CHECK(report.findings.empty());
      CHECK(flag == epoch);
    }
    const std::vector<float> got = world.get<float>(out, 3 * kWidth);
    for (size_t i = 0; i < kWidth; ++i) {
      double sum = 0;
      for (size_t row = 1; row < 6; ++row) sum += value(rows[row * kWidth + i]);
      CHECK(static_cast<double>(got[kWidth + i]) == doctest::Approx(sum / 5).epsilon(1e-5));
    }
  }
}

TEST_CASE("ptx: a compiled classifier's shares") {
  constexpr size_t kWidth = 48;
  constexpr size_t kCount = 5;
  Prng prng(7);
  const std::vector<float> in = random_floats(prng, kWidth, 1);
  const std::vector<float> dense = random_floats(prng, kWidth * kWidth, 0.3);
  const std::vector<float> labels = random_floats(prng, kCount * kWidth, 0.3);
  std::vector<double> exact(kCount);
  double total = 0;
  for (size_t label = 0; label < kCount; ++label) {
    double logit = 0;
    for (size_t i = 0; i < kWidth; ++i) {
      double sum = 0;
      for (size_t j = 0; j < kWidth; ++j) {
        sum += static_cast<double>(in[j]) * static_cast<double>(dense[i * kWidth + j]);
      }
      logit += std::tanh(sum) * static_cast<double>(labels[label * kWidth + i]);
    }
    total += exact[label] = std::exp(logit);
  }
  for (const std::string& text : compiled("layer_norm")) {
    World world(text);
    const uint64_t out = world.memory.allocate(4 * kCount);
    Arguments arguments;
    arguments.add(world.put(in));
    arguments.add(world.put(dense));
    arguments.add(world.put(labels));
    arguments.add(out);
    arguments.add(int32_t{kWidth});
    arguments.add(int32_t{kCount});
    const LaunchReport report =
        world.run("classify", {.block = {32}, .shared_dynamic_bytes = 4 * kWidth}, arguments);
    INFO(describe(report));
    CHECK(report.findings.empty());
    const std::vector<float> got = world.get<float>(out, kCount);
    for (size_t i = 0; i < kCount; ++i) {
      CHECK(static_cast<double>(got[i]) == doctest::Approx(exact[i] / total).epsilon(1e-5));
    }
  }
}

}  // namespace
}  // namespace sluice::ptx
