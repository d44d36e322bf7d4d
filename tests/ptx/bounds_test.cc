// SPDX-License-Identifier: Apache-2.0
// Addresses: bounds, alignment, uninitialised and read-only memory; registers that are not set.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// out[t] = in[t + shift], of 4 bytes each.
constexpr std::string_view kCopy = R"(
.reg .b32 %t, %v; .reg .b64 %in, %out, %from, %to;
mov.u32 %t, %tid.x;
ld.param.u64 %in, [p0];
ld.param.u64 %out, [p1];
mad.wide.u32 %from, %t, 4, %in;
mad.wide.u32 %to, %t, 4, %out;
ld.global.u32 %v, [%from];
st.global.u32 [%to], %v;
)";

LaunchReport run_copy(World& world, uint64_t in, uint64_t out, uint32_t threads = 32) {
  Arguments arguments;
  arguments.add(in);
  arguments.add(out);
  return world.run("k", {.block = {threads}}, arguments);
}

TEST_CASE("ptx: one element beyond a buffer is found, read or written") {
  World world(kernel_text(kCopy, 2));
  const uint64_t in = world.put(std::vector<uint32_t>(32, 5), {.name = "input"});
  const uint64_t out = world.put(std::vector<uint32_t>(31, 0), {.name = "output"});
  const LaunchReport wrong = run_copy(world, in, out);
  REQUIRE(only(wrong, FindingKind::kOutOfBounds));
  CHECK(wrong.findings[0].lane == 31);
  CHECK(wrong.findings[0].count == 1);
  CHECK(wrong.findings[0].text.find("'output' at byte 124 of 124") != std::string::npos);
  CHECK(only(run_copy(world, in + 4, in, 32), FindingKind::kOutOfBounds) == false);
  CHECK(run_copy(world, in, out, 31).findings.empty());
  CHECK(world.get<uint32_t>(out, 31)[30] == 5);
}

TEST_CASE("ptx: a released buffer is out of bounds") {
  World world(kernel_text(kCopy, 2));
  const uint64_t in = world.put(std::vector<uint32_t>(32, 5));
  const uint64_t out = world.put(std::vector<uint32_t>(32, 0));
  CHECK(run_copy(world, in, out).findings.empty());
  world.memory.release(in);
  CHECK(only(run_copy(world, in, out), FindingKind::kOutOfBounds));
}

TEST_CASE(
    "ptx: memory that nobody wrote must not be read; a copy of the host or a kernel writes it") {
  World world(kernel_text(kCopy, 2));
  const uint64_t raw = world.memory.allocate(128);
  const uint64_t out = world.memory.allocate(128);
  CHECK(only(run_copy(world, raw, out), FindingKind::kUninitialisedGlobal));
  const uint32_t value = 3;
  for (uint32_t i = 0; i < 31; ++i) CHECK_FALSE(world.memory.write(raw + 4 * i, &value, 4));
  const LaunchReport almost = run_copy(world, raw, out);
  CHECK(only(almost, FindingKind::kUninitialisedGlobal));
  CHECK(almost.findings[0].lane == 31);
  CHECK_FALSE(world.memory.write(raw + 124, &value, 4));
  CHECK(run_copy(world, raw, out).findings.empty());
  const uint64_t again = world.memory.allocate(128);
  CHECK(run_copy(world, out, again).findings.empty());
}

TEST_CASE("ptx: the host too is told when it reads what was never written, or out of bounds") {
  Memory memory;
  const uint64_t at = memory.allocate(8, {.name = "b"});
  uint64_t value = 0;
  CHECK(memory.read(at, &value, 8));
  CHECK_FALSE(memory.fill(at, 1, 8));
  CHECK_FALSE(memory.read(at, &value, 8));
  CHECK(value == 0x0101010101010101);
  CHECK(memory.read(at + 4, &value, 8));
  CHECK(memory.write(at - 1, &value, 1));
}

TEST_CASE("ptx: a read-only buffer must not be written") {
  World world(kernel_text(kCopy, 2));
  const uint64_t in = world.put(std::vector<uint32_t>(32, 5), {.read_only = true});
  const uint64_t out = world.put(std::vector<uint32_t>(32, 0), {.read_only = true});
  CHECK(only(run_copy(world, in, out), FindingKind::kReadOnlyWritten));
  CHECK(world.get<uint32_t>(out, 1)[0] == 0);
}

TEST_CASE("ptx: regions are as aligned as was promised and no better") {
  Memory memory;
  for (const size_t alignment : {size_t{4}, size_t{16}, size_t{256}}) {
    const uint64_t at = memory.allocate(100, {.alignment = alignment});
    CHECK(at % alignment == 0);
    CHECK(at % (2 * alignment) != 0);
  }
}

