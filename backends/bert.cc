// SPDX-License-Identifier: Apache-2.0
#include "backends/bert.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "backends/engine.h"

namespace sluice {
namespace {

// Tokens of a chunk: texts are added while they fit. A longer text is a chunk of its own.
constexpr size_t kChunkTokens = 256;

// Softmax is computed as a power of two; the factor lives in the weights of the queries.
float query_factor(const BertConfig& config) {
  return std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(config.head_width()));
}

Error at_row(size_t row, const std::string& what) {
  return Error{Code::kInvalid, "row " + std::to_string(row) + " " + what};
}

}  // namespace

Result<std::unique_ptr<BertModel>> BertModel::load(const ModelFolder& folder, Precision precision,
                                                   bool dnnl) {
  const CpuLevel level = cpu_level();
  if (precision == Precision::kBf16 && level < CpuLevel::kAvx512Bf16) {
    return Error{Code::kInvalid, "precision bf16 needs a CPU with AVX512-BF16; use f32"};
  }
  std::unique_ptr<BertModel> model(new BertModel());
  model->config_ = folder.config;
  model->precision_ = precision;
  model->pooling_ = folder.pooling;
  model->normalize_ = folder.normalize;
  model->tokens_max_ = folder.tokens_max;
  model->kernels_ = &kernels_of(level);
  model->words_ = folder.tensors.words;
  const Result<Done> planned = model->make_plans(dnnl);
  if (!planned.ok()) return planned.error();
  PageLayout layout;
  model->lay_out(layout);
  Result<Pages> pages = Pages::make(layout.size());
  if (!pages.ok()) return pages.error();
  model->pages_ = std::move(pages).value();
  const Result<Done> filled = model->fill(folder.tensors);
  if (!filled.ok()) return filled.error();
  // What was read is packed now; only the word table is read again, row by row.
  folder.weights.release_pages();
  return model;
}

GemmShape BertModel::shape(Product product) const {
  const size_t hidden = config_.hidden;
  switch (product) {
    case kQkv:
      return {hidden, 3 * hidden, Finish::kBias};
    case kAttentionOutput:
      return {hidden, hidden, Finish::kBiasAdd};
    case kIntermediate:
      return {hidden, config_.intermediate, Finish::kGelu};
    default:
      return {config_.intermediate, hidden, Finish::kBiasAdd};
  }
}

Result<Done> BertModel::make_plans(bool dnnl) {
  if (precision_ == Precision::kF32 || !dnnl) return Done{};
  for (int i = 0; i < kProducts; ++i) {
    Result<std::unique_ptr<GemmPlan>> plan = GemmPlan::make(shape(static_cast<Product>(i)));
    if (!plan.ok()) return plan.error();
    plans_[static_cast<size_t>(i)] = std::move(plan).value();
  }
  return Done{};
}

size_t BertModel::packed_bytes(Product product) const {
  if (plans_[product] != nullptr) return plans_[product]->packed_bytes();
  const GemmShape s = shape(product);
  const size_t value = precision_ == Precision::kBf16 ? sizeof(uint16_t) : sizeof(float);
  return packed_values(*kernels_, s.inputs, s.outputs) * value;
}

Result<Done> BertModel::pack(Product product, const float* weights, const Linear& to) {
  std::byte* packed = pages_.data() + to.packed;
  if (plans_[product] != nullptr) return plans_[product]->pack(weights, packed);
  const GemmShape s = shape(product);
  if (precision_ == Precision::kBf16) {
    pack_weights_bf16(*kernels_, s.inputs, s.outputs, weights, reinterpret_cast<uint16_t*>(packed));
  } else {
    pack_weights(*kernels_, s.inputs, s.outputs, weights, floats(to.packed));
  }
  return Done{};
}

void BertModel::lay_out(PageLayout& layout) {
  const auto norm = [&](Norm& to) {
    to.scale = layout.reserve(config_.hidden * sizeof(float));
    to.shift = layout.reserve(config_.hidden * sizeof(float));
  };
  positions_ = layout.reserve(tokens_max_ * config_.hidden * sizeof(float));
  second_segment_ = layout.reserve(config_.hidden * sizeof(float));
  norm(embeddings_norm_);
  layers_.resize(config_.layers);
  for (Layer& layer : layers_) {
    for (int i = 0; i < kProducts; ++i) {
      const auto product = static_cast<Product>(i);
      layer.linears[product].packed = layout.reserve(packed_bytes(product));
      layer.linears[product].bias = layout.reserve(shape(product).outputs * sizeof(float));
    }
    norm(layer.attention_norm);
    norm(layer.output_norm);
  }
  lay_out_head(layout);
}

