// SPDX-License-Identifier: Apache-2.0
// classify FOLDER LABELS [bf16]: writes the seeded classifier of tests/golden/classifier.jsonl to
// FOLDER, runs it on this CPU, and writes its rows and logits to standard output, one JSON object
// per row. The other half of tests/e2e/compare_classifiers.py.

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/bert.h"
#include "tests/reference_bert.h"

namespace {

int fail(const std::string& why) {
  std::fprintf(stderr, "classify: %s\n", why.c_str());
  return 1;
}

template <typename T>
std::string array(std::span<const T> numbers) {
  std::string text = "[";
  for (const T number : numbers) {
    char digits[64];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
    text += (text.size() == 1 ? "" : ",") + std::string(digits, end);
  }
  return text + "]";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sluice;
  uint32_t labels = 0;
  const std::string_view number = argc > 2 ? argv[2] : "";
  std::from_chars(number.data(), number.data() + number.size(), labels);
  if (labels == 0) return fail("usage: classify FOLDER LABELS [bf16]");
  const bool low = argc > 3 && std::string_view(argv[3]) == "bf16";
  const ReferenceBert reference(ReferenceBert::golden_options(labels));
  const TempFolder disk;
  reference.write(disk);
  std::filesystem::copy(disk.path(), argv[1], std::filesystem::copy_options::recursive);

  const Result<ModelFolder> folder = read_model_folder(disk.path());
  if (!folder.ok()) return fail(folder.error().message);
  const Result<std::unique_ptr<BertModel>> model =
      BertModel::load(folder.value(), low ? Precision::kBf16 : Precision::kF32);
  if (!model.ok()) return fail(model.error().message);
  const Result<std::unique_ptr<BertRunner>> runner = BertRunner::make(*model.value());
  if (!runner.ok()) return fail(runner.error().message);
  for (size_t i = 0; i < ReferenceBert::kGoldenRows; ++i) {
    const std::vector<int32_t> row = reference.golden_row(i);
    const std::span<const int32_t> view(row);
    std::vector<float> logits(labels);
    const Result<Done> done = runner.value()->embed({&view, 1}, logits.data());
    if (!done.ok()) return fail(done.error().message);
    std::printf("{\"tokens\":%s,\"logits\":%s}\n", array(view).c_str(),
                array(std::span<const float>(logits)).c_str());
  }
  return 0;
}
