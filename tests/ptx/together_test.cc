// SPDX-License-Identifier: Apache-2.0
// Lanes and warps that have to come together: shuffles, votes, barriers, divergence.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

LaunchReport run_text(const std::string& body, uint32_t threads,
                      std::vector<uint32_t>* out = nullptr, const LaunchOptions& options = {}) {
  World world(
      kernel_text(".reg .b32 %t, %v, %w; .reg .pred %p, %q; .reg .b64 %out, %to;\n"
                  "mov.u32 %t, %tid.x;\n" +
                  body + R"(
ld.param.u64 %out, [p0];
mad.wide.u32 %to, %t, 4, %out;
st.global.u32 [%to], %v;
)"));
  const uint64_t at = world.put(std::vector<uint32_t>(threads, 0xffffffff));
  Arguments arguments;
  arguments.add(at);
  LaunchReport report = world.run("k", {.block = {threads}}, arguments, options);
  if (out != nullptr) *out = world.get<uint32_t>(at, threads);
  return report;
}

TEST_CASE("ptx: shuffles read the lane that PTX says, inside their segment") {
  struct Case {
    std::string code;
    uint32_t (*from)(uint32_t lane);
  };
  const std::vector<Case> cases = {
      {"shfl.sync.bfly.b32 %v, %t, 16, 0x1f, -1;", [](uint32_t lane) { return lane ^ 16u; }},
      {"shfl.sync.idx.b32 %v, %t, 3, 0x1f, -1;", [](uint32_t) { return 3u; }},
      {"shfl.sync.up.b32 %v, %t, 1, 0, -1;",
       [](uint32_t lane) { return lane == 0 ? 0 : lane - 1; }},
      {"shfl.sync.down.b32 %v, %t, 2, 0x1f, -1;",
       [](uint32_t lane) { return lane < 30 ? lane + 2 : lane; }},
      {"shfl.sync.down.b32 %v, %t, 4, 0x181f, -1;",
       [](uint32_t lane) { return lane % 8 < 4 ? lane + 4 : lane; }},
      {"shfl.sync.idx.b32 %v, %t, 5, 0x181f, -1;", [](uint32_t lane) { return lane / 8 * 8 + 5; }},
  };
  for (const Case& one : cases) {
    CAPTURE(one.code);
    std::vector<uint32_t> out;
    const LaunchReport report = run_text(one.code, 32, &out);
    CHECK(report.findings.empty());
    for (uint32_t lane = 0; lane < 32; ++lane) CHECK(out[lane] == one.from(lane));
  }
}

TEST_CASE("ptx: a shuffle tells whether its source was in range") {
  std::vector<uint32_t> out;
  CHECK(run_text("shfl.sync.up.b32 %w|%p, %t, 4, 0, -1;\nselp.b32 %v, 1, 0, %p;", 32, &out)
            .findings.empty());
  for (uint32_t lane = 0; lane < 32; ++lane) CHECK(out[lane] == (lane < 4 ? 0 : 1));
}

TEST_CASE("ptx: a shuffle must not read a lane that is not there") {
  const auto text = [](std::string_view mask, std::string_view from) {
    return "mov.u32 %v, 0;\nsetp.lt.u32 %p, %t, 16;\n@!%p bra SKIP;\nshfl.sync.idx.b32 %v, %t, " +
           std::string(from) + ", 0x1f, " + std::string(mask) + ";\nSKIP:";
  };
  CHECK(run_text(text("0xffff", "15"), 32).findings.empty());
  CHECK(only(run_text(text("0xffff", "16"), 32), FindingKind::kInactiveSource));
}

TEST_CASE("ptx: a shuffle waits for all lanes of its mask, and for ever if one never comes") {
  // The upper half takes a longer way to the same shuffle.
  std::vector<uint32_t> out;
  CHECK(run_text(R"(
setp.lt.u32 %p, %t, 16;
mov.u32 %w, %t;
@%p bra JOIN;
add.s32 %w, %w, 100;
JOIN:
shfl.sync.bfly.b32 %v, %w, 16, 0x1f, -1;
)",
                 32, &out)
            .findings.empty());
  CHECK(out[0] == 116);
  CHECK(out[20] == 4);
  const LaunchReport stuck = run_text(R"(
mov.u32 %v, 0;
setp.lt.u32 %p, %t, 16;
@%p bra OTHER;
shfl.sync.bfly.b32 %v, %t, 1, 0x1f, -1;
bra.uni JOIN;
OTHER:
shfl.sync.bfly.b32 %v, %t, 1, 0x1f, -1;
JOIN:
)",
                                      32);
  CHECK_FALSE(stuck.completed);
  CHECK(only(stuck, FindingKind::kWarpDeadlock));
}

