// SPDX-License-Identifier: Apache-2.0
// Runs the embedded model by itself, for comparisons with other programs:
//
//   embed MODEL_FOLDER f32|bf16 < lines > vectors
//
// Each line of the input is one text as a JSON list of token ids, special tokens included. The
// output is the vectors in the same order, as raw float32. All texts are one batch.

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "backends/bert.h"
#include "base/json.h"

namespace {

using namespace sluice;

Result<std::vector<int32_t>> read_ids(const std::string& line) {
  const Slice text = Slice::copy_of(line);
  const Result<JsonView> list = parse_json(text);
  if (!list.ok()) return list.error();
  if (!list.value().is(JsonType::kArray)) return Error{Code::kInvalid, "not a list: " + line};
  std::vector<int32_t> ids;
  bool good = true;
  list.value().for_each_item([&](JsonView item) {
    const auto id = item.is(JsonType::kNumber) ? item.integer() : std::nullopt;
    good = id.has_value();
    if (good) ids.push_back(static_cast<int32_t>(id.value_or(0)));
    return good;
  });
  if (!good) return Error{Code::kInvalid, "not a list of token ids: " + line};
  return ids;
}

Result<Done> run(const std::string& path, Precision precision) {
  const Result<ModelFolder> folder = read_model_folder(path);
  if (!folder.ok()) return folder.error();
  const Result<std::unique_ptr<BertModel>> model = BertModel::load(folder.value(), precision);
  if (!model.ok()) return model.error();
  const Result<std::unique_ptr<BertRunner>> runner = BertRunner::make(*model.value());
  if (!runner.ok()) return runner.error();
  std::vector<std::vector<int32_t>> rows;
  for (std::string line; std::getline(std::cin, line);) {
    Result<std::vector<int32_t>> ids = read_ids(line);
    if (!ids.ok()) return ids.error();
    rows.push_back(std::move(ids).value());
  }
  const std::vector<std::span<const int32_t>> views(rows.begin(), rows.end());
  std::vector<float> vectors(rows.size() * model.value()->width());
  const Result<Done> done = runner.value()->embed(views, vectors.data());
  if (!done.ok()) return done.error();
  std::fwrite(vectors.data(), sizeof(float), vectors.size(), stdout);
  return Done{};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string precision = argc == 3 ? argv[2] : "";
  if (precision != "f32" && precision != "bf16") {
    std::fprintf(stderr, "usage: embed MODEL_FOLDER f32|bf16 < lines > vectors\n");
    return 2;
  }
  const sluice::Result<sluice::Done> done =
      run(argv[1], precision == "f32" ? sluice::Precision::kF32 : sluice::Precision::kBf16);
  if (done.ok()) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