Result<Done> BertModel::fill(const BertTensors& tensors) {
  fill_positions(tensors);
  fill_norm(tensors.embeddings_norm, embeddings_norm_);
  // One float32 matrix at a time on its way from the file to its packed form.
  const size_t hidden = config_.hidden;
  std::vector<float> staging(hidden * std::max<size_t>(3 * hidden, config_.intermediate));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Result<Done> filled = fill_layer(tensors.layers[i], layers_[i], staging);
    if (!filled.ok()) return filled.error();
  }
  fill_head(tensors, staging);
  return Done{};
}

Result<Done> BertModel::fill_layer(const BertLayerTensors& tensors, const Layer& layer,
                                   std::vector<float>& staging) {
  const size_t hidden = config_.hidden;
  const float factor = query_factor(config_);
  const std::span<float> all(staging);
  tensor_to_floats(*tensors.query.weight, 0, all.subspan(0, hidden * hidden));
  for (float& weight : all.subspan(0, hidden * hidden)) weight *= factor;
  tensor_to_floats(*tensors.key.weight, 0, all.subspan(hidden * hidden, hidden * hidden));
  tensor_to_floats(*tensors.value.weight, 0, all.subspan(2 * hidden * hidden, hidden * hidden));
  const Linear& qkv = layer.linears[kQkv];
  Result<Done> packed = pack(kQkv, staging.data(), qkv);
  fill_floats(*tensors.query.bias, qkv.bias, factor);
  fill_floats(*tensors.key.bias, qkv.bias + hidden * sizeof(float));
  fill_floats(*tensors.value.bias, qkv.bias + 2 * hidden * sizeof(float));
  const std::pair<Product, const LinearTensors&> linears[] = {
      {kAttentionOutput, tensors.attention_output},
      {kIntermediate, tensors.intermediate},
      {kOutput, tensors.output},
  };
  for (const auto& [product, from] : linears) {
    if (!packed.ok()) return packed.error();
    tensor_to_floats(*from.weight, 0, all.subspan(0, from.weight->count()));
    packed = pack(product, staging.data(), layer.linears[product]);
    fill_floats(*from.bias, layer.linears[product].bias);
  }
  fill_norm(tensors.attention_norm, layer.attention_norm);
  fill_norm(tensors.output_norm, layer.output_norm);
  return packed;
}

void BertModel::fill_floats(const TensorView& tensor, size_t at, float factor) {
  const std::span<float> to(floats(at), tensor.count());
  tensor_to_floats(tensor, 0, to);
  for (float& value : to) value *= factor;
}

void BertModel::fill_norm(const NormTensors& tensors, const Norm& norm) {
  fill_floats(*tensors.scale, norm.scale);
  fill_floats(*tensors.shift, norm.shift);
}

void BertModel::fill_positions(const BertTensors& tensors) {
  const size_t hidden = config_.hidden;
  const std::span<float> table(floats(positions_), tokens_max_ * hidden);
  tensor_to_floats(*tensors.positions, 0, table);
  std::vector<float> first_type(hidden);
  tensor_to_floats(*tensors.types, 0, first_type);
  for (size_t i = 0; i < table.size(); ++i) table[i] += first_type[i % hidden];
  const std::span<float> second(floats(second_segment_), hidden);
  if (config_.types > 1) tensor_to_floats(*tensors.types, hidden, second);
  for (size_t i = 0; i < hidden; ++i) second[i] -= first_type[i];
}

Result<std::unique_ptr<BertRunner>> BertRunner::make(const BertModel& model) {
  std::unique_ptr<BertRunner> runner(new BertRunner(model));
  Result<Done> done = runner->make_callers();
  if (done.ok()) done = runner->make_buffers();
  if (!done.ok()) return done.error();
  return runner;
}

Result<Done> BertRunner::make_callers() {
  for (size_t i = 0; i < callers_.size() && model_.plans_[i] != nullptr; ++i) {
    Result<std::unique_ptr<GemmCaller>> caller = GemmCaller::make(*model_.plans_[i]);
    if (!caller.ok()) return caller.error();
    callers_[i] = std::move(caller).value();
  }
  return Done{};
}

