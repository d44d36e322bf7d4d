// SPDX-License-Identifier: Apache-2.0
#pragma once
// From the body of an entry to a kernel. Functions that it calls are put in its place, a copy per
// call, so that a place in the code says all about where a lane is.

#include <memory>

#include "base/result.h"
#include "tests/ptx/declarations.h"
#include "tests/ptx/program.h"

namespace sluice::ptx {

// `globals` are the module's variables with their addresses.
Result<std::unique_ptr<Kernel>> build_kernel(
    const ModuleText& module, const FunctionText& entry,
    const std::map<std::string, Variable, std::less<>>& globals, bool adversarial_shared);

}  // namespace sluice::ptx
