// SPDX-License-Identifier: Apache-2.0
// Instructions on memory, between lanes, and on matrices.
#include <array>
#include <charconv>
#include <utility>

#include "tests/ptx/decode.h"

namespace sluice::ptx {
namespace {

// What the qualifiers say about order. Volatile and relaxed accesses do not race with their equals.
void set_order(Decoder& d) {
  const auto any = [&](std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) {
      if (d.opcode.has(part)) return true;
    }
    return false;
  };
  d.to.acquire = any({"acquire", "acq_rel"});
  d.to.release = any({"release", "acq_rel"});
  d.to.strong = d.to.acquire || d.to.release || any({"volatile", "relaxed", "mmio"});
}

void decode_ld(Decoder& d) {
  if (!d.expect(2)) return;
  set_order(d);
  const Operand& to = d.operands[0];
  size_t width = 4;
  if (to.form == Operand::Form::kVector) {
    for (const Operand& part : to.parts) width = d.add_wide_destination(part, d.to.type);
  } else {
    width = d.add_wide_destination(to, d.to.type);
  }
  d.to.register_bytes = static_cast<uint8_t>(width);
  d.add_address(d.operands[1]);
  if (size_of(d.to.type) == 0) d.fail("no such type is known");
  if (size_of(d.to.type) * d.to.destinations > 32) d.fail("the vector is too wide");
  d.set_handler(&run_load);
}

void decode_st(Decoder& d) {
  if (!d.expect(2)) return;
  set_order(d);
  d.add_address(d.operands[0]);
  const Operand& from = d.operands[1];
  size_t width = 4;
  if (from.form == Operand::Form::kVector) {
    for (const Operand& part : from.parts) width = d.add_wide_source(part, d.to.type);
  } else {
    width = d.add_wide_source(from, d.to.type);
  }
  d.to.register_bytes = static_cast<uint8_t>(width);
  if (size_of(d.to.type) == 0) d.fail("no such type is known");
  if (size_of(d.to.type) * (d.to.sources - 1u) > 32) d.fail("the vector is too wide");
  d.set_handler(&run_store);
}

void decode_atomic(Decoder& d) {
  const bool gives_old = d.opcode.name == "atom";
  const size_t first = gives_old ? 1 : 0;
  const std::optional<int32_t> operation = parse_atomic(d.opcode);
  if (!operation || d.operands.size() < first + 2) return d.fail("no such operation is known");
  set_order(d);
  d.to.strong = true;
  d.to.option = *operation;
  if (gives_old) d.add_destination(d.operands[0], d.to.type);
  d.add_address(d.operands[first]);
  for (const Operand& operand : d.operands.subspan(first + 1)) d.add_source(operand, d.to.type);
  d.set_handler(atomic_handler(d.opcode));
}

void decode_cvta(Decoder& d) {
  if (!d.expect(2)) return;
  d.to.option = d.opcode.has("to") ? 1 : 0;
  d.add_all(d.to.type);
  if (size_of(d.to.type) != 8) d.fail("addresses have 64 bits");
  d.set_handler(&run_cvta);
}

void decode_mapa(Decoder& d) {
  if (!d.expect(3)) return;
  d.add_destination(d.operands[0], d.to.type);
  d.add_source(d.operands[1], d.to.type);
  d.add_source(d.operands[2], Type::kB32);
  d.set_handler(mapa_handler(d.to.type));
}

void decode_isspacep(Decoder& d) {
  if (!d.expect(2)) return;
  d.add_predicate_destination(d.operands[0]);
  d.add_source(d.operands[1], Type::kB64);
  d.set_handler(&run_isspacep);
}

// cp.async and its commits and waits.
void decode_cp(Decoder& d) {
  const Opcode& opcode = d.opcode;
  if (!opcode.has("async") || opcode.has("bulk") || opcode.has("mbarrier")) {
    return d.fail("no such form is known");
  }
  if (opcode.has("commit_group")) return d.set_handler(&run_copy_commit);
  if (opcode.has("wait_all")) {
    d.to.option = -1;
    return d.set_handler(&run_copy_wait);
  }
  if (opcode.has("wait_group")) {
    if (!d.expect(1)) return;
    const std::optional<uint64_t> groups = parse_number(d.operands[0], Type::kU32);
    if (!groups || *groups > 1000) return d.fail("not a number of groups");
    d.to.option = static_cast<int32_t>(*groups);
    return d.set_handler(&run_copy_wait);
  }
  if (d.operands.size() < 3) return d.fail("has too few operands");
  const std::optional<uint64_t> bytes = parse_number(d.operands[2], Type::kU32);
  if (!bytes || (*bytes != 4 && *bytes != 8 && *bytes != 16)) return d.fail("not a size of a copy");
  d.to.option = static_cast<int32_t>(*bytes);
  d.to.space = Space::kGlobal;
  d.add_address(d.operands[1]);
  if (d.to.source_bytes != 8) d.fail("the source has no 64-bit address");
  d.to.offset_2 = d.to.offset;
  // The destination is s[0] and decides source_bytes; the global address comes second.
  d.to.sources = 0;
  const uint32_t from = d.to.s[0];
  d.to.space = Space::kShared;
  d.add_address(d.operands[0]);
  d.to.s[d.to.sources++] = from;
  if (d.operands.size() > 3) d.add_source(d.operands[3], Type::kB32);
  d.set_handler(&run_copy_async);
}

void decode_fence(Decoder& d) {
  d.to.option = d.opcode.has("sys") ? 1 : 0;
  d.set_handler(&run_fence);
}
void decode_grids(Decoder& d) {
  d.set_handler(d.opcode.has("wait") ? &run_wait_for_grids : &run_nothing);
}
void decode_nothing(Decoder& d) { d.set_handler(&run_nothing); }
void decode_trap(Decoder& d) { d.set_handler(&run_trap); }

// bar.red d, barrier [, threads], predicate;
void decode_voting_barrier(Decoder& d) {
  if (d.operands.size() < 3 || d.operands.size() > 4) return d.fail("lacks operands");
  const bool counts = d.opcode.has("popc");
  d.to.option = static_cast<int32_t>(counts                ? BarrierKind::kCount
                                     : d.opcode.has("and") ? BarrierKind::kAnd
                                                           : BarrierKind::kOr);
  if (counts) {
    d.add_destination(d.operands[0], Type::kB32);
  } else {
    d.add_predicate_destination(d.operands[0]);
  }
  for (size_t i = 1; i + 1 < d.operands.size(); ++i) d.add_source(d.operands[i], Type::kB32);
  d.add_predicate_source(d.operands.back());
}

// barrier.cluster.arrive releases and wait acquires, unless told not to.
void decode_cluster_barrier(Decoder& d) {
  if (!d.expect(0)) return;
  const bool arrives = d.opcode.has("arrive");
  if (!arrives && !d.opcode.has("wait")) return d.fail("no such form is known");
  d.to.kind = arrives ? Kind::kClusterArrive : Kind::kClusterWait;
  d.to.release = arrives && !d.opcode.has("relaxed");
  d.to.acquire = !arrives;
  d.set_handler(&run_nothing);
}

// bar and barrier.
void decode_barrier(Decoder& d) {
  if (d.opcode.has("warp")) {
    if (!d.expect(1)) return;
    d.to.kind = Kind::kWarpBarrier;
    d.add_source(d.operands[0], Type::kB32);
    return d.set_handler(&run_nothing);
  }
  if (d.opcode.has("cluster")) return decode_cluster_barrier(d);
  if (d.opcode.has("arrive")) return d.fail("no such form is known");
  d.to.kind = Kind::kBarrier;
  d.set_handler(&run_nothing);
  if (d.opcode.has("red")) return decode_voting_barrier(d);
  for (const Operand& operand : d.operands) d.add_source(operand, Type::kB32);
  if (d.operands.empty() || d.operands.size() > 2) d.fail("has another number of operands");
}

void decode_shfl(Decoder& d) {
  if (!d.opcode.has("sync") || !d.expect(5)) return d.fail("no such form is known");
  d.to.kind = Kind::kWarp;
  const Operand& to = d.operands[0];
  const bool pair = to.form == Operand::Form::kPair;
  d.add_destination(pair ? to.parts[0] : to, Type::kB32);
  if (pair) d.add_predicate_destination(to.parts[1]);
  for (const Operand& operand : d.operands.subspan(1)) d.add_source(operand, Type::kB32);
  d.to.option = d.opcode.has("up") ? 0 : d.opcode.has("down") ? 1 : d.opcode.has("bfly") ? 2 : 3;
  d.set_handler(&run_shuffle);
}

void decode_vote(Decoder& d) {
  if (!d.opcode.has("sync") || !d.expect(3)) return d.fail("no such form is known");
  d.to.kind = Kind::kWarp;
  const bool ballot = d.opcode.has("ballot");
  d.to.option = ballot ? 3 : d.opcode.has("all") ? 0 : d.opcode.has("any") ? 1 : 2;
  if (ballot) {
    d.add_destination(d.operands[0], Type::kB32);
  } else {
    d.add_predicate_destination(d.operands[0]);
  }
  d.add_predicate_source(d.operands[1]);
  d.add_source(d.operands[2], Type::kB32);
  d.set_handler(&run_vote);
}

void decode_match(Decoder& d) {
  if (!d.opcode.has("sync") || !d.expect(3)) return d.fail("no such form is known");
  d.to.kind = Kind::kWarp;
  d.to.option = d.opcode.has("all") ? 1 : 0;
  const Operand& to = d.operands[0];
  const bool pair = to.form == Operand::Form::kPair;
  d.add_destination(pair ? to.parts[0] : to, Type::kB32);
  if (pair) d.add_predicate_destination(to.parts[1]);
  d.add_source(d.operands[1], d.to.type);
  d.add_source(d.operands[2], Type::kB32);
  d.set_handler(&run_match);
}

void decode_redux(Decoder& d) {
  if (!d.expect(3)) return;
  d.to.kind = Kind::kWarp;
  d.to.option = parse_atomic(d.opcode).value_or(0);
  d.add_all(Type::kB32);
  d.set_handler(redux_handler(d.opcode));
}

void decode_activemask(Decoder& d) {
  if (!d.expect(1)) return;
  d.add_destination(d.operands[0], Type::kB32);
  d.set_handler(&run_activemask);
}

void decode_elect(Decoder& d) {
  if (!d.expect(2) || d.operands[0].form != Operand::Form::kPair) return d.fail("not known");
  d.to.kind = Kind::kWarp;
  d.add_destination(d.operands[0].parts[0], Type::kB32);
  d.add_predicate_destination(d.operands[0].parts[1]);
  d.add_source(d.operands[1], Type::kB32);
  d.set_handler(&run_elect);
}

void decode_ldmatrix(Decoder& d) {
  if (!d.expect(2) || !d.opcode.has("m8n8") || !d.opcode.has("b16")) return d.fail("not known");
  d.to.kind = Kind::kAligned;
  d.to.option = d.opcode.has("trans") ? 1 : 0;
  d.add_destination(d.operands[0], Type::kB32);
  d.add_address(d.operands[1]);
  if (d.to.destinations > 4) d.fail("has too many matrices");
  d.set_handler(&run_ldmatrix);
}

void decode_stmatrix(Decoder& d) {
  if (!d.expect(2) || !d.opcode.has("m8n8") || !d.opcode.has("b16")) return d.fail("not known");
  d.to.kind = Kind::kAligned;
  d.to.option = d.opcode.has("trans") ? 1 : 0;
  d.add_address(d.operands[0]);
  d.add_source(d.operands[1], Type::kB32);
  if (d.to.sources > 5) d.fail("has too many matrices");
  d.set_handler(&run_stmatrix);
}

void decode_movmatrix(Decoder& d) {
  if (!d.expect(2)) return;
  d.to.kind = Kind::kAligned;
  d.add_all(Type::kB32);
  d.set_handler(&run_movmatrix);
}

void decode_mma(Decoder& d) {
  if (!d.expect(4)) return;
  d.to.kind = Kind::kAligned;
  int32_t k = 0;
  for (const std::string& part : d.opcode.parts) {
    constexpr std::string_view kShape = "m16n8k";
    if (!part.starts_with(kShape)) continue;
    std::from_chars(part.data() + kShape.size(), part.data() + part.size(), k);
  }
  d.add_destination(d.operands[0], Type::kB32);
  for (const Operand& operand : d.operands.subspan(1)) d.add_source(operand, Type::kB32);
  d.set_handler(mma_handler(d.opcode, k));
}

}  // namespace

