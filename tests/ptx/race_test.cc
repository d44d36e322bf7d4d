// SPDX-License-Identifier: Apache-2.0
// Each check on shared memory: a kernel that errs, and the same one mended.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// Each thread writes its number to shared memory and reads that of thread (t + `distance`) %
// threads, with `between` in between, and stores it.
std::string exchange(uint32_t threads, uint32_t distance, std::string_view between) {
  return kernel_text(".shared .align 4 .b8 numbers[" + std::to_string(4 * threads) + "];\n" +
                     R"(
.reg .b32 %t, %u, %at, %v; .reg .b64 %out, %to;
mov.u32 %t, %tid.x;
shl.b32 %at, %t, 2;
mov.u32 %v, numbers;
add.s32 %at, %at, %v;
st.shared.u32 [%at], %t;
)" + std::string(between) +
                     "\nadd.s32 %u, %t, " + std::to_string(distance) + ";\nrem.u32 %u, %u, " +
                     std::to_string(threads) + R"(;
shl.b32 %at, %u, 2;
add.s32 %at, %at, %v;
ld.shared.u32 %v, [%at];
ld.param.u64 %out, [p0];
mad.wide.u32 %to, %t, 4, %out;
st.global.u32 [%to], %v;
)");
}

LaunchReport run_exchange(uint32_t threads, uint32_t distance, std::string_view between,
                          const LaunchOptions& options = {}) {
  World world(exchange(threads, distance, between));
  const uint64_t out = world.put(std::vector<uint32_t>(threads, 0xffffffff));
  Arguments arguments;
  arguments.add(out);
  LaunchReport report = world.run("k", {.block = {threads}}, arguments, options);
  if (report.findings.empty()) {
    const std::vector<uint32_t> values = world.get<uint32_t>(out, threads);
    for (uint32_t i = 0; i < threads; ++i) CHECK(values[i] == (i + distance) % threads);
  }
  return report;
}

TEST_CASE("ptx: two warps race without a barrier, whichever of them happens to run first") {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    CAPTURE(seed);
    const LaunchReport wrong = run_exchange(128, 64, "", {.seed = seed});
    INFO(describe(wrong));
    bool raced = false;
    for (const Finding& finding : wrong.findings) {
      raced = raced || finding.kind == FindingKind::kSharedRace;
    }
    CHECK(raced);
    const LaunchReport right = run_exchange(128, 64, "bar.sync 0;", {.seed = seed});
    INFO(describe(right));
    CHECK(right.completed);
    CHECK(right.findings.empty());
  }
}

TEST_CASE("ptx: lanes of one warp race without __syncwarp") {
  CHECK(only(run_exchange(32, 1, ""), FindingKind::kWarpRace));
  CHECK(run_exchange(32, 1, "bar.warp.sync 0xffffffff;").findings.empty());
  CHECK(run_exchange(32, 0, "").findings.empty());
}

TEST_CASE("ptx: a finding says where it is and against what") {
  const LaunchReport report = run_exchange(32, 1, "");
  REQUIRE(report.findings.size() == 1);
  const Finding& finding = report.findings[0];
  CHECK(finding.kernel == "k");
  CHECK(finding.line == 19);
  CHECK(finding.count >= 31);
  CHECK(finding.block == 0);
  CHECK(finding.text.find("PTX line 13") != std::string::npos);
  CHECK(finding.text.find("ld.shared.u32 %v, [%at]") != std::string::npos);
}

// Reads, then writes what others read.
TEST_CASE("ptx: a write races with reads before it") {
  const auto text = [](std::string_view between) {
    return kernel_text(R"(
.shared .align 4 .b8 word[4];
.reg .b32 %t, %v; .reg .pred %p;
mov.u32 %t, %tid.x;
setp.ne.u32 %p, %t, 0;
@!%p st.shared.u32 [word], %t;
bar.sync 0;
ld.shared.u32 %v, [word];
)" + std::string(between) +
                       R"(
@!%p st.shared.u32 [word], %v;
)");
  };
  Arguments arguments;
  arguments.add(uint64_t{0});
  World wrong(text(""));
  const LaunchReport raced = wrong.run("k", {.block = {64}}, arguments);
  INFO(describe(raced));
  // Warp 1 sees the write of lane 0, and lane 0 what the other lanes of its warp have read.
  REQUIRE(raced.findings.size() == 2);
  CHECK(raced.findings[0].kind == FindingKind::kSharedRace);
  CHECK(raced.findings[1].kind == FindingKind::kWarpRace);
  World right(text("bar.sync 0;"));
  CHECK(right.run("k", {.block = {64}}, arguments).findings.empty());
}

