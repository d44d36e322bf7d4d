// SPDX-License-Identifier: Apache-2.0
#pragma once
// GpuWeights: a model's weights, 16-bit on the device, at addresses that stay when the memory is
// given back and taken again.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu/device.h"
#include "gpu/kernel_params.h"
#include "gpu/memory.h"
#include "gpu/model.h"

namespace sluice {

// Where a linear's parts lie, in bytes from the start.
struct LinearPlace {
  size_t weight = 0;  // HalfBits [outputs, inputs]
  size_t bias = 0;    // float [outputs]
};
// Where a norm's parts lie.
struct NormPlace {
  size_t scale = 0;  // float [hidden]
  size_t shift = 0;  // float [hidden]
};
// Where a layer's parts lie; query, key and value are one linear.
struct LayerPlace {
  LinearPlace qkv, attention_output, intermediate, output;
  NormPlace attention_norm, output_norm;
};
// Where everything lies, in the order in which a batch reads it.
struct WeightPlaces {
  size_t words = 0;      // HalfBits [vocabulary, hidden]
  size_t positions = 0;  // HalfBits [positions, hidden]
  size_t types = 0;      // HalfBits [types, hidden]
  NormPlace embeddings_norm;
  std::vector<LayerPlace> layers;
  LinearPlace pooler, classifier;  // of a classifier
  size_t bytes = 0;
};

// The places for a model of this shape.
WeightPlaces place_weights(const GpuShape& shape);
// Writes the model's weights to `to`, which has place_weights().bytes. kInvalid, naming the tensor,
// if one has another size than the shape asks for, or a value too large for 16 bits.
Result<Done> convert_weights(const GpuModel& model, const WeightPlaces& places, std::byte* to);
// The nearest 16-bit float, ties to even; infinity where it is too large.
HalfBits half_of(float value);

// The weights on a device. Used on one thread at a time.
class GpuWeights {
 public:
  // Converts the weights into pinned memory, which is kept, and loads them. Errors as
  // convert_weights(), or kUnavailable if memory is short. `device` must outlive the weights.
  static Result<GpuWeights> make(GpuDevice& device, const GpuModel& model);

  // Gives the device's memory back. REQUIRES: loaded(), and no batch is under way.
  Result<Done> unload();
  // Takes it again and copies the weights there, to the same addresses. REQUIRES: !loaded()
  Result<Done> load();
  bool loaded() const { return memory_.backed(); }

  const WeightPlaces& places() const { return places_; }
  // The device's address of what lies at `place`.
  template <typename T>
  const T* at(size_t place) const {
    return device_pointer<const T>(memory_.address() + place);
  }

 private:
  CudaApi* api_ = nullptr;
  WeightPlaces places_;
  HostMemory staging_;
  MappedMemory memory_;
};

}  // namespace sluice
