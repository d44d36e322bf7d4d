// SPDX-License-Identifier: Apache-2.0
#include "backends/classifier_head.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice {
namespace {

// Far above any classifier, low enough that its weights fit.
constexpr size_t kLabelsMax = 1 << 16;

bool is_classifier(const JsonFile& file) {
  const auto architectures = file.member("architectures");
  if (!architectures || !architectures->is(JsonType::kArray)) return false;
  bool found = false;
  architectures->for_each_item([&](JsonView item) {
    found = item.is(JsonType::kString) && item.text() == "BertForSequenceClassification";
    return !found;
  });
  return found;
}

// The labels by their class, which must be 0, 1, … without a gap, in whatever order.
Result<std::vector<std::string>> read_names(const JsonFile& file, JsonView names) {
  const size_t count = names.is(JsonType::kObject) ? names.count() : 0;
  if (count < 1 || count > kLabelsMax) {
    return file.error("id2label",
                      "must be an object with 1 to " + std::to_string(kLabelsMax) + " labels");
  }
  std::vector<std::string> labels(count);
  std::vector<bool> seen(count);
  bool good = true;
  names.for_each_member([&](std::string_view key, JsonView label) {
    size_t index = count;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    good = error == std::errc() && end == key.data() + key.size() && index < count &&
           !seen[index] && label.is(JsonType::kString);
    if (!good) return false;
    seen[index] = true;
    labels[index] = label.text();
    return true;
  });
  if (good) return labels;
  return file.error("id2label", "must name the classes \"0\", \"1\", … with a string each");
}

Result<std::vector<std::string>> read_labels(const JsonFile& file) {
  std::optional<size_t> count;
  if (file.member("num_labels")) {
    const Result<uint32_t> given = file.count("num_labels", kLabelsMax);
    if (!given.ok()) return given.error();
    count = given.value();
  }
  const auto names = file.member("id2label");
  if (names && !names->is(JsonType::kNull)) {
    Result<std::vector<std::string>> labels = read_names(file, *names);
    if (!labels.ok() || !count || *count == labels.value().size()) return labels;
    return file.error("num_labels", "is " + std::to_string(*count) + ", but 'id2label' has " +
                                        std::to_string(labels.value().size()) + " labels");
  }
  std::vector<std::string> labels(count.value_or(2));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = "LABEL_" + std::to_string(i);
  return labels;
}

Result<Activation> read_activation(const JsonFile& file, size_t labels) {
  const Activation usual = labels == 1 ? Activation::kSigmoid : Activation::kSoftmax;
  const auto type = file.member("problem_type");
  if (!type || type->is(JsonType::kNull)) return usual;
  const std::string name = file.text("problem_type").value_or(std::string(type->raw()));
  if (name == "single_label_classification") return usual;
  if (name == "multi_label_classification") return Activation::kSigmoid;
  if (name == "regression") return Activation::kNone;
  return file.error("problem_type", "is '" + name +
                                        "'; single_label_classification, "
                                        "multi_label_classification and regression are supported");
}

}  // namespace

Result<ClassifierHead> read_classifier_head(const JsonFile& file) {
  ClassifierHead head;
  if (!is_classifier(file)) return head;
  Result<std::vector<std::string>> labels = read_labels(file);
  if (!labels.ok()) return labels.error();
  const Result<Activation> activation = read_activation(file, labels.value().size());
  if (!activation.ok()) return activation.error();
  head.labels = std::move(labels).value();
  head.activation = activation.value();
  return head;
}

void activate(Activation activation, std::span<float> logits) {
  if (activation == Activation::kSigmoid) {
    for (float& x : logits) x = static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(x))));
  }
  if (activation != Activation::kSoftmax || logits.empty()) return;
  const auto highest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0.0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - highest);
  for (float& x : logits) {
    x = static_cast<float>(std::exp(static_cast<double>(x) - highest) / sum);
  }
}

}  // namespace sluice
