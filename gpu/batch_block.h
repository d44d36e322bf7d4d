// SPDX-License-Identifier: Apache-2.0
#pragma once
// The block of pinned memory in which one batch travels to the GPU, as both sides see it. Every
// kernel takes its real extents from the header, so that a captured graph fits any batch of at most
// its tokens: neither the number of texts nor the longest of them is part of a graph.

#include <cstddef>
#include <cstdint>

namespace sluice {

// What becomes of the last layer's rows.
enum class GpuOutput : uint32_t {
  kMean,    // the mean of a text's rows
  kFirst,   // its first row
  kLabels,  // the classifier's answer for its first row
};

// What is done to a vector or to the labels' values before they leave.
enum class GpuFinish : uint32_t {
  kRaw,      // nothing
  kUnit,     // scaled to length one; a vector of zeros stays one
  kSigmoid,  // each value by itself
  kSoftmax,  // over all of a text's values
};

// Start of the block. Texts and tokens are dense: text i has the tokens [starts[i], starts[i + 1]).
struct BatchHeader {
  uint32_t tokens = 0;
  uint32_t texts = 0;
  uint32_t tiles = 0;  // entries of the tile list
  uint32_t epoch = 0;  // stored to the flag once every output is
  GpuOutput output = GpuOutput::kMean;
  GpuFinish finish = GpuFinish::kRaw;
  uint32_t width = 0;  // values of an output; fewer than the model's cut it before kUnit
  uint32_t unused[9] = {};
};
static_assert(sizeof(BatchHeader) == 64, "what follows it stays aligned");

// One token.
struct BatchToken {
  uint32_t id = 0;
  uint16_t position = 0;
  uint16_t type = 0;  // segment
};
static_assert(sizeof(BatchToken) == 8, "read as one word");

// Work of the attention kernel: the queries of one text from its row `row` on, kTileRows at most.
struct BatchTile {
  uint32_t start = 0;   // first token of the text
  uint32_t length = 0;  // its tokens
  uint32_t row = 0;
  uint32_t unused = 0;
};
static_assert(sizeof(BatchTile) == 16, "read as one word");
inline constexpr uint32_t kTileRows = 64;

// Where the parts of a block for at most `tokens_max` tokens in `texts_max` texts lie, in bytes
// from its start. A text has a token at least, and a tile more than its whole ones at most.
struct BatchLayout {
  size_t tokens = 0;  // BatchToken [tokens_max]; tiles lie behind, so that reading on is harmless
  size_t starts = 0;  // uint32_t [texts_max + 1]
  size_t tiles = 0;   // BatchTile [tokens_max / kTileRows + texts_max]
  size_t bytes = 0;
};
// The layout for that many.
constexpr BatchLayout batch_layout(size_t tokens_max, size_t texts_max) {
  const size_t texts = tokens_max < texts_max ? tokens_max : texts_max;
  BatchLayout layout;
  layout.tokens = sizeof(BatchHeader);
  layout.tiles = (layout.tokens + tokens_max * sizeof(BatchToken) + 15) / 16 * 16;
  layout.starts = layout.tiles + (tokens_max / kTileRows + texts) * sizeof(BatchTile);
  layout.bytes = (layout.starts + (texts + 1) * sizeof(uint32_t) + 63) / 64 * 64;
  return layout;
}

}  // namespace sluice
