// SPDX-License-Identifier: Apache-2.0
// What CUDA C++ compiles to beside arithmetic, for three architectures, against the same in C++.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "tests/ptx/compiled.h"
#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// Runs `kernel` in one block of `threads`; there must be no findings.
void run_clean(World& world, std::string_view kernel, uint32_t threads, const Arguments& arguments,
               size_t shared = 0) {
  const LaunchReport report =
      world.run(kernel, {.block = {threads}, .shared_dynamic_bytes = shared}, arguments);
  INFO(describe(report));
  CHECK(report.completed);
  CHECK(report.findings.empty());
}

template <class... T>
Arguments list(const T&... values) {
  Arguments arguments;
  (arguments.add(values), ...);
  return arguments;
}

TEST_CASE("ptx: nothing that the test kernels compile to is unsupported") {
  for (const char* name : {"gemm", "attention", "layer_norm", "language"}) {
    for (const std::string& text : compiled(name)) {
      Memory memory;
      const Result<Module> module = Module::load(text, memory);
      REQUIRE(module.ok());
      for (const auto& kernel : module.value().kernels()) {
        for (const std::string& line : kernel->unsupported) FAIL_CHECK(kernel->name, ": ", line);
      }
    }
  }
}

TEST_CASE("ptx: compiled constants, variables and dynamic shared memory") {
  for (const std::string& text : compiled("language")) {
    World world(text);
    std::vector<float> x(64);
    for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
    const uint64_t at = world.put(x);
    run_clean(world, "reverse", 64, list(at, int32_t{64}), 256);
    const std::vector<float> got = world.get<float>(at, 64);
    for (size_t i = 0; i < 64; ++i) {
      const size_t from = 63 - i;
      CHECK(got[i] == static_cast<float>(from * (from % 4 + 1)));
    }
    const Symbol* counter = world.module.symbol("counter");
    REQUIRE(counter != nullptr);
    CHECK(world.get<int32_t>(counter->address, 1)[0] == 7);
  }
}

TEST_CASE("ptx: compiled calls, local arrays and switches") {
  for (const std::string& text : compiled("language")) {
    World world(text);
    const uint64_t x = world.put(std::vector<float>(32, 2.0f));
    run_clean(world, "call_apart", 32, list(x));
    for (uint32_t i = 0; i < 32; ++i) {
      CHECK(world.get<float>(x, 32)[i] == static_cast<float>(i * (i - 1)));
    }
    std::vector<int32_t> values(32);
    for (int32_t i = 0; i < 32; ++i) values[static_cast<size_t>(i)] = i + 1;
    const uint64_t y = world.put(values);
    run_clean(world, "local_array", 16, list(y, int32_t{3}));
    for (int32_t i = 0; i < 16; ++i) {
      const int32_t j = i * 3 & 15;
      CHECK(world.get<int32_t>(y, 32)[static_cast<size_t>(i + 16)] == (j + 1) * j);
    }
    for (int32_t i = 0; i < 32; ++i) values[static_cast<size_t>(i)] = i % 8;
    const uint64_t z = world.put(values);
    run_clean(world, "choose", 32, list(z));
    const std::vector<int32_t> chosen = {30, 76, 104, 2, 32, 29, 0x60000000, -1};
    for (size_t i = 0; i < 32; ++i) CHECK(world.get<int32_t>(z, 32)[i] == chosen[i % 8]);
  }
}

TEST_CASE("ptx: compiled arithmetic of 16 bits") {
  Prng prng(8);
  const std::vector<Half> a = random_halves(prng, 64, 3);
  const std::vector<Half> b = random_halves(prng, 64, 3);
  for (const std::string& text : compiled("language")) {
    World world(text);
    const uint64_t x = world.put(a);
    run_clean(world, "halves", 32, list(x, world.put(b)));
    const std::vector<Half> got = world.get<Half>(x, 64);
    for (size_t i = 0; i < 64; ++i) {
      const float sum = to_float(to_half(to_float(a[i]) + to_float(b[i])));
      const double exact =
          static_cast<double>(to_float(a[i])) * static_cast<double>(to_float(b[i])) +
          static_cast<double>(sum);
      CHECK(got[i].bits == to_half(exact).bits);
    }
    std::vector<Bfloat> c(64);
    std::vector<Bfloat> d(64);
    for (size_t i = 0; i < 64; ++i) c[i] = to_bfloat(to_float(a[i]));
    for (size_t i = 0; i < 64; ++i) d[i] = to_bfloat(to_float(b[i]));
    const uint64_t y = world.put(c);
    run_clean(world, "bfloats", 32, list(y, world.put(d)));
    const std::vector<Bfloat> pairs = world.get<Bfloat>(y, 64);
    for (size_t i = 0; i < 64; i += 2) {
      CHECK(pairs[i].bits == to_bfloat(std::fma(to_float(c[i]), to_float(d[i]), 1.0f)).bits);
      CHECK(to_float(pairs[i + 1]) == std::max(to_float(c[i + 1]), to_float(d[i + 1])));
    }
  }
}

