// SPDX-License-Identifier: Apache-2.0
// ldmatrix and mma against plain loops over whole matrices, element by element.
#include <doctest/doctest.h>

#include "base/prng.h"
#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

TEST_CASE("ptx: ldmatrix gives each lane its two elements, also transposed") {
  for (const bool transposed : {false, true}) {
    World world(kernel_text(R"(
.shared .align 16 .b8 tile[512];
.reg .b32 %t, %s, %at, %r<4>; .reg .b64 %in, %out, %from, %to; .reg .b32 %v<4>;
mov.u32 %t, %tid.x;
ld.param.u64 %in, [p0];
ld.param.u64 %out, [p1];
mad.wide.u32 %from, %t, 16, %in;
ld.global.v4.u32 {%v0, %v1, %v2, %v3}, [%from];
mov.u32 %s, tile;
shl.b32 %at, %t, 4;
add.s32 %at, %at, %s;
st.shared.v4.u32 [%at], {%v0, %v1, %v2, %v3};
bar.warp.sync -1;
ldmatrix.sync.aligned.m8n8.x4)" +
                                std::string(transposed ? ".trans" : "") +
                                R"(.shared.b16 {%r0, %r1, %r2, %r3}, [%at];
mad.wide.u32 %to, %t, 16, %out;
st.global.v4.u32 [%to], {%r0, %r1, %r2, %r3};
)",
                            2));
    std::vector<uint16_t> values(256);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
    const uint64_t in = world.put(values);
    const uint64_t out = world.put(std::vector<uint16_t>(256, 0));
    Arguments arguments;
    arguments.add(in);
    arguments.add(out);
    CHECK(world.run("k", {.block = {32}}, arguments).findings.empty());
    const std::vector<uint16_t> got = world.get<uint16_t>(out, 256);
    for (size_t lane = 0; lane < 32; ++lane) {
      for (size_t matrix = 0; matrix < 4; ++matrix) {
        for (size_t i = 0; i < 2; ++i) {
          const size_t row = lane / 4;
          const size_t column = lane % 4 * 2 + i;
          const size_t at = transposed ? 8 * column + row : 8 * row + column;
          CHECK(got[8 * lane + 2 * matrix + i] == 64 * matrix + at);
        }
      }
    }
  }
}

// One mma of the warp: A of 16 x k, B of k x 8, C and D of 16 x 8, elements as bits.
struct Product {
  std::string opcode;
  size_t k = 16;
  size_t factor_bytes = 2;
  size_t sum_bytes = 4;
};

// Where element (row, column) of a fragment is: lane, register, and which part of it.
struct Spot {
  size_t lane;
  size_t reg;
  size_t part;
};
Spot spot_of_a(size_t row, size_t column, size_t bytes) {
  const size_t per_lane = 4 / bytes;  // elements of one register
  const size_t half = column / (4 * per_lane);
  const size_t inside = column % (4 * per_lane);
  return {row % 8 * 4 + inside / per_lane, row / 8 + 2 * half, inside % per_lane};
}
Spot spot_of_b(size_t row, size_t column, size_t bytes) {
  const size_t per_lane = 4 / bytes;
  const size_t inside = row % (4 * per_lane);
  return {column * 4 + inside / per_lane, row / (4 * per_lane), inside % per_lane};
}
Spot spot_of_c(size_t row, size_t column, size_t bytes) {
  const size_t lane = row % 8 * 4 + column / 2;
  if (bytes == 4) return {lane, row / 8 * 2 + column % 2, 0};
  return {lane, row / 8, column % 2};
}

using Elements = std::vector<uint32_t>;

void place(std::vector<uint32_t>& words, size_t first, const Spot& spot, size_t bytes,
           uint32_t value) {
  words[16 * spot.lane + first + spot.reg] |= value << (8 * bytes * spot.part);
}

// How many registers of a lane the factors and the sums take.
size_t registers_of_a(const Product& product) {
  return 16 * product.k * product.factor_bytes / 128;
}
size_t registers_of_b(const Product& product) { return registers_of_a(product) / 2; }
size_t registers_of_c(const Product& product) { return product.sum_bytes; }

// Each lane has 16 words in memory: A from 0, B from 4, C from 6, D from 10.
constexpr size_t kFirstB = 4;
constexpr size_t kFirstC = 6;
constexpr size_t kFirstD = 10;

std::string list(char name, size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i) {
    text += (i == 0 ? "%" : ", %") + std::string(1, name) + std::to_string(i);
  }
  return text + "}";
}

std::string load(char name, size_t count, size_t first) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += "ld.global.b32 %" + std::string(1, name) + std::to_string(i) + ", [%at+" +
            std::to_string(4 * (first + i)) + "];\n";
  }
  return text;
}

std::string text_of(const Product& product) {
  std::string body =
      ".reg .b32 %t, %a<4>, %b<2>, %c<4>, %d<4>; .reg .b64 %in, %at;\n"
      "mov.u32 %t, %tid.x;\nld.param.u64 %in, [p0];\nmad.wide.u32 %at, %t, 64, %in;\n";
  const size_t sums = registers_of_c(product);
  body += load('a', registers_of_a(product), 0) + load('b', registers_of_b(product), kFirstB) +
          load('c', sums, kFirstC);
  body += product.opcode + " " + list('d', sums) + ", " + list('a', registers_of_a(product)) +
          ", " + list('b', registers_of_b(product)) + ", " + list('c', sums) + ";\n";
  for (size_t i = 0; i < sums; ++i) {
    body += "st.global.b32 [%at+" + std::to_string(4 * (kFirstD + i)) + "], %d" +
            std::to_string(i) + ";\n";
  }
  return kernel_text(body);
}

