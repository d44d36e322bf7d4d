// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/module.h"

#include "tests/ptx/body.h"
#include "tests/ptx/declarations.h"

namespace sluice::ptx {
namespace {

// The module's variables, those of global and constant memory with an address.
Result<std::map<std::string, Variable, std::less<>>> place_variables(
    const ModuleText& text, Memory& memory, std::map<std::string, Symbol, std::less<>>& symbols) {
  std::map<std::string, Variable, std::less<>> globals;
  for (const Declaration& declaration : text.variables) {
    Variable variable = declaration.variable;
    if (variable.space == Space::kGlobal || variable.space == Space::kConst) {
      if (variable.bytes == 0) {
        return Error{Code::kInvalid, "variable '" + variable.name + "' has no size"};
      }
      variable.address =
          memory.allocate(variable.bytes, {.name = variable.name,
                                           .alignment = variable.alignment,
                                           .read_only = variable.space == Space::kConst});
      // CUDA sets variables without a value to 0.
      std::optional<Error> error =
          declaration.initial.empty()
              ? memory.fill(variable.address, 0, variable.bytes)
              : memory.write(variable.address, declaration.initial.data(), variable.bytes);
      if (error) return std::move(*error);
      symbols[variable.name] = {variable.address, variable.bytes};
    }
    globals[variable.name] = std::move(variable);
  }
  return globals;
}

}  // namespace

Result<Module> Module::load(std::string_view text, Memory& memory, const ModuleOptions& options) {
  Result<ModuleText> parsed = parse_module(text);
  if (!parsed.ok()) return parsed.error();
  Module module;
  auto globals = place_variables(parsed.value(), memory, module.symbols_);
  if (!globals.ok()) return globals.error();
  for (const auto& [name, function] : parsed.value().functions) {
    if (!function.is_entry || !function.has_body) continue;
    auto kernel =
        build_kernel(parsed.value(), function, globals.value(), options.adversarial_shared);
    if (!kernel.ok()) return kernel.error();
    module.kernels_.push_back(std::move(kernel).value());
  }
  return module;
}

const Kernel* Module::find(std::string_view name) const {
  const Kernel* containing = nullptr;
  size_t count = 0;
  for (const auto& kernel : kernels_) {
    if (kernel->name == name) return kernel.get();
    if (kernel->name.find(name) == std::string::npos) continue;
    containing = kernel.get();
    ++count;
  }
  return count == 1 ? containing : nullptr;
}

const Symbol* Module::symbol(std::string_view name) const {
  const auto found = symbols_.find(name);
  return found == symbols_.end() ? nullptr : &found->second;
}

}  // namespace sluice::ptx