TEST_CASE("ptx: compiled functions of float and double") {
  Prng prng(9);
  const std::vector<float> x = random_floats(prng, 32, 4);
  for (const std::string& text : compiled("language")) {
    World world(text);
    const uint64_t y = world.memory.allocate(4 * 32);
    run_clean(world, "functions", 32, list(world.put(x), y));
    for (size_t i = 0; i < 32; ++i) {
      const auto v = static_cast<double>(x[i]);
      const double exact = std::exp(v) + std::erf(v) + std::tanh(v) + std::log(v * v + 1) +
                           std::abs(v) + std::sin(v) + std::pow(v * v + 0.5, 1.5) +
                           1 / std::sqrt(v * v + 2) + std::round(v) +
                           static_cast<double>(std::fmod(x[i], 0.7f));
      CHECK(static_cast<double>(world.get<float>(y, 32)[i]) ==
            doctest::Approx(exact).epsilon(1e-5));
    }
    std::vector<double> d(32);
    for (size_t i = 0; i < 32; ++i) d[i] = 0.3 * static_cast<double>(i);
    const uint64_t z = world.put(d);
    run_clean(world, "doubles", 32, list(z));
    for (size_t i = 0; i < 32; ++i) {
      const double exact = std::sqrt(d[i]) / 3 + std::exp(d[i]) + std::log(d[i] + 1);
      CHECK(world.get<double>(z, 32)[i] == doctest::Approx(exact).epsilon(1e-14));
    }
  }
}

TEST_CASE("ptx: compiled integer division and votes") {
  std::vector<uint32_t> x(32);
  std::vector<int64_t> y(32);
  for (uint32_t i = 0; i < 32; ++i) x[i] = i * 1'000'003u;
  for (int64_t i = 0; i < 32; ++i) y[static_cast<size_t>(i)] = (i - 16) * 123'456'789'012;
  for (const std::string& text : compiled("language")) {
    World world(text);
    const uint64_t a = world.put(x);
    const uint64_t b = world.put(y);
    run_clean(world, "divide", 32, list(a, uint32_t{1'000'000}, b, int64_t{1'000'007}));
    uint32_t ballot = 0;
    for (uint32_t i = 0; i < 32; ++i) ballot |= (x[i] / 1'000'000 > 3 ? 1u : 0u) << i;
    for (size_t i = 0; i < 32; ++i) {
      CHECK(world.get<uint32_t>(a, 32)[i] == x[i] / 1'000'000);
      CHECK(world.get<int64_t>(b, 32)[i] == y[i] % 1'000'007 + ballot % 7);
    }
    std::vector<uint32_t> v(32);
    for (uint32_t i = 0; i < 32; ++i) v[i] = i % 6;
    const uint64_t c = world.put(v);
    run_clean(world, "votes", 32, list(c));
    uint32_t above = 0;
    uint32_t odd = 0;
    for (uint32_t i = 0; i < 32; ++i) above |= (v[i] > 3 ? 1u : 0u) << i;
    for (uint32_t i = 0; i < 32; ++i) odd |= (v[i] & 1u) << i;
    for (uint32_t i = 0; i < 32; ++i) {
      uint32_t expected = (above + (1u << 16)) ^ ((v[i] & 1u) != 0 ? odd : ~odd);
      if (v[i] > 3) expected += static_cast<uint32_t>(std::popcount(above));
      expected += v[i == 0 ? 0 : i - 1];
      CHECK(world.get<uint32_t>(c, 32)[i] == expected);
    }
  }
}

TEST_CASE("ptx: compiled bytes to halves, and asserts") {
  for (const std::string& text : compiled("language")) {
    World world(text);
    std::vector<int8_t> q(32);
    for (size_t i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(static_cast<int>(i) * 8 - 128);
    const uint64_t out = world.memory.allocate(64);
    run_clean(world, "bytes", 32, list(world.put(q), world.put(std::vector<float>{0.5f, 2}), out));
    for (size_t i = 0; i < 32; ++i) {
      CHECK(to_float(world.get<Half>(out, 32)[i]) ==
            static_cast<float>(q[i]) * (i < 16 ? 0.5f : 2));
    }
    const uint64_t x = world.put(std::vector<int32_t>{1, 2, 1234, 4});
    run_clean(world, "checked", 4, list(x, int32_t{2000}));
    const LaunchReport report = world.run("checked", {.block = {4}}, list(x, int32_t{1000}));
    CHECK_FALSE(report.completed);
    REQUIRE(only(report, FindingKind::kTrap));
    CHECK(report.findings[0].lane == 2);
    CHECK(report.findings[0].text.find("assert") != std::string::npos);
  }
}

}  // namespace
}  // namespace sluice::ptx
