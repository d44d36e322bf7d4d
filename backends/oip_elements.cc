// SPDX-License-Identifier: Apache-2.0
// The elements of a tensor: counted, checked, and cut along dimension 0.
#include <cstring>

#include "backends/oip_tensor.h"

namespace sluice::oip {
namespace {

using codec::invalid;

Error wrong_data(const Tensor& tensor, const std::string& message) {
  const std::string place = tensor.place + (tensor.form == Form::kBinary ? "" : ".data");
  return invalid(place, "'" + place + "' " + message);
}

Error wrong_count(const Tensor& tensor) {
  return wrong_data(tensor, "does not hold the elements of the shape " + shape_text(tensor.shape) +
                                ", which are " + std::to_string(tensor.elements) + ".");
}

Error wrong_element(const Tensor& tensor, JsonView value) {
  return wrong_data(tensor, "holds " + std::string(value.raw().substr(0, 40)) +
                                " where an element must be " +
                                std::string(element_wanted(tensor.datatype)) + ".");
}

bool is_container(JsonView value) {
  return value.is(JsonType::kArray) || value.is(JsonType::kObject);
}

// Elements of one row. REQUIRES: a rank of at least 1
uint64_t per_row(const Tensor& tensor) {
  return *product(
      std::span(tensor.shape).subspan(1));  // at most that of the whole shape, zeros out
}

Result<Done> read_flat(const Tensor& tensor, bool strict, std::vector<Slice>* rows) {
  const uint64_t each = rows == nullptr ? 0 : per_row(tensor);
  const char* const base = tensor.data.data();
  uint64_t count = 0, in_row = 0;
  size_t row_begin = 0;
  std::optional<Error> error;
  JsonView(tensor.data.view()).for_each_item([&](JsonView value) {
    if (is_container(value)) {
      error = wrong_data(tensor, "is neither flat nor nested as deep as its shape.");
    } else if (++count > tensor.elements) {
      error = wrong_count(tensor);
    } else if (strict && !is_element(tensor.datatype, value)) {
      error = wrong_element(tensor, value);
    } else if (rows != nullptr) {
      const auto begin = static_cast<size_t>(value.raw().data() - base);
      if (in_row == 0) row_begin = begin;
      if (++in_row == each) {
        in_row = 0;
        rows->push_back(tensor.data.part(row_begin, begin + value.raw().size() - row_begin));
      }
    }
    return !error;
  });
  if (error) return std::move(*error);
  if (count != tensor.elements) return wrong_count(tensor);
  if (rows != nullptr && each == 0) rows->resize(static_cast<size_t>(tensor.shape[0]));
  return Done{};
}

// Checks `array`, whose items are along dimension `depth`.
std::optional<Error> check_nested(const Tensor& tensor, JsonView array, size_t depth, bool strict) {
  const auto extent = static_cast<uint64_t>(tensor.shape[depth]);
  const bool innermost = depth + 1 == tensor.shape.size();
  uint64_t count = 0;
  std::optional<Error> error;
  array.for_each_item([&](JsonView item) {
    if (++count > extent) {
      error = wrong_count(tensor);
    } else if (!innermost && !item.is(JsonType::kArray)) {
      error = wrong_data(tensor, "is not nested as deep as its shape.");
    } else if (!innermost) {
      error = check_nested(tensor, item, depth + 1, strict);
    } else if (is_container(item)) {
      error = wrong_data(tensor, "is nested deeper than its shape.");
    } else if (strict && !is_element(tensor.datatype, item)) {
      error = wrong_element(tensor, item);
    }
    return !error;
  });
  if (!error && count != extent) error = wrong_count(tensor);
  return error;
}

Result<Done> read_nested(const Tensor& tensor, bool strict, std::vector<Slice>* rows) {
  if (tensor.shape.size() < 2) return wrong_data(tensor, "is nested deeper than its shape.");
  const JsonView array(tensor.data.view());
  if (auto error = check_nested(tensor, array, 0, strict)) return std::move(*error);
  if (rows == nullptr) return Done{};
  array.for_each_item([&](JsonView item) {
    rows->push_back(codec::part_of(tensor.data, item));
    return true;
  });
  return Done{};
}

// Elements of BYTES have lengths of their own.
Result<Done> read_bytes(const Tensor& tensor, std::vector<Slice>* rows) {
  const uint64_t each = rows == nullptr ? 0 : per_row(tensor);
  const size_t size = tensor.data.size();
  size_t at = 0, row_begin = 0;
  for (uint64_t i = 0; i < tensor.elements; ++i) {
    uint32_t length = 0;
    if (size - at < sizeof(length)) return wrong_count(tensor);
    std::memcpy(&length, tensor.data.data() + at, sizeof(length));
    at += sizeof(length);
    if (size - at < length)
      return wrong_data(tensor, "has an element that is longer than what is left of its bytes.");
    at += length;
    if (rows != nullptr && (i + 1) % each == 0) {
      rows->push_back(tensor.data.part(row_begin, at - row_begin));
      row_begin = at;
    }
  }
  if (at != size) return wrong_count(tensor);
  if (rows != nullptr && each == 0) rows->resize(static_cast<size_t>(tensor.shape[0]));
  return Done{};
}

}  // namespace

Result<Done> read_elements(const Tensor& tensor, bool strict, std::vector<Slice>* rows) {
  ASSERT(rows == nullptr || !tensor.shape.empty());
  switch (tensor.form) {
    case Form::kShared:
      return Done{};
    case Form::kFlat:
      return read_flat(tensor, strict, rows);
    case Form::kNested:
      return read_nested(tensor, strict, rows);
    case Form::kBinary:
      break;
  }
  if (tensor.datatype == Datatype::kBytes) return read_bytes(tensor, rows);
  if (rows == nullptr) return Done{};  // the size was compared with the shape
  const auto count = static_cast<size_t>(tensor.shape[0]);
  const size_t each = count == 0 ? 0 : tensor.data.size() / count;
  for (size_t i = 0; i < count; ++i) rows->push_back(tensor.data.part(i * each, each));
  return Done{};
}

// The elements of all tensors, checked, and cut into rows if `cut`.
Result<Columns> read_columns(std::span<const Tensor> tensors, bool strict, bool cut) {
  Columns columns(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Result<Done> done = read_elements(tensors[i], strict, cut ? &columns[i] : nullptr);
    if (!done.ok()) return done.error();
  }
  return columns;
}

}  // namespace sluice::oip
