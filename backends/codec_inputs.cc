// SPDX-License-Identifier: Apache-2.0
#include "backends/codec_inputs.h"

#include <string>

#include "backends/codec_common.h"

namespace sluice::codec {
namespace {

std::string place_of(std::string_view field, size_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

Error too_many(std::string_view field, size_t items_max) {
  return invalid(field, "'" + std::string(field) + "' holds more than " +
                            std::to_string(items_max) + " items.");
}

Error empty(std::string_view field, const std::string& place) {
  return invalid(field, "'" + place + "' must not be an empty array.");
}

// A token array must hold at least one integer and nothing else. `place` names it in messages.
std::optional<Error> check_tokens(JsonView array, std::string_view field,
                                  const std::string& place) {
  std::optional<Error> error;
  size_t index = 0;
  array.for_each_item([&](JsonView token) {
    if (!token.is(JsonType::kNumber) || !token.integer())
      error = wrong_type(field, place_of(place, index), "a token id (an integer)", token);
    ++index;
    return !error;
  });
  if (!error && index == 0) error = empty(field, place);
  return error;
}

// The items of a list of which the first is of type `first`.
std::optional<Error> read_list(JsonView array, JsonType first, const InputRules& rules,
                               std::vector<JsonView>& inputs) {
  std::optional<Error> error;
  array.for_each_item([&](JsonView item) {
    const JsonType type = item.type();
    if (inputs.size() == rules.items_max) {
      error = too_many(rules.field, rules.items_max);
    } else if (type != first &&
               !(rules.mixed && (type == JsonType::kString || type == JsonType::kArray))) {
      error = wrong_type(rules.field, place_of(rules.field, inputs.size()),
                         rules.mixed                  ? "a string or an array of token ids"
                         : first == JsonType::kString ? "a string like the items before it"
                                                      : "an array of token ids like the items "
                                                        "before it",
                         item);
    } else if (type == JsonType::kArray) {
      error = check_tokens(item, rules.field, place_of(rules.field, inputs.size()));
    }
    if (error) return false;
    inputs.push_back(item);
    return true;
  });
  return error;
}

}  // namespace

std::optional<Error> read_inputs(JsonView value, const InputRules& rules,
                                 std::vector<JsonView>& inputs) {
  const std::string field(rules.field);
  if (value.is(JsonType::kString)) {
    inputs.push_back(value);
    return std::nullopt;
  }
  if (!value.is(JsonType::kArray))
    return wrong_type(field, field, "a string, an array of strings, or arrays of token ids", value);
  std::optional<JsonView> first;
  value.for_each_item([&](JsonView item) {
    first = item;
    return false;
  });
  if (!first) return empty(field, field);
  if (first->is(JsonType::kNumber)) {  // one flat array of ids is one input
    inputs.push_back(value);
    return check_tokens(value, field, field);
  }
  if (!first->is(JsonType::kString) && !first->is(JsonType::kArray))
    return wrong_type(field, place_of(field, 0), "a string or a token id", *first);
  return read_list(value, first->type(), rules, inputs);
}

std::optional<Error> read_texts(const Slice& body, JsonView value, std::string_view field,
                                size_t items_max, bool objects, std::vector<Row>& rows) {
  if (!value.is(JsonType::kArray))
    return wrong_type(field, std::string(field), "an array of strings", value);
  std::optional<Error> error;
  value.for_each_item([&](JsonView item) {
    const std::optional<JsonView> text =
        objects && item.is(JsonType::kObject) ? item.member("text") : item;
    if (rows.size() == items_max) {
      error = too_many(field, items_max);
    } else if (!text || !text->is(JsonType::kString)) {
      error = wrong_type(field, place_of(field, rows.size()),
                         objects ? "a string or an object with a 'text'" : "a string", item);
    } else {
      rows.push_back({.payload = {}, .wire = part_of(body, item)});
    }
    return !error;
  });
  if (!error && rows.empty()) error = empty(field, std::string(field));
  return error;
}

}  // namespace sluice::codec
