// SPDX-License-Identifier: Apache-2.0
#include "backends/codec_answer.h"

#include <algorithm>

#include "backends/codec_common.h"
#include "base/json.h"

namespace sluice::codec {
namespace {

// What a "usage" tells: total_tokens, or else prompt_tokens; nothing if it has neither.
std::optional<uint64_t> tokens_of_usage(const Slice& usage) {
  const JsonView view(usage.view());
  if (!view.is(JsonType::kObject)) return std::nullopt;
  for (const std::string_view name : {"total_tokens", "prompt_tokens"}) {
    const std::optional<JsonView> value = view.member(name);
    const std::optional<int64_t> tokens = value ? value->integer() : std::nullopt;
    if (tokens && *tokens >= 0 && *tokens <= UINT32_MAX) return static_cast<uint64_t>(*tokens);
  }
  return std::nullopt;
}

}  // namespace

bool Envelope::add(std::string_view name, const Slice& raw) {
  if (std::ranges::find(names_, name) != names_.end()) return false;
  names_.emplace_back(name);
  std::string member;
  append_json_string(member, name);
  member.append(":").append(raw.view());
  if (members_.empty()) {
    members_ = std::move(member);
  } else if (name == "model") {
    members_ = std::move(member) + ',' + members_;
  } else {
    members_ += ',' + member;
  }
  return true;
}

Slice Envelope::write(const Codec& codec) const {
  if (members_.empty()) return {};
  return Slice::copy_of(std::string(codec.name()) + '\n' + members_);
}

std::string_view Envelope::read(std::span<const Output> outputs, const Codec& codec) {
  if (outputs.empty()) return {};
  const std::string_view text = outputs.front().envelope.view();
  const std::string_view name = codec.name();
  if (text.size() <= name.size() || !text.starts_with(name) || text[name.size()] != '\n') return {};
  return text.substr(name.size() + 1);
}

void share_tokens(uint64_t total, std::span<const CallRow> rows, std::span<Output> outputs) {
  ASSERT(rows.size() == outputs.size());
  if (rows.empty()) return;
  const auto weight = [&](size_t i) { return uint64_t{rows[i].wire.size()} + 1; };
  // One for each request as long as there are any, the rest by weight; what is lost to rounding
  // goes to the first rows, one each.
  uint64_t rest = total;
  uint64_t weights = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool first_of_request = i == 0 || rows[i].request != rows[i - 1].request;
    outputs[i].tokens = first_of_request && rest > 0 ? 1 : 0;
    rest -= outputs[i].tokens;
    weights += weight(i);
  }
  uint64_t left = rest;
  for (size_t i = 0; i < rows.size(); ++i) {
    // Totals are below 2^32 and weights below the size of a body, so this does not overflow.
    const uint64_t share = rest * weight(i) / weights;
    outputs[i].tokens += static_cast<uint32_t>(share);
    left -= share;
  }
  for (size_t i = 0; left > 0; ++i, --left) ++outputs[i % rows.size()].tokens;
}

void place(JsonCursor& at, std::span<Output> outputs, uint64_t index, Slice bytes) {
  if (index >= outputs.size()) {
    at.fail("an item without an index");
  } else if (bytes.empty()) {
    at.fail("an item without a value");
  } else if (!outputs[index].bytes.empty()) {
    at.fail("two items of the same index");
  } else {
    outputs[index].bytes = std::move(bytes);
    outputs[index].form = Form::kJson;
  }
}

Result<std::vector<Outcome>> outcomes_of(std::vector<Output> outputs) {
  const auto present = [](const Output& output) { return !output.bytes.empty(); };
  const auto count = std::ranges::count_if(outputs, present);
  if (static_cast<size_t>(count) != outputs.size())
    return upstream("The upstream answered " + std::to_string(count) + " of " +
                    std::to_string(outputs.size()) + " items.");
  std::vector<Outcome> outcomes;
  outcomes.reserve(outputs.size());
  for (Output& output : outputs) outcomes.emplace_back(std::move(output));
  return outcomes;
}

AnswerReader::AnswerReader(const Slice& body) : at_(body) { at_.enter('{'); }

bool AnswerReader::next(std::string_view& key) {
  while (at_.next_member(key)) {
    if (key != "usage") return true;
    const Slice usage = at_.value();
    if (has_usage_) at_.fail("two members 'usage'");
    if (at_.failed()) return false;
    has_usage_ = true;
    tokens_ = tokens_of_usage(usage).value_or(0);
  }
  return false;
}

void AnswerReader::items_begin() {
  if (has_items_) at_.fail("two lists of items");
  has_items_ = true;
  at_.enter('[');
}

void AnswerReader::beside(std::string_view key) {
  const std::string name(key);
  const Slice raw = at_.value();
  if (at_.failed() || (name == "model" && !raw.view().starts_with('"'))) return;
  if (!envelope_.add(name, raw)) at_.fail("two members of the same name");
}

Result<std::vector<Outcome>> AnswerReader::finish(const Codec& codec, std::span<const CallRow> rows,
                                                  std::vector<Output> outputs) {
  if (!at_.failed() && !has_items_) at_.fail("no list of items");
  if (!at_.finish()) return at_.error();
  const Slice envelope = envelope_.write(codec);
  for (Output& output : outputs) output.envelope = envelope;
  if (has_usage_) share_tokens(tokens_, rows, outputs);
  return outcomes_of(std::move(outputs));
}

}  // namespace sluice::codec
