// SPDX-License-Identifier: Apache-2.0
#pragma once
// A model server of the Open Inference Protocol in a few functions, written without the codec's:
// what it answers for a row depends on nothing but that row of all inputs.

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/prng.h"

namespace sluice::oip_fake {

struct Type {
  const char* name;
  size_t bytes;  // 0: BYTES
};
inline constexpr Type kTypes[] = {{"BOOL", 1},   {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4},
                                  {"UINT64", 8}, {"INT8", 1},  {"INT16", 2},  {"INT32", 4},
                                  {"INT64", 8},  {"FP16", 2},  {"BF16", 2},   {"FP32", 4},
                                  {"FP64", 8},   {"BYTES", 0}};
enum class Form { kBinary, kFlat, kNested };

// A tensor of a model.
struct Spec {
  std::string name;
  Type type;
  std::vector<int64_t> tail;  // the shape without dimension 0
  Form form;
  size_t each() const {
    size_t product = 1;
    for (const int64_t extent : tail) product *= static_cast<size_t>(extent);
    return product;
  }
};

inline Spec random_spec(Prng& prng, const std::string& name, bool zeros) {
  Spec spec{name, kTypes[prng.between(0, 13)], {}, static_cast<Form>(prng.between(0, 2))};
  const int64_t rank = prng.between(0, 3);
  for (int64_t i = 0; i < rank; ++i) spec.tail.push_back(prng.between(zeros ? 0 : 1, 3));
  if (spec.type.name == std::string("BF16")) spec.form = Form::kBinary;
  return spec;
}

// An element as JSON, of the type, as one of several spellings.
inline std::string element_text(Prng& prng, const Type& type) {
  const std::string name = type.name;
  if (name == "BOOL") return prng.chance(0.5) ? "true" : "false";
  if (name == "BYTES") {
    constexpr const char* kTexts[] = {R"("")", R"("a,b")", R"("]\"[")", R"("\u00e9")",
                                      "\"\xc3\xa9\""};
    return kTexts[prng.between(0, 4)];
  }
  const std::string digits = std::to_string(prng.between(0, 99));
  if (name[0] == 'F')
    return (prng.chance(0.3) ? "-" : "") + digits + (prng.chance(0.5) ? ".50" : "e1");
  return (name[0] == 'I' && prng.chance(0.3) ? "-" : "") + digits;
}

inline std::string element_bytes(Prng& prng, const Type& type) {
  std::string out;
  size_t size = type.bytes;
  if (size == 0) {
    size = static_cast<size_t>(prng.between(0, 5));
    out = {static_cast<char>(size), 0, 0, 0};
  }
  for (size_t i = 0; i < size; ++i) out += static_cast<char>(prng.between(0, 255));
  return out;
}

// Writes elements as arrays nested along `shape` from `depth` on.
inline void nest(std::string& out, const std::vector<int64_t>& shape, size_t depth,
                 const std::vector<std::string>& elements, size_t& at) {
  if (depth == shape.size()) {
    out += elements[at++];
    return;
  }
  out += '[';
  for (int64_t i = 0; i < shape[depth]; ++i) {
    if (i > 0) out += ',';
    nest(out, shape, depth + 1, elements, at);
  }
  out += ']';
}

// The object of a tensor, and its binary data appended to `tail`.
inline std::string tensor_text(const Spec& spec, size_t rows,
                               const std::vector<std::string>& elements, std::string& tail) {
  std::vector<int64_t> shape = {static_cast<int64_t>(rows)};
  shape.insert(shape.end(), spec.tail.begin(), spec.tail.end());
  std::string out =
      R"({"name":")" + spec.name + R"(","datatype":")" + spec.type.name + R"(","shape":[)";
  for (size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? "," : "") + std::to_string(shape[i]);
  out += "]";
  if (spec.form == Form::kBinary) {
    size_t bytes = 0;
    for (const std::string& element : elements) bytes += element.size();
    for (const std::string& element : elements) tail += element;
    return out + R"(,"parameters":{"p":[1],"binary_data_size":)" + std::to_string(bytes) + "}}";
  }
  out += R"(,"data":)";
  size_t at = 0;
  const std::vector<int64_t> flat = {static_cast<int64_t>(elements.size())};
  nest(out, spec.form == Form::kFlat ? flat : shape, 0, elements, at);
  return out + "}";
}

