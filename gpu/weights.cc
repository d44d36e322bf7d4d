// SPDX-License-Identifier: Apache-2.0
#include "gpu/weights.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

namespace sluice {
namespace {

// Hands out places one after the other, each fit for 16-byte loads and a cache line of its own.
class Placer {
 public:
  explicit Placer(const GpuShape& shape) : hidden_(shape.hidden) {}
  size_t place(size_t bytes) {
    const size_t at = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return at;
  }
  LinearPlace linear(size_t outputs, size_t inputs) {
    const size_t weight = place(outputs * inputs * sizeof(HalfBits));
    return {weight, place(outputs * sizeof(float))};
  }
  NormPlace norm() {
    const size_t scale = place(hidden_ * sizeof(float));
    return {scale, place(hidden_ * sizeof(float))};
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t hidden_;
  size_t bytes_ = 0;
};

size_t element_bytes(GpuTensorType type) { return type == GpuTensorType::kF32 ? 4 : 2; }

float float_of_half(HalfBits bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16U;
  const uint32_t exponent = (bits >> 10U) & 0x1fU;
  const uint32_t fraction = bits & 0x3ffU;
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23U) | (fraction << 13U));
}

float element(const GpuTensor& tensor, size_t index) {
  const std::byte* at = tensor.bytes.data() + index * element_bytes(tensor.type);
  if (tensor.type == GpuTensorType::kF32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  if (tensor.type == GpuTensorType::kF16) return float_of_half(bits);
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16U);
}

// Converts tensors and remembers the first failure, so that the list below reads as a list.
class Converter {
 public:
  explicit Converter(std::byte* to) : to_(to) {}

  void halves(const GpuTensor& tensor, size_t count, size_t place) {
    if (!check(tensor, count)) return;
    auto* to = reinterpret_cast<HalfBits*>(to_ + place);
    for (size_t i = 0; i < count; ++i) {
      to[i] = half_of(element(tensor, i));
      if ((to[i] & 0x7c00U) == 0x7c00U) {
        fail("tensor '" + tensor.name + "' has a value that does not fit into 16 bits");
        return;
      }
    }
  }
  void floats(const GpuTensor& tensor, size_t count, size_t place) {
    if (!check(tensor, count)) return;
    auto* to = reinterpret_cast<float*>(to_ + place);
    for (size_t i = 0; i < count; ++i) to[i] = element(tensor, i);
  }
  // `first` is the row of the place's weight where this one's start.
  void linear(const GpuLinear& from, size_t outputs, size_t inputs, const LinearPlace& place,
              size_t first = 0) {
    halves(from.weight, outputs * inputs, place.weight + first * inputs * sizeof(HalfBits));
    floats(from.bias, outputs, place.bias + first * sizeof(float));
  }
  void norm(const GpuNorm& from, size_t hidden, const NormPlace& place) {
    floats(from.scale, hidden, place.scale);
    floats(from.shift, hidden, place.shift);
  }
  Result<Done> result() const {
    if (failure_.empty()) return Done{};
    return Error{Code::kInvalid, failure_};
  }

 private:
  bool check(const GpuTensor& tensor, size_t count) {
    if (!failure_.empty()) return false;
    if (tensor.bytes.size() == count * element_bytes(tensor.type)) return true;
    fail("tensor '" + tensor.name + "' has " + std::to_string(tensor.bytes.size()) +
         " bytes; the model's shape asks for " + std::to_string(count) + " values");
    return false;
  }
  void fail(std::string why) { failure_ = std::move(why); }

  std::byte* to_;
  std::string failure_;
};

}  // namespace

HalfBits half_of(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16U) & 0x8000U;
  const uint32_t magnitude = bits & 0x7fffffffU;
  uint32_t half = 0;
  if (magnitude >= 0x47800000U) {  // 65536 and more, infinity, not a number
    half = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
  } else if (magnitude < 0x38800000U) {  // below the least normal one: units of 2^-24
    half = static_cast<uint32_t>(std::nearbyint(std::bit_cast<float>(magnitude) * 16777216.0F));
  } else {
    const uint32_t odd = (magnitude >> 13U) & 1U;
    half = (magnitude - 0x38000000U + 0xfffU + odd) >> 13U;
  }
  return static_cast<HalfBits>(sign | half);
}

