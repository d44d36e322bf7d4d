// SPDX-License-Identifier: Apache-2.0
#pragma once
// Attention on float32 for any vector width. One head at a time: its keys are laid out in panels
// of two vectors of keys, column by column, so that a block of queries multiplies with them as a
// small matrix product; its values are copied together, because rows of the QKV matrix lie so far
// apart that they would push each other out of the first-level cache.

#include "backends/kernels.h"
#include "backends/kernels_simd.h"

namespace sluice {

// REQUIRES of Tag: kLanes.
template <typename Tag>
struct Attention {
  using S = Simd<Tag>;
  using Float = typename S::Float;
  static constexpr size_t kLanes = S::kLanes;
  static constexpr size_t kPanel = 2 * kLanes;  // keys, or columns of the values, at a time

  // One head of one sequence: where its parts begin and how far rows are apart.
  struct Head {
    size_t tokens;
    size_t width;
    size_t padded;  // tokens rounded up to whole panels
    size_t row;     // floats from one token's queries to the next one's
    const float* queries;
    float* keys;    // [padded / kPanel][width][kPanel]
    float* values;  // [tokens][width]
    float* scores;  // [kQueryBlock][padded]
  };

  // Kernels::attention.
  static void run(const AttentionShape& shape, const float* qkv, float* context, void* scratch) {
    const size_t hidden = shape.heads * shape.head_width;
    Head head;
    head.tokens = shape.tokens;
    head.width = shape.head_width;
    head.padded = (shape.tokens + kPanel - 1) / kPanel * kPanel;
    head.row = 3 * hidden;
    head.keys = static_cast<float*>(scratch);
    head.values = head.keys + head.padded * head.width;
    head.scores = head.values + head.tokens * head.width;
    for (size_t h = 0; h < shape.heads; ++h) {
      head.queries = qkv + h * head.width;
      lay_out_keys(head, head.queries + hidden);
      copy_values(head, head.queries + 2 * hidden);
      for (size_t first = 0; first < head.tokens; first += kQueryBlock) {
        block(head, first, context + first * hidden + h * head.width, hidden);
      }
    }
  }

 private:
  static void lay_out_keys(const Head& head, const float* keys) {
    for (size_t j = 0; j < head.padded; ++j) {
      float* to = head.keys + j / kPanel * kPanel * head.width + j % kPanel;
      const float* from = keys + j * head.row;
      if (j < head.tokens) {
        for (size_t d = 0; d < head.width; ++d) to[d * kPanel] = from[d];
      } else {
        for (size_t d = 0; d < head.width; ++d) to[d * kPanel] = 0.0F;
      }
    }
  }

  static void copy_values(const Head& head, const float* values) {
    for (size_t j = 0; j < head.tokens; ++j) {
      for (size_t d = 0; d < head.width; d += kLanes) {
        S::store(head.values + j * head.width + d, S::load(values + j * head.row + d));
      }
    }
  }

  // The queries [first, first + kQueryBlock); those beyond the last token repeat it and are not
  // written.
  static void block(const Head& head, size_t first, float* context, size_t context_row) {
    const float* query[kQueryBlock];
    for (size_t q = 0; q < kQueryBlock; ++q) {
      const size_t token = first + q < head.tokens ? first + q : head.tokens - 1;
      query[q] = head.queries + token * head.row;
    }
    score(head, query);
    const size_t left = head.tokens - first;
    const size_t count = left < kQueryBlock ? left : kQueryBlock;
    float inverse[kQueryBlock];
    for (size_t q = 0; q < count; ++q) inverse[q] = soften(head, head.scores + q * head.padded);
    for (size_t d = 0; d < head.width; d += kPanel) {
      weigh(head, d, inverse, count, context + d, context_row);
    }
  }

  static void score(const Head& head, const float* const* query) {
    for (size_t j = 0; j < head.padded; j += kPanel) {
      Float sums[kQueryBlock][2] = {};
      const float* panel = head.keys + j * head.width;
      for (size_t d = 0; d < head.width; ++d, panel += kPanel) {
        const Float k0 = S::load(panel);
        const Float k1 = S::load(panel + kLanes);
#pragma GCC unroll 6
        for (size_t q = 0; q < kQueryBlock; ++q) {
          const Float x = S::all(query[q][d]);
          sums[q][0] += x * k0;
          sums[q][1] += x * k1;
        }
      }
#pragma GCC unroll 6
      for (size_t q = 0; q < kQueryBlock; ++q) {
        S::store(head.scores + q * head.padded + j, sums[q][0]);
        S::store(head.scores + q * head.padded + j + kLanes, sums[q][1]);
      }
    }
  }

  // Scores of one query become powers of two relative to the largest; returns one over their sum.
  static float soften(const Head& head, float* scores) {
    for (size_t j = head.tokens; j < head.padded; ++j) scores[j] = -1e30F;
    Float largest = S::load(scores);
    for (size_t j = kLanes; j < head.padded; j += kLanes) {
      largest = S::max(largest, S::load(scores + j));
    }
    const Float top = S::all(S::largest(largest));
    Float sum = {};
    for (size_t j = 0; j < head.padded; j += kLanes) {
      const Float e = S::exp2(S::load(scores + j) - top);
      sum += e;
      S::store(scores + j, e);
    }
    return 1.0F / S::sum(sum);
  }

  static void weigh(const Head& head, size_t d, const float* inverse, size_t count, float* context,
                    size_t context_row) {
    Float sums[kQueryBlock][2] = {};
    const float* value = head.values + d;
    const float* scores = head.scores;
    for (size_t j = 0; j < head.tokens; ++j, value += head.width) {
      const Float v0 = S::load(value);
      const Float v1 = S::load(value + kLanes);
#pragma GCC unroll 6
      for (size_t q = 0; q < kQueryBlock; ++q) {
        const Float x = S::all(scores[q * head.padded + j]);
        sums[q][0] += x * v0;
        sums[q][1] += x * v1;
      }
    }
#pragma GCC unroll 6
    for (size_t q = 0; q < kQueryBlock; ++q) {
      if (q >= count) break;
      S::store(context + q * context_row, sums[q][0] * inverse[q]);
      S::store(context + q * context_row + kLanes, sums[q][1] * inverse[q]);
    }
  }
};

}  // namespace sluice