TEST_CASE("ptx: named barriers order only the warps that take part") {
  // Warps 0 and 1 exchange under barrier 1; warps 2 and 3 under barrier 2.
  const auto between = [](std::string_view second) {
    return R"(
.reg .pred %low;
setp.lt.u32 %low, %t, 64;
@%low bra LOW;
)" + std::string(second) +
           R"(
bra.uni DONE;
LOW:
bar.sync 1, 64;
DONE:
)";
  };
  // Distance 32 crosses from warp 1 to 2 and from 3 to 0.
  CHECK(only(run_exchange(128, 32, between("bar.sync 2, 64;")), FindingKind::kSharedRace));
  CHECK(run_exchange(128, 0, between("bar.sync 2, 64;")).findings.empty());
}

TEST_CASE("ptx: atomic updates of one word do not race, a plain read among them does") {
  const auto text = [](std::string_view read) {
    return kernel_text(R"(
.shared .align 4 .b8 word[4];
.reg .b32 %t, %v; .reg .pred %p; .reg .b64 %out;
mov.u32 %t, %tid.x;
setp.ne.u32 %p, %t, 0;
@!%p st.shared.u32 [word], %t;
bar.sync 0;
atom.shared.add.u32 %v, [word], 1;
)" + std::string(read) +
                       R"(
ld.shared.u32 %v, [word];
ld.param.u64 %out, [p0];
@!%p st.global.u32 [%out], %v;
)");
  };
  for (const bool mended : {false, true}) {
    World world(text(mended ? "bar.sync 0;" : ""));
    const uint64_t out = world.put(std::vector<uint32_t>{0});
    Arguments arguments;
    arguments.add(out);
    const LaunchReport report = world.run("k", {.block = {96}}, arguments);
    INFO(describe(report));
    CHECK(report.findings.empty() == mended);
    if (mended) CHECK(world.get<uint32_t>(out, 1)[0] == 96);
  }
}

TEST_CASE("ptx: lanes that store one value to one place do no harm, different values do") {
  const auto run = [](std::string_view value) {
    World world(kernel_text(R"(
.shared .align 4 .b8 word[4];
.reg .b32 %t;
mov.u32 %t, )" + std::string(value) +
                            R"(;
st.shared.u32 [word], %t;
)"));
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {.block = {32}}, arguments);
  };
  CHECK(run("7").findings.empty());
  CHECK(only(run("%tid.x"), FindingKind::kWarpRace));
}

TEST_CASE("ptx: halves of a word that different lanes use do not race") {
  World world(kernel_text(R"(
.shared .align 4 .b8 halves[128];
.reg .b32 %t, %at, %v; .reg .b16 %h; .reg .b64 %out, %to;
mov.u32 %t, %tid.x;
shl.b32 %at, %t, 1;
mov.u32 %v, halves;
add.s32 %at, %at, %v;
cvt.u16.u32 %h, %t;
st.shared.u16 [%at], %h;
ld.shared.u16 %h, [%at];
st.shared.u16 [%at], %h;
bar.warp.sync -1;
xor.b32 %at, %at, 2;
ld.shared.u16 %v, [%at];
ld.param.u64 %out, [p0];
mad.wide.u32 %to, %t, 4, %out;
st.global.u32 [%to], %v;
)"),
              {.adversarial_shared = false});
  const uint64_t out = world.put(std::vector<uint32_t>(32, 0));
  Arguments arguments;
  arguments.add(out);
  const LaunchReport report = world.run("k", {.block = {32}}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  for (uint32_t i = 0; i < 32; ++i) CHECK(world.get<uint32_t>(out, 32)[i] == (i ^ 1u));
}

TEST_CASE("ptx: what nobody wrote to shared memory must not be read") {
  const auto run = [](uint32_t threads) {
    World world(kernel_text(R"(
.shared .align 4 .b8 numbers[128];
.reg .b32 %t, %at, %v; .reg .pred %p;
mov.u32 %t, %tid.x;
shl.b32 %at, %t, 2;
mov.u32 %v, numbers;
add.s32 %at, %at, %v;
setp.lt.u32 %p, %t, )" + std::to_string(threads) +
                            R"(;
@%p st.shared.u32 [%at], %t;
ld.shared.u32 %v, [%at];
)"));
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {.block = {32}}, arguments);
  };
  const LaunchReport wrong = run(31);
  CHECK(only(wrong, FindingKind::kUninitialisedShared));
  CHECK(wrong.findings[0].lane == 31);
  CHECK(run(32).findings.empty());
}

}  // namespace
}  // namespace sluice::ptx
