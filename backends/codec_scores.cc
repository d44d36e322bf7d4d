// SPDX-License-Identifier: Apache-2.0
#include "backends/codec_scores.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backends/codec_answer.h"
#include "base/json.h"

namespace sluice::codec {
namespace {

// An engine's one number, if it is that.
std::optional<float> only_float(const Output& output) {
  if (output.form != Form::kFloats || output.bytes.size() != sizeof(float)) return std::nullopt;
  const float score = output.bytes.as<float>()[0];
  return std::isfinite(score) ? std::optional(score) : std::nullopt;
}

bool is_number(std::string_view raw) { return !raw.empty() && JsonView(raw).is(JsonType::kNumber); }

// One class of an engine's model.
struct Class {
  float score = 0;
  const std::string* label = nullptr;
};

}  // namespace

Result<std::vector<Ranked>> rank(std::span<const Output> outputs) {
  std::vector<Ranked> ranked;
  ranked.reserve(outputs.size());
  for (const Output& output : outputs) {
    Ranked one{.index = ranked.size(), .score = 0, .text = {}};
    if (const std::optional<float> score = only_float(output)) {
      one.score = *score;
      append_json_number(one.text, *score);
    } else if (output.form == Form::kJson && is_number(output.bytes.view())) {
      one.score = JsonView(output.bytes.view()).number();
      one.text = output.bytes.view();
    } else {
      return upstream("The score of document " + std::to_string(ranked.size()) +
                      " is not a number.");
    }
    ranked.push_back(std::move(one));
  }
  std::ranges::sort(ranked, [](const Ranked& a, const Ranked& b) {
    return a.score != b.score ? a.score > b.score : a.index < b.index;
  });
  return ranked;
}

Result<Done> write_classes(BodyWriter& out, const Output& output,
                           std::span<const std::string> labels) {
  if (output.form == Form::kJson && output.bytes.view().starts_with('[')) {
    out.append(output.bytes);
    return Done{};
  }
  if (output.form != Form::kFloats || output.bytes.size() != labels.size() * sizeof(float))
    return upstream("The upstream gave something that is not a score per label.");
  std::vector<Class> classes;
  for (const float score : output.bytes.as<float>()) {
    if (!std::isfinite(score)) return upstream("The score of a label is not a number.");
    classes.push_back({score, &labels[classes.size()]});
  }
  std::ranges::sort(classes, [](const Class& a, const Class& b) {
    return a.score != b.score ? a.score > b.score : a.label < b.label;
  });
  std::string& text = out.text();
  text += '[';
  for (const Class& one : classes) {
    text += text.back() == '[' && &one == classes.data() ? R"({"score":)" : R"(,{"score":)";
    append_json_number(text, one.score);
    text += R"(,"label":)";
    append_json_string(text, *one.label);
    text += '}';
  }
  text += ']';
  return Done{};
}

void read_scored(JsonCursor& at, std::string_view member, std::span<Output> outputs) {
  std::string_view key;
  uint64_t index = outputs.size();
  bool indexed = false;
  Slice score;
  at.enter('{');
  while (at.next_member(key)) {
    if (key == member) {
      if (!score.empty()) at.fail("two scores of one item");
      score = at.value();
      if (!at.failed() && !is_number(score.view())) at.fail("a score that is not a number");
    } else if (key == "index") {
      if (indexed) at.fail("two members 'index'");
      indexed = at.count(outputs.size() - 1, index);
    } else {
      at.value();
    }
  }
  if (!at.failed()) place(at, outputs, index, std::move(score));
}

Slice read_entries(JsonCursor& at, std::string_view number, std::string_view other, bool labelled) {
  Slice whole = at.value();
  if (at.failed()) return {};
  bool good = whole.view().starts_with('[');
  if (good) {
    JsonView(whole.view()).for_each_item([&](JsonView item) {
      good = item.is(JsonType::kObject);
      if (!good) return false;
      const std::optional<JsonView> value = item.member(number);
      const std::optional<JsonView> name = item.member(other);
      good = value && value->is(JsonType::kNumber) && name;
      if (good && labelled) {
        good = name->is(JsonType::kString);
      } else if (good) {
        good = name->is(JsonType::kNumber) && name->integer().value_or(-1) >= 0;
      }
      return good;
    });
  }
  if (good) return whole;
  at.fail("not an array of objects with '" + std::string(number) + "' and '" + std::string(other) +
          "'");
  return {};
}

}  // namespace sluice::codec
