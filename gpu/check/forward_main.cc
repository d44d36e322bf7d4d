// SPDX-License-Identifier: Apache-2.0
// Runs batches through the GPU engine, for compare.py, which made the files.
//   forward MODEL BATCHES OUT        outputs of every batch, as float32
//   forward MODEL BATCHES time       microseconds of every batch, medians
//   forward MODEL BATCHES soak N     N seconds of the engine under load, outputs compared
//   forward MODEL BATCHES one        the smallest batch, once
// MODEL: 12 words (the shape, output, finish), then the tensors as float32, each after its count.
// BATCHES: per batch the number of rows, then per row its length and its tokens; all 32 bits.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <numeric>

#include "gpu/check/bench_device.h"
#include "gpu/cuda_counting.h"
#include "gpu/engine_gpu.h"

namespace sluice::check {
namespace {

using Batch = std::vector<std::vector<int32_t>>;

struct Words {
  std::vector<uint32_t> all;
  size_t at = 0;

  explicit Words(const char* path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) {
      std::fprintf(stderr, "%s cannot be read\n", path);
      std::exit(1);
    }
    all.resize(static_cast<size_t>(file.tellg()) / 4);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(all.data()), static_cast<std::streamsize>(all.size() * 4));
  }
  uint32_t next() { return all.at(at++); }
  GpuTensor tensor(const char* name) {
    const size_t count = next();
    GpuTensor tensor{name, GpuTensorType::kF32, std::as_bytes(std::span(all).subspan(at, count))};
    at += count;
    return tensor;
  }
  GpuLinear linear(const char* name) {
    GpuTensor weight = tensor(name);
    return {std::move(weight), tensor(name)};
  }
  GpuNorm norm(const char* name) {
    GpuTensor scale = tensor(name);
    return {std::move(scale), tensor(name)};
  }
};

GpuModel read_model(Words& words) {
  GpuModel model;
  GpuShape& shape = model.shape;
  for (uint32_t* number :
       {&shape.layers, &shape.hidden, &shape.heads, &shape.intermediate, &shape.vocabulary,
        &shape.positions, &shape.types, &shape.labels, &shape.tokens_max}) {
    *number = words.next();
  }
  shape.epsilon = std::bit_cast<float>(words.next());
  model.output = static_cast<GpuOutput>(words.next());
  model.finish = static_cast<GpuFinish>(words.next());
  model.words = words.tensor("words");
  model.positions = words.tensor("positions");
  model.types = words.tensor("types");
  model.embeddings_norm = words.norm("embeddings norm");
  for (uint32_t i = 0; i < shape.layers; ++i) {
    GpuLayer layer;
    layer.query = words.linear("query");
    layer.key = words.linear("key");
    layer.value = words.linear("value");
    layer.attention_output = words.linear("attention output");
    layer.attention_norm = words.norm("attention norm");
    layer.intermediate = words.linear("intermediate");
    layer.output = words.linear("output");
    layer.output_norm = words.norm("output norm");
    model.layers.push_back(std::move(layer));
  }
  if (shape.labels != 0) {
    model.pooler = words.linear("pooler");
    model.classifier = words.linear("classifier");
  }
  return model;
}

