// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bfloat16 matrix products with packed weights and float32 sums, by oneDNN, which knows each
// generation's instructions (AVX512-BF16, AMX). Creating one of its products compiles code for one
// number of rows (0.2 to 0.5 ms), which must not happen while a request waits. So there is a fixed
// set of row counts, all created when the model is loaded; a taller matrix is worked off as several
// of them one after the other, which costs nothing: the products are at their full speed from eight
// rows on. Each call runs on the calling thread alone.

#include <array>
#include <cstddef>
#include <memory>

#include "backends/kernels.h"
#include "base/result.h"

namespace sluice {

// y[rows, outputs] = finish(x[rows, inputs] * transpose(weights[outputs, inputs])). x is bfloat16;
// y is float32 with Finish::kBiasAdd and bfloat16 else.
struct GemmShape {
  size_t inputs = 0;
  size_t outputs = 0;
  Finish finish = Finish::kBias;
};

// Up to 16 rows in steps of two, up to 64 in steps of eight, then whole powers of two: between
// them the rows of a text are padded by at most one or seven.
inline constexpr std::array<size_t, 16> kGemmRows = {2,  4,  6,  8,  10, 12, 14,  16,
                                                     24, 32, 40, 48, 56, 64, 128, 256};
// How many rows the buffers of a matrix of `rows` rows must have.
constexpr size_t gemm_padded_rows(size_t rows) {
  const size_t step = rows <= 16 ? 2 : 8;
  return (rows + step - 1) / step * step;
}

// All products of one shape. Immutable after make(); threads share it and each has a GemmCaller.
class GemmPlan {
 public:
  // Compiles the products. kInternal if oneDNN cannot.
  static Result<std::unique_ptr<GemmPlan>> make(const GemmShape& shape);
  ~GemmPlan();
  GemmPlan(const GemmPlan&) = delete;
  GemmPlan& operator=(const GemmPlan&) = delete;

  const GemmShape& shape() const;
  // Size of a packed weight matrix, and of the scratch memory a call needs.
  size_t packed_bytes() const;
  size_t scratch_bytes() const;
  // Rounds and packs `weights` [outputs, inputs] into `packed` (packed_bytes(), aligned to 64).
  Result<Done> pack(const float* weights, void* packed) const;

 private:
  friend class GemmCaller;
  struct Impl;
  explicit GemmPlan(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The handles one thread needs to run a plan; used by one thread at a time.
class GemmCaller {
 public:
  // `plan` must outlive the caller. kInternal if oneDNN cannot make the handles.
  static Result<std::unique_ptr<GemmCaller>> make(const GemmPlan& plan);
  ~GemmCaller();
  GemmCaller(const GemmCaller&) = delete;
  GemmCaller& operator=(const GemmCaller&) = delete;

  // Runs the product on the calling thread. `x` and `y` have gemm_padded_rows(rows) rows; what the
  // rows beyond `rows` hold afterwards means nothing. `bias` has `outputs` float32 values. All
  // memory is aligned to 64. kInternal if oneDNN refuses.
  Result<Done> run(size_t rows, const void* x, const void* packed, const float* bias, void* y,
                   void* scratch);

 private:
  struct Impl;
  explicit GemmCaller(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
