// SPDX-License-Identifier: Apache-2.0
// A text that parse_json() accepts can be walked, written and read again, and a second, simple
// reader accepts it too; one that it refuses is refused by that reader, but for the rules that are
// ours alone.

#include <cmath>
#include <string>

#include "base/assert.h"
#include "base/json.h"
#include "tests/json_reference.h"

namespace sluice {
namespace {

// Writes `value` anew from what walking it tells.
void rewrite(JsonView value, std::string& out) {
  switch (value.type()) {
    case JsonType::kString:
      append_json_string(out, value.text());
      break;
    case JsonType::kArray: {
      size_t items = 0;
      out.push_back('[');
      value.for_each_item([&](JsonView item) {
        if (items++ > 0) out.push_back(',');
        rewrite(item, out);
        return true;
      });
      out.push_back(']');
      ASSERT(items == value.count());
      break;
    }
    case JsonType::kObject: {
      size_t members = 0;
      out.push_back('{');
      value.for_each_member([&](std::string_view key, JsonView member) {
        if (members++ > 0) out.push_back(',');
        append_json_string(out, key);
        out.push_back(':');
        rewrite(member, out);
        const auto found = value.member(key);
        ASSERT(found.has_value() && found->raw().data() == member.raw().data());
        return members < 50;
      });
      out.push_back('}');
      break;
    }
    case JsonType::kNumber:
      ASSERT(std::isfinite(value.number()));
      if (const auto integer = value.integer()) {
        append_json_number(out, *integer);
      } else {
        out.append(value.raw());
      }
      break;
    default:
      ASSERT(value.is(JsonType::kNull) || value.boolean() == (value.raw() == "true"));
      out.append(value.raw());
  }
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  if (size == 0) return 0;
  // The text is the middle of a block: the first byte says what surrounds it.
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string around(5, static_cast<char>(data[0]));
  const std::string_view text = input.substr(1);
  const Slice block = Slice::copy_of(around + std::string(text) + around);
  const Slice slice = block.part(around.size(), text.size());
  const Result<JsonView> parsed = parse_json(slice);
  ASSERT(parsed.ok() == accepts_json(text));
  if (!parsed.ok()) return 0;

  const std::string_view raw = parsed.value().raw();
  ASSERT(raw.data() >= slice.data() && raw.data() + raw.size() <= slice.data() + slice.size());
  std::string once;
  rewrite(parsed.value(), once);
  const Slice again = Slice::copy_of(once);
  const Result<JsonView> reparsed = parse_json(again);
  ASSERT(reparsed.ok());
  std::string twice;
  rewrite(reparsed.value(), twice);
  ASSERT(once == twice);
  return 0;
}
