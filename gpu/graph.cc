// SPDX-License-Identifier: Apache-2.0
#include "gpu/graph.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>
#include <utility>

namespace sluice {
namespace {

constexpr size_t kAlign = 1024;
// Tiles of products read whole, also where a batch's rows end.
constexpr size_t kRowsRound = 128;

size_t align(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

GpuGraphs::GpuGraphs(GpuDevice& device, const GpuModel& model, const GpuWeights& weights)
    : device_(device),
      shape_(model.shape),
      classifies_(model.output == GpuOutput::kLabels),
      weights_(weights) {}

Result<std::unique_ptr<GpuGraphs>> GpuGraphs::make(GpuDevice& device, const GpuModel& model,
                                                   const GpuWeights& weights, uint32_t tokens_max,
                                                   uint32_t texts_max) {
  std::unique_ptr<GpuGraphs> graphs(new GpuGraphs(device, model, weights));
  Result<Done> done = graphs->allocate(tokens_max, texts_max);
  for (const uint32_t tokens : plan_buckets(tokens_max)) {
    if (done.ok()) done = graphs->capture(tokens);
  }
  // Clearing the memory and loading the graphs must not fall into the first batch's time.
  if (done.ok()) {
    done = cuda_result(device.api(), device.api().stream_synchronize(graphs->stream_),
                       "loading the graphs");
  }
  if (!done.ok()) return done.error();
  return graphs;
}

GpuGraphs::~GpuGraphs() {
  CudaApi& api = device_.api();
  static_cast<void>(device_.use());
  if (stream_ != nullptr) static_cast<void>(api.stream_synchronize(stream_));
  for (const Graph& graph : graphs_) static_cast<void>(api.executable_destroy(graph.executable));
  if (stream_ != nullptr) static_cast<void>(api.stream_destroy(stream_));
}

Result<Done> GpuGraphs::allocate(uint32_t tokens_max, uint32_t texts_max) {
  CudaApi& api = device_.api();
  tokens_max_ = tokens_max;
  texts_max_ = texts_max;
  const BatchLayout layout = batch_layout(tokens_max, texts_max);
  const size_t rows = (tokens_max + kRowsRound - 1) / kRowsRound * kRowsRound;
  const size_t hidden = shape_.hidden;
  places_.ticket = 0;
  places_.copy = kAlign;
  places_.hidden = places_.copy + align(layout.bytes);
  // Sums that are normalised where they are used; only small batches have them.
  // Queries, keys and values, with the context behind them; then, when both are done with, the
  // intermediate values in the same memory, so that more of it stays in the cache.
  places_.sums = places_.hidden + align(rows * hidden * sizeof(HalfBits));
  places_.wide =
      places_.sums + align(std::min<size_t>(rows, kFewTokens) * hidden * sizeof(HalfBits));
  places_.context = places_.wide + align(rows * 3 * hidden * sizeof(HalfBits));
  const size_t attention = places_.context + align(rows * hidden * sizeof(HalfBits));
  places_.bytes =
      std::max(attention, places_.wide + align(rows * shape_.intermediate * sizeof(HalfBits)));
  Result<DeviceMemory> arena = DeviceMemory::make(api, places_.bytes, "a batch's activations");
  if (!arena.ok()) return arena.error();
  arena_ = std::move(arena).value();
  struct Wanted {
    HostMemory& memory;
    size_t bytes;
  };
  for (const Wanted& wanted :
       {Wanted{block_, layout.bytes},
        Wanted{outputs_, size_t{texts_max} * shape_.width() * sizeof(float)}, Wanted{flag_, 64}}) {
    Result<HostMemory> memory = HostMemory::make(api, wanted.bytes, "a batch's block and outputs");
    if (!memory.ok()) return memory.error();
    wanted.memory = std::move(memory).value();
  }
  return cuda_result(api, api.stream_create(&stream_), "making a stream");
}

Result<Done> GpuGraphs::capture(uint32_t tokens) {
  CudaApi& api = device_.api();
  Graph graph;
  graph.plan = plan_bucket(device_.traits(), shape_, tokens);
  Result<Done> done = cuda_result(api, api.capture_begin(stream_), "beginning a capture");
  if (!done.ok()) return done;
  const Result<Done> recorded = record(graph.plan);
  CUgraph recording = nullptr;
  // Ended in any case, or the stream would record for ever.
  done = cuda_result(api, api.capture_end(stream_, &recording), "ending a capture");
  if (!recorded.ok()) done = recorded;
  if (done.ok()) {
    done = cuda_result(api, api.graph_nodes(recording, &graph.nodes), "counting nodes");
  }
  if (done.ok()) {
    done = cuda_result(api, api.graph_instantiate(&graph.executable, recording),
                       "instantiating a graph");
  }
  if (recording != nullptr) static_cast<void>(api.graph_destroy(recording));
  if (!done.ok()) return done;
  graphs_.push_back(graph);
  return cuda_result(api, api.graph_upload(graph.executable, stream_), "uploading a graph");
}

Result<Done> GpuGraphs::record(const BucketPlan& plan) {
  const WeightPlaces& at = weights_.places();
  const BatchLayout block = layout(plan.tokens);
  CudaApi& api = device_.api();
  Result<Done> done = cuda_result(
      api, api.copy_in_order(arena_.address() + places_.copy, block_.data(), block.bytes, stream_),
      "recording a copy");
  if (!done.ok()) return done;
  EmbedParams embed;
  embed.header = arena_.as<const BatchHeader>(places_.copy);
  embed.tokens = arena_.as<const BatchToken>(places_.copy + block.tokens);
  embed.words = weights_.at<HalfBits>(at.words);
  embed.positions = weights_.at<HalfBits>(at.positions);
  embed.types = weights_.at<HalfBits>(at.types);
  embed.scale = weights_.at<float>(at.embeddings_norm.scale);
  embed.shift = weights_.at<float>(at.embeddings_norm.shift);
  embed.out = arena_.as<HalfBits>(places_.hidden);
  embed.hidden = shape_.hidden;
  embed.epsilon = shape_.epsilon;
  done = launch_with(plan.embed, embed);
  if (plan.normed) {
    if (done.ok()) done = record_few(plan);
  } else {
    for (const LayerPlace& layer : at.layers) {
      if (done.ok()) done = record_layer(plan, layer);
    }
  }
  if (!done.ok()) return done;
  return record_output(plan);
}

Result<Done> GpuGraphs::record_output(const BucketPlan& plan) {
  const WeightPlaces& at = weights_.places();
  OutputParams output;
  output.header = arena_.as<const BatchHeader>(places_.copy);
  output.starts = arena_.as<const uint32_t>(places_.copy + layout(plan.tokens).starts);
  output.x = arena_.as<const HalfBits>(places_.hidden);
  if (classifies_) {
    output.dense = weights_.at<HalfBits>(at.pooler.weight);
    output.dense_bias = weights_.at<float>(at.pooler.bias);
    output.classifier = weights_.at<HalfBits>(at.classifier.weight);
    output.classifier_bias = weights_.at<float>(at.classifier.bias);
  }
  output.out = outputs_.device<float>();
  output.ticket = arena_.as<uint32_t>(places_.ticket);
  output.flag = flag_.device<uint32_t>();
  output.hidden = shape_.hidden;
  output.labels = shape_.labels;
  return launch_with(plan.finish, output);
}

Result<Done> GpuGraphs::record_layer(const BucketPlan& plan, const LayerPlace& layer) {
  const uint32_t hidden = shape_.hidden;
  GemmParams qkv;
  qkv.x = arena_.as<const HalfBits>(places_.hidden);
  qkv.out = arena_.as<HalfBits>(places_.wide);
  qkv.outputs = 3 * hidden;
  qkv.inputs = hidden;
  Result<Done> done = record_product(plan.qkv, {}, layer.qkv, nullptr, qkv);
  if (!done.ok()) return done;

  done = record_attention(plan);
  if (!done.ok()) return done;

  GemmParams output = qkv;
  output.x = arena_.as<const HalfBits>(places_.context);
  output.residual = qkv.x;
  output.out = arena_.as<HalfBits>(places_.hidden);
  output.outputs = hidden;
  done = record_product(plan.attention_output, plan.attention_norm, layer.attention_output,
                        &layer.attention_norm, output);
  if (!done.ok()) return done;

  GemmParams intermediate = qkv;
  intermediate.outputs = shape_.intermediate;
  done = record_product(plan.intermediate, {}, layer.intermediate, nullptr, intermediate);
  if (!done.ok()) return done;

  output.x = intermediate.out;
  output.inputs = shape_.intermediate;
  return record_product(plan.output, plan.output_norm, layer.output, &layer.output_norm, output);
}

Result<Done> GpuGraphs::record_attention(const BucketPlan& plan) {
  AttentionParams attention;
  attention.header = arena_.as<const BatchHeader>(places_.copy);
  attention.tiles = arena_.as<const BatchTile>(places_.copy + layout(plan.tokens).tiles);
  attention.qkv = arena_.as<const HalfBits>(places_.wide);
  attention.out = arena_.as<HalfBits>(places_.context);
  attention.heads = shape_.heads;
  attention.scale_log2 =
      std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(shape_.head()));
  return launch_with(plan.attention, attention);
}

// All layers for few tokens: what a norm would make is left as sums, and normalised, and kept for
// the residual, by the product that follows.
Result<Done> GpuGraphs::record_few(const BucketPlan& plan) {
  const std::vector<LayerPlace>& layers = weights_.places().layers;
  auto* hidden = arena_.as<HalfBits>(places_.hidden);
  auto* sums = arena_.as<HalfBits>(places_.sums);
  auto* wide = arena_.as<HalfBits>(places_.wide);
  const auto product = [&](const KernelPlan& kernel, const LinearPlace& linear, const HalfBits* x,
                           uint32_t inputs, HalfBits* out, uint32_t outputs,
                           const NormPlace* before) {
    GemmParams params;
    params.x = x;
    params.inputs = inputs;
    params.out = out;
    params.outputs = outputs;
    params.residual = hidden;
    if (before != nullptr) {
      params.x_scale = weights_.at<float>(before->scale);
      params.x_shift = weights_.at<float>(before->shift);
      params.x_out = hidden;
    }
    return record_product(kernel, {}, linear, nullptr, params);
  };
  const uint32_t width = shape_.hidden;
  const NormPlace* before = nullptr;
  Result<Done> done = Done{};
  for (const LayerPlace& layer : layers) {
    done = product(before == nullptr ? plan.qkv : plan.later_qkv, layer.qkv,
                   before == nullptr ? hidden : sums, width, wide, 3 * width, before);
    if (done.ok()) done = record_attention(plan);
    if (!done.ok()) return done;
    done = product(plan.attention_output, layer.attention_output,
                   arena_.as<HalfBits>(places_.context), width, sums, width, nullptr);
    if (!done.ok()) return done;
    done = product(plan.intermediate, layer.intermediate, sums, width, wide, shape_.intermediate,
                   &layer.attention_norm);
    if (!done.ok()) return done;
    done = product(plan.output, layer.output, wide, shape_.intermediate, sums, width, nullptr);
    if (!done.ok()) return done;
    before = &layer.output_norm;
  }
  if (before == nullptr) return done;
  return record_norm(plan.last_norm, *before, places_.sums);
}

Result<Done> GpuGraphs::record_norm(const KernelPlan& norm, const NormPlace& scales, size_t from) {
  NormParams params;
  params.header = arena_.as<const BatchHeader>(places_.copy);
  params.x = arena_.as<const HalfBits>(from);
  params.scale = weights_.at<float>(scales.scale);
  params.shift = weights_.at<float>(scales.shift);
  params.out = arena_.as<HalfBits>(places_.hidden);
  params.hidden = shape_.hidden;
  params.epsilon = shape_.epsilon;
  return launch_with(norm, params);
}

Result<Done> GpuGraphs::record_product(const KernelPlan& product, const KernelPlan& norm,
                                       const LinearPlace& linear, const NormPlace* scales,
                                       GemmParams params) {
  params.header = arena_.as<const BatchHeader>(places_.copy);
  params.weight = weights_.at<HalfBits>(linear.weight);
  params.bias = weights_.at<float>(linear.bias);
  params.epsilon = shape_.epsilon;
  if (scales != nullptr) {
    params.scale = weights_.at<float>(scales->scale);
    params.shift = weights_.at<float>(scales->shift);
  }
  Result<Done> done = launch_with(product, params);
  if (!done.ok() || norm.kernel.empty()) return done;
  ASSERT(scales != nullptr && params.out == arena_.as<HalfBits>(places_.hidden));
  return record_norm(norm, *scales, places_.hidden);
}

Result<Done> GpuGraphs::launch(const KernelPlan& plan, void* parameters) {
  const Result<CUfunction> function = device_.kernel(plan.kernel, plan.shared_bytes);
  if (!function.ok()) return function.error();
  CudaLaunch launch;
  launch.function = function.value();
  launch.grid_x = plan.grid_x;
  launch.grid_y = plan.grid_y;
  launch.threads = plan.threads;
  launch.shared_bytes = plan.shared_bytes;
  launch.cluster_x = plan.cluster_x;
  launch.early = device_.traits().clusters();
  launch.parameters = parameters;
  return cuda_result(device_.api(), device_.api().launch(launch, stream_), "recording a kernel");
}

const GpuGraphs::Graph& GpuGraphs::find(uint32_t tokens) const {
  ASSERT(tokens <= tokens_max_);
  return *std::ranges::lower_bound(graphs_, tokens, {},
                                   [](const Graph& graph) { return graph.plan.tokens; });
}

Result<Done> GpuGraphs::launch(uint32_t tokens) {
  return cuda_result(device_.api(), device_.api().graph_launch(find(tokens).executable, stream_),
                     "launching a batch");
}

bool GpuGraphs::done(uint32_t epoch) const {
  auto* flag = reinterpret_cast<uint32_t*>(flag_.data());
  return std::atomic_ref<uint32_t>(*flag).load(std::memory_order_acquire) == epoch;
}

Result<Done> GpuGraphs::check() {
  const CUresult code = device_.api().stream_query(stream_);
  if (code == CUDA_ERROR_NOT_READY) return Done{};
  return cuda_result(device_.api(), code, "running a batch");
}

}  // namespace sluice
