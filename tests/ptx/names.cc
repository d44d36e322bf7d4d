// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/assert.h"

namespace sluice::ptx {
namespace {

constexpr size_t kRowAlignment = 32;

constexpr std::array<std::pair<std::string_view, Special>, 37> kSpecials = {{
    {"%tid.x", Special::kTidX},
    {"%tid.y", Special::kTidY},
    {"%tid.z", Special::kTidZ},
    {"%ntid.x", Special::kNtidX},
    {"%ntid.y", Special::kNtidY},
    {"%ntid.z", Special::kNtidZ},
    {"%ctaid.x", Special::kCtaidX},
    {"%ctaid.y", Special::kCtaidY},
    {"%ctaid.z", Special::kCtaidZ},
    {"%nctaid.x", Special::kNctaidX},
    {"%nctaid.y", Special::kNctaidY},
    {"%nctaid.z", Special::kNctaidZ},
    {"%laneid", Special::kLaneId},
    {"%warpid", Special::kWarpId},
    {"%nwarpid", Special::kNwarpId},
    {"%lanemask_eq", Special::kLanemaskEq},
    {"%lanemask_lt", Special::kLanemaskLt},
    {"%lanemask_le", Special::kLanemaskLe},
    {"%lanemask_gt", Special::kLanemaskGt},
    {"%lanemask_ge", Special::kLanemaskGe},
    {"%dynamic_smem_size", Special::kDynamicSharedBytes},
    {"%total_smem_size", Special::kTotalSharedBytes},
    {"%gridid", Special::kGridId},
    {"%smid", Special::kSmId},
    {"%nsmid", Special::kNsmId},
    {"%clock", Special::kClock},
    {"%clock64", Special::kClock64},
    {"%globaltimer", Special::kGlobalTimer},
    {"%globaltimer_lo", Special::kClock},
    {"%cluster_ctarank", Special::kClusterRank},
    {"%cluster_nctarank", Special::kClusterBlocks},
    {"%cluster_ctaid.x", Special::kClusterCtaidX},
    {"%cluster_ctaid.y", Special::kClusterCtaidY},
    {"%cluster_ctaid.z", Special::kClusterCtaidZ},
    {"%cluster_nctaid.x", Special::kClusterNctaidX},
    {"%cluster_nctaid.y", Special::kClusterNctaidY},
    {"%cluster_nctaid.z", Special::kClusterNctaidZ},
}};

size_t width_of(Special special) {
  const bool wide = special == Special::kClock64 || special == Special::kGlobalTimer ||
                    special == Special::kGridId;
  return wide ? 8 : 4;
}

size_t round_up(size_t value, size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// `%r12` as `%r` and 12; the number may be missing.
std::pair<std::string_view, std::optional<uint32_t>> split_number(std::string_view name) {
  const size_t last = name.find_last_not_of("0123456789");
  const size_t begin = last == std::string_view::npos ? 0 : last + 1;
  if (begin == name.size()) return {name, std::nullopt};
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data() + begin, name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return {name, std::nullopt};
  return {name.substr(0, begin), number};
}

}  // namespace

Names::Names(Kernel& kernel, const std::map<std::string, Variable, std::less<>>& globals,
             bool adversarial_shared)
    : kernel_(kernel), globals_(globals), adversarial_shared_(adversarial_shared) {}

void Names::open_scope(bool hides_outer) { scopes_.push_back({.hides_outer = hides_outer}); }
void Names::close_scope() { scopes_.pop_back(); }

uint32_t Names::new_row(size_t width) {
  const size_t row = kernel_.register_bytes;
  kernel_.register_bytes += width == 0 ? kRowAlignment : round_up(32 * width, kRowAlignment);
  return static_cast<uint32_t>(row);
}

void Names::declare_registers(std::string_view name, uint32_t count, Type type) {
  RegisterSeries series;
  // A register of 8 bits is one of 16: no instruction but ld, st and cvt knows the difference.
  series.width = type == Type::kPred ? 0 : std::max<size_t>(size_of(type), 2);
  series.count = count;
  series.first = new_row(series.width);
  for (uint32_t i = 1; i < count; ++i) new_row(series.width);
  scopes_.back().registers[std::string(name)] = series;
}

uint64_t Names::place_shared(size_t bytes, size_t alignment) {
  size_t at = round_up(kernel_.shared_bytes, alignment);
  if (adversarial_shared_ && at % (2 * alignment) == 0) at += alignment;
  kernel_.shared_bytes = at + bytes;
  return at;
}

void Names::declare_variable(const Variable& variable) {
  Variable placed = variable;
  if (variable.space == Space::kShared) {
    placed.address = place_shared(variable.bytes, variable.alignment);
  } else {
    // A .param inside a body is a place where arguments of calls are put.
    ASSERT(variable.space == Space::kLocal || variable.space == Space::kParam);
    placed.space = Space::kLocal;
    placed.address = round_up(kernel_.local_bytes, variable.alignment);
    kernel_.local_bytes = placed.address + variable.bytes;
  }
  bind(variable.name, placed);
}

void Names::bind(std::string_view name, const Variable& variable) {
  scopes_.back().variables[std::string(name)] = variable;
}

std::optional<RegisterRef> Names::find_register(std::string_view name) const {
  const auto [prefix, number] = split_number(name);
  const std::string whole(name);
  const std::string series_name(prefix);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->registers.find(whole);
        found != scope->registers.end() && found->second.count == 0) {
      return RegisterRef{found->second.first, found->second.width};
    }
    if (const auto found = scope->registers.find(series_name);
        number && found != scope->registers.end() && *number < found->second.count) {
      const RegisterSeries& series = found->second;
      const size_t row_bytes =
          series.width == 0 ? kRowAlignment : round_up(32 * series.width, kRowAlignment);
      return RegisterRef{series.first + static_cast<uint32_t>(*number * row_bytes), series.width};
    }
    if (scope->hides_outer) break;
  }
  return std::nullopt;
}