WeightPlaces place_weights(const GpuShape& shape) {
  const size_t hidden = shape.hidden;
  Placer placer(shape);
  WeightPlaces places;
  places.words = placer.place(shape.vocabulary * hidden * sizeof(HalfBits));
  places.positions = placer.place(shape.positions * hidden * sizeof(HalfBits));
  places.types = placer.place(shape.types * hidden * sizeof(HalfBits));
  places.embeddings_norm = placer.norm();
  for (uint32_t i = 0; i < shape.layers; ++i) {
    LayerPlace layer;
    layer.qkv = placer.linear(3 * hidden, hidden);
    layer.attention_output = placer.linear(hidden, hidden);
    layer.attention_norm = placer.norm();
    layer.intermediate = placer.linear(shape.intermediate, hidden);
    layer.output = placer.linear(hidden, shape.intermediate);
    layer.output_norm = placer.norm();
    places.layers.push_back(layer);
  }
  if (shape.labels != 0) {
    places.pooler = placer.linear(hidden, hidden);
    places.classifier = placer.linear(shape.labels, hidden);
  }
  places.bytes = placer.bytes();
  return places;
}

Result<Done> convert_weights(const GpuModel& model, const WeightPlaces& places, std::byte* to) {
  const GpuShape& shape = model.shape;
  const size_t hidden = shape.hidden;
  if (model.layers.size() != shape.layers) {
    return Error{Code::kInvalid, "the model has another number of layers than its shape says"};
  }
  Converter convert(to);
  convert.halves(model.words, shape.vocabulary * hidden, places.words);
  convert.halves(model.positions, shape.positions * hidden, places.positions);
  convert.halves(model.types, shape.types * hidden, places.types);
  convert.norm(model.embeddings_norm, hidden, places.embeddings_norm);
  for (size_t i = 0; i < places.layers.size(); ++i) {
    const GpuLayer& layer = model.layers[i];
    const LayerPlace& place = places.layers[i];
    convert.linear(layer.query, hidden, hidden, place.qkv, 0);
    convert.linear(layer.key, hidden, hidden, place.qkv, hidden);
    convert.linear(layer.value, hidden, hidden, place.qkv, 2 * hidden);
    convert.linear(layer.attention_output, hidden, hidden, place.attention_output);
    convert.norm(layer.attention_norm, hidden, place.attention_norm);
    convert.linear(layer.intermediate, shape.intermediate, hidden, place.intermediate);
    convert.linear(layer.output, hidden, shape.intermediate, place.output);
    convert.norm(layer.output_norm, hidden, place.output_norm);
  }
  if (shape.labels != 0) {
    convert.linear(model.pooler, hidden, hidden, places.pooler);
    convert.linear(model.classifier, shape.labels, hidden, places.classifier);
  }
  return convert.result();
}

Result<GpuWeights> GpuWeights::make(GpuDevice& device, const GpuModel& model) {
  GpuWeights weights;
  weights.api_ = &device.api();
  weights.places_ = place_weights(model.shape);
  Result<HostMemory> staging = HostMemory::make(device.api(), weights.places_.bytes, "the weights");
  if (!staging.ok()) return staging.error();
  weights.staging_ = std::move(staging).value();
  const Result<Done> converted = convert_weights(model, weights.places_, weights.staging_.data());
  if (!converted.ok()) return converted.error();
  Result<MappedMemory> memory =
      MappedMemory::reserve(device.api(), device.index(), weights.places_.bytes);
  if (!memory.ok()) return memory.error();
  weights.memory_ = std::move(memory).value();
  const Result<Done> loaded = weights.load();
  if (!loaded.ok()) return loaded.error();
  return weights;
}

Result<Done> GpuWeights::load() {
  Result<Done> done = memory_.back();
  if (done.ok()) {
    done =
        cuda_result(*api_, api_->copy_to_device(memory_.address(), staging_.data(), places_.bytes),
                    "copying the weights");
  }
  // Memory without the weights in it must not pass for loaded.
  if (!done.ok() && memory_.backed()) static_cast<void>(memory_.unback());
  return done;
}

Result<Done> GpuWeights::unload() { return memory_.unback(); }

}  // namespace sluice
