// SPDX-License-Identifier: Apache-2.0
#include "backends/operation.h"

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

constexpr std::string_view kNames[] = {"embed", "sparse", "rerank", "classify", "predict", "infer"};

// A key is its operation, then parts: four bytes of length, little-endian, and the bytes. A list is
// its number of entries, written as such a length, then its parts.
void put_size(std::string& out, size_t size) {
  ASSERT(size <= UINT32_MAX);
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(size >> shift & 0xff);
}

void put(std::string& out, std::string_view part) {
  put_size(out, part.size());
  out += part;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

void put(std::string& out, const Pairs& pairs) {
  put_size(out, pairs.size());
  for (const auto& [name, value] : pairs) {
    put(out, name);
    put(out, value);
  }
}

// Takes parts off the front of a text until one is missing.
class Taker {
 public:
  explicit Taker(std::string_view text) : rest_(text) {}

  std::string part() {
    const size_t size = length();
    if (size > rest_.size()) return fail();
    std::string taken(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return taken;
  }
  Pairs pairs() {
    const size_t count = length();
    Pairs taken;
    // Each entry has two lengths, so a wild count cannot make us ask for wild memory.
    if (count > rest_.size() / 8) {
      fail();
      return taken;
    }
    taken.reserve(count);
    for (size_t i = 0; i < count && good_; ++i) {
      std::string name = part();
      taken.emplace_back(std::move(name), part());
    }
    return taken;
  }
  // Whether every part was there and nothing is left.
  bool complete() const { return good_ && rest_.empty(); }

 private:
  size_t length() {
    if (rest_.size() < 4) {
      fail();
      return 0;
    }
    size_t size = 0;
    for (size_t i = 0; i < 4; ++i)
      size |= static_cast<size_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
    rest_.remove_prefix(4);
    return size;
  }
  std::string fail() {
    good_ = false;
    rest_ = {};
    return {};
  }

  std::string_view rest_;
  bool good_ = true;
};

}  // namespace

std::string_view to_text(Operation operation) { return kNames[static_cast<size_t>(operation)]; }

std::optional<std::string_view> CallKey::param(std::string_view name) const {
  for (const auto& [own, value] : params) {
    if (own == name) return value;
  }
  return std::nullopt;
}

std::string CallKey::encode() const {
  size_t bytes = 32 + codec.size() + target.size() + model.size();
  for (const Pairs* pairs : {&params, &headers}) {
    for (const auto& [name, value] : *pairs) bytes += 8 + name.size() + value.size();
  }
  std::string text;
  text.reserve(bytes);
  text += static_cast<char>(operation);
  put(text, codec);
  put(text, target);
  put(text, model);
  put(text, params);
  put(text, headers);
  return text;
}

Result<CallKey> CallKey::decode(std::string_view text) {
  const Error wrong{.code = Code::kInternal, .message = "This text is not the key of a call."};
  if (text.empty() || static_cast<unsigned char>(text.front()) >= std::size(kNames)) return wrong;
  CallKey key;
  key.operation = static_cast<Operation>(text.front());
  Taker taker(text.substr(1));
  key.codec = taker.part();
  key.target = taker.part();
  key.model = taker.part();
  key.params = taker.pairs();
  key.headers = taker.pairs();
  if (!taker.complete()) return wrong;
  return key;
}

}  // namespace sluice
