// SPDX-License-Identifier: Apache-2.0
#pragma once
// The chunked transfer coding undone (RFC 9112, 7.1), strictly and in whatever pieces the bytes
// come. Belongs to its parser.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/http1.h"
#include "base/http1_head.h"

namespace sluice::http1 {

// Reads one body at a time.
class ChunkedReader {
 public:
  // What feed() has come to.
  enum class Step {
    kNeedMore,  // all bytes given were used
    kData,      // data() is a part of the body
    kEnd,       // the body and its trailers are complete
    kError,     // error() says why
  };

  // A body of at most `body_bytes_max` bytes begins.
  void start(uint64_t body_bytes_max);
  // Reads `bytes` from `used` on, which it moves behind what it has consumed, until there is
  // something to tell. Never consumes past kEnd.
  Step feed(std::string_view bytes, size_t& used);

  std::string_view data() const { return data_; }
  // The trailer fields, in order. REQUIRES: kEnd came; valid until start().
  std::span<const Header> trailers() const { return trailers_; }
  const Error& error() const { return error_; }  // kInvalid or kTooLarge

 private:
  enum class Phase {
    kSize,       // at a digit, or behind the last
    kExtension,  // behind a ";"
    kSizeLf,     // the LF that ends the size line
    kData,
    kDataCr,  // the CRLF behind a chunk
    kDataLf,
    kTrailerStart,  // the start of a line of the trailer section
    kTrailer,       // in a trailer field
    kTrailerLf,
    kEndLf,  // the LF of the empty line that ends the message
    kEnd,
  };
  std::optional<Error> feed_frame(char c);
  std::optional<Error> feed_size(char c);
  std::optional<Error> feed_trailer(char c);
  void finish();

  Phase phase_ = Phase::kEnd;
  uint64_t body_bytes_max_ = 0;
  uint64_t remaining_ = 0;  // of the chunk
  uint64_t received_ = 0;
  size_t size_digits_ = 0;
  size_t extension_bytes_ = 0;
  std::string_view data_;
  std::string trailer_bytes_;  // the lines, without their ends
  size_t trailer_begin_ = 0;   // of the line being read
  std::vector<FieldAt> trailer_fields_;
  std::vector<Header> trailers_;
  Error error_;
};

}  // namespace sluice::http1
