// SPDX-License-Identifier: Apache-2.0
// Clusters: blocks that run together, reach each other's shared memory and share a barrier.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// Each block stores 100 + its rank in the shared memory of the next block of its cluster, and then
// its own word to p0[block]. `between` stands before the own word is read, `after` at the end.
std::string ring(std::string_view between, std::string_view after) {
  return kernel_text(R"(
.shared .align 4 .b8 word[4];
.reg .b32 %rank, %size, %next, %at, %v, %b; .reg .b64 %out;
mov.u32 %rank, %cluster_ctarank;
mov.u32 %size, %cluster_nctarank;
add.u32 %next, %rank, 1;
rem.u32 %next, %next, %size;
mov.u32 %at, word;
mapa.shared::cluster.u32 %at, %at, %next;
add.u32 %v, %rank, 100;
st.shared::cluster.u32 [%at], %v;
)" + std::string(between) +
                     R"(
ld.shared.u32 %v, [word];
mov.u32 %b, %ctaid.x;
ld.param.u64 %out, [p0];
mad.wide.u32 %out, %b, 4, %out;
st.global.u32 [%out], %v;
)" + std::string(after));
}

constexpr std::string_view kBarrier =
    "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;";

LaunchReport run_ring(const std::string& text, uint32_t blocks, uint32_t cluster,
                      std::vector<uint32_t>* values = nullptr, uint64_t seed = 0) {
  World world(text);
  const uint64_t out = world.put(std::vector<uint32_t>(blocks, 0));
  Arguments arguments;
  arguments.add(out);
  LaunchReport report =
      world.run("k", {.grid = {blocks}, .cluster = {cluster}}, arguments, {.seed = seed});
  if (values != nullptr) *values = world.get<uint32_t>(out, blocks);
  return report;
}

TEST_CASE("ptx: blocks of a cluster write each other's shared memory, ordered by its barrier") {
  for (const uint64_t seed : {0u, 1u, 2u}) {
    for (const uint32_t cluster : {1u, 2u, 4u}) {
      std::vector<uint32_t> values;
      const LaunchReport report = run_ring(ring(kBarrier, ""), 8, cluster, &values, seed);
      INFO(describe(report));
      CHECK(report.completed);
      CHECK(report.findings.empty());
      for (uint32_t i = 0; i < 8; ++i) {
        CHECK(values[i] == 100 + (i % cluster + cluster - 1) % cluster);
      }
    }
  }
}

TEST_CASE("ptx: without the cluster's barrier blocks race, and so they do if it does not release") {
  const auto races = [](std::string_view between) {
    const LaunchReport report = run_ring(ring(between, kBarrier), 2, 2);
    INFO(describe(report));
    for (const Finding& finding : report.findings) {
      if (finding.kind == FindingKind::kBlockRace) return true;
    }
    return false;
  };
  CHECK(races(""));
  CHECK(races("bar.sync 0;"));
  CHECK(races("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;"));
  CHECK_FALSE(races(kBarrier));
}

TEST_CASE("ptx: the cluster's barrier orders the warps of one block too") {
  const auto run = [](std::string_view between) {
    World world(kernel_text(R"(
.shared .align 4 .b8 words[256];
.reg .b32 %t, %at, %base, %v;
mov.u32 %t, %tid.x;
mov.u32 %base, words;
shl.b32 %at, %t, 2;
add.s32 %at, %at, %base;
st.shared.u32 [%at], %t;
)" + std::string(between) + R"(
xor.b32 %t, %t, 32;
shl.b32 %at, %t, 2;
add.s32 %at, %at, %base;
ld.shared.u32 %v, [%at];
)"));
    Arguments arguments;
    arguments.add(uint64_t{0});
    return world.run("k", {.grid = {2}, .block = {64}, .cluster = {2}}, arguments);
  };
  CHECK(run(kBarrier).findings.empty());
  const LaunchReport wrong = run("barrier.cluster.arrive.aligned;");
  REQUIRE_FALSE(wrong.findings.empty());
  CHECK(wrong.findings[0].kind == FindingKind::kSharedRace);
}

TEST_CASE("ptx: a block must not leave while others may use its shared memory") {
  // Block 0 leaves at once; block 1 writes to it, once it has gone.
  const auto text = [](std::string_view after) {
    return kernel_text(R"(
.shared .align 4 .b8 word[4];
.reg .b32 %rank, %at, %i; .reg .pred %p;
mov.u32 %rank, %cluster_ctarank;
setp.eq.u32 %p, %rank, 0;
@%p bra DONE;
mov.u32 %at, word;
mapa.shared::cluster.u32 %at, %at, 0;
mov.u32 %i, 0;
LOOP:
add.u32 %i, %i, 1;
setp.lt.u32 %p, %i, 3000;
@%p bra LOOP;
st.shared::cluster.u32 [%at], %rank;
DONE:
)" + std::string(after));
  };
  const LaunchReport wrong = run_ring(text(""), 2, 2);
  INFO(describe(wrong));
  CHECK(only(wrong, FindingKind::kOutOfBounds));
  CHECK(run_ring(text(kBarrier), 2, 2).findings.empty());
}

TEST_CASE("ptx: the cluster's barrier is arrived at once and waited for once") {
  CHECK(only(run_ring(ring("barrier.cluster.wait.acquire.aligned;", ""), 2, 2),
             FindingKind::kBlockDeadlock));
  CHECK(only(
      run_ring(ring("barrier.cluster.arrive.aligned;\nbarrier.cluster.arrive.aligned;", ""), 2, 2),
      FindingKind::kBlockDeadlock));
}

TEST_CASE("ptx: a barrier that a block of the cluster never reaches does not open") {
  const LaunchReport report = run_ring(kernel_text(R"(
.reg .b32 %rank; .reg .pred %p;
mov.u32 %rank, %cluster_ctarank;
setp.eq.u32 %p, %rank, 0;
@%p bra OTHER;
bar.sync 1, 64;
OTHER:
)" + std::string(kBarrier)),
                                       2, 2);
  CHECK_FALSE(report.completed);
  CHECK(only(report, FindingKind::kBlockDeadlock));
}

TEST_CASE("ptx: a cluster divides the grid, and the kernel may say how large it is") {
  Memory memory;
  std::string text = ring(kBarrier, "");
  const Result<Module> plain = Module::load(text, memory);
  REQUIRE(plain.ok());
  Arguments arguments;
  arguments.add(memory.allocate(64));
  const auto error = [&](const LaunchShape& shape) {
    const Result<LaunchReport> report =
        launch(memory, *plain.value().find("k"), shape, arguments.bytes());
    return report.ok() ? "" : report.error().message;
  };
  CHECK(error({.grid = {3}, .cluster = {2}}).find("cluster:") != std::string::npos);
  CHECK(error({.grid = {32}, .cluster = {32}}).find("cluster:") != std::string::npos);
  text.insert(text.find('{'), ".explicitcluster\n.reqnctapercluster 4, 1, 1\n");
  std::vector<uint32_t> values;
  CHECK(run_ring(text, 8, 1, &values).findings.empty());
  CHECK(values == std::vector<uint32_t>{103, 100, 101, 102, 103, 100, 101, 102});
}

}  // namespace
}  // namespace sluice::ptx
