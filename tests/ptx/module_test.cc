// SPDX-License-Identifier: Apache-2.0
// Reading PTX: what is declared, what is called, what is not understood.
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

std::string error_of(std::string_view text) {
  Memory memory;
  const Result<Module> module = Module::load(text, memory);
  return module.ok() ? "" : module.error().message;
}

TEST_CASE("ptx: a text that is not PTX is refused with the line at fault") {
  CHECK(error_of("") == "");
  CHECK(error_of(".version 9.0\nnonsense") == "PTX line 2: 'nonsense' is not understood");
  CHECK(error_of(".visible .entry k(").find("PTX line 1") == 0);
  CHECK(error_of(".visible .entry k() {\n bra NOWHERE;\n}").find("line 2: label 'NOWHERE'") !=
        std::string::npos);
  CHECK(error_of(".visible .entry k() {\n ret\n").find("ends early") != std::string::npos);
  CHECK(error_of(".visible .entry k() {\n ret\n}").find("does not end") != std::string::npos);
  CHECK(error_of(".visible .entry k() {\n @%q ret;\n}").find("line 2: the guard") !=
        std::string::npos);
  CHECK(error_of(".global .align 4 .b8 x[99999999999];").find("PTX line 1") == 0);
  CHECK(error_of(".visible .entry k() {\n .reg .b77 %a;\n}").find("line 2") != std::string::npos);
}