DecodeFunction find_memory_decoder(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, DecodeFunction>, 33> kDecoders = {{
      {"ld", &decode_ld},
      {"ldu", &decode_ld},
      {"st", &decode_st},
      {"atom", &decode_atomic},
      {"red", &decode_atomic},
      {"cvta", &decode_cvta},
      {"mapa", &decode_mapa},
      {"isspacep", &decode_isspacep},
      {"cp", &decode_cp},
      {"membar", &decode_fence},
      {"fence", &decode_fence},
      {"prefetch", &decode_nothing},
      {"prefetchu", &decode_nothing},
      {"griddepcontrol", &decode_grids},
      {"nanosleep", &decode_nothing},
      {"pmevent", &decode_nothing},
      {"applypriority", &decode_nothing},
      {"discard", &decode_nothing},
      {"setmaxnreg", &decode_nothing},
      {"trap", &decode_trap},
      {"brkpt", &decode_trap},
      {"bar", &decode_barrier},
      {"barrier", &decode_barrier},
      {"shfl", &decode_shfl},
      {"vote", &decode_vote},
      {"match", &decode_match},
      {"redux", &decode_redux},
      {"activemask", &decode_activemask},
      {"elect", &decode_elect},
      {"ldmatrix", &decode_ldmatrix},
      {"stmatrix", &decode_stmatrix},
      {"movmatrix", &decode_movmatrix},
      {"mma", &decode_mma},
  }};
  for (const auto& [known, function] : kDecoders) {
    if (known == name) return function;
  }
  return nullptr;
}

}  // namespace sluice::ptx
