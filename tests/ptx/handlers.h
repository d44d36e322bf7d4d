// SPDX-License-Identifier: Apache-2.0
#pragma once
// The code of each instruction. A function here gives the handler for an opcode, or null if it does
// not know that form of it; what each handler expects of sources and options stands with it.

#include "tests/ptx/opcode.h"
#include "tests/ptx/program.h"

namespace sluice::ptx {

// integer.cc. Sources as PTX has them; `type` decides.
Handler integer_handler(const Opcode& opcode);
// bits.cc: shifts, fields, permutations. option: 1 for shf.r; option_2: 1 for clamp.
Handler bits_handler(const Opcode& opcode);
// floating.cc: f32 and f64. Instruction::rounding, flush and saturate apply.
Handler floating_handler(const Opcode& opcode);
// half.cc: f16, bf16 and pairs of them. flush and saturate are 16-bit too.
Handler half_handler(const Opcode& opcode);
// convert.cc: type from type_2. option: 1 if the result is rounded to a whole number.
// `exact_widths`: both registers are as wide as their types.
Handler convert_handler(const Opcode& opcode, bool exact_widths);
// convert.cc: two f32 to one register; the first source is the upper half.
Handler convert_pair_handler(const Opcode& opcode);

// How setp and set compare; the order is that of the names in compare.cc.
enum class Compare : uint8_t {
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kLo,
  kLs,
  kHi,
  kHs,
  kEqu,
  kNeu,
  kLtu,
  kLeu,
  kGtu,
  kGeu,
  kNum,
  kNan
};
// compare.cc: what a mnemonic names, or nothing.
std::optional<Compare> parse_compare(const Opcode& opcode);
// compare.cc. setp: option is a Compare, option_2 combines with s[2]: 0 not, 1 and, 2 or, 3 xor.
Handler setp_handler(const Opcode& opcode);
// set: the same with one destination; type_2 is f32 or an integer.
Handler set_handler(const Opcode& opcode);
// selp: s[2] is a predicate.
Handler selp_handler(const Opcode& opcode);
// Predicates: option 0 and, 1 or, 2 xor, 3 not, 4 mov.
void run_predicate(Warp& warp, const Instruction& instruction, uint32_t mask);

// moves.cc. mov of one value; of several into one and back, parts of option bits each.
Handler mov_handler(Type type);
Handler pack_handler(Type whole, size_t parts);
Handler unpack_handler(Type whole, size_t parts);
// cvta: adds the window of `space`; option 1: .to, subtracts it.
void run_cvta(Warp& warp, const Instruction& instruction, uint32_t mask);
// mapa: s[0] in the shared memory of the block of rank s[1]; 32 bits, or generic with 64.
Handler mapa_handler(Type type);
// isspacep: whether the address is in the window of `space`.
void run_isspacep(Warp& warp, const Instruction& instruction, uint32_t mask);
// %clock and the like: instructions executed so far.
void run_clock(Warp& warp, const Instruction& instruction, uint32_t mask);
// Nothing to do, as for prefetch.
void run_nothing(Warp& warp, const Instruction& instruction, uint32_t mask);
// membar and fence. option 1: of the whole system.
void run_fence(Warp& warp, const Instruction& instruction, uint32_t mask);
// griddepcontrol.wait.
void run_wait_for_grids(Warp& warp, const Instruction& instruction, uint32_t mask);
// trap; option 1: a failed assert.
void run_trap(Warp& warp, const Instruction& instruction, uint32_t mask);
// Stops the launch: kUnsupported.
void run_unsupported(Warp& warp, const Instruction& instruction, uint32_t mask);

// loads.cc. s[0] is the address, with offset; `type` of each element; option: bytes of a register.
void run_load(Warp& warp, const Instruction& instruction, uint32_t mask);
// s[0] is the address, the others are stored.
void run_store(Warp& warp, const Instruction& instruction, uint32_t mask);
// atomics.cc: atom and red: s[0] the address; option is an operation as parse_atomic() gives it.
Handler atomic_handler(const Opcode& opcode);
std::optional<int32_t> parse_atomic(const Opcode& opcode);
// redux.sync: option as above, s[0] the value.
Handler redux_handler(const Opcode& opcode);

// async.cc. cp.async: s[0] to (offset), s[1] from (offset_2), option bytes, s[2] bytes that are
// read if there is a third source.
void run_copy_async(Warp& warp, const Instruction& instruction, uint32_t mask);
void run_copy_commit(Warp& warp, const Instruction& instruction, uint32_t mask);
// option: groups that may stay under way; -1: wait for all, committed or not.
void run_copy_wait(Warp& warp, const Instruction& instruction, uint32_t mask);

// warps.cc. The member mask is the last source. shfl: option 0 up, 1 down, 2 bfly, 3 idx.
void run_shuffle(Warp& warp, const Instruction& instruction, uint32_t mask);
// vote: option 0 all, 1 any, 2 uni, 3 ballot.
void run_vote(Warp& warp, const Instruction& instruction, uint32_t mask);
// match: option 0 any, 1 all; type_2 b32 or b64.
void run_match(Warp& warp, const Instruction& instruction, uint32_t mask);
void run_activemask(Warp& warp, const Instruction& instruction, uint32_t mask);
void run_elect(Warp& warp, const Instruction& instruction, uint32_t mask);

// matrix.cc. ldmatrix: s[0] the address, option 1: .trans. stmatrix: the same, s[1]... stored.
void run_ldmatrix(Warp& warp, const Instruction& instruction, uint32_t mask);
void run_stmatrix(Warp& warp, const Instruction& instruction, uint32_t mask);
// movmatrix: s[0] transposed.
void run_movmatrix(Warp& warp, const Instruction& instruction, uint32_t mask);
// mma of m16n8: type_2 of the factors, `type` of the accumulators, option: k.
Handler mma_handler(const Opcode& opcode, int32_t k);

}  // namespace sluice::ptx