inline std::vector<std::string> random_elements(Prng& prng, const Spec& spec, size_t count) {
  std::vector<std::string> elements;
  for (size_t i = 0; i < count; ++i) {
    elements.push_back(spec.form == Form::kBinary ? element_bytes(prng, spec.type)
                                                  : element_text(prng, spec.type));
  }
  return elements;
}

// A body and the length of its JSON, or 0 if it is JSON only.
struct Message {
  std::string text;
  size_t json_bytes = 0;
};

inline Message message(std::string json, const std::string& tail, bool binary) {
  const size_t size = json.size();
  return {std::move(json) + tail, binary ? size : 0};
}

inline bool any_binary(const std::vector<Spec>& specs) {
  bool any = false;
  for (const Spec& spec : specs) any = any || spec.form == Form::kBinary;
  return any;
}

inline void flatten(JsonView value, std::vector<std::string>& elements) {
  if (!value.is(JsonType::kArray)) {
    elements.emplace_back(value.raw());
    return;
  }
  value.for_each_item([&](JsonView item) {
    flatten(item, elements);
    return true;
  });
}

// Takes the elements of `count` off the front of binary data.
inline std::vector<std::string> take_binary(std::string_view& data, const Type& type,
                                            size_t count) {
  std::vector<std::string> elements;
  for (size_t i = 0; i < count; ++i) {
    size_t size = type.bytes;
    if (size == 0) {
      uint32_t length = 0;
      REQUIRE(data.size() >= sizeof(length));
      std::memcpy(&length, data.data(), sizeof(length));
      size = sizeof(length) + length;
    }
    REQUIRE(data.size() >= size);
    elements.emplace_back(data.substr(0, size));
    data.remove_prefix(size);
  }
  return elements;
}

// What the model answers to a request.
inline Message serve(const std::vector<Spec>& inputs, const std::vector<Spec>& outputs,
                     const Message& request) {
  const size_t json_bytes = request.json_bytes == 0 ? request.text.size() : request.json_bytes;
  const Slice json = Slice::copy_of(std::string_view(request.text).substr(0, json_bytes));
  const JsonView root = parse_json(json).value();
  std::string_view data = std::string_view(request.text).substr(json_bytes);
  std::vector<uint64_t> seeds;  // of each row
  size_t index = 0;
  root.member("inputs")->for_each_item([&](JsonView input) {
    REQUIRE(index < inputs.size());
    const Spec& spec = inputs[index++];
    REQUIRE(input.member("name")->text() == spec.name);
    int64_t rows = 0;
    input.member("shape")->for_each_item([&](JsonView extent) {
      rows = *extent.integer();
      return false;
    });
    if (seeds.empty()) seeds.assign(static_cast<size_t>(rows), 1);
    REQUIRE(seeds.size() == static_cast<size_t>(rows));
    std::vector<std::string> elements;
    if (const auto array = input.member("data")) {
      flatten(*array, elements);
    } else {
      elements = take_binary(data, spec.type, seeds.size() * spec.each());
    }
    REQUIRE(elements.size() == seeds.size() * spec.each());
    for (size_t i = 0; i < elements.size(); ++i) {
      uint64_t& seed = seeds[i / spec.each()];
      for (const char c : elements[i] + "|")
        seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    return true;
  });
  CHECK(index == inputs.size());
  CHECK(data.empty());
  std::string out = "{", tail;
  if (const auto id = root.member("id")) out += "\"id\":" + std::string(id->raw()) + ",";
  out += R"("model_name":"m","model_version":"1","outputs":[)";
  for (const Spec& spec : outputs) {
    std::vector<std::string> elements;
    for (const uint64_t seed : seeds) {
      Prng prng(seed);
      for (std::string& one : random_elements(prng, spec, spec.each()))
        elements.push_back(std::move(one));
    }
    out += tensor_text(spec, seeds.size(), elements, tail) + ",";
  }
  out.back() = ']';
  return message(out + "}", tail, any_binary(outputs));
}

}  // namespace sluice::oip_fake