std::vector<Batch> read_batches(const char* path) {
  Words words(path);
  std::vector<Batch> batches;
  while (words.at < words.all.size()) {
    Batch batch(words.next());
    for (std::vector<int32_t>& row : batch) {
      row.resize(words.next());
      for (int32_t& token : row) token = static_cast<int32_t>(words.next());
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

std::vector<std::span<const int32_t>> views(const Batch& batch) {
  return {batch.begin(), batch.end()};
}

GpuRunnerOptions options() {
  GpuRunnerOptions options;
  options.tokens_max = kGraphTokensMax;
  options.now = [] { return Instant{static_cast<int64_t>(seconds_now() * 1e9)}; };
  return options;
}

// The runner on this thread, its driver counted.
struct Forward {
  std::unique_ptr<CudaApi> driver = must(open_cuda_driver());
  CountingCuda counting{*driver};
  std::unique_ptr<GpuRunner> runner;
  explicit Forward(const GpuModel& model) {
    const double start = seconds_now();
    runner = must(GpuRunner::make(counting, built_in_images(), model, options()));
    std::printf("device %s\nstart %.0f ms, %zu graphs\n", runner->device().name().c_str(),
                (seconds_now() - start) * 1e3, runner->graphs().graphs());
  }
  std::vector<float> run(const Batch& batch) {
    std::vector<float> out(batch.size() * runner->width());
    must(runner->run(views(batch), out.data()));
    return out;
  }
};

void write_outputs(Forward& forward, const std::vector<Batch>& batches, const char* path) {
  std::ofstream file(path, std::ios::binary);
  for (const Batch& batch : batches) {
    const std::vector<float> out = forward.run(batch);
    file.write(reinterpret_cast<const char*>(out.data()),
               static_cast<std::streamsize>(out.size() * sizeof(float)));
  }
}

uint32_t tokens_of(const Batch& batch) {
  uint32_t tokens = 0;
  for (const std::vector<int32_t>& row : batch) tokens += static_cast<uint32_t>(row.size());
  return tokens;
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// From submit() to the answer, which includes waking the engine's thread and this one.
double time_engine(Engine& engine, std::atomic<int>& answers, const Batch& batch) {
  EngineJob job;
  for (const std::vector<int32_t>& row : batch) {
    job.rows.push_back(Slice::copy_of({reinterpret_cast<const char*>(row.data()), row.size() * 4}));
  }
  std::vector<double> times;
  for (int i = 0; i < 100; ++i) {
    EngineJob copy = job;
    const int before = answers;
    const double start = seconds_now();
    engine.submit(std::move(copy));
    answers.wait(before);
    times.push_back(seconds_now() - start);
  }
  return median(times) * 1e6;
}

void time_batches(Forward& forward, const GpuModel& model, const std::vector<Batch>& batches) {
  std::atomic<int> answers = 0;
  std::unique_ptr<Engine> engine = must(make_gpu_engine(model, options(), [&](EngineDone done) {
    must(std::move(done.outputs));
    ++answers;
    answers.notify_all();
  }));
  for (const Batch& batch : batches) {
    for (int i = 0; i < 20; ++i) forward.run(batch);
    std::vector<double> times;
    std::vector<float> out(batch.size() * forward.runner->width());
    const std::vector<std::span<const int32_t>> rows = views(batch);
    for (int i = 0; i < 300; ++i) {
      const double start = seconds_now();
      must(forward.runner->run(rows, out.data()));
      times.push_back(seconds_now() - start);
    }
    const uint32_t tokens = tokens_of(batch);
    std::printf("time %zu %u %.1f %.1f %.1f %zu\n", batch.size(), tokens, median(times) * 1e6,
                *std::ranges::min_element(times) * 1e6, time_engine(*engine, answers, batch),
                forward.runner->graphs().nodes(tokens));
    std::fflush(stdout);
  }
  const uint64_t before = forward.counting.counts().submissions();
  uint64_t runs = 0;
  for (int i = 0; i < 100; ++i) {
    forward.run(batches[static_cast<size_t>(i) % batches.size()]);
    ++runs;
  }
  std::printf("submissions %.3f\n",
              static_cast<double>(forward.counting.counts().submissions() - before) /
                  static_cast<double>(runs));
}

// Batches at random for a while, each compared with what it gave the first time; now and then the
// weights are unloaded.
int soak(Forward& forward, const std::vector<Batch>& batches, double seconds) {
  std::vector<std::vector<float>> wanted;
  for (const Batch& batch : batches) wanted.push_back(forward.run(batch));
  Numbers numbers(9);
  const double end = seconds_now() + seconds;
  uint64_t runs = 0;
  uint64_t wrong = 0;
  std::vector<double> reloads;
  while (seconds_now() < end) {
    const auto i =
        static_cast<size_t>(numbers.between(0, static_cast<int64_t>(batches.size()) - 1));
    const bool reload = ++runs % 2000 == 0;
    if (reload) must(forward.runner->unload());
    const double start = seconds_now();
    if (forward.run(batches[i]) != wanted[i]) ++wrong;
    if (reload) reloads.push_back(seconds_now() - start);
  }
  std::printf("soak %llu batches, %llu differ from their first run, reload %.1f ms\n",
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(wrong),
              reloads.empty() ? 0.0 : median(reloads) * 1e3);
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace sluice::check

int main(int argc, char** argv) {
  using namespace sluice::check;
  if (argc < 4) {
    std::fprintf(stderr, "forward MODEL BATCHES OUT|time|one|soak SECONDS\n");
    return EXIT_FAILURE;
  }
  Words words(argv[1]);
  const sluice::GpuModel model = read_model(words);
  const std::vector<Batch> batches = read_batches(argv[2]);
  Forward forward(model);
  const std::string what = argv[3];
  if (what == "time") {
    time_batches(forward, model, batches);
  } else if (what == "one") {
    forward.run(batches.front());
  } else if (what == "soak") {
    return soak(forward, batches, argc > 4 ? std::atof(argv[4]) : 20);
  } else {
    write_outputs(forward, batches, argv[3]);
  }
  return EXIT_SUCCESS;
}
