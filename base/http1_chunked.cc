// SPDX-License-Identifier: Apache-2.0
#include "base/http1_chunked.h"

#include <algorithm>

#include "base/http1_scan.h"

namespace sluice::http1 {
namespace {

// Chunk extensions of one message together; nobody needs them.
constexpr size_t kExtensionBytesMax = 4096;
constexpr size_t kTrailerBytesMax = 8192;
// Digits of a chunk's size, leading zeros included.
constexpr size_t kSizeDigitsMax = 16;

Error invalid(const char* message) { return {Code::kInvalid, message}; }

}  // namespace

void ChunkedReader::start(uint64_t body_bytes_max) {
  phase_ = Phase::kSize;
  body_bytes_max_ = body_bytes_max;
  remaining_ = received_ = 0;
  size_digits_ = extension_bytes_ = trailer_begin_ = 0;
  data_ = {};
  trailer_bytes_.clear();
  trailer_fields_.clear();
  trailers_.clear();
}

ChunkedReader::Step ChunkedReader::feed(std::string_view bytes, size_t& used) {
  while (phase_ != Phase::kEnd) {
    if (used == bytes.size()) return Step::kNeedMore;
    if (phase_ == Phase::kData) {
      const uint64_t size = std::min<uint64_t>(remaining_, bytes.size() - used);
      data_ = bytes.substr(used, static_cast<size_t>(size));
      used += data_.size();
      remaining_ -= size;
      if (remaining_ == 0) phase_ = Phase::kDataCr;
      return Step::kData;
    }
    if (auto why = feed_frame(bytes[used++])) {
      error_ = std::move(*why);
      return Step::kError;
    }
  }
  finish();
  return Step::kEnd;
}

// Takes one byte that is not content of a chunk.
std::optional<Error> ChunkedReader::feed_frame(char c) {
  // Where the grammar leaves no choice: this byte, then that phase.
  const auto expect = [&](char wanted, Phase next) -> std::optional<Error> {
    if (c != wanted) return invalid("a chunk is not framed by CRLF");
    phase_ = next;
    return std::nullopt;
  };
  switch (phase_) {
    case Phase::kSize:
    case Phase::kExtension:
      return feed_size(c);
    case Phase::kSizeLf:
      size_digits_ = 0;
      return expect('\n', remaining_ > 0 ? Phase::kData : Phase::kTrailerStart);
    case Phase::kDataCr:
      return expect('\r', Phase::kDataLf);
    case Phase::kDataLf:
      return expect('\n', Phase::kSize);
    case Phase::kTrailerStart:
      if (c == '\r') return expect('\r', Phase::kEndLf);
      trailer_begin_ = trailer_bytes_.size();
      phase_ = Phase::kTrailer;
      return feed_trailer(c);
    case Phase::kTrailer:
      return feed_trailer(c);
    case Phase::kTrailerLf: {
      const auto line = std::string_view(trailer_bytes_).substr(trailer_begin_);
      const std::optional<FieldAt> field = read_field(line, trailer_begin_);
      if (!field) return invalid("invalid trailer field");
      trailer_fields_.push_back(*field);
      return expect('\n', Phase::kTrailerStart);
    }
    default:
      ASSERT(phase_ == Phase::kEndLf);
      return expect('\n', Phase::kEnd);
  }
}

std::optional<Error> ChunkedReader::feed_size(char c) {
  if (phase_ == Phase::kSize && hex_digit(c) >= 0) {
    if (++size_digits_ > kSizeDigitsMax) return invalid("invalid chunk size");
    // Cannot overflow: no more than 16 digits, and what exceeds the limit ends here.
    remaining_ = (size_digits_ == 1 ? 0 : remaining_ * 16) + static_cast<uint64_t>(hex_digit(c));
    if (remaining_ > body_bytes_max_ - received_) {
      return Error{Code::kTooLarge,
                   "the body is longer than " + std::to_string(body_bytes_max_) + " bytes"};
    }
    return std::nullopt;
  }
  if (size_digits_ == 0) return invalid("invalid chunk size");
  if (c == '\r') {
    received_ += remaining_;
    phase_ = Phase::kSizeLf;
    return std::nullopt;
  }
  if (phase_ == Phase::kSize && c != ';') return invalid("invalid chunk size");
  phase_ = Phase::kExtension;
  if (is_control(c) && c != '\t') return invalid("invalid chunk extension");
  if (++extension_bytes_ > kExtensionBytesMax) {
    return invalid("the chunk extensions are too long");
  }
  return std::nullopt;
}

std::optional<Error> ChunkedReader::feed_trailer(char c) {
  if (c == '\r') {
    phase_ = Phase::kTrailerLf;
    return std::nullopt;
  }
  if (is_control(c) && c != '\t') return invalid("control character in a trailer");
  if (trailer_bytes_.size() == kTrailerBytesMax) return invalid("the trailers are too long");
  trailer_bytes_.push_back(c);
  return std::nullopt;
}

void ChunkedReader::finish() {
  const std::string_view bytes = trailer_bytes_;
  for (const FieldAt& at : trailer_fields_) {
    trailers_.push_back(
        {bytes.substr(at.name, at.name_size), bytes.substr(at.value, at.value_size)});
  }
  trailer_fields_.clear();
}

}  // namespace sluice::http1
