// SPDX-License-Identifier: Apache-2.0
// Global memory that several threads use in one launch, and counters.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

bool has(const LaunchReport& report, FindingKind kind) {
  for (const Finding& finding : report.findings) {
    if (finding.kind == kind) return true;
  }
  return false;
}

TEST_CASE("ptx: blocks must not write the same bytes, nor read what another one writes") {
  const auto run = [](uint32_t stride, uint32_t read_at, uint64_t seed) {
    World world(kernel_text(R"(
.reg .b32 %b, %v; .reg .b64 %out, %to;
mov.u32 %b, %ctaid.x;
ld.param.u64 %out, [p0];
mad.wide.u32 %to, %b, )" + std::to_string(stride) +
                            R"(, %out;
ld.global.u32 %v, [%to+)" + std::to_string(read_at) +
                            R"(];
st.global.u32 [%to], %v;
)"));
    Arguments arguments;
    arguments.add(world.put(std::vector<uint32_t>(16, 1)));
    return world.run("k", {.grid = {4}}, arguments, {.seed = seed});
  };
  for (uint64_t seed = 0; seed < 3; ++seed) {
    CHECK(run(4, 0, seed).findings.empty());
    CHECK(only(run(0, 0, seed), FindingKind::kBlockRace));
    CHECK(only(run(4, 4, seed), FindingKind::kBlockRace));
    CHECK(run(8, 4, seed).findings.empty());
  }
}

TEST_CASE("ptx: warps of a block need a barrier for global memory too") {
  const auto run = [](std::string_view between) {
    World world(kernel_text(R"(
.reg .b32 %t, %u, %v; .reg .b64 %out, %to;
mov.u32 %t, %tid.x;
ld.param.u64 %out, [p0];
mad.wide.u32 %to, %t, 4, %out;
st.global.u32 [%to], %t;
)" + std::string(between) + R"(
xor.b32 %u, %t, 32;
mad.wide.u32 %to, %u, 4, %out;
ld.global.u32 %v, [%to];
)"));
    Arguments arguments;
    arguments.add(world.put(std::vector<uint32_t>(64, 1)));
    return world.run("k", {.block = {64}}, arguments);
  };
  CHECK(only(run(""), FindingKind::kGlobalRace));
  CHECK(run("bar.sync 0;").findings.empty());
}

// Each block stores a part and takes a ticket; the last one adds the parts.
std::string last_block(std::string_view before, std::string_view after) {
  return kernel_text(R"(
.reg .b32 %b, %n, %i, %v, %sum, %ticket; .reg .b64 %parts, %at, %tickets, %out; .reg .pred %p;
mov.u32 %b, %ctaid.x;
mov.u32 %n, %nctaid.x;
ld.param.u64 %parts, [p0];
ld.param.u64 %tickets, [p1];
ld.param.u64 %out, [p2];
mad.wide.u32 %at, %b, 4, %parts;
add.u32 %v, %b, 1;
st.global.u32 [%at], %v;
)" + std::string(before) +
                         R"(
atom.global.add.u32 %ticket, [%tickets], 1;
add.u32 %ticket, %ticket, 1;
setp.ne.u32 %p, %ticket, %n;
@%p ret;
)" + std::string(after) + R"(
mov.u32 %i, 0;
mov.u32 %sum, 0;
AGAIN:
mad.wide.u32 %at, %i, 4, %parts;
ld.global.u32 %v, [%at];
add.u32 %sum, %sum, %v;
add.u32 %i, %i, 1;
setp.lt.u32 %p, %i, %n;
@%p bra AGAIN;
st.global.u32 [%out], %sum;
)",
                     3);
}

TEST_CASE("ptx: the last block may read what the others published with a fence and a ticket") {
  const auto run = [](std::string_view before, std::string_view after) {
    World world(last_block(before, after));
    Arguments arguments;
    arguments.add(world.put(std::vector<uint32_t>(5, 0)));
    arguments.add(world.put(std::vector<uint32_t>(1, 0)));
    const uint64_t out = world.put(std::vector<uint32_t>(1, 0));
    arguments.add(out);
    const LaunchReport report = world.run("k", {.grid = {5}}, arguments, {.seed = 3});
    CHECK(world.get<uint32_t>(out, 1)[0] == 15);
    return report;
  };
  CHECK(run("membar.gl;", "membar.gl;").findings.empty());
  CHECK(run("fence.acq_rel.gpu;", "fence.acq_rel.gpu;").findings.empty());
  CHECK(only(run("", "membar.gl;"), FindingKind::kBlockRace));
  CHECK(only(run("membar.gl;", ""), FindingKind::kBlockRace));
}

