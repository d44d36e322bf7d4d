// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <bit>
#include <cmath>

#include "base/prng.h"
#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

uint64_t bits(float value) { return std::bit_cast<uint32_t>(value); }
uint64_t bits(double value) { return std::bit_cast<uint64_t>(value); }
float f32(const std::string& code, float a, float b = 0, float c = 0) {
  return std::bit_cast<float>(
      static_cast<uint32_t>(try_one({code, "f32", "f32"}, bits(a), bits(b), bits(c))));
}
double f64(const std::string& code, double a, double b = 0, double c = 0) {
  return std::bit_cast<double>(try_one({code, "f64", "f64"}, bits(a), bits(b), bits(c)));
}
uint64_t f16(const std::string& code, uint64_t a, uint64_t b = 0, uint64_t c = 0) {
  return try_one({code, "b16", "b16"}, a, b, c);
}

TEST_CASE("ptx: a fused product is rounded once") {
  const float a = 1.0f + 0x1p-12f;
  CHECK(f32("fma.rn.f32 %d, %a, %b, %c;", a, a, -1.0f) == 0x1p-11f + 0x1p-24f);
  CHECK(f32("mul.rn.f32 %d, %a, %b;\nadd.rn.f32 %d, %d, %c;", a, a, -1.0f) == 0x1p-11f);
  const double b = 1.0 + 0x1p-30;
  CHECK(f64("fma.rn.f64 %d, %a, %b, %c;", b, b, -1.0) == 0x1p-29 + 0x1p-60);
}

TEST_CASE("ptx: directed rounding goes to the neighbour it names") {
  const float third = 1.0f / 3.0f;  // rounded up
  const float below = std::nextafter(third, 0.0f);
  CHECK(f32("div.rn.f32 %d, %a, %b;", 1, 3) == third);
  CHECK(f32("div.rz.f32 %d, %a, %b;", 1, 3) == below);
  CHECK(f32("div.rm.f32 %d, %a, %b;", -1, 3) == -third);
  CHECK(f32("div.rp.f32 %d, %a, %b;", -1, 3) == -below);
  CHECK(f32("add.rp.f32 %d, %a, %b;", 1, 0x1p-60f) == 1.0f + 0x1p-23f);
  CHECK(f32("add.rm.f32 %d, %a, %b;", 1, -0x1p-60f) == 1.0f - 0x1p-24f);
  CHECK(f32("add.rz.f32 %d, %a, %b;", 1, 0x1p-60f) == 1.0f);
  CHECK(f32("sqrt.rp.f32 %d, %a;", 2) == std::sqrt(2.0f) + 0x1p-23f);
  CHECK(f32("fma.rm.f32 %d, %a, %b, %c;", 1, 1, -0x1p-80f) == 1.0f - 0x1p-24f);
  CHECK(f32("rcp.rm.f32 %d, %a;", 3) == below);
}

TEST_CASE("ptx: ftz and sat") {
  CHECK(f32("add.f32 %d, %a, %b;", 0x1p-130f, 0) == 0x1p-130f);
  CHECK(f32("add.ftz.f32 %d, %a, %b;", 0x1p-130f, 0) == 0);
  CHECK(std::signbit(f32("mul.ftz.f32 %d, %a, %b;", -0x1p-70f, 0x1p-70f)));
  CHECK(f32("add.sat.f32 %d, %a, %b;", 0.75f, 0.75f) == 1);
  CHECK(f32("add.sat.f32 %d, %a, %b;", 0.75f, -2) == 0);
  CHECK(f32("fma.rn.sat.f32 %d, %a, %b, %c;", NAN, 1, 1) == 0);
}

TEST_CASE("ptx: minimum and maximum prefer numbers to NaN, and tell the zeros apart") {
  CHECK(f32("min.f32 %d, %a, %b;", NAN, 2) == 2);
  CHECK(f32("max.f32 %d, %a, %b;", 2, NAN) == 2);
  CHECK(std::isnan(f32("max.NaN.f32 %d, %a, %b;", 2, NAN)));
  CHECK(std::signbit(f32("min.f32 %d, %a, %b;", 0.0f, -0.0f)));
  CHECK_FALSE(std::signbit(f32("max.f32 %d, %a, %b;", -0.0f, 0.0f)));
  CHECK(f32("max.f32 %d, %a, %b;", -3, -2) == -2);
}

TEST_CASE("ptx: signs and functions") {
  CHECK(f32("neg.f32 %d, %a;", 2) == -2);
  CHECK(f32("abs.f32 %d, %a;", -2) == 2);
  CHECK(f32("copysign.f32 %d, %a, %b;", -1, 5) == -5);
  CHECK(f32("ex2.approx.ftz.f32 %d, %a;", 3) == 8);
  CHECK(f32("ex2.approx.f32 %d, %a;", -INFINITY) == 0);
  CHECK(f32("lg2.approx.f32 %d, %a;", 32) == 5);
  CHECK(f32("rsqrt.approx.f32 %d, %a;", 16) == 0.25f);
  CHECK(f32("rcp.approx.ftz.f32 %d, %a;", 8) == 0.125f);
  CHECK(f32("tanh.approx.f32 %d, %a;", 0.5f) == doctest::Approx(std::tanh(0.5)));
  CHECK(f64("sqrt.rn.f64 %d, %a;", 2) == std::sqrt(2.0));
  CHECK(f64("div.rn.f64 %d, %a, %b;", 1, 3) == 1.0 / 3.0);
}