TEST_CASE("ptx: a vector access needs the alignment of the whole vector") {
  constexpr std::string_view kVector = R"(
.reg .b32 %a<4>; .reg .b64 %in;
ld.param.u64 %in, [p0];
ld.global.v4.u32 {%a0, %a1, %a2, %a3}, [%in];
)";
  World world(kernel_text(kVector));
  const auto run = [&](size_t alignment) {
    Arguments arguments;
    arguments.add(world.put(std::vector<uint32_t>(4, 1), {.alignment = alignment}));
    return world.run("k", {}, arguments);
  };
  CHECK(only(run(8), FindingKind::kMisaligned));
  CHECK(run(16).findings.empty());
}

TEST_CASE("ptx: a shared array is as aligned as it is declared and no better") {
  const auto run = [](std::string_view alignment) {
    World world(kernel_text(".shared .align " + std::string(alignment) + R"( .b8 array[64];
.reg .b32 %a<4>;
mov.u32 %a0, 1;
st.shared.v4.u32 [array], {%a0, %a0, %a0, %a0};
)"));
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {}, arguments);
  };
  CHECK(only(run("2"), FindingKind::kMisaligned));
  CHECK(only(run("8"), FindingKind::kMisaligned));
  CHECK(run("16").findings.empty());
}

TEST_CASE("ptx: shared memory ends where the arrays end") {
  const auto run = [](uint32_t offset, size_t dynamic) {
    std::string text = kernel_text(".reg .b32 %a; mov.u32 %a, 1; st.shared.u32 [dyn+" +
                                   std::to_string(offset) + "], %a;");
    const size_t at = text.find(".visible");
    text.insert(at, ".extern .shared .align 16 .b8 dyn[];\n");
    World world(text);
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {.shared_dynamic_bytes = dynamic}, arguments);
  };
  CHECK(run(60, 64).findings.empty());
  CHECK(only(run(64, 64), FindingKind::kOutOfBounds));
  CHECK(only(run(0, 0), FindingKind::kOutOfBounds));
}

TEST_CASE("ptx: generic addresses reach shared, local and global memory") {
  World world(kernel_text(R"(
.shared .align 4 .b8 word[4];
.local .align 4 .b8 mine[8];
.reg .b32 %v; .reg .b64 %s, %l, %out;
mov.u64 %s, word;
cvta.shared.u64 %s, %s;
mov.u64 %l, mine;
cvta.local.u64 %l, %l;
st.u32 [%s], 40;
st.u32 [%l+4], 2;
ld.u32 %v, [%s];
atom.add.u32 %v, [%s], 1;
ld.param.u64 %out, [p0];
st.u32 [%out], %v;
ld.u32 %v, [%l+4];
st.u32 [%out+4], %v;
cvta.to.shared.u64 %s, %s;
ld.shared.u32 %v, [%s];
st.u32 [%out+8], %v;
)"));
  const uint64_t out = world.put(std::vector<uint32_t>(3, 0));
  Arguments arguments;
  arguments.add(out);
  const LaunchReport report = world.run("k", {}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  CHECK(world.get<uint32_t>(out, 3) == std::vector<uint32_t>{40, 2, 41});
}

TEST_CASE("ptx: a register must be set by the lane that uses it") {
  const auto run = [](std::string_view guard) {
    World world(
        kernel_text(".reg .b32 %t, %v, %w; .reg .pred %p;\nmov.u32 %t, %tid.x;\n"
                    "setp.lt.u32 %p, %t, 16;\n" +
                    std::string(guard) + " mov.u32 %v, 1;\nadd.s32 %w, %v, %t;\n"));
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {.block = {32}}, arguments);
  };
  const LaunchReport wrong = run("@%p");
  REQUIRE(only(wrong, FindingKind::kUninitialisedRegister));
  CHECK(wrong.findings[0].lane == 16);
  CHECK(run("").findings.empty());
}

TEST_CASE("ptx: copying a register that is not set is no use of it, what comes after is") {
  const auto run = [](std::string_view use) {
    World world(
        kernel_text(".reg .b32 %v, %w, %x; .reg .b64 %d;\nmov.b32 %w, %v;\nmov.b64 %d, {%w, "
                    "%w};\nmov.b64 {%w, %x}, %d;\n" +
                    std::string(use)));
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {}, arguments);
  };
  CHECK(run("").findings.empty());
  CHECK(only(run("add.s32 %x, %x, 1;"), FindingKind::kUninitialisedRegister));
}

}  // namespace
}  // namespace sluice::ptx
