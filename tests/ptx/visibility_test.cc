// SPDX-License-Identifier: Apache-2.0
// What others may see of a kernel: the host, which watches a flag, and kernels that start early.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// Each thread of each block stores a value to the host's memory; the last block to draw a ticket
// sets a flag there.
LaunchReport flag(std::string_view barrier, std::string_view before, std::string_view after,
                  bool watched = true) {
  World world(kernel_text(R"(
.reg .b32 %t, %b, %n, %i, %last; .reg .b64 %out, %count, %flag, %to; .reg .pred %p;
mov.u32 %t, %tid.x;
mov.u32 %b, %ctaid.x;
mov.u32 %n, %nctaid.x;
ld.param.u64 %out, [p0];
ld.param.u64 %count, [p1];
ld.param.u64 %flag, [p2];
mad.lo.u32 %i, %b, 64, %t;
mad.wide.u32 %to, %i, 4, %out;
st.global.u32 [%to], %i;
)" + std::string(barrier) + R"(
setp.ne.u32 %p, %t, 0;
@%p ret;
)" + std::string(before) + R"(
atom.global.add.u32 %i, [%count], 1;
sub.u32 %last, %n, 1;
setp.ne.u32 %p, %i, %last;
@%p ret;
)" + std::string(after) + R"(
st.volatile.global.u32 [%flag], %n;
)",
                          3));
  Arguments arguments;
  arguments.add(world.put(std::vector<uint32_t>(192, 0), {.host_watches = watched}));
  arguments.add(world.put(std::vector<uint32_t>(1, 0)));
  arguments.add(world.put(std::vector<uint32_t>(1, 0), {.host_watches = watched}));
  return world.run("k", {.grid = {3}, .block = {64}}, arguments);
}

TEST_CASE("ptx: a flag for the host comes after what it stands for, whoever wrote that") {
  CHECK(flag("bar.sync 0;", "membar.sys;", "membar.sys;").findings.empty());
  CHECK(flag("bar.sync 0;", "membar.gl;", "membar.sys;").findings.empty());
  CHECK(only(flag("", "membar.sys;", "membar.sys;"), FindingKind::kUnpublished));
  CHECK(only(flag("bar.sync 0;", "", "membar.sys;"), FindingKind::kUnpublished));
  CHECK(only(flag("bar.sync 0;", "membar.sys;", ""), FindingKind::kUnpublished));
  CHECK(only(flag("bar.sync 0;", "membar.sys;", "membar.gl;"), FindingKind::kUnpublished));
  CHECK(flag("", "", "", false).findings.empty());
}

TEST_CASE(
    "ptx: a kernel that starts early writes nothing, and reads only constants, before it waits") {
  World world(kernel_text(R"(
.reg .b32 %v; .reg .b64 %out, %weights;
ld.param.u64 %out, [p0];
ld.param.u64 %weights, [p1];
ld.global.u32 %v, [%weights];
griddepcontrol.wait;
st.global.u32 [%out], %v;
)",
                          2));
  World hasty(kernel_text(R"(
.reg .b32 %v; .reg .b64 %out, %weights;
ld.param.u64 %out, [p0];
ld.param.u64 %weights, [p1];
ld.global.u32 %v, [%weights];
griddepcontrol.launch_dependents;
st.global.u32 [%out], %v;
)",
                          2));
  for (World* one : {&world, &hasty}) {
    const uint64_t out = one->put(std::vector<uint32_t>(1, 0));
    const uint64_t weights = one->put(std::vector<uint32_t>(1, 7));
    Arguments arguments;
    arguments.add(out);
    arguments.add(weights);
    const auto early = [&] { return one->run("k", {}, arguments, {.early = true}); };
    CHECK(one->run("k", {}, arguments).findings.empty());
    const LaunchReport first = early();
    CHECK(first.findings.empty() == (one == &world));
    if (one == &hasty) CHECK(only(first, FindingKind::kEarlyAccess));
    // What an earlier kernel has written is no constant.
    arguments = {};
    arguments.add(weights);
    arguments.add(out);
    CHECK(only(early(), FindingKind::kEarlyAccess));
  }
}

TEST_CASE("ptx: a thread does not end while a copy of its is under way") {
  const auto run = [](std::string_view end) {
    World world(kernel_text(R"(
.shared .align 16 .b8 buffer[16];
.reg .b32 %to; .reg .b64 %from;
ld.param.u64 %from, [p0];
mov.u32 %to, buffer;
cp.async.cg.shared.global [%to], [%from], 16;
cp.async.commit_group;
)" + std::string(end)));
    Arguments arguments;
    arguments.add(world.put(std::vector<uint32_t>(4, 1)));
    return world.run("k", {}, arguments);
  };
  CHECK(run("cp.async.wait_group 0;").findings.empty());
  CHECK(run("cp.async.wait_all;").findings.empty());
  CHECK(only(run("cp.async.wait_group 1;"), FindingKind::kAsyncHazard));
  CHECK(only(run(""), FindingKind::kAsyncHazard));
}

}  // namespace
}  // namespace sluice::ptx
