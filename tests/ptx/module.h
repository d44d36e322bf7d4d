// SPDX-License-Identifier: Apache-2.0
#pragma once
// A module: the kernels of one PTX text, with its global variables placed in a Memory.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tests/ptx/memory.h"
#include "tests/ptx/program.h"

namespace sluice::ptx {

struct ModuleOptions {
  // Shared arrays begin at offsets that are just as aligned as they are declared and no better, so
  // that a wider access than the declaration permits is found. Otherwise as close as possible.
  bool adversarial_shared = true;
};

// A .global or .const variable.
struct Symbol {
  uint64_t address = 0;
  size_t bytes = 0;
};

class Module {
 public:
  // Reads PTX text as nvcc writes it. The module's variables become regions of `memory`, which is
  // the one its kernels are launched with. An error names the line where the text is not
  // understood as a whole; an unknown instruction is not an error but a finding when it is
  // executed, see Kernel::unsupported.
  static Result<Module> load(std::string_view text, Memory& memory,
                             const ModuleOptions& options = {});

  // The kernel of that name, or the only one whose (mangled) name contains it; null if there is
  // none or more than one. Lasts as long as the module.
  const Kernel* find(std::string_view name) const;
  // The variable of that name, or null.
  const Symbol* symbol(std::string_view name) const;
  const std::vector<std::unique_ptr<Kernel>>& kernels() const { return kernels_; }

 private:
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::map<std::string, Symbol, std::less<>> symbols_;
};

}  // namespace sluice::ptx