TEST_CASE("ptx: a lane must be in the member mask it gives") {
  CHECK(only(run_text("shfl.sync.idx.b32 %v, %t, 0, 0x1f, 0xffff;", 32),
             FindingKind::kMaskExcludesCaller));
}

TEST_CASE("ptx: a member mask must not name a lane that has left") {
  const auto text = [](std::string_view mask) {
    return "setp.ge.u32 %p, %t, 16;\n@%p ret;\nshfl.sync.idx.b32 %v, %t, 0, 0x1f, " +
           std::string(mask) + ";";
  };
  CHECK(only(run_text(text("-1"), 32), FindingKind::kMaskNamesExitedLane));
  CHECK(run_text(text("0xffff"), 32).findings.empty());
}

TEST_CASE("ptx: bar.warp.sync brings lanes together from different places") {
  CHECK(run_text(R"(
mov.u32 %v, 0;
setp.lt.u32 %p, %t, 16;
@%p bra OTHER;
bar.warp.sync -1;
bra.uni JOIN;
OTHER:
bar.warp.sync -1;
JOIN:
)",
                 32)
            .findings.empty());
}

TEST_CASE("ptx: votes, matches and reductions") {
  std::vector<uint32_t> out;
  const auto value = [&](const std::string& code) {
    const LaunchReport report = run_text("setp.lt.u32 %p, %t, 5;\n" + code, 32, &out);
    INFO(describe(report));
    CHECK(report.findings.empty());
    return out[7];
  };
  CHECK(value("vote.sync.ballot.b32 %v, %p, -1;") == 0x1f);
  CHECK(value("vote.sync.ballot.b32 %v, !%p, -1;") == 0xffffffe0);
  CHECK(value("vote.sync.any.pred %q, %p, -1;\nselp.b32 %v, 1, 0, %q;") == 1);
  CHECK(value("vote.sync.all.pred %q, %p, -1;\nselp.b32 %v, 1, 0, %q;") == 0);
  CHECK(value("shr.u32 %w, %t, 3;\nmatch.any.sync.b32 %v, %w, -1;") == 0xff);
  CHECK(value("match.all.sync.b32 %v|%q, %t, -1;") == 0);
  CHECK(value("redux.sync.add.s32 %v, %t, -1;") == 496);
  CHECK(value("redux.sync.max.u32 %v, %t, -1;") == 31);
  CHECK(value("activemask.b32 %v;") == 0xffffffff);
  CHECK(value("mov.u32 %v, 0;\n@!%p activemask.b32 %v;") == 0xffffffe0);
}

TEST_CASE("ptx: a barrier that not all threads reach does not open") {
  const LaunchReport divergent = run_text(R"(
mov.u32 %v, 0;
setp.lt.u32 %p, %t, 16;
@%p bra OTHER;
bar.sync 0;
bra.uni JOIN;
OTHER:
bar.sync 0;
JOIN:
)",
                                          32);
  CHECK(only(divergent, FindingKind::kWarpDeadlock));
  const LaunchReport different = run_text(R"(
mov.u32 %v, 0;
setp.lt.u32 %p, %t, 32;
@%p bra OTHER;
bar.sync 1;
bra.uni JOIN;
OTHER:
bar.sync 2;
JOIN:
)",
                                          64);
  CHECK(only(different, FindingKind::kBlockDeadlock));
  CHECK(different.findings[0].text.find("warp 1 at barrier 1") != std::string::npos);
}

TEST_CASE("ptx: a barrier may count the threads for which something holds") {
  std::vector<uint32_t> out;
  const auto value = [&](const std::string& code) {
    const LaunchReport report = run_text("setp.lt.u32 %p, %t, 37;\n" + code, 70, &out);
    INFO(describe(report));
    CHECK(report.findings.empty());
    CHECK(out[69] == out[0]);
    return out[0];
  };
  CHECK(value("bar.red.popc.u32 %v, 0, %p;") == 37);
  CHECK(value("barrier.red.popc.aligned.u32 %v, 0, !%p;") == 33);
  CHECK(value("bar.red.and.pred %q, 0, %p;\nselp.b32 %v, 1, 0, %q;") == 0);
  CHECK(value("bar.red.or.pred %q, 0, %p;\nselp.b32 %v, 1, 0, %q;") == 1);
}