std::vector<uint32_t> words_of(const Product& product, const Elements& a, const Elements& b,
                               const Elements& c) {
  std::vector<uint32_t> words(16 * 32, 0);
  for (size_t row = 0; row < 16; ++row) {
    for (size_t i = 0; i < product.k; ++i) {
      place(words, 0, spot_of_a(row, i, product.factor_bytes), product.factor_bytes,
            a[product.k * row + i]);
    }
    for (size_t column = 0; column < 8; ++column) {
      place(words, kFirstC, spot_of_c(row, column, product.sum_bytes), product.sum_bytes,
            c[8 * row + column]);
    }
  }
  for (size_t i = 0; i < product.k; ++i) {
    for (size_t column = 0; column < 8; ++column) {
      place(words, kFirstB, spot_of_b(i, column, product.factor_bytes), product.factor_bytes,
            b[8 * i + column]);
    }
  }
  return words;
}

Elements multiply(const Product& product, const Elements& a, const Elements& b, const Elements& c) {
  World world(text_of(product));
  const uint64_t at = world.put(words_of(product, a, b, c));
  Arguments arguments;
  arguments.add(at);
  const LaunchReport report = world.run("k", {.block = {32}}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  const std::vector<uint32_t> out = world.get<uint32_t>(at, 16 * 32);
  Elements d(16 * 8);
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 8; ++column) {
      const Spot spot = spot_of_c(row, column, product.sum_bytes);
      const uint32_t word =
          out[16 * spot.lane + kFirstD + spot.reg] >> (8 * product.sum_bytes * spot.part);
      d[8 * row + column] = product.sum_bytes == 2 ? word & 0xffffu : word;
    }
  }
  return d;
}

// Small whole numbers, whose sums are exact in every format.
Elements whole_numbers(Prng& prng, size_t count, uint32_t (*encode)(int)) {
  Elements elements(count);
  for (uint32_t& element : elements) element = encode(static_cast<int>(prng.between(-4, 4)));
  return elements;
}
uint32_t as_half(int value) { return to_half(static_cast<float>(value)).bits; }
uint32_t as_bfloat(int value) { return to_bfloat(static_cast<float>(value)).bits; }
uint32_t as_float(int value) { return std::bit_cast<uint32_t>(static_cast<float>(value)); }
uint32_t as_byte(int value) { return static_cast<uint8_t>(value); }
uint32_t as_word(int value) { return static_cast<uint32_t>(value); }

TEST_CASE("ptx: mma is the matrix product, in each of its shapes and types") {
  struct Case {
    Product product;
    uint32_t (*factor)(int);
    uint32_t (*sum)(int);
  };
  const std::string mma = "mma.sync.aligned.";
  const std::vector<Case> cases = {
      {{mma + "m16n8k16.row.col.f32.f16.f16.f32"}, &as_half, &as_float},
      {{mma + "m16n8k8.row.col.f32.f16.f16.f32", 8}, &as_half, &as_float},
      {{mma + "m16n8k16.row.col.f16.f16.f16.f16", 16, 2, 2}, &as_half, &as_half},
      {{mma + "m16n8k16.row.col.f32.bf16.bf16.f32"}, &as_bfloat, &as_float},
      {{mma + "m16n8k8.row.col.f32.bf16.bf16.f32", 8}, &as_bfloat, &as_float},
      {{mma + "m16n8k32.row.col.s32.s8.s8.s32", 32, 1}, &as_byte, &as_word},
      {{mma + "m16n8k16.row.col.s32.s8.s8.s32", 16, 1}, &as_byte, &as_word},
  };
  Prng prng(5);
  for (const Case& one : cases) {
    CAPTURE(one.product.opcode);
    const size_t k = one.product.k;
    const Prng seed = prng;
    const auto same = [](int value) { return static_cast<uint32_t>(value); };
    Prng numbers = seed;
    const Elements a = whole_numbers(numbers, 16 * k, same);
    const Elements b = whole_numbers(numbers, k * 8, same);
    const Elements c = whole_numbers(numbers, 16 * 8, same);
    const Elements a_bits = whole_numbers(prng, 16 * k, one.factor);
    const Elements b_bits = whole_numbers(prng, k * 8, one.factor);
    const Elements c_bits = whole_numbers(prng, 16 * 8, one.sum);
    const Elements d = multiply(one.product, a_bits, b_bits, c_bits);
    for (size_t row = 0; row < 16; ++row) {
      for (size_t column = 0; column < 8; ++column) {
        uint32_t sum = c[8 * row + column];
        for (size_t i = 0; i < k; ++i) sum += a[k * row + i] * b[8 * i + column];
        CHECK(d[8 * row + column] == one.sum(static_cast<int32_t>(sum)));
      }
    }
  }
}

TEST_CASE("ptx: mma rounds its sum once") {
  // 2^12 * 2^12 + 1 * 1 - 2^24: a float's running sum loses the 1.
  Elements a(16 * 16, 0);
  Elements b(16 * 8, 0);
  Elements c(16 * 8, 0);
  a[0] = as_half(4096);
  b[0] = as_half(4096);
  a[1] = as_half(1);
  b[8] = as_half(1);
  c[0] = as_float(-16777216);
  const Elements d = multiply({"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"}, a, b, c);
  CHECK(d[0] == as_float(1));
}

}  // namespace
}  // namespace sluice::ptx