const Variable* Names::find_variable(std::string_view name) {
  const std::string key(name);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->variables.find(key);
    if (found != scope->variables.end()) return &found->second;
    if (scope->hides_outer) break;
  }
  if (const auto used = used_globals_.find(name); used != used_globals_.end()) return &used->second;
  const auto found = globals_.find(name);
  if (found == globals_.end()) return nullptr;
  Variable variable = found->second;
  if (variable.space == Space::kShared) {
    if (variable.bytes == 0) {
      dynamic_alignment_ = std::max(dynamic_alignment_, variable.alignment);
    } else {
      variable.address = place_shared(variable.bytes, variable.alignment);
    }
  }
  return &used_globals_.emplace(key, std::move(variable)).first->second;
}

std::optional<RegisterRef> Names::find_special(std::string_view name) {
  for (const auto& [text, special] : kSpecials) {
    if (text != name) continue;
    const auto found = special_rows_.find(special);
    if (found != special_rows_.end()) return found->second;
    const RegisterRef made{new_row(width_of(special)), width_of(special)};
    special_rows_.emplace(special, made);
    kernel_.specials.push_back({made.row, special});
    return made;
  }
  return std::nullopt;
}

uint32_t Names::constant(uint64_t value, size_t width) {
  const uint64_t kept = width == 0   ? (value != 0 ? 0xffffffffu : 0u)
                        : width == 8 ? value
                                     : value & ((uint64_t{1} << (8 * width)) - 1);
  const auto found = constant_rows_.find({kept, width});
  if (found != constant_rows_.end()) return found->second;
  const uint32_t row = new_row(width);
  constant_rows_.emplace(std::pair{kept, width}, row);
  kernel_.constants.push_back({row, width, kept});
  return row;
}

uint32_t Names::address_of(const Variable& variable, int64_t offset, size_t width) {
  if (variable.space != Space::kShared || variable.bytes != 0) {
    return constant(variable.address + static_cast<uint64_t>(offset), width);
  }
  const uint32_t row = new_row(width);
  dynamic_uses_.push_back({kernel_.constants.size(), offset});
  kernel_.constants.push_back({row, width, 0});
  return row;
}

void Names::finish() {
  if (dynamic_uses_.empty()) return;
  const uint64_t base = place_shared(0, dynamic_alignment_);
  for (const DynamicUse& use : dynamic_uses_) {
    kernel_.constants[use.constant].value = base + static_cast<uint64_t>(use.offset);
  }
}

}  // namespace sluice::ptx
