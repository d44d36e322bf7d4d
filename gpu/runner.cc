// SPDX-License-Identifier: Apache-2.0
#include "gpu/runner.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "backends/engine.h"

namespace sluice {
namespace {

// Looks at the flag between two looks at the clock. Each costs some ten nanoseconds.
constexpr int kLooks = 16;
// What one more batch changes in what is expected of the next: one part of so many.
constexpr int64_t kExpectedParts = 8;

Error at_row(size_t row, const std::string& what) {
  return Error{Code::kInvalid, "row " + std::to_string(row) + " " + what};
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

GpuRunner::GpuRunner(GpuRunnerOptions options, const GpuModel& model)
    : options_(std::move(options)),
      shape_(model.shape),
      output_(model.output),
      finish_(model.finish) {}

Result<std::unique_ptr<GpuRunner>> GpuRunner::make(CudaApi& api, std::span<const GpuImage> images,
                                                   const GpuModel& model,
                                                   GpuRunnerOptions options) {
  ASSERT(options.now);
  Result<Done> done = check_shape(model.shape);
  if (!done.ok()) return done.error();
  if (options.tokens_max < model.shape.tokens_max || options.tokens_max > kGraphTokensMax) {
    return Error{Code::kInvalid,
                 "tokens_max must be from " + std::to_string(model.shape.tokens_max) +
                     ", the model's longest text, to " + std::to_string(kGraphTokensMax)};
  }
  if (options.texts_max == 0) return Error{Code::kInvalid, "texts_max must not be 0"};
  std::unique_ptr<GpuRunner> runner(new GpuRunner(std::move(options), model));
  const GpuRunnerOptions& chosen = runner->options_;
  Result<std::unique_ptr<GpuDevice>> device = GpuDevice::open(api, chosen.device, images);
  if (!device.ok()) return device.error();
  runner->device_ = std::move(device).value();
  Result<GpuWeights> weights = GpuWeights::make(*runner->device_, model);
  if (!weights.ok()) return weights.error();
  runner->weights_ = std::move(weights).value();
  Result<std::unique_ptr<GpuGraphs>> graphs =
      GpuGraphs::make(*runner->device_, model, runner->weights_, chosen.tokens_max,
                      std::min(chosen.texts_max, chosen.tokens_max));
  if (!graphs.ok()) return graphs.error();
  runner->graphs_ = std::move(graphs).value();
  return runner;
}

Result<Done> GpuRunner::check(std::span<const std::span<const int32_t>> rows) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].empty()) return at_row(i, "has no tokens");
    if (rows[i].size() > shape_.tokens_max) {
      return at_row(i, "has " + std::to_string(rows[i].size()) + " tokens; the model takes " +
                           std::to_string(shape_.tokens_max));
    }
    for (const int32_t token : rows[i]) {
      const auto id = static_cast<uint32_t>(token & ~kSecondSegment);
      if (id >= shape_.vocabulary) {
        return at_row(i, "has the token id " + std::to_string(token) +
                             ", which is outside the vocabulary of " +
                             std::to_string(shape_.vocabulary));
      }
      if ((token & kSecondSegment) != 0 && shape_.types < 2) {
        return at_row(i, "has a second segment, which the model has not");
      }
    }
  }
  return Done{};
}

Result<Done> GpuRunner::run(std::span<const std::span<const int32_t>> rows, float* out,
                            const std::function<void()>& soon) {
  Result<Done> done = check(rows);
  if (!done.ok()) return done;
  if (failed_) return Error{Code::kUnavailable, "the GPU has failed"};
  if (!weights_.loaded()) {
    done = weights_.load();
    if (!done.ok()) return done;
  }
  for (size_t first = 0; first < rows.size();) {
    size_t tokens = 0;
    size_t end = first;
    while (end < rows.size() && end - first < graphs_->texts_max() &&
           tokens + rows[end].size() <= graphs_->tokens_max()) {
      tokens += rows[end].size();
      ++end;
    }
    done = launch(rows.subspan(first, end - first), static_cast<uint32_t>(tokens),
                  out + first * width(), end == rows.size() ? soon : nullptr);
    if (!done.ok()) {
      failed_ = true;
      return Error{Code::kUnavailable, done.error().message};
    }
    first = end;
  }
  return Done{};
}

