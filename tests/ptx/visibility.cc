// SPDX-License-Identifier: Apache-2.0
// Accesses that are in order among the kernel's own threads, but not for those outside: the host,
// and the kernels before and after.
#include <string>

#include "tests/ptx/access.h"

namespace sluice::ptx {
namespace {

// A write of this launch to memory that the host watches, of which `known` says nothing; or 0.
Record unpublished_write(const Machine& machine, const Foreign* known, std::string& where) {
  const auto is_known = [&](Record record) {
    if (known == nullptr) return false;
    const auto found = known->find(block_of(record));
    return found != known->end() && time_of(record) <= found->second[warp_of(record)];
  };
  for (const auto& [base, region] : machine.memory.regions()) {
    if (!region->host_watches) continue;
    for (size_t i = 0; i < region->pages.size(); ++i) {
      const ShadowPage* page = region->pages[i].get();
      if (page == nullptr || page->launch != machine.launch_id || !page->shadow) continue;
      const Record found =
          page->shadow->find_write([&](Record record) { return !is_known(record); });
      if (found == 0) continue;
      where = region->name;
      return found;
    }
  }
  return 0;
}

}  // namespace

void check_published(Warp& warp, const Instruction& instruction, uint32_t lane, uint64_t address) {
  Machine& machine = warp.block->machine;
  std::string where;
  const Record record = unpublished_write(machine, warp.published_to_host.get(), where);
  if (record == 0) return;
  machine.report(FindingKind::kUnpublished, Place{&warp, &instruction, lane, address},
                 "the host may see this write before the one to '" + where + "' by block " +
                     std::to_string(block_of(record)) + " warp " + std::to_string(warp_of(record)) +
                     " (PTX line " + std::to_string(machine.kernel.code[place_of(record)].line) +
                     ")");
}

void check_early(Warp& warp, const Instruction& instruction, uint32_t lane, const Access& wanted,
                 const Region& region) {
  Machine& machine = warp.block->machine;
  if (!machine.options.early || (warp.waited >> lane & 1u) != 0) return;
  const bool of_kernels = region.written_first != 0 && region.written_first < machine.launch_id;
  if (!wanted.writes && !of_kernels) return;
  machine.report(FindingKind::kEarlyAccess, Place{&warp, &instruction, lane, wanted.address},
                 std::string(wanted.writes ? "a write" : "a read of what kernels write") +
                     " before griddepcontrol.wait, at " + machine.memory.locate(wanted.address));
}

}  // namespace sluice::ptx
