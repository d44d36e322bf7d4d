// SPDX-License-Identifier: Apache-2.0
#pragma once
// A second reader of JSON, as simple as can be and with nothing in common with base/json: recursive
// descent over bytes, a set of keys per object. It only says yes or no.

#include <cmath>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice {

class JsonReference {
 public:
  explicit JsonReference(std::string_view text) : text_(text) {}

  bool accepts() {
    blanks();
    if (!value(0)) return false;
    blanks();
    return at_ == text_.size();
  }

 private:
  int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }
  bool take(char c) {
    if (peek() != static_cast<unsigned char>(c)) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void blanks() {
    while (take(' ') || take('\t') || take('\n') || take('\r')) {
    }
  }

  bool value(size_t depth) {
    if (take('[')) return depth < kJsonDepthMax && array(depth + 1);
    if (take('{')) return depth < kJsonDepthMax && object(depth + 1);
    std::string text;
    if (peek() == '"') return string(text);
    return take("true") || take("false") || take("null") || number();
  }

  bool array(size_t depth) {
    blanks();
    if (take(']')) return true;
    for (;;) {
      blanks();
      if (!value(depth)) return false;
      blanks();
      if (take(']')) return true;
      if (!take(',')) return false;
    }
  }

  bool object(size_t depth) {
    std::set<std::string> keys;
    blanks();
    if (take('}')) return true;
    for (;;) {
      blanks();
      std::string key;
      if (!string(key) || !keys.insert(key).second) return false;
      blanks();
      if (!take(':')) return false;
      blanks();
      if (!value(depth)) return false;
      blanks();
      if (take('}')) return true;
      if (!take(',')) return false;
    }
  }

  bool digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > begin;
  }

  bool number() {
    const size_t begin = at_;
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    const std::string text(text_.substr(begin, at_ - begin));
    return std::isfinite(std::strtod(text.c_str(), nullptr));
  }

  // Any encoding of code points as UTF-16 units, so that keys compare as they should.
  void put(std::string& out, unsigned unit) {
    out.push_back(static_cast<char>(unit >> 8));
    out.push_back(static_cast<char>(unit & 0xff));
  }

  bool string(std::string& out) {
    if (!take('"')) return false;
    for (;;) {
      const int c = peek();
      if (c < 0x20) return false;
      if (take('"')) return true;
      if (take('\\')) {
        if (!escape(out)) return false;
      } else if (!code_point(out)) {
        return false;
      }
    }
  }

  bool hex(unsigned& unit) {
    unit = 0;
    for (int i = 0; i < 4; ++i) {
      const int c = peek();
      const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!letter && (c < '0' || c > '9')) return false;
      unit = unit * 16 + static_cast<unsigned>(letter ? (c | 0x20) - 'a' + 10 : c - '0');
      ++at_;
    }
    return true;
  }

  bool escape(std::string& out) {
    for (const auto& [letter, meaning] : {std::pair{'"', '"'},
                                          {'\\', '\\'},
                                          {'/', '/'},
                                          {'b', '\b'},
                                          {'f', '\f'},
                                          {'n', '\n'},
                                          {'r', '\r'},
                                          {'t', '\t'}}) {
      if (take(letter)) {
        put(out, static_cast<unsigned char>(meaning));
        return true;
      }
    }
    unsigned unit;
    if (!take('u') || !hex(unit)) return false;
    put(out, unit);
    if (unit < 0xd800 || unit > 0xdfff) return true;
    unsigned low;
    if (unit > 0xdbff || !take('\\') || !take('u') || !hex(low)) return false;
    put(out, low);
    return low >= 0xdc00 && low <= 0xdfff;
  }

  bool code_point(std::string& out) {
    const int lead = peek();
    ++at_;
    const int length = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length == 0 || lead > 0xf7) return false;
    unsigned point = static_cast<unsigned>(lead);
    if (length > 1) point &= (0x7fu >> length);
    for (int i = 1; i < length; ++i, ++at_) {
      if ((peek() & 0xc0) != 0x80 || peek() < 0) return false;
      point = point << 6 | (static_cast<unsigned>(peek()) & 0x3f);
    }
    constexpr unsigned kFirst[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kFirst[length] || point > 0x10ffff) return false;
    if (point >= 0xd800 && point <= 0xdfff) return false;
    if (point < 0x10000) {
      put(out, point);
    } else {
      put(out, 0xd800 + ((point - 0x10000) >> 10));
      put(out, 0xdc00 + ((point - 0x10000) & 0x3ff));
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

inline bool accepts_json(std::string_view text) { return JsonReference(text).accepts(); }

}  // namespace sluice