Result<Done> BertRunner::make_buffers() {
  const size_t hidden = model_.config_.hidden;
  const size_t rows = gemm_padded_rows(std::max(kChunkTokens, model_.tokens_max_));
  const bool low = model_.precision_ == Precision::kBf16;
  const size_t element = low ? sizeof(uint16_t) : sizeof(float);
  PageLayout layout;
  const size_t at_hidden = layout.reserve(rows * hidden * sizeof(float));
  const size_t at_low = layout.reserve(low ? rows * hidden * sizeof(uint16_t) : 0);
  const size_t at_qkv = layout.reserve(rows * 3 * hidden * element);
  const size_t at_context = layout.reserve(rows * hidden * element);
  const size_t at_intermediate = layout.reserve(rows * model_.config_.intermediate * element);
  // A chunk has at most as many rows as tokens.
  const size_t firsts = model_.config_.labels != 0 ? kChunkTokens * hidden * sizeof(float) : 0;
  const size_t at_firsts = layout.reserve(firsts);
  const size_t at_pooled = layout.reserve(firsts);
  size_t scratch = 0;
  for (const auto& plan : model_.plans_) {
    if (plan != nullptr) scratch = std::max(scratch, plan->scratch_bytes());
  }
  const size_t at_gemm = layout.reserve(scratch);
  const size_t at_attention =
      layout.reserve(attention_scratch_bytes(model_.tokens_max_, model_.config_.head_width()));
  Result<Pages> pages = Pages::make(layout.size());
  if (!pages.ok()) return pages.error();
  pages_ = std::move(pages).value();
  const auto at = [&](size_t offset) { return static_cast<void*>(pages_.data() + offset); };
  hidden_ = static_cast<float*>(at(at_hidden));
  hidden_low_ = low ? static_cast<uint16_t*>(at(at_low)) : nullptr;
  qkv_ = at(at_qkv);
  context_ = at(at_context);
  intermediate_ = at(at_intermediate);
  firsts_ = firsts != 0 ? static_cast<float*>(at(at_firsts)) : nullptr;
  pooled_ = firsts != 0 ? static_cast<float*>(at(at_pooled)) : nullptr;
  gemm_scratch_ = at(at_gemm);
  attention_scratch_ = at(at_attention);
  return Done{};
}

Result<Done> BertRunner::check(std::span<const std::span<const int32_t>> rows) const {
  const uint32_t vocabulary = model_.config_.vocabulary;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].empty()) return at_row(i, "has no tokens");
    if (rows[i].size() > model_.tokens_max_) {
      return at_row(i, "has " + std::to_string(rows[i].size()) + " tokens; the model takes " +
                           std::to_string(model_.tokens_max_));
    }
    for (const int32_t token : rows[i]) {
      if (static_cast<uint32_t>(token) < vocabulary) continue;
      const int32_t id = token & ~kSecondSegment;
      if (static_cast<uint32_t>(id) >= vocabulary) {
        return at_row(i, "has the token id " + std::to_string(id) +
                             ", which is outside the vocabulary of " + std::to_string(vocabulary));
      }
      if (model_.config_.types < 2) {
        return at_row(i, "has a second segment, which the model does not know");
      }
    }
  }
  return Done{};
}

Result<Done> BertRunner::embed(std::span<const std::span<const int32_t>> rows, float* out) {
  const Result<Done> good = check(rows);
  if (!good.ok()) return good.error();
  for (size_t first = 0; first < rows.size();) {
    size_t tokens = rows[first].size();
    size_t last = first + 1;
    while (last < rows.size() && tokens + rows[last].size() <= kChunkTokens) {
      tokens += rows[last].size();
      ++last;
    }
    const Result<Done> done =
        chunk(rows.subspan(first, last - first), tokens, out + first * model_.width());
    if (!done.ok()) return done.error();
    first = last;
  }
  return Done{};
}

Result<Done> BertRunner::chunk(std::span<const std::span<const int32_t>> rows, size_t tokens,
                               float* out) {
  look_up(rows, tokens);
  norm(model_.embeddings_norm_, tokens);
  for (const BertModel::Layer& weights : model_.layers_) {
    const Result<Done> done = layer(rows, tokens, weights);
    if (!done.ok()) return done.error();
  }
  if (model_.config_.labels != 0) {
    classify(rows, out);
  } else {
    pool(rows, out);
  }
  return Done{};
}