Result<Done> GpuRunner::launch(std::span<const std::span<const int32_t>> rows, uint32_t tokens,
                               float* out, const std::function<void()>& soon) {
  ++epoch_;
  fill(rows, tokens);
  Result<Done> done = graphs_->launch(tokens);
  if (done.ok()) done = wait(expected_[graphs_->plan(tokens).tokens], soon);
  if (!done.ok()) return done;
  std::memcpy(out, graphs_->outputs(), rows.size() * width() * sizeof(float));
  return done;
}

void GpuRunner::fill(std::span<const std::span<const int32_t>> rows, uint32_t tokens) {
  const BatchLayout layout = graphs_->block_layout(tokens);
  std::byte* block = graphs_->block();
  auto* token = reinterpret_cast<BatchToken*>(block + layout.tokens);
  auto* starts = reinterpret_cast<uint32_t*>(block + layout.starts);
  auto* const tiles = reinterpret_cast<BatchTile*>(block + layout.tiles);
  BatchTile* tile = tiles;
  uint32_t start = 0;
  bool sorted = true;
  for (const std::span<const int32_t> row : rows) {
    const auto length = static_cast<uint32_t>(row.size());
    sorted = sorted && (tile == tiles || length <= tile[-1].length);
    for (uint32_t at = 0; at < length; at += kTileRows) *tile++ = {start, length, at, 0};
    for (uint32_t i = 0; i < length; ++i) {
      const auto id = static_cast<uint32_t>(row[i]);
      constexpr auto kSecond = static_cast<uint32_t>(kSecondSegment);
      *token++ = {id & ~kSecond, static_cast<uint16_t>(i),
                  static_cast<uint16_t>((id & kSecond) != 0 ? 1 : 0)};
    }
    *starts++ = start;
    start += length;
  }
  *starts = start;
  // The longest first, so that the last to finish are short.
  if (!sorted) std::ranges::sort(tiles, tile, std::ranges::greater{}, &BatchTile::length);
  BatchHeader header;
  header.tokens = tokens;
  header.texts = static_cast<uint32_t>(rows.size());
  header.tiles = static_cast<uint32_t>(tile - tiles);
  header.epoch = epoch_;
  header.output = output_;
  header.finish = finish_;
  header.width = shape_.width();
  std::memcpy(block, &header, sizeof header);
}

// `expected` is what such a batch takes, zero if that is not known yet.
Result<Done> GpuRunner::wait(Duration& expected, const std::function<void()>& soon) {
  const Instant start = options_.now();
  const Duration lead = std::min(options_.ending_lead, Duration{expected.ns / 2});
  const Instant ending = soon && expected > Duration{} ? start + (expected - lead) : kNever;
  Instant next_check = start + options_.spin_max;
  for (;;) {
    for (int i = 0; i < kLooks; ++i) {
      if (graphs_->done(epoch_)) {
        const Duration took = options_.now() - start;
        const int64_t change = (took - expected).ns;
        expected.ns += expected > Duration{} ? change / kExpectedParts : change;
        return Done{};
      }
      pause_briefly();
    }
    const Instant now = options_.now();
    if (now >= ending) soon();
    if (now < next_check) continue;
    // A device that has failed sets no flag.
    Result<Done> good = graphs_->check();
    if (!good.ok()) return good;
    if (now - start > options_.launch_max) {
      return Error{Code::kUnavailable, "GPU: a batch did not end in time"};
    }
    next_check = now + microseconds(100);
    std::this_thread::yield();
  }
}

}  // namespace sluice
