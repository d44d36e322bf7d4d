// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load_http.h"

#include <algorithm>
#include <charconv>

namespace sluice::load {
namespace {

constexpr size_t kLineBytesMax = 65536;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equals(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool contains(std::string_view text, std::string_view word) {
  return !std::ranges::search(text, word, [](char x, char y) {
            return lower(x) == lower(y);
          }).empty();
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The whole of `text` as a number; false where it is anything else.
bool parse_number(std::string_view text, int base, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

}  // namespace

void ResponseReader::begin(bool to_head) {
  *this = ResponseReader{};
  part_ = Part::kStatusLine;
  to_head_ = to_head;
}

size_t ResponseReader::feed(std::string_view data) {
  size_t used = 0;
  while (used < data.size() && !done() && !bad()) {
    started_ = true;
    const std::string_view rest = data.substr(used);
    used += in_line() ? take_line(rest) : take_body(rest);
  }
  return used;
}

void ResponseReader::end_of_stream() {
  if (part_ == Part::kBodyUntilEnd) {
    part_ = Part::kDone;
  } else if (!done()) {
    part_ = Part::kBad;
  }
}

bool ResponseReader::in_line() const {
  return part_ != Part::kBody && part_ != Part::kBodyUntilEnd && part_ != Part::kChunkData;
}

size_t ResponseReader::take_body(std::string_view data) {
  const size_t size = part_ == Part::kBodyUntilEnd
                          ? data.size()
                          : static_cast<size_t>(std::min<uint64_t>(left_, data.size()));
  body_bytes_ += size;
  if (part_ == Part::kBodyUntilEnd) return size;
  left_ -= size;
  if (left_ == 0) part_ = part_ == Part::kBody ? Part::kDone : Part::kChunkEnd;
  return size;
}

size_t ResponseReader::take_line(std::string_view data) {
  const size_t newline = data.find('\n');
  if (newline == std::string_view::npos) {
    line_.append(data);
    if (line_.size() > kLineBytesMax) part_ = Part::kBad;
    return data.size();
  }
  std::string_view line = data.substr(0, newline);
  if (!line_.empty()) {
    line_.append(line);
    line = line_;
  }
  if (!line.empty() && line.back() == '\r') {
    on_line(line.substr(0, line.size() - 1));
  } else {
    part_ = Part::kBad;
  }
  line_.clear();
  return newline + 1;
}

void ResponseReader::on_line(std::string_view line) {
  switch (part_) {
    case Part::kStatusLine:
      on_status_line(line);
      return;
    case Part::kHeader:
      if (line.empty()) {
        on_header_end();
      } else {
        on_header(line);
      }
      return;
    case Part::kChunkSize:
      on_chunk_size(line);
      return;
    case Part::kChunkEnd:
      part_ = line.empty() ? Part::kChunkSize : Part::kBad;
      return;
    case Part::kTrailer:
      if (line.empty()) part_ = Part::kDone;
      return;
    default:
      part_ = Part::kBad;
  }
}

void ResponseReader::on_status_line(std::string_view line) {
  uint64_t status = 0;
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || line[8] != ' ' ||
      !parse_number(line.substr(9, 3), 10, status) || status < 100) {
    part_ = Part::kBad;
    return;
  }
  status_ = static_cast<int>(status);
  keeps_alive_ = line[7] == '1';
  part_ = Part::kHeader;
}

void ResponseReader::on_header(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    part_ = Part::kBad;
    return;
  }
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trim(line.substr(colon + 1));
  if (equals(name, "content-length")) {
    uint64_t length = 0;
    if (!parse_number(value, 10, length) || (has_length_ && length != left_)) part_ = Part::kBad;
    has_length_ = true;
    left_ = length;
  } else if (equals(name, "transfer-encoding")) {
    chunked_ = contains(value, "chunked");
  } else if (equals(name, "connection")) {
    if (contains(value, "close")) keeps_alive_ = false;
    if (contains(value, "keep-alive")) keeps_alive_ = true;
  }
}

void ResponseReader::on_header_end() {
  if (status_ < 200) {
    const bool to_head = to_head_;
    begin(to_head);
    started_ = true;
  } else if (to_head_ || status_ == 204 || status_ == 304) {
    part_ = Part::kDone;
  } else if (chunked_) {
    // Both framings at once is the seed of request smuggling; a server must not send it.
    part_ = has_length_ ? Part::kBad : Part::kChunkSize;
  } else if (has_length_) {
    part_ = left_ == 0 ? Part::kDone : Part::kBody;
  } else {
    keeps_alive_ = false;
    part_ = Part::kBodyUntilEnd;
  }
}

void ResponseReader::on_chunk_size(std::string_view line) {
  if (!parse_number(trim(line.substr(0, line.find(';'))), 16, left_)) {
    part_ = Part::kBad;
  } else {
    part_ = left_ == 0 ? Part::kTrailer : Part::kChunkData;
  }
}

}  // namespace sluice::load