TEST_CASE("ptx: lanes of a warp may wait for each other, whichever comes first in the code") {
  for (const std::string_view who : {"setp.eq.u32 %p, %t, 0;", "setp.ne.u32 %p, %t, 0;"}) {
    const LaunchReport report = run_text(R"(
.shared .align 4 .b8 flag[4];
st.volatile.shared.u32 [flag], 0;
bar.warp.sync -1;
)" + std::string(who) + R"(
@%p bra SET;
WAIT:
ld.volatile.shared.u32 %v, [flag];
setp.eq.u32 %q, %v, 0;
@%q bra WAIT;
bra.uni DONE;
SET:
mov.u32 %v, 9;
st.volatile.shared.u32 [flag], %v;
DONE:
)",
                                         32, nullptr, {.instructions_max = 100'000});
    INFO(describe(report));
    CHECK(report.completed);
    CHECK(report.findings.empty());
  }
}

TEST_CASE("ptx: lanes that parted need not meet again by themselves") {
  // Without the mask's lanes brought together, the vote sees whom it happens to see.
  const std::string body = R"(
setp.lt.u32 %p, %t, 16;
@%p bra JOIN;
add.s32 %w, %t, 1;
JOIN:
)";
  const auto masks = [&](const std::string& vote, uint64_t seed) {
    std::vector<uint32_t> out;
    CHECK(run_text(body + vote, 32, &out, {.seed = seed, .part_lanes = true}).findings.empty());
    return out;
  };
  bool parted = false;
  for (uint64_t seed = 1; seed < 10; ++seed) {
    for (const uint32_t mask : masks("activemask.b32 %v;", seed)) {
      parted = parted || mask != 0xffffffff;
    }
    for (const uint32_t mask : masks("vote.sync.ballot.b32 %v, 1, -1;", seed)) {
      CHECK(mask == 0xffffffff);
    }
  }
  CHECK(parted);
}

TEST_CASE("ptx: threads that have left are not waited for at a barrier") {
  CHECK(run_text("setp.ge.u32 %p, %t, 40;\n@%p ret;\nbar.sync 0;\nmov.u32 %v, 0;", 64)
            .findings.empty());
}

TEST_CASE("ptx: lanes that took different ways of a loop end with their own results") {
  // v = sum of 1 ... t, by a loop of t turns.
  const std::string body = R"(
mov.u32 %v, 0;
mov.u32 %w, %t;
AGAIN:
setp.eq.u32 %p, %w, 0;
@%p bra DONE;
add.u32 %v, %v, %w;
sub.u32 %w, %w, 1;
bra.uni AGAIN;
DONE:
)";
  for (const uint64_t seed : {0u, 1u, 2u}) {
    std::vector<uint32_t> out;
    CHECK(run_text(body, 70, &out, {.seed = seed}).findings.empty());
    for (uint32_t i = 0; i < 70; ++i) CHECK(out[i] == i * (i + 1) / 2);
  }
}

TEST_CASE("ptx: a warp may wait in a loop for what another one writes") {
  std::vector<uint32_t> out;
  const LaunchReport report = run_text(R"(
.shared .align 4 .b8 flag[4];
setp.ne.u32 %p, %t, 0;
@!%p st.volatile.shared.u32 [flag], 0;
bar.sync 0;
setp.lt.u32 %p, %t, 32;
@!%p bra SET;
WAIT:
ld.volatile.shared.u32 %v, [flag];
setp.eq.u32 %q, %v, 0;
@%q bra WAIT;
bra.uni DONE;
SET:
mov.u32 %v, 9;
setp.eq.u32 %q, %t, 32;
@%q st.volatile.shared.u32 [flag], %v;
DONE:
)",
                                       64, &out);
  INFO(describe(report));
  CHECK(report.findings.empty());
  CHECK(out[0] == 9);
}

TEST_CASE("ptx: a kernel that never ends is stopped") {
  const LaunchReport report =
      run_text("AGAIN:\nbra.uni AGAIN;\nmov.u32 %v, 0;", 32, nullptr, {.instructions_max = 10'000});
  CHECK_FALSE(report.completed);
  CHECK(only(report, FindingKind::kLimit));
}

TEST_CASE("ptx: an aligned instruction needs the whole warp") {
  const auto text = [](std::string_view guard) {
    return "mov.u32 %v, 0;\nsetp.lt.u32 %p, %t, 31;\n" + std::string(guard) +
           " ret;\nmov.u32 %w, 0;\nmovmatrix.sync.aligned.m8n8.trans.b16 %v, %w;";
  };
  CHECK(only(run_text(text("@!%p"), 32), FindingKind::kInactiveLanes));
  CHECK(run_text(text("@%p bra JOIN;\nJOIN:\nsetp.gt.u32 %q, %t, 99;\n@%q"), 32).findings.empty());
}

}  // namespace
}  // namespace sluice::ptx
