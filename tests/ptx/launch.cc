// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/launch.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "tests/ptx/machine.h"

namespace sluice::ptx {
namespace {

constexpr uint64_t kThreadsMax = 1024;
constexpr uint64_t kBlocksMax = 1u << 31;
// More than any GPU has, since placing arrays badly costs some bytes.
constexpr size_t kSharedBytesMax = size_t{256} << 10;

std::optional<Error> check_launch(const Kernel& kernel, const LaunchShape& shape, size_t arguments,
                                  const LaunchOptions& options) {
  const auto invalid = [&](const std::string& message) {
    return Error{Code::kInvalid, "launch of " + kernel.name + ": " + message};
  };
  const uint64_t threads = shape.block.count();
  const uint64_t blocks = shape.grid.count();
  if (threads == 0 || threads > kThreadsMax) {
    return invalid("block: has " + std::to_string(threads) + " threads");
  }
  if (kernel.threads_max != 0 && threads > kernel.threads_max) {
    return invalid("block: has " + std::to_string(threads) + " threads, the kernel allows " +
                   std::to_string(kernel.threads_max));
  }
  const uint64_t blocks_max = options.check_memory ? kRecordBlocksMax : kBlocksMax;
  if (blocks == 0 || blocks > blocks_max) {
    return invalid("grid: has " + std::to_string(blocks) + " blocks");
  }
  if (kernel.shared_bytes + shape.shared_dynamic_bytes > kSharedBytesMax) {
    return invalid("shared_dynamic_bytes: more shared memory than there is");
  }
  if (options.blocks_resident == 0) return invalid("blocks_resident: is 0");
  if (arguments != kernel.parameter_bytes) {
    return invalid("arguments: are " + std::to_string(arguments) + " bytes, the kernel takes " +
                   std::to_string(kernel.parameter_bytes));
  }
  return std::nullopt;
}

// Blocks in order, or as the seed has it.
std::vector<uint32_t> order_of_blocks(Machine& machine) {
  std::vector<uint32_t> order(machine.shape.grid.count());
  std::iota(order.begin(), order.end(), 0u);
  if (machine.options.seed == 0) return order;
  for (size_t i = order.size(); i > 1; --i) {
    const auto other = static_cast<size_t>(machine.prng.between(0, static_cast<int64_t>(i) - 1));
    std::swap(order[i - 1], order[other]);
  }
  return order;
}

void run_blocks(Machine& machine) {
  const std::vector<uint32_t> order = order_of_blocks(machine);
  const size_t places = std::min<size_t>(machine.options.blocks_resident, order.size());
  std::vector<std::unique_ptr<Block>> resident;
  size_t started = 0;
  while (resident.size() < places) {
    resident.push_back(std::make_unique<Block>(machine));
    start_block(*resident.back(), order[started++]);
  }
  size_t running = places;
  while (running > 0 && !machine.stopped) {
    for (const std::unique_ptr<Block>& block : resident) {
      if (block->done) continue;
      step_block(*block);
      if (machine.stopped) return;
      if (!block->done) continue;
      if (started < order.size()) {
        start_block(*block, order[started++]);
      } else {
        --running;
      }
    }
  }
}

void count_distinct(Machine& machine) {
  Counters& counters = machine.counters;
  for (const auto& [base, region] : machine.memory.regions()) {
    for (const std::unique_ptr<ShadowPage>& page : region->pages) {
      if (!page || page->launch != machine.launch_id) continue;
      counters.distinct_bytes_read += page->read.bytes_set();
      counters.distinct_bytes_written += page->written.bytes_set();
      counters.distinct_sectors_read += page->read.sectors_set();
      counters.distinct_sectors_written += page->written.sectors_set();
    }
  }
}

}  // namespace

std::vector<std::byte> pack_arguments(const Kernel& kernel, void* const* arguments) {
  std::vector<std::byte> bytes(kernel.parameter_bytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    const Parameter& parameter = kernel.parameters[i];
    std::memcpy(bytes.data() + parameter.offset, arguments[i], parameter.bytes);
  }
  return bytes;
}

Result<LaunchReport> launch(Memory& memory, const Kernel& kernel, const LaunchShape& shape,
                            std::span<const std::byte> arguments, const LaunchOptions& options) {
  if (std::optional<Error> error = check_launch(kernel, shape, arguments.size(), options)) {
    return std::move(*error);
  }
  Machine machine(memory, kernel, shape, arguments, options);
  run_blocks(machine);
  if (options.check_memory) count_distinct(machine);
  LaunchReport report;
  report.completed = !machine.stopped;
  report.counters = machine.counters;
  for (auto& [place, finding] : machine.findings) report.findings.push_back(std::move(finding));
  return report;
}

}  // namespace sluice::ptx
