// SPDX-License-Identifier: Apache-2.0
// What a batch costs in instructions and in bytes of global memory, counted by the interpreter and
// held against a table: a kernel that begins to do more fails here, on machines without a GPU.
//
// A model of two layers is run: the first of MiniLM's six may differ from the others, and those are
// alike. Neither the vocabulary nor the numbers in the weights change what is counted.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "base/prng.h"
#include "gpu/runner.h"
#include "tests/gpu_emulated.h"
#include "tests/gpu_ptx_images.h"

namespace sluice {
namespace {

constexpr uint32_t kLayers = 6;
constexpr uint32_t kLayersRun = 2;
constexpr double kGrowthMax = 1.02;
constexpr double kIdealMax = 1.3;

GpuShape minilm() {
  GpuShape shape;
  shape.layers = kLayersRun;
  shape.hidden = 384;
  shape.heads = 12;
  shape.intermediate = 1536;
  shape.vocabulary = 1000;
  shape.positions = 512;
  shape.types = 2;
  shape.tokens_max = 512;
  return shape;
}

// A model whose tensors all begin with the same numbers.
struct Model {
  std::vector<HalfBits> numbers;
  GpuModel gpu;

  Model() {
    const GpuShape shape = minilm();
    gpu.shape = shape;
    numbers.resize(size_t{shape.vocabulary} * shape.intermediate);
    Prng random(1);
    for (HalfBits& number : numbers) {
      number = half_of(static_cast<float>(random.between(-1000, 1000)) * 1e-4F);
    }
    const size_t hidden = shape.hidden;
    const auto norm = [&] { return GpuNorm{tensor(hidden), tensor(hidden)}; };
    const auto linear = [&](size_t outputs, size_t inputs) {
      return GpuLinear{tensor(outputs * inputs), tensor(outputs)};
    };
    gpu.words = tensor(shape.vocabulary * hidden);
    gpu.positions = tensor(shape.positions * hidden);
    gpu.types = tensor(shape.types * hidden);
    gpu.embeddings_norm = norm();
    for (uint32_t i = 0; i < shape.layers; ++i) {
      gpu.layers.push_back({linear(hidden, hidden), linear(hidden, hidden), linear(hidden, hidden),
                            linear(hidden, hidden), norm(), linear(shape.intermediate, hidden),
                            linear(hidden, shape.intermediate), norm()});
    }
  }

  GpuTensor tensor(size_t count) const {
    return {"numbers", GpuTensorType::kF16, std::as_bytes(std::span(numbers).first(count))};
  }
};

struct Batch {
  const char* name;
  uint32_t texts, tokens;
};
constexpr Batch kBatches[] = {{"1x32", 1, 32}, {"32x128", 32, 128}};

// PTX for sm_90 runs on a device that is said to be newer, for the interpreter does not know the
// wide products that only sm_90a has.
struct Card {
  const char* name;
  int ptx;
  EmulatedMachine machine;
};
const Card kCards[] = {
    {"sm_80", 80, {.capability = 80, .multiprocessors = 108, .shared_max = 166912}},
    {"sm_90", 90, {.capability = 100, .multiprocessors = 132, .shared_max = 232448}}};

// A kernel's share of a batch, or all of it.
struct Count {
  uint64_t launches = 0;
  uint64_t instructions = 0;  // of warps
  uint64_t bytes = 0;         // different ones that each launch reads or writes, added up
  uint64_t asked = 0;         // what all lanes read or write, so what caches are asked for

