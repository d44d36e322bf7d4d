// SPDX-License-Identifier: Apache-2.0
#include "backends/codec_predict.h"

#include <algorithm>
#include <optional>

namespace sluice::codec {
namespace {

// Between the name of a codec and the rest of an answer in an envelope; never in a name or a JSON
// text.
constexpr char kMark = '\x01';

bool is_vector(JsonView item) {
  if (!item.is(JsonType::kArray)) return false;
  bool numbers = true, any = false;
  item.for_each_item([&](JsonView number) {
    any = true;
    numbers = number.is(JsonType::kNumber);
    return numbers;
  });
  return numbers && any;
}

struct Class {
  Slice json;
  double score = 0;
  size_t place = 0;  // in the answer; decides where scores are equal
};

std::optional<Class> read_class(const Slice& body, JsonView item) {
  if (!item.is(JsonType::kObject)) return std::nullopt;
  const auto label = item.member("label"), score = item.member("score");
  if (!label || !label->is(JsonType::kString) || !score || !score->is(JsonType::kNumber))
    return std::nullopt;
  return Class{.json = part_of(body, item), .score = score->number()};
}

// An array of classes, highest first; the answer's own bytes where they are that already.
std::optional<Slice> read_classes(const Slice& body, JsonView item) {
  std::vector<Class> classes;
  bool good = true;
  const auto add = [&](JsonView one) {
    std::optional<Class> found = read_class(body, one);
    good = found.has_value();
    if (good) {
      found->place = classes.size();
      classes.push_back(std::move(*found));
    }
    return good;
  };
  const bool list = item.is(JsonType::kArray);
  if (list) {
    item.for_each_item(add);
  } else {
    add(item);
  }
  if (!good || classes.empty()) return std::nullopt;
  const auto higher = [](const Class& a, const Class& b) {
    return std::pair(b.score, a.place) < std::pair(a.score, b.place);
  };
  if (list && std::ranges::is_sorted(classes, higher)) return part_of(body, item);
  std::ranges::sort(classes, higher);
  std::string text;
  for (const Class& one : classes) {
    text += text.empty() ? '[' : ',';
    text += one.json.view();
  }
  return Slice::copy_of(text + "]");
}

std::optional<Slice> read_item(Operation operation, const Slice& body, JsonView item) {
  if (operation == Operation::kClassify) return read_classes(body, item);
  if (operation == Operation::kEmbed && !is_vector(item)) return std::nullopt;
  return part_of(body, item);
}

std::string_view wanted(Operation operation) {
  return operation == Operation::kEmbed ? "a vector" : "a list of labels with scores";
}

std::string place_text(const JsonPointer& place) {
  return place.whole() ? std::string("The upstream's answer")
                       : "'" + place.text() + "' of the upstream's answer";
}

// The answer that the first envelope of this codec has kept; the codec's name in front of it.
Slice find_envelope(std::string_view codec_name, std::span<const Output> outputs) {
  for (const Output& output : outputs) {
    const std::string_view text = output.envelope.view();
    if (text.size() > codec_name.size() && text.starts_with(codec_name) &&
        text[codec_name.size()] == kMark)
      return output.envelope.part(codec_name.size() + 1, text.size() - codec_name.size() - 1);
  }
  return {};
}

Result<Done> write_output(BodyWriter& out, const Output& output) {
  if (output.form == Form::kJson && !output.bytes.empty()) {
    out.append(output.bytes);
    return Done{};
  }
  if (output.form != Form::kFloats || output.bytes.size() % sizeof(float) != 0)
    return upstream("An output is no JSON value.");
  std::string_view between = "[";
  for (const float number : output.bytes.as<float>()) {
    out.append(between);
    append_json_number(out.text(), number);
    between = ",";
  }
  out.append(between == "[" ? "[]" : "]");
  return Done{};
}

}  // namespace

Result<std::vector<Outcome>> read_items(Operation operation, std::string_view codec_name,
                                        const JsonPointer& place, size_t rows, const Slice& body) {
  const Result<JsonView> root = parse_json(body);
  if (!root.ok()) return upstream("The upstream's answer is not JSON: " + root.error().message);
  const std::optional<JsonView> list = place.find(root.value());
  if (!list || !list->is(JsonType::kArray))
    return upstream(place_text(place) + (list ? " is not an array." : " is missing."));
  std::vector<Outcome> outcomes;
  outcomes.reserve(rows);
  std::optional<Error> error;
  list->for_each_item([&](JsonView item) {
    if (outcomes.size() == rows) {
      error = upstream(place_text(place) + " holds more items than the " + std::to_string(rows) +
                       " that were asked.");
      return false;
    }
    std::optional<Slice> bytes = read_item(operation, body, item);
    if (!bytes) {
      error = upstream("Item " + std::to_string(outcomes.size()) + ": " + place_text(place) +
                       " must hold " + std::string(wanted(operation)) + ".");
      return false;
    }
    outcomes.emplace_back(Output(std::move(*bytes), Form::kJson));
    return true;
  });
  if (error) return std::move(*error);
  if (outcomes.size() != rows)
    return upstream(place_text(place) + " holds " + std::to_string(outcomes.size()) +
                    " items, not the " + std::to_string(rows) + " that were asked.");
  if (operation != Operation::kPredict || place.whole()) return outcomes;
  const Slice envelope =
      Slice::copy_of(std::string(codec_name) + kMark + without(root.value(), *list));
  for (Outcome& outcome : outcomes) outcome.value().envelope = envelope;
  return outcomes;
}

Result<Body> write_items(std::string_view codec_name, const JsonPointer& place, bool single,
                         std::span<const Output> outputs) {
  if (single && outputs.size() != 1)
    return upstream("A request of one item has " + std::to_string(outputs.size()) + " outputs.");
  std::string front = place.front(), back = place.back();
  const Slice envelope = find_envelope(codec_name, outputs);
  if (!envelope.empty()) {
    const Result<JsonView> root = parse_json(envelope);
    const std::optional<JsonView> hole = root.ok() ? place.find(root.value()) : std::nullopt;
    if (!hole) return upstream("What the upstream said beside its items is broken.");
    const std::string_view all = root.value().raw();
    const auto begin = static_cast<size_t>(hole->raw().data() - all.data());
    front = all.substr(0, begin);
    back = all.substr(begin + hole->raw().size());
  }
  BodyWriter out;
  out.append(front);
  std::string_view between = single ? "" : "[";
  for (const Output& output : outputs) {
    out.append(between);
    between = ",";
    const Result<Done> written = write_output(out, output);
    if (!written.ok()) return written.error();
  }
  if (!single) out.append(outputs.empty() ? "[]" : "]");
  out.append(back);
  return out.take();
}

std::span<const Implied> defaults(Operation operation) {
  static constexpr Implied kEmbed[] = {{"normalize", "true"}};
  static constexpr Implied kClassify[] = {{"raw_scores", "false"}};
  if (operation == Operation::kEmbed) return kEmbed;
  if (operation == Operation::kClassify) return kClassify;
  return {};
}

std::vector<Row> rows_of(const Slice& body, JsonView list) {
  std::vector<Row> rows;
  list.for_each_item([&](JsonView item) {
    rows.push_back({.payload = {}, .wire = part_of(body, item)});
    return true;
  });
  return rows;
}

std::string error_text(const Error& error) {
  std::string out = R"({"error":)";
  append_json_string(out, error.message);
  return out + "}";
}

}  // namespace sluice::codec