TEST_CASE("ptx: comparisons of floats, with and without NaN") {
  const auto compare = [](const std::string& how, float a, float b) {
    return try_one({"setp." + how + ".f32 %p, %a, %b;\nselp.b32 %d, 1, 0, %p;", "b32", "f32"},
                   bits(a), bits(b)) != 0;
  };
  CHECK(compare("lt", 1, 2));
  CHECK_FALSE(compare("lt", NAN, 2));
  CHECK(compare("ltu", NAN, 2));
  CHECK_FALSE(compare("ne", NAN, 2));
  CHECK(compare("neu", NAN, 2));
  CHECK_FALSE(compare("equ", 1, 2));
  CHECK(compare("num", 1, 2));
  CHECK(compare("nan", 1, NAN));
  CHECK(compare("eq", 0.0f, -0.0f));
  CHECK(try_one({"setp.lt.f32 %q, %a, %b;\nsetp.gt.and.f32 %p, %b, 0f40000000, %q;\n"
                 "selp.b32 %d, 1, 0, %p;",
                 "b32", "f32"},
                bits(1.0f), bits(3.0f)) == 1);
  CHECK(try_one({"set.gt.u32.f32 %d, %a, %b;", "b32", "f32"}, bits(2.0f), bits(1.0f)) ==
        0xffffffff);
}

TEST_CASE("ptx: floats to integers round as they are told and stop at the limits") {
  const auto to_s32 = [](const std::string& how, float a) {
    return static_cast<int32_t>(
        try_one({"cvt." + how + ".s32.f32 %d, %a;", "b32", "f32"}, bits(a)));
  };
  CHECK(to_s32("rni", 2.5f) == 2);
  CHECK(to_s32("rni", 3.5f) == 4);
  CHECK(to_s32("rzi", -2.9f) == -2);
  CHECK(to_s32("rmi", -2.1f) == -3);
  CHECK(to_s32("rpi", 2.1f) == 3);
  CHECK(to_s32("rzi", 1e20f) == INT32_MAX);
  CHECK(to_s32("rzi", -1e20f) == INT32_MIN);
  CHECK(to_s32("rzi", NAN) == 0);
  CHECK(try_one({"cvt.rzi.u32.f32 %d, %a;", "b32", "f32"}, bits(-1.0f)) == 0);
  CHECK(try_one({"cvt.rzi.s64.f64 %d, %a;", "b64", "f64"}, bits(NAN + 0.0)) == uint64_t{1} << 63);
}

TEST_CASE("ptx: integers to floats are rounded once") {
  CHECK(try_one({"cvt.rn.f32.s32 %d, %a;", "b32"}, 16777217) == bits(16777216.0f));
  CHECK(try_one({"cvt.rp.f32.s32 %d, %a;", "b32"}, 16777217) == bits(16777218.0f));
  // To double first this would end on a tie and go the other way.
  const uint64_t value = (uint64_t{1} << 60) + (uint64_t{1} << 36) + 1;
  CHECK(try_one({"cvt.rn.f32.u64 %d, %a;", "b32", "b64"}, value) == bits(0x1p60f + 0x1p37f));
  CHECK(try_one({"cvt.rn.f64.s64 %d, %a;", "b64", "b64"}, ~uint64_t{0}) == bits(-1.0));
  CHECK(try_one({"cvt.rn.f16.s32 %d, %a;", "b16"}, 2049) == 0x6800);
}

TEST_CASE("ptx: floats to floats, whole numbers among them") {
  CHECK(f32("cvt.rni.f32.f32 %d, %a;", 2.5f) == 2);
  CHECK(f32("cvt.rmi.f32.f32 %d, %a;", -2.5f) == -3);
  CHECK(f32("cvt.sat.f32.f32 %d, %a;", 7) == 1);
  CHECK(try_one({"cvt.f64.f32 %d, %a;", "b64", "f32"}, bits(0.1f)) ==
        bits(static_cast<double>(0.1f)));
  CHECK(try_one({"cvt.rz.f32.f64 %d, %a;", "b32", "f64"}, bits(1.0 - 0x1p-40)) ==
        bits(1.0f - 0x1p-24f));
}

TEST_CASE("ptx: every half becomes a float and back the same") {
  for (uint32_t begin = 0; begin < 0x10000; begin += 32 * 61) {
    std::vector<Lane> lanes;
    lanes.reserve(32);
    for (uint32_t i = 0; i < 32; ++i) lanes.push_back({(begin + 61 * i) & 0xffffu});
    const auto out = try_lanes(
        {"{.reg .f32 %f; cvt.f32.f16 %f, %a; cvt.rn.f16.f32 %d, %f;}", "b16", "b16"}, lanes);
    for (uint32_t i = 0; i < 32; ++i) {
      const bool nan = (lanes[i].a & 0x7fffu) > 0x7c00u;
      CHECK(out[i] == (nan ? 0x7fffu : lanes[i].a));
    }
  }
}