Result<Done> BertRunner::layer(std::span<const std::span<const int32_t>> rows, size_t tokens,
                               const BertModel::Layer& layer) {
  const void* input = hidden_low_ != nullptr ? static_cast<const void*>(hidden_low_) : hidden_;
  Result<Done> done = product(BertModel::kQkv, layer, tokens, input, qkv_);
  if (!done.ok()) return done;
  attend(rows);
  done = product(BertModel::kAttentionOutput, layer, tokens, context_, hidden_);
  if (!done.ok()) return done;
  norm(layer.attention_norm, tokens);
  done = product(BertModel::kIntermediate, layer, tokens, input, intermediate_);
  if (!done.ok()) return done;
  done = product(BertModel::kOutput, layer, tokens, intermediate_, hidden_);
  if (!done.ok()) return done;
  norm(layer.output_norm, tokens);
  return Done{};
}

Result<Done> BertRunner::product(BertModel::Product product, const BertModel::Layer& layer,
                                 size_t tokens, const void* x, void* y) {
  const BertModel::Linear& linear = layer.linears[product];
  const float* bias = model_.floats(linear.bias);
  const std::byte* packed = model_.pages_.data() + linear.packed;
  if (callers_[product] != nullptr) {
    return callers_[product]->run(tokens, x, packed, bias, y, gemm_scratch_);
  }
  const GemmShape s = model_.shape(product);
  const ProductShape shape{tokens, s.inputs, s.outputs, s.finish};
  if (hidden_low_ != nullptr) {
    model_.kernels_->product_bf16(shape, static_cast<const uint16_t*>(x),
                                  reinterpret_cast<const uint16_t*>(packed), bias, y);
  } else {
    model_.kernels_->product(shape, static_cast<const float*>(x), model_.floats(linear.packed),
                             bias, static_cast<float*>(y));
  }
  return Done{};
}

// Rows of the matrices for `tokens` tokens.
size_t BertRunner::filled(size_t tokens) const {
  return callers_[0] != nullptr ? gemm_padded_rows(tokens) : tokens;
}

void BertRunner::look_up(std::span<const std::span<const int32_t>> rows, size_t tokens) {
  const size_t hidden = model_.config_.hidden;
  const float* second = model_.floats(model_.second_segment_);
  float* to = hidden_;
  for (const std::span<const int32_t> row : rows) {
    const float* position = model_.floats(model_.positions_);
    for (const int32_t token : row) {
      const auto id = static_cast<size_t>(token & ~kSecondSegment);
      tensor_to_floats(*model_.words_, id * hidden, {to, hidden});
      for (size_t i = 0; i < hidden; ++i) to[i] += position[i];
      if ((token & kSecondSegment) != 0) {
        for (size_t i = 0; i < hidden; ++i) to[i] += second[i];
      }
      to += hidden;
      position += hidden;
    }
  }
  // The rows that only fill the matrix up start from zero, so that they stay finite.
  std::fill(to, to + (filled(tokens) - tokens) * hidden, 0.0F);
}

void BertRunner::attend(std::span<const std::span<const int32_t>> rows) {
  const size_t hidden = model_.config_.hidden;
  size_t token = 0;
  for (const std::span<const int32_t> row : rows) {
    const AttentionShape shape{row.size(), model_.config_.heads, model_.config_.head_width()};
    if (hidden_low_ != nullptr) {
      model_.kernels_->attention_bf16(shape, static_cast<uint16_t*>(qkv_) + token * 3 * hidden,
                                      static_cast<uint16_t*>(context_) + token * hidden,
                                      attention_scratch_);
    } else {
      model_.kernels_->attention(shape, static_cast<float*>(qkv_) + token * 3 * hidden,
                                 static_cast<float*>(context_) + token * hidden,
                                 attention_scratch_);
    }
    token += row.size();
  }
}

void BertRunner::norm(const BertModel::Norm& norm, size_t tokens) {
  const NormShape shape{filled(tokens), model_.config_.hidden, model_.config_.layer_norm_epsilon};
  model_.kernels_->layer_norm(shape, hidden_, model_.floats(norm.scale), model_.floats(norm.shift),
                              hidden_low_);
}

}  // namespace sluice
