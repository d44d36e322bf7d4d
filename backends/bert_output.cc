// SPDX-License-Identifier: Apache-2.0
// What the vectors of the last layer become: an encoder's vector per text, or a classifier's
// logits.

#include <algorithm>
#include <cmath>

#include "backends/bert.h"

namespace sluice {

void BertRunner::pool(std::span<const std::span<const int32_t>> rows, float* out) const {
  const size_t hidden = model_.config_.hidden;
  const float* from = hidden_;
  for (const std::span<const int32_t> row : rows) {
    std::copy(from, from + hidden, out);
    if (model_.pooling_ == Pooling::kMean) {
      for (size_t t = 1; t < row.size(); ++t) {
        for (size_t i = 0; i < hidden; ++i) out[i] += from[t * hidden + i];
      }
      const float share = 1.0F / static_cast<float>(row.size());
      for (size_t i = 0; i < hidden; ++i) out[i] *= share;
    }
    if (model_.normalize_) {
      double square = 0.0;
      for (size_t i = 0; i < hidden; ++i) square += static_cast<double>(out[i]) * out[i];
      // As torch.nn.functional.normalize: a vector of zeros stays one.
      const auto factor = static_cast<float>(1.0 / std::max(std::sqrt(square), 1e-12));
      for (size_t i = 0; i < hidden; ++i) out[i] *= factor;
    }
    from += row.size() * hidden;
    out += hidden;
  }
}

void BertModel::lay_out_head(PageLayout& layout) {
  const size_t hidden = config_.hidden;
  if (config_.labels == 0) return;
  pooler_.packed = layout.reserve(packed_values(*kernels_, hidden, hidden) * sizeof(float));
  pooler_.bias = layout.reserve(hidden * sizeof(float));
  classifier_.packed = layout.reserve(config_.labels * hidden * sizeof(float));
  classifier_.bias = layout.reserve(config_.labels * sizeof(float));
}

void BertModel::fill_head(const BertTensors& tensors, std::vector<float>& staging) {
  const size_t hidden = config_.hidden;
  if (config_.labels == 0) return;
  tensor_to_floats(*tensors.pooler.weight, 0, std::span(staging).subspan(0, hidden * hidden));
  pack_weights(*kernels_, hidden, hidden, staging.data(), floats(pooler_.packed));
  fill_floats(*tensors.pooler.bias, pooler_.bias);
  fill_floats(*tensors.classifier.weight, classifier_.packed);
  fill_floats(*tensors.classifier.bias, classifier_.bias);
}

void BertRunner::classify(std::span<const std::span<const int32_t>> rows, float* out) {
  const size_t hidden = model_.config_.hidden;
  const float* from = hidden_;
  float* to = firsts_;
  for (const std::span<const int32_t> row : rows) {
    to = std::copy(from, from + hidden, to);
    from += row.size() * hidden;
  }
  model_.kernels_->product({rows.size(), hidden, hidden, Finish::kBias}, firsts_,
                           model_.floats(model_.pooler_.packed), model_.floats(model_.pooler_.bias),
                           pooled_);
  for (size_t i = 0; i < rows.size() * hidden; ++i) pooled_[i] = std::tanh(pooled_[i]);
  const float* bias = model_.floats(model_.classifier_.bias);
  for (size_t row = 0; row < rows.size(); ++row) {
    const float* x = pooled_ + row * hidden;
    const float* weights = model_.floats(model_.classifier_.packed);
    for (size_t label = 0; label < model_.config_.labels; ++label, weights += hidden) {
      float sum = bias[label];
      for (size_t i = 0; i < hidden; ++i) sum += x[i] * weights[i];
      *out++ = sum;
    }
  }
}

}  // namespace sluice
