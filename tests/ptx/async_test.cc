// SPDX-License-Identifier: Apache-2.0
// cp.async: when its bytes may be touched.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// Two copies of 16 bytes per lane, in a group each; then `wait`, and lane t stores the first word
// that lane (t + 1) % 32 copied in group `group`.
std::string copies(std::string_view wait, uint32_t group) {
  return kernel_text(R"(
.shared .align 16 .b8 tile[1024];
.reg .b32 %t, %s, %at, %v; .reg .b64 %in, %from, %out, %to;
mov.u32 %t, %tid.x;
ld.param.u64 %in, [p0];
ld.param.u64 %out, [p1];
mad.wide.u32 %from, %t, 16, %in;
mov.u32 %s, tile;
shl.b32 %at, %t, 4;
add.s32 %at, %at, %s;
cp.async.cg.shared.global [%at], [%from], 16;
cp.async.commit_group;
cp.async.cg.shared.global [%at+512], [%from+512], 16;
cp.async.commit_group;
)" + std::string(wait) + R"(
add.s32 %v, %t, 1;
and.b32 %v, %v, 31;
shl.b32 %at, %v, 4;
add.s32 %at, %at, %s;
ld.shared.u32 %v, [%at+)" +
                         std::to_string(512 * group) + R"(];
mad.wide.u32 %to, %t, 4, %out;
st.global.u32 [%to], %v;
cp.async.wait_all;
)",
                     2);
}

LaunchReport run_copies(std::string_view wait, uint32_t group) {
  World world(copies(wait, group));
  std::vector<uint32_t> values(256);
  for (uint32_t i = 0; i < 256; ++i) values[i] = i;
  const uint64_t in = world.put(values);
  const uint64_t out = world.put(std::vector<uint32_t>(32, 0));
  Arguments arguments;
  arguments.add(in);
  arguments.add(out);
  LaunchReport report = world.run("k", {.block = {32}}, arguments);
  if (report.findings.empty()) {
    const std::vector<uint32_t> stored = world.get<uint32_t>(out, 32);
    for (uint32_t i = 0; i < 32; ++i) CHECK(stored[i] == 128 * group + 4 * ((i + 1) % 32));
  }
  return report;
}

TEST_CASE("ptx: copied bytes are there after the wait for their group and a barrier") {
  CHECK(run_copies("cp.async.wait_group 1;\nbar.warp.sync -1;", 0).findings.empty());
  CHECK(run_copies("cp.async.wait_group 0;\nbar.warp.sync -1;", 1).findings.empty());
  CHECK(run_copies("cp.async.wait_all;\nbar.sync 0;", 1).findings.empty());
}

TEST_CASE("ptx: copied bytes must not be read before they are waited for") {
  const auto has = [](const LaunchReport& report, FindingKind kind) {
    for (const Finding& finding : report.findings) {
      if (finding.kind == kind) return true;
    }
    return false;
  };
  // The second group may still be under way.
  CHECK(has(run_copies("cp.async.wait_group 1;\nbar.warp.sync -1;", 1), FindingKind::kAsyncHazard));
  CHECK(has(run_copies("bar.warp.sync -1;", 0), FindingKind::kAsyncHazard));
  // Waited for by the lane that copied; the one that reads has not met it since.
  CHECK(only(run_copies("cp.async.wait_group 0;", 0), FindingKind::kWarpRace));
}

TEST_CASE("ptx: a copy of fewer bytes than its size fills up with zeros and reads no more") {
  World world(kernel_text(R"(
.shared .align 16 .b8 tile[16];
.reg .b32 %a<4>, %n; .reg .b64 %in, %out;
ld.param.u64 %in, [p0];
ld.param.u64 %out, [p1];
mov.u32 %n, 8;
mov.u32 %a0, tile;
cp.async.ca.shared.global [%a0], [%in], 16, %n;
cp.async.commit_group;
cp.async.wait_group 0;
ld.shared.v4.u32 {%a0, %a1, %a2, %a3}, [tile];
st.global.v4.u32 [%out], {%a0, %a1, %a2, %a3};
)",
                          2));
  const uint64_t in = world.put(std::vector<uint32_t>{7, 8});
  const uint64_t out = world.put(std::vector<uint32_t>(4, 1));
  Arguments arguments;
  arguments.add(in);
  arguments.add(out);
  const LaunchReport report = world.run("k", {}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  CHECK(world.get<uint32_t>(out, 4) == std::vector<uint32_t>{7, 8, 0, 0});
  CHECK(report.counters.distinct_bytes_read == 8);
}

TEST_CASE("ptx: a copy needs aligned addresses and room") {
  const auto run = [](std::string_view to, std::string_view from) {
    World world(kernel_text(
        ".shared .align 16 .b8 tile[32];\n.reg .b32 %a; .reg .b64 %in;\n"
        "ld.param.u64 %in, [p0];\nmov.u32 %a, tile;\n"
        "cp.async.cg.shared.global [%a" +
        std::string(to) + "], [%in" + std::string(from) + "], 16;\ncp.async.wait_all;"));
    const uint64_t in = world.put(std::vector<uint32_t>(8, 1));
    Arguments arguments;
    arguments.add(in);
    return world.run("k", {}, arguments);
  };
  CHECK(run("+16", "+16").findings.empty());
  CHECK(only(run("+8", ""), FindingKind::kMisaligned));
  CHECK(only(run("", "+8"), FindingKind::kMisaligned));
  CHECK(only(run("+32", ""), FindingKind::kOutOfBounds));
  CHECK(only(run("", "+32"), FindingKind::kOutOfBounds));
}

TEST_CASE("ptx: a copy into bytes that others still read is a race") {
  const auto run = [](std::string_view between) {
    World world(kernel_text(R"(
.shared .align 16 .b8 tile[16];
.reg .b32 %t, %a, %v; .reg .pred %p; .reg .b64 %in;
ld.param.u64 %in, [p0];
mov.u32 %t, %tid.x;
setp.eq.u32 %p, %t, 0;
mov.u32 %a, tile;
@%p cp.async.cg.shared.global [%a], [%in], 16;
cp.async.wait_all;
bar.sync 0;
ld.shared.u32 %v, [tile];
)" + std::string(between) + R"(
@%p cp.async.cg.shared.global [%a], [%in], 16;
cp.async.wait_all;
)"));
    const uint64_t in = world.put(std::vector<uint32_t>(4, 1));
    Arguments arguments;
    arguments.add(in);
    return world.run("k", {.block = {64}}, arguments);
  };
  const LaunchReport wrong = run("");
  INFO(describe(wrong));
  CHECK(wrong.findings.size() >= 1);
  CHECK(run("bar.sync 0;").findings.empty());
}

}  // namespace
}  // namespace sluice::ptx