  void add(const ptx::Counters& counters, uint64_t times) {
    launches += times;
    instructions += times * counters.warp_instructions;
    bytes += times * (counters.distinct_bytes_read + counters.distinct_bytes_written);
    asked += times * (counters.global_bytes_read + counters.global_bytes_written);
  }
};

using Table = std::map<std::string, Count>;  // by "card batch kernel"

Table count(const Model& model, const Card& card, const Batch& batch) {
  struct Run {
    std::string kernel;
    ptx::Counters counters;
  };
  std::vector<Run> runs;
  EmulatedCuda cuda(card.machine);
  {
    GpuRunnerOptions options;
    options.tokens_max = 4096;
    options.texts_max = batch.texts;
    options.now = [ticks = int64_t{0}]() mutable { return Instant{ticks += 1'000'000}; };
    const std::vector<GpuImage> images = ptx_images(card.ptx);
    Result<std::unique_ptr<GpuRunner>> runner =
        GpuRunner::make(cuda, images, model.gpu, std::move(options));
    REQUIRE(runner.ok());
    cuda.on_kernel([&](const std::string& kernel, const ptx::Counters& counters) {
      runs.push_back({kernel, counters});
    });
    std::vector<int32_t> ids(batch.tokens);
    for (uint32_t i = 0; i < batch.tokens; ++i) ids[i] = static_cast<int32_t>(i * 7 % 1000);
    const std::vector<std::span<const int32_t>> rows(batch.texts, ids);
    std::vector<float> out(batch.texts * runner.value()->width());
    REQUIRE(runner.value()->run(rows, out.data()).ok());
    cuda.on_kernel({});
    const BucketPlan& plan = runner.value()->graphs().plan(batch.texts * batch.tokens);
    REQUIRE(runs.size() == plan.kernels(kLayersRun));
  }
  for (const std::string& finding : cuda.findings()) FAIL_CHECK(finding);
  // After `embed` come the layers, then what ends the batch.
  const size_t per_layer = (runs.size() - 2) / kLayersRun;
  Table table;
  for (size_t i = 0; i < runs.size(); ++i) {
    const bool last_layer = i > per_layer && i <= 2 * per_layer;
    const uint64_t times = last_layer ? 1 + kLayers - kLayersRun : 1;
    const std::string where = std::string(card.name) + " " + batch.name + " ";
    table[where + runs[i].kernel].add(runs[i].counters, times);
    table[where + "all"].add(runs[i].counters, times);
  }
  return table;
}

std::string text_of(const Table& table) {
  std::ostringstream text;
  text << "# SPDX-License-Identifier: Apache-2.0\n"
          "# What a batch of MiniLM costs: see tests/gpu_counts_test.cc. Columns: card, texts x\n"
          "# tokens, kernel, launches, warp instructions, different bytes of global memory that\n"
          "# launches touch, bytes that their lanes ask for.\n";
  for (const auto& [name, count] : table) {
    text << name << ' ' << count.launches << ' ' << count.instructions << ' ' << count.bytes << ' '
         << count.asked << '\n';
  }
  return text.str();
}

Table read_table(const std::string& path) {
  Table table;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("#")) continue;
    std::istringstream words(line);
    std::string card, batch, kernel;
    Count count;
    words >> card >> batch >> kernel >> count.launches >> count.instructions >> count.bytes >>
        count.asked;
    REQUIRE(!words.fail());
    table[card + " " + batch + " " + kernel] = count;
  }
  return table;
}

// What has to cross the memory: the encoder's weights once, and of each layer 24 rows of `hidden`
// halves per token, which is what the textbook's order of products, norms and sums reads and
// writes.
double ideal_bytes(const Batch& batch) {
  const GpuShape shape = minilm();
  const double hidden = shape.hidden;
  const double weights = 4 * hidden * hidden + 2 * hidden * shape.intermediate;
  const double rows = 24.0 * batch.texts * batch.tokens * hidden;
  return kLayers * 2 * (weights + rows);
}

TEST_CASE("gpu counts: no kernel takes more instructions or bytes than the table says") {
  const Model model;
  Table table;
  for (const Card& card : kCards) {
    for (const Batch& batch : kBatches) {
      const Table some = count(model, card, batch);
      table.insert(some.begin(), some.end());
      const Count& all = some.at(std::string(card.name) + " " + batch.name + " all");
      const double ratio = static_cast<double>(all.bytes) / ideal_bytes(batch);
      const std::string name = std::string(card.name) + " " + batch.name;
      MESSAGE(name << ": bytes are " << ratio << " of the ideal, asked for "
                   << static_cast<double>(all.asked) / ideal_bytes(batch));
      CHECK(ratio <= kIdealMax);
    }
  }
  const std::string measured = SLUICE_GPU_PTX_FOLDER "/gpu_counts.txt";
  std::ofstream(measured) << text_of(table);
  INFO("if it is meant to be so, tests/golden/gpu_counts.txt becomes " << measured);
  const Table wanted = read_table(SLUICE_SOURCE_DIR "/tests/golden/gpu_counts.txt");
  REQUIRE(!wanted.empty());
  for (const auto& [name, now] : table) {
    CAPTURE(name);
    const auto found = wanted.find(name);
    REQUIRE(found != wanted.end());
    const auto grown = [](uint64_t is, uint64_t was) {
      return static_cast<double>(is) > kGrowthMax * static_cast<double>(was);
    };
    const Count& before = found->second;
    CHECK(now.launches == before.launches);
    CHECK_FALSE(grown(now.instructions, before.instructions));
    CHECK_FALSE(grown(now.bytes, before.bytes));
    CHECK_FALSE(grown(now.asked, before.asked));
  }
  CHECK(table.size() == wanted.size());
}

}  // namespace
}  // namespace sluice