TEST_CASE("ptx: acquire and release on the ticket itself do as well as fences") {
  std::string text = last_block("", "");
  const size_t at = text.find("atom.global.add");
  text.replace(at, std::string("atom.global.add").size(), "atom.acq_rel.gpu.global.add");
  World world(text);
  Arguments arguments;
  arguments.add(world.put(std::vector<uint32_t>(5, 0)));
  arguments.add(world.put(std::vector<uint32_t>(1, 0)));
  arguments.add(world.put(std::vector<uint32_t>(1, 0)));
  const LaunchReport report = world.run("k", {.grid = {5}}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
}

TEST_CASE("ptx: blocks that wait for each other run when enough of them are resident") {
  World world(kernel_text(R"(
.reg .b32 %v, %n; .reg .b64 %count; .reg .pred %p;
ld.param.u64 %count, [p0];
mov.u32 %n, %nctaid.x;
red.release.gpu.global.add.u32 [%count], 1;
WAIT:
ld.acquire.gpu.global.u32 %v, [%count];
setp.lt.u32 %p, %v, %n;
@%p bra WAIT;
)"));
  const auto run = [&](uint32_t resident) {
    Arguments arguments;
    arguments.add(world.put(std::vector<uint32_t>(1, 0)));
    return world.run("k", {.grid = {4}}, arguments,
                     {.blocks_resident = resident, .instructions_max = 100'000});
  };
  const LaunchReport all = run(4);
  INFO(describe(all));
  CHECK(all.completed);
  CHECK(all.findings.empty());
  CHECK(only(run(2), FindingKind::kLimit));
}

TEST_CASE("ptx: a seed decides the order and nothing else") {
  // Each block takes a ticket: the order of blocks is what they get.
  World world(kernel_text(R"(
.reg .b32 %b, %v; .reg .b64 %count, %out, %to;
ld.param.u64 %count, [p0];
ld.param.u64 %out, [p1];
mov.u32 %b, %ctaid.x;
atom.global.add.u32 %v, [%count], 1;
mad.wide.u32 %to, %b, 4, %out;
st.global.u32 [%to], %v;
)",
                          2));
  const auto order = [&](uint64_t seed) {
    Arguments arguments;
    const uint64_t out = world.put(std::vector<uint32_t>(8, 0));
    arguments.add(world.put(std::vector<uint32_t>(1, 0)));
    arguments.add(out);
    CHECK(world.run("k", {.grid = {8}}, arguments, {.seed = seed}).findings.empty());
    return world.get<uint32_t>(out, 8);
  };
  CHECK(order(0) == std::vector<uint32_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(order(5) == order(5));
  CHECK(order(5) != order(6));
}

TEST_CASE("ptx: counters tell bytes, sectors and instructions") {
  World world(kernel_text(R"(
.reg .b32 %t, %v; .reg .b64 %in, %out, %from, %to;
mov.u32 %t, %tid.x;
ld.param.u64 %in, [p0];
ld.param.u64 %out, [p1];
mad.wide.u32 %from, %t, 32, %in;
mad.wide.u32 %to, %t, 4, %out;
ld.global.u32 %v, [%from];
ld.global.u32 %v, [%from];
st.global.u32 [%to], %v;
)",
                          2));
  Arguments arguments;
  arguments.add(world.put(std::vector<uint32_t>(8 * 32, 1)));
  arguments.add(world.put(std::vector<uint32_t>(32, 1)));
  const Counters counters = world.run("k", {.block = {32}}, arguments).counters;
  CHECK(counters.warp_instructions == 9);
  CHECK(counters.lane_instructions == 9 * 32);
  CHECK(counters.global_bytes_read == 2 * 128);
  CHECK(counters.distinct_bytes_read == 128);
  CHECK(counters.sectors_read == 2 * 32);
  CHECK(counters.distinct_sectors_read == 32);
  CHECK(counters.global_bytes_written == 128);
  CHECK(counters.sectors_written == 4);
  CHECK(counters.distinct_sectors_written == 4);
  const Counters fast =
      world.run("k", {.block = {32}}, arguments, {.check_memory = false}).counters;
  CHECK(fast.global_bytes_read == 2 * 128);
  CHECK(fast.distinct_bytes_read == 0);
}

TEST_CASE("ptx: atomic operations on global memory") {
  const auto apply = [](std::string_view instruction, uint32_t before) {
    World world(
        kernel_text(".reg .b32 %t, %v; .reg .f32 %f; .reg .b64 %at;\nmov.u32 %t, %tid.x;\n"
                    "ld.param.u64 %at, [p0];\n" +
                    std::string(instruction)));
    const uint64_t at = world.put(std::vector<uint32_t>{before});
    Arguments arguments;
    arguments.add(at);
    const LaunchReport report = world.run("k", {.block = {32}}, arguments);
    CHECK(report.findings.empty());
    CHECK_FALSE(has(report, FindingKind::kTrap));
    return world.get<uint32_t>(at, 1)[0];
  };
  CHECK(apply("red.global.add.u32 [%at], 2;", 5) == 69);
  CHECK(apply("atom.global.max.u32 %v, [%at], %t;", 5) == 31);
  CHECK(apply("atom.global.min.s32 %v, [%at], -3;", 5) == 0xfffffffd);
  CHECK(apply("atom.global.or.b32 %v, [%at], 0x100;", 5) == 0x105);
  CHECK(apply("atom.global.exch.b32 %v, [%at], 77;", 5) == 77);
  CHECK(apply("atom.global.cas.b32 %v, [%at], 5, 6;", 5) == 6);
  CHECK(apply("atom.global.inc.u32 %v, [%at], 9;", 5) == 7);
  CHECK(apply("mov.f32 %f, 0f3F000000;\nred.global.add.f32 [%at], %f;", 0) == 0x41800000);
}

}  // namespace
}  // namespace sluice::ptx
