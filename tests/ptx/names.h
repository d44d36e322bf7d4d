// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the names in a function's body stand for, while its kernel is built: registers become rows
// of the register file, variables become addresses, constants become rows of their own.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/ptx/operand.h"
#include "tests/ptx/program.h"

namespace sluice::ptx {

// A variable as it is declared.
struct Variable {
  std::string name;
  Space space = Space::kGeneric;
  size_t alignment = 0;  // 0: not declared
  size_t bytes = 0;      // 0: dynamic shared memory
  uint64_t address = 0;  // set when it has a place
};

// A register, or a series of them such as `%r<10>`.
struct RegisterSeries {
  uint32_t first = 0;  // row
  uint32_t count = 0;  // 0: the name has no number
  size_t width = 4;    // bytes of one value; 0 for predicates
};

struct RegisterRef {
  uint32_t row = kNoRow;
  size_t width = 4;
};

class Names {
 public:
  // `globals` are the module's variables; shared ones among them get a place in `kernel` when they
  // are first used.
  Names(Kernel& kernel, const std::map<std::string, Variable, std::less<>>& globals,
        bool adversarial_shared);

  // Scopes nest with braces. A function that is called sees none of its caller's names.
  void open_scope(bool hides_outer);
  void close_scope();

  void declare_registers(std::string_view name, uint32_t count, Type type);
  // Gives it a place: of shared or local memory, or of the parameters.
  void declare_variable(const Variable& variable);
  // Another name for a variable that has a place.
  void bind(std::string_view name, const Variable& variable);

  std::optional<RegisterRef> find_register(std::string_view name) const;
  // Null if there is none.
  const Variable* find_variable(std::string_view name);
  // A special register such as `%tid.x`.
  std::optional<RegisterRef> find_special(std::string_view name);

  // A row that holds `value` in each lane; width 0 makes a predicate.
  uint32_t constant(uint64_t value, size_t width);
  // A row with the address of a variable.
  uint32_t address_of(const Variable& variable, int64_t offset, size_t width);
  // Gives dynamic shared memory its place behind all else. Call it once, last.
  void finish();

 private:
  struct Scope {
    bool hides_outer = false;
    std::unordered_map<std::string, RegisterSeries> registers = {};
    std::unordered_map<std::string, Variable> variables = {};
  };
  struct DynamicUse {
    size_t constant = 0;  // index in Kernel::constants
    int64_t offset = 0;
  };

  uint32_t new_row(size_t width);
  uint64_t place_shared(size_t bytes, size_t alignment);

  Kernel& kernel_;
  const std::map<std::string, Variable, std::less<>>& globals_;
  bool adversarial_shared_;
  std::vector<Scope> scopes_;
  std::map<std::string, Variable, std::less<>> used_globals_;
  std::map<std::pair<uint64_t, size_t>, uint32_t> constant_rows_;
  std::map<Special, RegisterRef> special_rows_;
  std::vector<DynamicUse> dynamic_uses_;
  size_t dynamic_alignment_ = 16;
};

}  // namespace sluice::ptx
