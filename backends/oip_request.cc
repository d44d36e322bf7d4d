// SPDX-License-Identifier: Apache-2.0
#include "backends/oip_request.h"

#include <algorithm>
#include <optional>

#include "backends/codec_common.h"
#include "backends/oip_rows.h"
#include "backends/oip_tensor.h"
#include "backends/oip_text.h"

namespace sluice::oip {
namespace {

using codec::invalid;
using codec::wrong_type;

constexpr std::string_view kSequence = "sequence_";

// Whether a server may use memory that it shares with its client.
bool names_shared_memory(JsonView object) {
  const std::optional<JsonView> parameters = object.member("parameters");
  return parameters && parameters->is(JsonType::kObject) &&
         parameters->member("shared_memory_region");
}

// Reads a request's JSON, but for its inputs.
class RequestReader {
 public:
  explicit RequestReader(Asked& asked) : asked_(asked) {}
  std::optional<Error> read_member(std::string_view key, JsonView value);
  const std::optional<JsonView>& inputs() const { return inputs_; }

 private:
  std::optional<Error> check_outputs(JsonView value);

  Asked& asked_;
  std::optional<JsonView> inputs_;
};

std::optional<Error> RequestReader::check_outputs(JsonView value) {
  if (!value.is(JsonType::kArray))
    return wrong_type("outputs", "outputs", "an array of objects", value);
  std::optional<Error> error;
  std::vector<std::string> names;
  value.for_each_item([&](JsonView item) {
    const std::string place = "outputs[" + std::to_string(names.size()) + "]";
    if (!item.is(JsonType::kObject)) {
      error = wrong_type(place, place, "an object", item);
      return false;
    }
    const std::optional<JsonView> name = item.member("name");
    const std::optional<JsonView> parameters = item.member("parameters");
    if (!name || !name->is(JsonType::kString)) {
      error = invalid(place + ".name", "'" + place + "' must have a 'name', which is a string.");
    } else if (parameters && !parameters->is(JsonType::kObject)) {
      error = wrong_type(place + ".parameters", place + ".parameters", "an object", *parameters);
    } else {
      names.push_back(name->text());
      if (names_shared_memory(item)) asked_.pass_through = true;
    }
    return !error;
  });
  if (error) return error;
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
    return invalid("outputs", "'outputs' names '" + twice->substr(0, 100) + "' twice.");
  return std::nullopt;
}

std::optional<Error> RequestReader::read_member(std::string_view key, JsonView value) {
  if (key == "inputs") {
    inputs_ = value;
    return std::nullopt;
  }
  if (key == "id") {
    if (!value.is(JsonType::kString)) return wrong_type("id", "id", "a string", value);
    asked_.shape.id = value.text();
    return std::nullopt;
  }
  if (key == "outputs") {
    if (auto error = check_outputs(value)) return error;
  } else if (key == "parameters") {
    if (!value.is(JsonType::kObject))
      return wrong_type("parameters", "parameters", "an object", value);
    value.for_each_member([&](std::string_view name, JsonView) {
      if (name.starts_with(kSequence)) asked_.pass_through = true;
      return !asked_.pass_through;
    });
  }
  asked_.key.params.emplace_back(key, value.raw());
  return std::nullopt;
}

// Whether the rows of these inputs may stand among those of other requests.
bool mergeable(std::span<const Tensor> inputs) {
  return std::ranges::all_of(inputs, [&](const Tensor& input) {
    return input.form != Form::kShared && !input.shape.empty() && input.elements > 0 &&
           input.shape[0] == inputs.front().shape[0] &&
           input.shape[0] <= static_cast<int64_t>(codec::kItemsMax);
  });
}

// The elements of all inputs, checked, and cut into rows if `cut`; `as_json`: rows of JSON.
Result<Columns> columns_of(std::vector<Tensor>& inputs, bool cut, bool as_json) {
  for (Tensor& input : inputs) {
    if (!as_json) break;
    if (auto error = turn_into_json(input)) return std::move(*error);
  }
  return read_columns(inputs, true, cut);
}

}  // namespace

Result<Asked> read_request(const RequestHead& head, const Slice& body, std::string_view codec_name,
                           bool json_only) {
  Asked asked;
  asked.key = {.operation = Operation::kInfer,
               .codec = std::string(codec_name),
               .target = head.target,
               .model = {},
               .params = {},
               .headers = {}};
  std::vector<std::string> captures;
  for (const std::string_view path : kPaths) {
    if (match_path(path, head.path(), &captures)) asked.key.model = captures.front();
  }
  const auto header = head.find(kHeader);
  const Result<size_t> json_bytes = json_size(header, body.size());
  if (!json_bytes.ok()) return json_bytes.error();
  if (header && json_bytes.value() == 0) {  // one input, raw
    asked.pass_through = true;
    return asked;
  }
  const Result<JsonView> root = codec::parse_object(body.part(0, json_bytes.value()));
  if (!root.ok()) return root.error();
  RequestReader reader(asked);
  std::optional<Error> error;
  root.value().for_each_member([&](std::string_view key, JsonView value) {
    error = reader.read_member(key, value);
    return !error;
  });
  if (error) return std::move(*error);
  if (!reader.inputs()) return invalid("inputs", "You must provide 'inputs'.");
  auto inputs = read_tensors(body, *reader.inputs(), "inputs", json_bytes.value());
  if (!inputs.ok()) return inputs.error();
  asked.pass_through = asked.pass_through || !mergeable(inputs.value());
  const bool cut = !asked.pass_through;
  const Result<Columns> columns = columns_of(inputs.value(), cut, cut && json_only);
  if (!columns.ok()) return columns.error();
  if (asked.pass_through) return asked;
  asked.key.params.emplace_back("inputs", describe_all(inputs.value()));
  codec::sort_params(asked.key);
  std::vector<Slice> rows = gather(columns.value());
  asked.rows.reserve(rows.size());
  for (Slice& row : rows) asked.rows.push_back({.payload = {}, .wire = std::move(row)});
  return asked;
}

}  // namespace sluice::oip
