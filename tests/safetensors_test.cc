// SPDX-License-Identifier: Apache-2.0
#include "backends/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/model_files.h"

namespace sluice {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string message_of(const std::string& file) {
  const auto tensors = parse_safetensors(bytes_of(file), "m.safetensors");
  if (tensors.ok()) return "accepted";
  CHECK(tensors.error().code == Code::kInvalid);
  CHECK(tensors.error().message.starts_with("m.safetensors: "));
  return tensors.error().message;
}

bool says(const std::string& file, std::string_view part) {
  const std::string message = message_of(file);
  CAPTURE(message);
  CAPTURE(part);
  const bool found = message.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

const std::string kTwo = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                         R"("a":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})";

}  // namespace

TEST_CASE("tensors are found by name with type, shape and bytes") {
  const std::string file = safetensors_file(kTwo, "01234567abcdefgh");
  const auto tensors = parse_safetensors(bytes_of(file), "m");
  REQUIRE(tensors.ok());
  REQUIRE(tensors.value().size() == 2);
  const TensorView& a = tensors.value()[0];
  const TensorView& b = tensors.value()[1];
  CHECK(a.name == "a");
  CHECK(a.type == TensorType::kI64);
  CHECK(a.shape.empty());
  CHECK(a.count() == 1);
  CHECK_FALSE(tensor_is_float(a));
  CHECK(b.name == "b");
  CHECK(b.shape == std::vector<uint64_t>{2});
  CHECK(std::to_integer<char>(b.bytes[0]) == '0');
}

TEST_CASE("a file cut anywhere is refused and never read beyond its end") {
  const std::string file = safetensors_file(kTwo, "01234567abcdefgh");
  for (size_t size = 0; size < file.size(); ++size) {
    // A copy of exactly this size, so that the sanitizer sees a byte too many.
    const std::vector<std::byte> cut(bytes_of(file).begin(),
                                     bytes_of(file).begin() + static_cast<ptrdiff_t>(size));
    CHECK_FALSE(parse_safetensors(cut, "m").ok());
  }
  CHECK(says(file.substr(0, file.size() - 1), "tensor 'a' ends at byte 16"));
}

TEST_CASE("a header that lies is refused with the tensor's name") {
  const auto one = [](const std::string& fields, const std::string& data) {
    return safetensors_file("{\"w\":" + fields + "}", data);
  };
  const std::string eight(8, 'x');
  CHECK(says("short", "too short"));
  CHECK(says(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8) + "{}", "the header claims"));
  CHECK(says(safetensors_file("{\"w\":", ""), "the header is not JSON"));
  CHECK(says(safetensors_file("[]", ""), "the header is not an object"));
  CHECK(says(safetensors_file(R"({"w":1,"w":2})", ""), "the header is not JSON"));
  CHECK(says(one("1", ""), "tensor 'w' is not an object"));
  CHECK(says(one(R"({"shape":[2],"data_offsets":[0,8]})", eight), "tensor 'w' has no dtype"));
  CHECK(
      says(one(R"({"dtype":"Q4","shape":[2],"data_offsets":[0,8]})", eight), "unknown dtype 'Q4'"));
  CHECK(says(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", eight), "no valid shape"));
  CHECK(
      says(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", eight), "no valid shape"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2]})", eight), "no valid data_offsets"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", eight),
             "no valid data_offsets"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,9]})", eight),
             "no valid data_offsets"));
  CHECK(says(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", eight),
             "tensor 'w' has 8 bytes, which does not fit F32 [3]"));
  CHECK(says(one(R"({"dtype":"F32","shape":[4611686018427387904,4,4],"data_offsets":[0,0]})", ""),
             "does not fit"));
  CHECK(says(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", eight + "y"),
             "the last 1 bytes belong to no tensor"));
  CHECK(says(one(R"({"dtype":"U8","shape":[4],"data_offsets":[4,8]})", eight),
             "begins after bytes that belong to no tensor"));
}

TEST_CASE("tensors that share bytes are refused") {
  CHECK(says(safetensors_file(R"({"v":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},)"
                              R"("w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                              "01234567"),
             "tensor 'w' overlaps"));
}

TEST_CASE("empty tensors and an empty file of tensors are fine") {
  CHECK(message_of(safetensors_file("{}", "")) == "accepted");
  CHECK(message_of(safetensors_file(R"({"e":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},)"
                                    R"("w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                    "x")) == "accepted");
}

TEST_CASE("half and bfloat16 values become the same numbers in float32") {
  const std::string halves("\x00\x3c\x00\xc0\x01\x00\xff\x7b\x00\x7c\x00\x80\x00\x7e", 14);
  const std::string file =
      safetensors_file({{"h", "F16", {7}, halves},
                        {"l", "BF16", {3}, bf16_bytes({1.0F, -2.5F, 0x1p100F})},
                        {"f", "F32", {2}, float_bytes({0.1F, -7.0F})}});
  const auto tensors = parse_safetensors(bytes_of(file), "m");
  REQUIRE(tensors.ok());
  std::vector<float> f(2);
  tensor_to_floats(tensors.value()[0], 0, f);
  CHECK(f == std::vector<float>{0.1F, -7.0F});
  std::vector<float> h(7);
  tensor_to_floats(tensors.value()[1], 0, h);
  CHECK(std::vector<float>(h.begin(), h.begin() + 4) ==
        std::vector<float>{1.0F, -2.0F, 0x1p-24F, 65504.0F});
  CHECK(h[4] == std::numeric_limits<float>::infinity());
  CHECK((h[5] == 0.0F && std::signbit(h[5])));
  CHECK(std::isnan(h[6]));
  std::vector<float> l(2);
  tensor_to_floats(tensors.value()[2], 1, l);
  CHECK(l == std::vector<float>{-2.5F, 0x1p100F});
}

TEST_CASE("a mapped file answers as its bytes do, before and after its pages are released") {
  const TempFolder folder;
  const std::string path =
      folder.write("m.safetensors", safetensors_file(kTwo, "01234567abcdefgh"));
  Result<SafetensorsFile> opened = SafetensorsFile::open(path);
  REQUIRE(opened.ok());
  SafetensorsFile file = std::move(opened).value();
  CHECK(file.tensors().size() == 2);
  CHECK(file.find("c") == nullptr);
  CHECK(file.find("") == nullptr);
  const TensorView* b = file.find("b");
  REQUIRE(b != nullptr);
  file.release_pages();
  CHECK(std::to_integer<char>(b->bytes[7]) == '7');
}

TEST_CASE("a file that is not there or is no file says so with its path") {
  const TempFolder folder;
  const auto missing = SafetensorsFile::open(folder.path() + "/none");
  REQUIRE(!missing.ok());
  CHECK(missing.error().code == Code::kNotFound);
  CHECK(missing.error().message.find(folder.path() + "/none") == 0);
  const auto directory = SafetensorsFile::open(folder.path());
  REQUIRE(!directory.ok());
  CHECK(directory.error().code == Code::kInvalid);
  const auto empty = SafetensorsFile::open(folder.write("empty", ""));
  REQUIRE(!empty.ok());
  CHECK(empty.error().message.find("too short") != std::string::npos);
}

}  // namespace sluice