TEST_CASE("ptx: an unknown instruction stops the kernel that reaches it, with its name and line") {
  World world(kernel_text(R"(
.reg .b32 %t; .reg .pred %p;
mov.u32 %t, %ntid.x;
setp.eq.u32 %p, %t, 1;
@%p ret;
frobnicate.sync.u32 %t, %t;
)"));
  Arguments arguments;
  arguments.add(uint64_t{0});
  CHECK(world.run("k", {.block = {1}}, arguments).findings.empty());
  const LaunchReport report = world.run("k", {.block = {2}}, arguments);
  CHECK_FALSE(report.completed);
  REQUIRE(only(report, FindingKind::kUnsupported));
  CHECK(report.findings[0].line == 11);
  CHECK(report.findings[0].text.find("frobnicate.sync.u32 %t, %t") != std::string::npos);
  REQUIRE(world.module.find("k")->unsupported.size() == 1);
  CHECK(world.module.find("k")->unsupported[0].find("PTX line 11: frobnicate") == 0);
}

TEST_CASE("ptx: known instructions in unknown forms are unsupported and not guessed at") {
  for (const std::string_view code :
       {"add.cc.u32 %a, %a, %a;", "add.f64 %a, %b, %b;", "mul.u32 %a, %a, %a;", "add.u32 %a, %a;",
        "cp.async.bulk.shared.global [%a], [%a], 16;", "fma.rz.f64 %d, %d, %d, %d;",
        "cvt.rn.tf32.f32 %a, %f;", "ld.global.u32 %a, %b;", "mov.u32 %a, nothing;",
        "wgmma.fence.sync.aligned;", "shfl.idx.b32 %a, %a, %a, %a;", "bar.arrive 1, 64;"}) {
    CAPTURE(code);
    World world(
        kernel_text(".reg .b32 %a; .reg .b64 %b; .reg .f32 %f; .reg .f64 %d;\n"
                    ".reg .pred %p;\n" +
                    std::string(code)));
    CHECK(world.module.find("k")->unsupported.size() == 1);
  }
}

TEST_CASE("ptx: a launch must fit the kernel") {
  Memory memory;
  std::string text = kernel_text("");
  text.insert(text.find('{'), ".maxntid 64, 2, 1\n");
  const Result<Module> module = Module::load(text, memory);
  REQUIRE(module.ok());
  const Kernel& kernel = *module.value().find("k");
  const auto error = [&](const LaunchShape& shape, size_t bytes,
                         const LaunchOptions& options = {}) {
    const std::vector<std::byte> arguments(bytes);
    const Result<LaunchReport> report = launch(memory, kernel, shape, arguments, options);
    return report.ok() ? "" : report.error().message;
  };
  CHECK(error({.block = {128}}, 8) == "");
  CHECK(error({.block = {129}}, 8).find("block: has 129 threads, the kernel allows 128") !=
        std::string::npos);
  CHECK(error({.block = {64, 64}}, 8).find("block: has 4096 threads") != std::string::npos);
  CHECK(error({.grid = {0}}, 8).find("grid:") != std::string::npos);
  CHECK(error({}, 4).find("arguments: are 4 bytes, the kernel takes 8") != std::string::npos);
  CHECK(error({.shared_dynamic_bytes = 1 << 20}, 8).find("shared_dynamic_bytes") !=
        std::string::npos);
  CHECK(error({}, 8, {.blocks_resident = 0}).find("blocks_resident") != std::string::npos);
}

TEST_CASE("ptx: variables of the module have values, addresses and names") {
  World world(R"(
.version 9.0
.target sm_90
.address_size 64
.const .align 4 .b8 table[8] = {1, 2, 3, 4, 5};
.global .align 4 .u32 counter = 7;
.global .align 8 .f64 half = 0d3FE0000000000000;
.visible .entry k(.param .u64 out)
{
.reg .b32 %v; .reg .b64 %o, %c; .reg .f64 %d;
ld.param.u64 %o, [out];
ld.const.u32 %v, [table+4];
st.global.u32 [%o], %v;
mov.u64 %c, counter;
cvta.global.u64 %c, %c;
ld.u32 %v, [%c];
add.u32 %v, %v, 1;
st.global.u32 [counter], %v;
ld.global.f64 %d, [half];
st.global.f64 [%o+8], %d;
ret;
}
)");
  const uint64_t out = world.put(std::vector<uint64_t>{0, 0});
  Arguments arguments;
  arguments.add(out);
  const LaunchReport report = world.run("k", {}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  CHECK(world.get<uint64_t>(out, 1)[0] == 5);
  CHECK(world.get<double>(out + 8, 1)[0] == 0.5);
  REQUIRE(world.module.symbol("counter") != nullptr);
  CHECK(world.module.symbol("counter")->bytes == 4);
  CHECK(world.get<uint32_t>(world.module.symbol("counter")->address, 1)[0] == 8);
  CHECK(world.module.symbol("nothing") == nullptr);
}

constexpr std::string_view kCalls = R"(
.version 9.0
.target sm_90
.address_size 64
.func (.param .b32 result) twice(.param .b32 value)
{
.reg .b32 %r1; .reg .pred %p;
ld.param.b32 %r1, [value];
setp.gt.s32 %p, %r1, 100;
@%p bra BIG;
add.s32 %r1, %r1, %r1;
st.param.b32 [result+0], %r1;
ret;
BIG:
st.param.b32 [result+0], 1;
ret;
}
.visible .entry k(.param .u64 out)
{
.reg .b32 %r1, %r2; .reg .b64 %o;
mov.u32 %r1, %tid.x;
{ // callseq 0, 0
.param .b32 param0;
st.param.b32 [param0], %r1;
.param .b32 retval0;
call.uni (retval0), twice, (param0);
ld.param.b32 %r2, [retval0];
} // callseq 0
{
.param .b32 param0;
st.param.b32 [param0], %r2;
.param .b32 retval0;
call.uni (retval0), twice, (param0);
ld.param.b32 %r2, [retval0];
}
ld.param.u64 %o, [out];
mad.wide.u32 %o, %r1, 4, %o;
st.global.u32 [%o], %r2;
ret;
}
)";

TEST_CASE("ptx: functions can be called, more than once and by lanes that part in them") {
  World world(kCalls);
  const uint64_t out = world.put(std::vector<uint32_t>(96, 0));
  Arguments arguments;
  arguments.add(out);
  const LaunchReport report = world.run("k", {.block = {96}}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  const std::vector<uint32_t> values = world.get<uint32_t>(out, 96);
  for (uint32_t i = 0; i < 96; ++i) CHECK(values[i] == (2 * i > 100 ? 1 : 4 * i));
}

TEST_CASE("ptx: a function that calls itself is refused") {
  CHECK(error_of(R"(.func f() {
call.uni f;
ret;
}
.visible .entry k() {
call.uni f;
ret;
})")
            .find("calls go in a circle") != std::string::npos);
}

TEST_CASE("ptx: a failed assert and a trap stop the launch") {
  World world(
      kernel_text(".reg .pred %p; .reg .b32 %t;\nmov.u32 %t, %tid.x;\n"
                  "setp.eq.u32 %p, %t, 40;\n@%p trap;"));
  Arguments arguments;
  arguments.add(uint64_t{0});
  const LaunchReport report = world.run("k", {.block = {64}}, arguments);
  CHECK_FALSE(report.completed);
  REQUIRE(only(report, FindingKind::kTrap));
  CHECK(report.findings[0].warp == 1);
  CHECK(report.findings[0].lane == 8);
}

TEST_CASE("ptx: a branch through a table") {
  World world(kernel_text(R"(
.reg .b32 %t, %i, %v; .reg .b64 %o;
mov.u32 %t, %tid.x;
and.b32 %i, %t, 3;
TABLE: .branchtargets A, B, C, A;
brx.idx %i, TABLE;
A:
mov.u32 %v, 10;
bra.uni END;
B:
mov.u32 %v, 20;
bra.uni END;
C:
mov.u32 %v, 30;
END:
ld.param.u64 %o, [p0];
mad.wide.u32 %o, %t, 4, %o;
st.global.u32 [%o], %v;
)"));
  const uint64_t out = world.put(std::vector<uint32_t>(32, 0));
  Arguments arguments;
  arguments.add(out);
  const LaunchReport report = world.run("k", {.block = {32}}, arguments);
  INFO(describe(report));
  CHECK(report.findings.empty());
  const std::vector<uint32_t> expected = {10, 20, 30, 10};
  for (uint32_t i = 0; i < 32; ++i) CHECK(world.get<uint32_t>(out, 32)[i] == expected[i % 4]);
}

TEST_CASE("ptx: special registers") {
  World world(kernel_text(R"(
.reg .b32 %i, %v, %k; .reg .b64 %o;
mov.u32 %i, %tid.y;
mov.u32 %v, %ntid.x;
mad.lo.u32 %i, %i, %v, %tid.x;
ld.param.u64 %o, [p0];
mad.wide.u32 %o, %i, 16, %o;
mov.u32 %v, %ctaid.y;
st.global.u32 [%o], %v;
mov.u32 %v, %laneid;
st.global.u32 [%o+4], %v;
mov.u32 %v, %lanemask_lt;
st.global.u32 [%o+8], %v;
mov.u32 %v, %nctaid.z;
mov.u32 %k, %warpid;
mad.lo.u32 %v, %v, 100, %k;
st.global.u32 [%o+12], %v;
)"));
  const uint64_t out = world.put(std::vector<uint32_t>(4 * 40, 0));
  Arguments arguments;
  arguments.add(out);
  CHECK(world.run("k", {.grid = {1, 1, 1}, .block = {10, 4}}, arguments).findings.empty());
  const std::vector<uint32_t> values = world.get<uint32_t>(out, 4 * 40);
  CHECK(values[4 * 33] == 0);
  CHECK(values[4 * 33 + 1] == 1);
  CHECK(values[4 * 33 + 2] == 1);
  CHECK(values[4 * 33 + 3] == 101);
}

TEST_CASE("ptx: arguments are packed as the kernel declares them") {
  World world(R"(
.version 9.0
.target sm_90
.address_size 64
.visible .entry k(.param .u32 a, .param .u64 out, .param .align 4 .b8 pair[8])
{
.reg .b32 %a, %b; .reg .b64 %o;
ld.param.u32 %a, [a];
ld.param.u32 %b, [pair+4];
add.u32 %a, %a, %b;
ld.param.u64 %o, [out];
st.global.u32 [%o], %a;
ret;
}
)");
  struct Pair {
    uint32_t first = 0;
    uint32_t second = 30;
  };
  uint32_t a = 12;
  uint64_t out = world.put(std::vector<uint32_t>{0});
  Pair pair;
  void* const pointers[] = {&a, &out, &pair};
  const Kernel& kernel = *world.module.find("k");
  const Result<LaunchReport> report =
      launch(world.memory, kernel, {}, pack_arguments(kernel, pointers));
  REQUIRE(report.ok());
  CHECK(report.value().findings.empty());
  CHECK(world.get<uint32_t>(out, 1)[0] == 42);
  Arguments arguments;
  arguments.add(a);
  arguments.add(out);
  arguments.add(pair);
  CHECK(arguments.bytes().size() == kernel.parameter_bytes);
}

}  // namespace
}  // namespace sluice::ptx
