// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/world.h"

#include <algorithm>
#include <cstdio>

#include "base/assert.h"

namespace sluice::ptx {
namespace {

// A test's own texts are understood; if not, say why before it ends.
Module load(std::string_view text, Memory& memory, const ModuleOptions& options) {
  Result<Module> module = Module::load(text, memory, options);
  if (!module.ok()) std::fprintf(stderr, "%s\n", module.error().message.c_str());
  return std::move(module).value();
}

}  // namespace

World::World(std::string_view text, const ModuleOptions& options)
    : module(load(text, memory, options)) {}

LaunchReport World::run(std::string_view name, const LaunchShape& shape, const Arguments& arguments,
                        const LaunchOptions& options) {
  const Kernel* kernel = module.find(name);
  ASSERT(kernel != nullptr);
  Result<LaunchReport> report = launch(memory, *kernel, shape, arguments.bytes(), options);
  if (!report.ok()) std::fprintf(stderr, "%s\n", report.error().message.c_str());
  return std::move(report).value();
}

void World::write(uint64_t address, const void* from, size_t bytes) {
  const std::optional<Error> error = memory.write(address, from, bytes);
  ASSERT(!error);
}

void World::read(uint64_t address, void* to, size_t bytes) const {
  const std::optional<Error> error = memory.read(address, to, bytes);
  if (error) std::fprintf(stderr, "%s\n", error->message.c_str());
  ASSERT(!error);
}

std::string kernel_text(std::string_view body, size_t parameters) {
  std::string text = ".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k(";
  for (size_t i = 0; i < parameters; ++i) {
    text += (i == 0 ? ".param .u64 p" : ", .param .u64 p") + std::to_string(i);
  }
  text += ")\n{\n";
  text += body;
  text += "\nret;\n}\n";
  return text;
}

std::vector<uint64_t> try_lanes(const Trial& trial, const std::vector<Lane>& lanes) {
  struct Slot {
    Lane in;
    uint64_t out = 0;
  };
  static_assert(sizeof(Slot) == 32);
  const std::string& b = trial.operand_b.empty() ? trial.operands : trial.operand_b;
  World world(kernel_text(".reg .b64 %at, %base; .reg .b32 %t; .reg .pred %p, %q;\n.reg ." +
                          trial.operands + " %a; .reg ." + b + " %b, %c; .reg ." + trial.result +
                          " %d;\nld.param.u64 %base, [p0];\nmov.u32 %t, %tid.x;\n" +
                          "mad.wide.u32 %at, %t, 32, %base;\nld.global." + trial.operands +
                          " %a, [%at];\nld.global." + b + " %b, [%at+8];\nld.global." + b +
                          " %c, [%at+16];\n" + trial.code + "\nst.global." + trial.result +
                          " [%at+24], %d;"));
  std::vector<Slot> cells;
  cells.reserve(lanes.size());
  for (const Lane& lane : lanes) cells.push_back({lane});
  const uint64_t address = world.put(cells);
  Arguments arguments;
  arguments.add(address);
  const LaunchReport report =
      world.run("k", {.block = {static_cast<uint32_t>(lanes.size())}}, arguments);
  if (!report.findings.empty()) std::fprintf(stderr, "%s", describe(report).c_str());
  ASSERT(report.completed && report.findings.empty());
  std::vector<uint64_t> results;
  for (const Slot& cell : world.get<Slot>(address, cells.size())) results.push_back(cell.out);
  return results;
}

uint64_t try_one(const Trial& trial, uint64_t a, uint64_t b, uint64_t c) {
  return try_lanes(trial, {{a, b, c}})[0];
}

bool only(const LaunchReport& report, FindingKind kind) {
  return !report.findings.empty() &&
         std::all_of(report.findings.begin(), report.findings.end(),
                     [kind](const Finding& finding) { return finding.kind == kind; });
}

std::string describe(const LaunchReport& report) {
  std::string text = report.completed ? "completed\n" : "stopped\n";
  for (const Finding& finding : report.findings) text += describe(finding) + "\n";
  return text;
}

}  // namespace sluice::ptx
