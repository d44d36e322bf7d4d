// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "tests/ptx/world.h"

namespace sluice::ptx {
namespace {

// Two's complement of a small negative number in 32 bits.
constexpr uint64_t minus(uint32_t value) { return 0u - value; }

TEST_CASE("ptx: 32-bit integer arithmetic wraps") {
  CHECK(try_one({"add.s32 %d, %a, %b;", "b32"}, 0x7fffffff, 1) == 0x80000000);
  CHECK(try_one({"sub.u32 %d, %a, %b;", "b32"}, 3, 5) == minus(2));
  CHECK(try_one({"mul.lo.s32 %d, %a, %b;", "b32"}, 0x12345678, 0x9abcdef0) == 0x242d2080);
  CHECK(try_one({"mul.hi.u32 %d, %a, %b;", "b32"}, 0xffffffff, 0xffffffff) == 0xfffffffe);
  CHECK(try_one({"mul.hi.s32 %d, %a, %b;", "b32"}, minus(1), 5) == minus(1));
  CHECK(try_one({"mad.lo.s32 %d, %a, %b, %c;", "b32"}, 7, minus(3), 1) == minus(20));
  CHECK(try_one({"neg.s32 %d, %a;", "b32"}, 0x80000000) == 0x80000000);
  CHECK(try_one({"abs.s32 %d, %a;", "b32"}, minus(9)) == 9);
}

TEST_CASE("ptx: signed and unsigned division, also where C++ has no answer") {
  CHECK(try_one({"div.s32 %d, %a, %b;", "b32"}, minus(7), 2) == minus(3));
  CHECK(try_one({"div.u32 %d, %a, %b;", "b32"}, minus(7), 2) == 0x7ffffffc);
  CHECK(try_one({"rem.s32 %d, %a, %b;", "b32"}, minus(7), 2) == minus(1));
  CHECK(try_one({"div.s32 %d, %a, %b;", "b32"}, 0x80000000, minus(1)) == 0x80000000);
  CHECK(try_one({"rem.s32 %d, %a, %b;", "b32"}, 0x80000000, minus(1)) == 0);
}

TEST_CASE("ptx: wide products keep the sign of their type") {
  const Trial signed_trial{"mul.wide.s32 %d, %a, %b;", "b64"};
  const Trial unsigned_trial{"mul.wide.u32 %d, %a, %b;", "b64"};
  CHECK(try_one(signed_trial, minus(2), 3) == 0xfffffffffffffffa);
  CHECK(try_one(unsigned_trial, minus(2), 3) == 0x2fffffffa);
  CHECK(try_one({"mul.wide.u16 %d, %a, %b;", "b32", "b16"}, 0xffff, 0xffff) == 0xfffe0001);
  CHECK(try_one({"mul.wide.s16 %d, %a, %b;", "b32", "b16"}, 0xffff, 2) == minus(2));
}

TEST_CASE("ptx: minimum and maximum look at the sign only if the type has one") {
  CHECK(try_one({"min.s32 %d, %a, %b;", "b32"}, minus(1), 1) == minus(1));
  CHECK(try_one({"min.u32 %d, %a, %b;", "b32"}, minus(1), 1) == 1);
  CHECK(try_one({"max.s64 %d, %a, %b;", "b64", "b64"}, ~uint64_t{0}, 1) == 1);
}

TEST_CASE("ptx: shifts by the width or more give zeros, or the sign") {
  CHECK(try_one({"shl.b32 %d, %a, %b;", "b32"}, 1, 31) == 0x80000000);
  CHECK(try_one({"shl.b32 %d, %a, %b;", "b32"}, 1, 32) == 0);
  CHECK(try_one({"shr.u32 %d, %a, %b;", "b32"}, 0x80000000, 33) == 0);
  CHECK(try_one({"shr.s32 %d, %a, %b;", "b32"}, 0x80000000, 33) == 0xffffffff);
  CHECK(try_one({"shr.s64 %d, %a, %b;", "b64", "b64", "b32"}, uint64_t{1} << 63, 60) ==
        0xfffffffffffffff8);
  CHECK(try_one({"shf.l.wrap.b32 %d, %a, %b, %c;", "b32"}, 0x80000000, 1, 1) == 3);
  CHECK(try_one({"shf.r.clamp.b32 %d, %a, %b, %c;", "b32"}, 5, 9, 32) == 9);
  CHECK(try_one({"shf.r.wrap.b32 %d, %a, %b, %c;", "b32"}, 5, 9, 32) == 5);
}

TEST_CASE("ptx: bit fields, counts and permutations") {
  CHECK(try_one({"bfe.u32 %d, %a, %b, %c;", "b32"}, 0xabcd1234, 8, 12) == 0xd12);
  CHECK(try_one({"bfe.s32 %d, %a, %b, %c;", "b32"}, 0x00000f00, 8, 4) == 0xffffffff);
  CHECK(try_one({"bfe.u32 %d, %a, %b, %c;", "b32"}, 0xabcd1234, 8, 0) == 0);
  CHECK(try_one({"bfe.s32 %d, %a, %b, %c;", "b32"}, 0x80000000, 28, 12) == 0xfffffff8);
  CHECK(try_one({"bfi.b32 %d, %a, %b, 4, 8;", "b32"}, 0xff, 0) == 0xff0);
  CHECK(try_one({"bfi.b32 %d, %a, %b, 0, 32;", "b32"}, 0x12345678, 0) == 0x12345678);
  CHECK(try_one({"popc.b32 %d, %a;", "b32"}, 0xf0f00001) == 9);
  CHECK(try_one({"popc.b64 %d, %a;", "b32", "b64"}, ~uint64_t{0}) == 64);
  CHECK(try_one({"clz.b32 %d, %a;", "b32"}, 0) == 32);
  CHECK(try_one({"clz.b32 %d, %a;", "b32"}, 0x00ff0000) == 8);
  CHECK(try_one({"brev.b32 %d, %a;", "b32"}, 1) == 0x80000000);
  CHECK(try_one({"prmt.b32 %d, %a, %b, 0x5410;", "b32"}, 0xaaaabbbb, 0xccccdddd) == 0xddddbbbb);
  CHECK(try_one({"prmt.b32 %d, %a, %b, 0x9990;", "b32"}, 0x00008011, 0) == 0xffffff11);
  CHECK(try_one({"lop3.b32 %d, %a, %b, %c, 0x96;", "b32"}, 0xf0, 0xcc, 0xaa) == 0x96);
  CHECK(try_one({"dp4a.s32.u32 %d, %a, %b, %c;", "b32"}, 0xff020301, 0x01020304, 100) == 116);
}

TEST_CASE("ptx: 16-bit registers hold what 16-bit instructions give") {
  CHECK(try_one({"add.s16 %d, %a, %b;", "b16", "b16"}, 0xffff, 2) == 1);
  CHECK(try_one({"and.b16 %d, %a, %b;", "b16", "b16"}, 0xff0f, 0x0fff) == 0x0f0f);
  CHECK(try_one({"shl.b16 %d, %a, 12;", "b16", "b16"}, 0x1234) == 0x4000);
}

TEST_CASE("ptx: integers convert with extension, truncation and saturation") {
  CHECK(try_one({"cvt.s64.s32 %d, %a;", "b64"}, minus(5)) == 0xfffffffffffffffb);
  CHECK(try_one({"cvt.u64.u32 %d, %a;", "b64"}, minus(5)) == 0xfffffffb);
  CHECK(try_one({"cvt.u32.u64 %d, %a;", "b32", "b64"}, 0x123456789a) == 0x3456789a);
  CHECK(try_one({"cvt.u16.u32 %d, %a;", "b16"}, 0x12345) == 0x2345);
  CHECK(try_one({"cvt.s32.s8 %d, %a;", "b32"}, 0x180) == 0xffffff80);
  CHECK(try_one({"cvt.sat.u8.s32 %d, %a;", "b32"}, 300) == 255);
  CHECK(try_one({"cvt.sat.u8.s32 %d, %a;", "b32"}, minus(4)) == 0);
  CHECK(try_one({"cvt.sat.s8.s32 %d, %a;", "b32"}, minus(200)) == 0xffffff80);
}

}  // namespace
}  // namespace sluice::ptx
