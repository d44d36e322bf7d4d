// SPDX-License-Identifier: Apache-2.0
// Tensors as a body declares them; their elements are read in oip_elements.cc.
#include "backends/oip_tensor.h"

#include <algorithm>
#include <charconv>

namespace sluice::oip {
namespace {

using codec::invalid;
using codec::wrong_type;

constexpr std::string_view kBinarySize = "binary_data_size";
// More dimensions than any server has (Triton stops at far fewer).
constexpr size_t kRankMax = 32;
// More tensors than any model has.
constexpr size_t kTensorsMax = 1024;

// Reads the tensors of one list in order, and hands out the binary data.
class Reader {
 public:
  Reader(const Slice& body, size_t json_bytes) : body_(body), used_(json_bytes) {}

  Result<Tensor> read(JsonView json, std::string place);
  // Bytes behind the last tensor.
  size_t unused() const { return body_.size() - used_; }

 private:
  std::optional<Error> read_member(std::string_view key, JsonView value, Tensor& tensor);
  std::optional<Error> read_shape(JsonView value, Tensor& tensor);
  std::optional<Error> read_parameters(JsonView value, Tensor& tensor);
  std::optional<Error> take_data(Tensor& tensor);
  std::optional<Error> take_binary(Tensor& tensor);

  const Slice& body_;
  size_t used_;  // of the body
  // Of the tensor that is being read:
  bool has_name_ = false, has_type_ = false, has_shape_ = false, shared_ = false;
  std::optional<JsonView> data_;
  std::optional<uint64_t> binary_bytes_;
};

std::optional<Error> Reader::read_shape(JsonView value, Tensor& tensor) {
  const std::string place = tensor.place + ".shape";
  if (!value.is(JsonType::kArray)) return wrong_type(place, place, "an array of integers", value);
  std::optional<Error> error;
  value.for_each_item([&](JsonView item) {
    const auto extent = item.is(JsonType::kNumber) ? item.integer() : std::optional<int64_t>();
    if (!extent || *extent < 0) {
      error = invalid(place, "'" + place + "' must hold integers that are not negative.");
    } else if (tensor.shape.size() == kRankMax) {
      error = invalid(place,
                      "'" + place + "' has more than " + std::to_string(kRankMax) + " dimensions.");
    } else {
      tensor.shape.push_back(*extent);
    }
    return !error;
  });
  if (error) return error;
  const std::optional<uint64_t> elements = product(tensor.shape);
  if (!elements) return invalid(place, "'" + place + "' is of more elements than can be counted.");
  tensor.elements = *elements;
  has_shape_ = true;
  return std::nullopt;
}

std::optional<Error> Reader::read_parameters(JsonView value, Tensor& tensor) {
  const std::string place = tensor.place + ".parameters";
  if (!value.is(JsonType::kObject)) return wrong_type(place, place, "an object", value);
  if (const auto size = value.member(kBinarySize)) {
    const std::string field = place + "." + std::string(kBinarySize);
    const auto bytes = size->is(JsonType::kNumber) ? size->integer() : std::optional<int64_t>();
    if (!bytes || *bytes < 0)
      return invalid(field, "'" + field + "' must be an integer that is not negative.");
    binary_bytes_ = static_cast<uint64_t>(*bytes);
  }
  shared_ = value.member("shared_memory_region").has_value();
  return std::nullopt;
}

std::optional<Error> Reader::read_member(std::string_view key, JsonView value, Tensor& tensor) {
  const std::string place = tensor.place + "." + std::string(key.substr(0, 100));
  if (key == "name") {
    if (!value.is(JsonType::kString)) return wrong_type(place, place, "a string", value);
    tensor.name = value.text();
    has_name_ = true;
  } else if (key == "datatype") {
    if (!value.is(JsonType::kString)) return wrong_type(place, place, "a string", value);
    const std::optional<Datatype> type = find_datatype(value.text());
    if (!type)
      return invalid(place, "'" + place + "' is no datatype that is known: " +
                                std::string(value.raw().substr(0, 40)) + ".");
    tensor.datatype = *type;
    has_type_ = true;
  } else if (key == "shape") {
    return read_shape(value, tensor);
  } else if (key == "parameters") {
    return read_parameters(value, tensor);
  } else if (key == "data") {
    if (!value.is(JsonType::kArray)) return wrong_type(place, place, "an array", value);
    data_ = value;
  }
  return std::nullopt;
}

std::optional<Error> Reader::take_binary(Tensor& tensor) {
  const std::string place = tensor.place + ".parameters." + std::string(kBinarySize);
  if (*binary_bytes_ > unused())
    return invalid(place, "'" + place + "' is " + std::to_string(*binary_bytes_) + ", but " +
                              std::to_string(unused()) + " bytes are left behind the JSON, which " +
                              std::string(kHeader) + " gives the length of.");
  const size_t each = element_bytes(tensor.datatype);
  // Compared by division: the product may be beyond 64 bits.
  if (each > 0 && (*binary_bytes_ % each != 0 || *binary_bytes_ / each != tensor.elements))
    return invalid(place, "'" + place + "' is " + std::to_string(*binary_bytes_) +
                              ", which is not " + std::to_string(tensor.elements) +
                              " elements of " + std::to_string(each) + " bytes.");
  tensor.form = Form::kBinary;
  tensor.data = body_.part(used_, static_cast<size_t>(*binary_bytes_));
  used_ += static_cast<size_t>(*binary_bytes_);
  return std::nullopt;
}

std::optional<Error> Reader::take_data(Tensor& tensor) {
  const std::string place = tensor.place + ".data";
  if (shared_ && (data_ || binary_bytes_))
    return invalid(place, "'" + tensor.place + "' has data beside its shared memory.");
  if (data_ && binary_bytes_)
    return invalid(place, "'" + tensor.place + "' has both 'data' and 'binary_data_size'.");
  if (shared_) {
    tensor.form = Form::kShared;
    return std::nullopt;
  }
  if (binary_bytes_) return take_binary(tensor);
  if (!data_)
    return invalid(place, "'" + tensor.place + "' has neither 'data' nor 'binary_data_size'.");
  if (tensor.datatype == Datatype::kBf16)
    return invalid(place, "'" + place + "': BF16 must be sent as binary data.");
  tensor.data = codec::part_of(body_, *data_);
  tensor.form = Form::kFlat;
  data_->for_each_item([&](JsonView item) {
    if (item.is(JsonType::kArray)) tensor.form = Form::kNested;
    return false;
  });
  return std::nullopt;
}

Result<Tensor> Reader::read(JsonView json, std::string place) {
  if (!json.is(JsonType::kObject)) return wrong_type(place, place, "an object", json);
  has_name_ = has_type_ = has_shape_ = shared_ = false;
  data_.reset();
  binary_bytes_.reset();
  Tensor tensor{.json = json, .place = std::move(place), .name = {}, .shape = {}, .data = {}};
  std::optional<Error> error;
  json.for_each_member([&](std::string_view key, JsonView value) {
    error = read_member(key, value, tensor);
    return !error;
  });
  if (error) return std::move(*error);
  for (const auto& [has, field] :
       {std::pair{has_name_, "name"}, {has_type_, "datatype"}, {has_shape_, "shape"}}) {
    if (!has)
      return invalid(tensor.place + "." + field, "'" + tensor.place + "' has no '" + field + "'.");
  }
  if ((error = take_data(tensor))) return std::move(*error);
  return tensor;
}

void append_member(std::string& out, std::string_view key, std::string_view raw) {
  if (out.back() != '{') out += ',';
  append_json_string(out, key);
  out.append(":").append(raw);
}

// The object `parameters` with another size of the binary data.
std::string with_binary_size(JsonView parameters, size_t bytes) {
  std::string out = "{";
  parameters.for_each_member([&](std::string_view key, JsonView value) {
    append_member(out, key, key == kBinarySize ? std::to_string(bytes) : value.raw());
    return true;
  });
  return out + "}";
}

}  // namespace

std::string without_binary_size(JsonView parameters) {
  std::string out = "{";
  parameters.for_each_member([&](std::string_view key, JsonView value) {
    if (key != kBinarySize) append_member(out, key, value.raw());
    return true;
  });
  return out + "}";
}

Result<size_t> json_size(std::optional<std::string_view> header, size_t body_bytes) {
  if (!header) return body_bytes;
  size_t bytes = 0;
  const char* const end = header->data() + header->size();
  const auto [behind, failure] = std::from_chars(header->data(), end, bytes);
  if (failure != std::errc() || behind != end)
    return invalid(kHeader, "'" + std::string(kHeader) + "' must be a number of bytes.");
  if (bytes > body_bytes)
    return invalid(kHeader, "'" + std::string(kHeader) + "' is " + std::to_string(bytes) +
                                ", but the body has " + std::to_string(body_bytes) + " bytes.");
  return bytes;
}

Result<std::vector<Tensor>> read_tensors(const Slice& body, JsonView list, std::string_view field,
                                         size_t json_bytes) {
  const std::string name(field);
  if (!list.is(JsonType::kArray)) return wrong_type(name, name, "an array of objects", list);
  std::vector<Tensor> tensors;
  std::optional<Error> error;
  Reader reader(body, json_bytes);
  list.for_each_item([&](JsonView item) {
    std::string place = name + "[" + std::to_string(tensors.size()) + "]";
    if (tensors.size() == kTensorsMax) {
      error = invalid(
          name, "'" + name + "' holds more than " + std::to_string(kTensorsMax) + " tensors.");
      return false;
    }
    Result<Tensor> tensor = reader.read(item, std::move(place));
    if (!tensor.ok()) {
      error = tensor.error();
    } else if (std::ranges::find(tensors, tensor.value().name, &Tensor::name) != tensors.end()) {
      const std::string where = tensor.value().place + ".name";
      error = invalid(
          where, "'" + where + "' is there twice: '" + tensor.value().name.substr(0, 100) + "'.");
    } else {
      tensors.push_back(std::move(tensor).value());
    }
    return !error;
  });
  if (error) return std::move(*error);
  if (tensors.empty()) return invalid(name, "'" + name + "' must not be empty.");
  if (reader.unused() > 0)
    return invalid(kHeader, "'" + std::string(kHeader) + "': " + std::to_string(reader.unused()) +
                                " bytes follow the last tensor.");
  return tensors;
}

std::string describe(const Tensor& tensor) {
  // Its binary data has become JSON.
  const bool turned = tensor.form == Form::kFlat && !tensor.json.member("data");
  std::string out = "{";
  tensor.json.for_each_member([&](std::string_view key, JsonView value) {
    if (key == "shape") {
      append_member(out, key, shape_text(std::span(tensor.shape).subspan(1)));
    } else if (key == "data") {
      append_member(out, key, tensor.form == Form::kNested ? R"("nested")" : R"("flat")");
    } else if (key == "parameters" && turned) {
      const std::string others = without_binary_size(value);
      if (others != "{}") append_member(out, key, others);
    } else if (key == "parameters") {
      append_member(out, key, with_binary_size(value, 0));
    } else {
      append_member(out, key, value.raw());
    }
    return true;
  });
  if (turned) append_member(out, "data", R"("flat")");
  return out + "}";
}

std::string describe_all(std::span<const Tensor> tensors) {
  std::string out;
  for (const Tensor& tensor : tensors) {
    out += out.empty() ? '[' : ',';
    out += describe(tensor);
  }
  return out + "]";
}

bool write_tensor(codec::BodyWriter& out, JsonView description, std::span<const Slice> rows) {
  bool binary = true;
  size_t bytes = 0;
  for (const Slice& row : rows) bytes += row.size();
  std::string_view between = "{";
  description.for_each_member([&](std::string_view key, JsonView value) {
    out.append(between);
    append_json_string(out.text(), key);
    out.append(":");
    between = ",";
    if (key == "shape") {
      out.append("[" + std::to_string(rows.size()));
      value.for_each_item([&](JsonView extent) {
        out.append(",");
        out.append(extent.raw());
        return true;
      });
      out.append("]");
    } else if (key == "data") {
      binary = false;
      std::string_view bracket = "[";
      for (const Slice& row : rows) {
        if (row.empty()) continue;  // of a flat tensor whose rows have no elements
        out.append(bracket);
        out.append(row);
        bracket = ",";
      }
      out.append(bracket == "[" ? "[]" : "]");
    } else if (key == "parameters") {
      out.append(with_binary_size(value, bytes));
    } else {
      out.append(value.raw());
    }
    return true;
  });
  out.append("}");
  return binary;
}

}  // namespace sluice::oip