TEST_CASE("ptx: rounding to half and bfloat is to nearest even, beyond the end to infinity") {
  const auto half = [](float a) {
    return try_one({"cvt.rn.f16.f32 %d, %a;", "b16", "f32"}, bits(a));
  };
  CHECK(half(1.0f + 0x1p-11f) == 0x3c00);
  CHECK(half(1.0f + 0x1.8p-10f) == 0x3c02);
  CHECK(half(65519.0f) == 0x7bff);
  CHECK(half(65520.0f) == 0x7c00);
  CHECK(half(0x1p-24f) == 1);
  CHECK(half(0x1p-25f) == 0);
  CHECK(half(-0x1.8p-25f) == 0x8001);
  CHECK(try_one({"cvt.rz.f16.f32 %d, %a;", "b16", "f32"}, bits(1.0f + 0x1.8p-10f)) == 0x3c01);
  const auto bfloat = [](float a) {
    return try_one({"cvt.rn.bf16.f32 %d, %a;", "b16", "f32"}, bits(a));
  };
  CHECK(bfloat(1.0f + 0x1p-8f) == 0x3f80);
  CHECK(bfloat(1.0f + 0x1.8p-7f) == 0x3f82);
  CHECK(try_one({"cvt.rn.f16x2.f32 %d, %a, %b;", "b32", "f32"}, bits(2.0f), bits(1.0f)) ==
        0x40003c00);
  CHECK(try_one({"cvt.rn.bf16x2.f32 %d, %a, %b;", "b32", "f32"}, bits(2.0f), bits(1.0f)) ==
        0x40003f80);
}

TEST_CASE("ptx: arithmetic of halves is rounded once, alone and in pairs") {
  CHECK(f16("add.f16 %d, %a, %b;", 0x3c00, 0x3c00) == 0x4000);
  CHECK(f16("mul.f16 %d, %a, %b;", 0x7bff, 0x4000) == 0x7c00);
  // The square of 1 + 2^-10 less 1 + 2^-9 is 2^-20, which a rounded product has lost.
  CHECK(f16("fma.rn.f16 %d, %a, %b, %c;", 0x3c01, 0x3c01, 0xbc02) == 0x0010);
  CHECK(f16("max.f16 %d, %a, %b;", 0x7e00, 0xc000) == 0xc000);
  CHECK(f16("max.NaN.f16 %d, %a, %b;", 0x7e00, 0xc000) == 0x7fff);
  CHECK(f16("neg.f16 %d, %a;", 0x3c00) == 0xbc00);
  CHECK(try_one({"add.f16x2 %d, %a, %b;", "b32"}, 0x3c004000, 0x3c003c00) == 0x40004200);
  CHECK(try_one({"fma.rn.relu.f16x2 %d, %a, %b, %c;", "b32"}, 0x3c003c00, 0x3c00bc00, 0) ==
        0x3c000000);
  CHECK(try_one({"fma.rn.bf16x2 %d, %a, %b, %c;", "b32"}, 0x3f803f80, 0x40004000, 0x3f80bf80) ==
        0x40403f80);
  CHECK(try_one(
            {"setp.gt.f16x2 %p|%q, %a, %b;\nselp.b32 %d, 2, 0, %q;\n@%p add.u32 %d, %d, 1;", "b32"},
            0x40003c00, 0x3c004000) == 2);
}

TEST_CASE("ptx: a half's fused product agrees with exact arithmetic") {
  Prng prng(11);
  for (int round = 0; round < 40; ++round) {
    std::vector<Lane> lanes;
    lanes.reserve(32);
    for (int i = 0; i < 32; ++i) {
      lanes.push_back({prng.next() & 0xffffu, prng.next() & 0xffffu, prng.next() & 0xffffu});
    }
    const auto out = try_lanes({"fma.rn.f16 %d, %a, %b, %c;", "b16", "b16"}, lanes);
    for (size_t i = 0; i < 32; ++i) {
      const auto value = [](uint64_t raw) {
        return static_cast<long double>(to_float(Half{static_cast<uint16_t>(raw)}));
      };
      // 64 digits hold the product and, in this range, the sum; only then is it cut to 53.
      const long double exact = value(lanes[i].a) * value(lanes[i].b) + value(lanes[i].c);
      if (std::isnan(exact)) continue;
      const uint64_t near = to_half(static_cast<float>(exact)).bits;
      const int64_t distance = static_cast<int64_t>(out[i]) - static_cast<int64_t>(near);
      CHECK(std::abs(distance) <= 1);
      const long double error = std::abs(value(out[i]) - exact);
      CHECK((std::isinf(value(out[i])) || error <= std::abs(value(near) - exact)));
    }
  }
}

}  // namespace
}  // namespace sluice::ptx
