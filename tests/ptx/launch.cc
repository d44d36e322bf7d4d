// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/launch.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "tests/ptx/machine.h"

namespace sluice::ptx {
namespace {

constexpr uint64_t kThreadsMax = 1024;
constexpr uint64_t kClusterBlocksMax = 16;
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
  const Dim& cluster = shape.cluster;
  if (cluster.count() == 0 || cluster.count() > kClusterBlocksMax ||
      shape.grid.x % cluster.x != 0 || shape.grid.y % cluster.y != 0 ||
      shape.grid.z % cluster.z != 0) {
    return invalid("cluster: does not divide the grid, or has more than 16 blocks");
  }
  if (options.blocks_resident == 0) return invalid("blocks_resident: is 0");
  if (arguments != kernel.parameter_bytes) {
    return invalid("arguments: are " + std::to_string(arguments) + " bytes, the kernel takes " +
                   std::to_string(kernel.parameter_bytes));
  }
  return std::nullopt;
}

// Clusters in order, or as the seed has it.
std::vector<uint32_t> order_of_clusters(Machine& machine) {
  std::vector<uint32_t> order(machine.shape.grid.count() / machine.shape.cluster.count());
  std::iota(order.begin(), order.end(), 0u);
  if (machine.options.seed == 0) return order;
  for (size_t i = order.size(); i > 1; --i) {
    const auto other = static_cast<size_t>(machine.prng.between(0, static_cast<int64_t>(i) - 1));
    std::swap(order[i - 1], order[other]);
  }
  return order;
}

// Makes `cluster` ready to run as cluster `index` of the grid.
void start_cluster(Cluster& cluster, uint32_t index) {
  const LaunchShape& shape = cluster.blocks[0]->machine.shape;
  const Dim clusters{shape.grid.x / shape.cluster.x, shape.grid.y / shape.cluster.y,
                     shape.grid.z / shape.cluster.z};
  const Dim first{index % clusters.x * shape.cluster.x,
                  index / clusters.x % clusters.y * shape.cluster.y,
                  index / clusters.x / clusters.y * shape.cluster.z};
  cluster.gathered.reset();
  for (uint32_t rank = 0; rank < cluster.blocks.size(); ++rank) {
    const uint32_t x = first.x + rank % shape.cluster.x;
    const uint32_t y = first.y + rank / shape.cluster.x % shape.cluster.y;
    const uint32_t z = first.z + rank / shape.cluster.x / shape.cluster.y;
    cluster.blocks[rank]->rank = rank;
    start_block(*cluster.blocks[rank], x + shape.grid.x * (y + shape.grid.y * z));
  }
}

// Gives each block a turn; true once all are done.
bool step_cluster(Cluster& cluster, Machine& machine) {
  bool progress = false;
  bool done = true;
  for (const std::unique_ptr<Block>& block : cluster.blocks) {
    if (block->done) continue;
    progress = step_block(*block) || progress;
    if (machine.stopped) return true;
    done = done && block->done;
  }
  if (done || open_cluster_barrier(cluster) || progress) return done;
  for (const std::unique_ptr<Block>& block : cluster.blocks) {
    if (!block->done) {
      report_block_deadlock(*block);
      return true;
    }
  }
  return true;
}

void run_clusters(Machine& machine) {
  const std::vector<uint32_t> order = order_of_clusters(machine);
  const size_t size = machine.shape.cluster.count();
  const size_t wanted = std::max<size_t>(machine.options.blocks_resident / size, 1);
  std::vector<std::unique_ptr<Cluster>> resident;
  size_t started = 0;
  while (resident.size() < std::min(wanted, order.size())) {
    auto cluster = std::make_unique<Cluster>();
    for (size_t i = 0; i < size; ++i) {
      cluster->blocks.push_back(std::make_unique<Block>(machine));
      cluster->blocks.back()->cluster = cluster.get();
    }
    start_cluster(*cluster, order[started++]);
    resident.push_back(std::move(cluster));
  }
  while (!resident.empty() && !machine.stopped) {
    for (size_t i = 0; i < resident.size() && !machine.stopped;) {
      if (!step_cluster(*resident[i], machine)) {
        ++i;
      } else if (started < order.size()) {
        start_cluster(*resident[i++], order[started++]);
      } else {
        resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(i));
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

Result<LaunchReport> launch(Memory& memory, const Kernel& kernel, const LaunchShape& asked,
                            std::span<const std::byte> arguments, const LaunchOptions& options) {
  // What the kernel itself says of its clusters counts where the launch says nothing.
  LaunchShape shape = asked;
  const auto& [x, y, z] = kernel.cluster;
  if (x != 0 && shape.cluster.count() == 1) shape.cluster = {x, y, z};
  if (std::optional<Error> error = check_launch(kernel, shape, arguments.size(), options)) {
    return std::move(*error);
  }
  Machine machine(memory, kernel, shape, arguments, options);
  run_clusters(machine);
  if (options.check_memory) count_distinct(machine);
  LaunchReport report;
  report.completed = !machine.stopped;
  report.counters = machine.counters;
  for (auto& [place, finding] : machine.findings) report.findings.push_back(std::move(finding));
  return report;
}

}  // namespace sluice::ptx
