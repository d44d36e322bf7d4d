// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows of kInfer: index i along dimension 0 of one or several tensors, as one Slice. Of one tensor
// it is the tensor's row itself, not copied. Of k tensors it is k lengths (uint64, little-endian)
// and then the k rows, in one block that all rows of the body share.

#include <cstddef>
#include <span>
#include <vector>

#include "base/chunk.h"
#include "base/result.h"

namespace sluice::oip {

// The rows of all tensors of one; `columns` holds those of each tensor.
// REQUIRES: at least one tensor, and as many rows in each
std::vector<Slice> gather(std::span<const std::vector<Slice>> columns);

// The reverse, for rows of any number of bodies: the rows of each of `tensors` tensors. kInternal
// if a row was not made by gather() of as many tensors.
Result<std::vector<std::vector<Slice>>> scatter(std::span<const Slice> rows, size_t tensors);

}  // namespace sluice::oip
