// SPDX-License-Identifier: Apache-2.0
#include "base/http1.h"

// A head is read twice before it is believed: here, strictly and line by line as its bytes arrive,
// and then as a whole by llhttp. The two must agree about the fields and the framing. Each closes
// what the other leaves open: llhttp 8.1 takes a lone CR for the end of a header, and it stops at
// nothing that is merely long. Because only whole heads are interpreted, it cannot matter in which
// pieces they came. The frames of a chunked body are read here alone, byte by byte.
#include <llhttp.h>

#include <algorithm>
#include <cstring>

#include "base/http1_head.h"

namespace sluice {
namespace {

using http1::FieldAt;

// Empty lines that may stand before a request line (RFC 9112, 2.2).
constexpr size_t kEmptyLinesMax = 4;
// Chunk extensions of one message together; nobody needs them.
constexpr size_t kExtensionBytesMax = 4096;
// The trailer section, which is checked and dropped.
constexpr size_t kTrailerBytesMax = 8192;
// Digits of a chunk's size, leading zeros included.
constexpr size_t kSizeDigitsMax = 16;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; }

// The first control character in [at, end), or end. Eight bytes at a time.
const char* find_control(const char* at, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  while (end - at >= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    const uint64_t rubout = word ^ (kOnes * 0x7f);
    const uint64_t found = ((word - kOnes * 0x20) & ~word) | ((rubout - kOnes) & ~rubout);
    if ((found & kHighs) != 0) break;
    at += 8;
  }
  while (at < end && !is_control(*at)) ++at;
  return at;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// What llhttp finds in a head.
struct SecondReading {
  llhttp_t parser;
  size_t fields = 0;
  // As they were at the end of the head; llhttp clears them when it is done with a message.
  bool complete = false;
  bool chunked = false;
  bool has_length = false;
  uint64_t length = 0;
};

const llhttp_settings_t& second_reading_settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_header_value_complete = [](llhttp_t* parser) {
      ++static_cast<SecondReading*>(parser->data)->fields;
      return 0;
    };
    s.on_headers_complete = [](llhttp_t* parser) {
      auto* const reading = static_cast<SecondReading*>(parser->data);
      reading->complete = true;
      reading->chunked = (parser->flags & F_CHUNKED) != 0;
      reading->has_length = (parser->flags & F_CONTENT_LENGTH) != 0;
      reading->length = parser->content_length;
      return 1;  // the body is not for llhttp
    };
    return s;
  }();
  return settings;
}

// An Error unless llhttp reads the same in the head as we did.
std::optional<Error> read_again(const RequestHead& head) {
  SecondReading reading;
  llhttp_init(&reading.parser, HTTP_REQUEST, &second_reading_settings());
  reading.parser.data = &reading;
  const llhttp_errno_t code = llhttp_execute(&reading.parser, head.bytes.data(), head.bytes.size());
  if (code == HPE_INVALID_METHOD &&
      head.method.find_first_of("abcdefghijklmnopqrstuvwxyz") == std::string::npos) {
    return Error{Code::kNotImplemented, "unknown method"};
  }
  if (code != HPE_OK && code != HPE_PAUSED_UPGRADE) {
    return Error{Code::kInvalid,
                 std::string("invalid head: ") + llhttp_get_error_reason(&reading.parser)};
  }
  const bool equal = reading.complete && reading.fields == head.headers.size() &&
                     reading.chunked == head.chunked &&
                     reading.has_length == head.content_length.has_value() &&
                     (!reading.has_length || reading.length == *head.content_length) &&
                     reading.parser.http_minor == head.version_minor;
  if (!equal) return Error{Code::kInvalid, "the head could be read in two ways"};
  return std::nullopt;
}

}  // namespace

struct RequestParser::State {
  enum class Phase {
    kRequestLine,
    kFields,
    kBody,         // of a declared length
    kChunkSize,    // at a digit, or behind the last
    kExtension,    // behind a ";"
    kChunkSizeLf,  // the LF that ends the size line
    kChunk,
    kChunkCr,  // the CRLF behind a chunk
    kChunkLf,
    kTrailerStart,  // the start of a line of the trailer section
    kTrailer,       // in a trailer field
    kTrailerLf,
    kEndLf,  // the LF of the empty line that ends the message
    kEnd,
    kFailed,
  };

  explicit State(const HttpLimits& l) : limits(l) {}

  HttpEvent fail(Code code, std::string message) { return fail({code, std::move(message)}); }
  HttpEvent fail(Error why) {
    phase = Phase::kFailed;
    error = std::move(why);
    head = {};
    body = {};
    pending = {};
    return HttpEvent::kError;
  }

  HttpEvent feed_head(std::string_view bytes, size_t& used);
  std::optional<HttpEvent> scan_head(std::string_view window);
  std::optional<HttpEvent> end_line(std::string_view window, size_t line_end);
  HttpEvent finish_head(std::string_view window);
  HttpEvent feed_body(std::string_view bytes, size_t& used);
  std::optional<HttpEvent> feed_frame(char c);
  std::optional<HttpEvent> feed_size(char c);
  std::optional<HttpEvent> feed_trailer(char c);

  const HttpLimits limits;
  Phase phase = Phase::kRequestLine;
  RequestHead head;
  std::string_view body;
  Error error;

  // The head so far, if it came in pieces; what was scanned of it, as offsets.
  std::string pending;
  size_t scanned = 0;
  size_t line_begin = 0;
  size_t request_line_begin = 0;  // empty lines may stand before it
  size_t request_line_end = 0;
  size_t fields_begin = 0;
  size_t empty_lines = 0;
  std::vector<FieldAt> fields;

  // The body so far.
  uint64_t remaining = 0;  // of the chunk, or of the body if its length was declared
  uint64_t received = 0;   // in chunks
  size_t size_digits = 0;
  size_t extension_bytes = 0;
  size_t trailer_bytes = 0;
  std::string trailer;  // the line being read
};

// Reads the head from `pending` if it came in pieces, else right where it is.
HttpEvent RequestParser::State::feed_head(std::string_view bytes, size_t& used) {
  const size_t before = pending.size();
  std::string_view window = bytes;
  if (before > 0) {
    pending.append(bytes);
    window = pending;
  }
  const std::optional<HttpEvent> event = scan_head(window);
  if (event == HttpEvent::kError) return *event;
  if (event) {
    used = scanned - before;
    const HttpEvent result = finish_head(window);
    pending.clear();
    return result;
  }
  if (before == 0) pending.assign(bytes);
  used = bytes.size();
  return HttpEvent::kNeedMore;
}

// Scans on until the head is complete (kHead), wrong (kError) or `window` used up. Each byte is
// judged once, in order, so that the first wrong one decides, however the bytes were split.
std::optional<HttpEvent> RequestParser::State::scan_head(std::string_view window) {
  const char* const data = window.data();
  while (scanned < window.size()) {
    const bool in_fields = phase == Phase::kFields;
    const size_t limit =
        in_fields ? fields_begin + limits.headers_bytes_max : line_begin + limits.line_bytes_max;
    const char* const scan_end = data + std::min(window.size(), std::max(limit, scanned));
    scanned = static_cast<size_t>(find_control(data + scanned, scan_end) - data);
    if (scanned == window.size()) break;
    const char c = data[scanned];
    if (scanned >= limit && (c != '\r' || (in_fields && scanned != line_begin))) {
      return in_fields ? fail(Code::kHeadersTooLarge, "the header fields are too long")
                       : fail(Code::kUriTooLong, "the request line is too long");
    }
    if (c == '\t') {
      ++scanned;
      continue;
    }
    if (c != '\r') return fail(Code::kInvalid, "control character in the head");
    if (scanned + 1 == window.size()) break;
    if (data[scanned + 1] != '\n') return fail(Code::kInvalid, "CR without LF in the head");
    const size_t line_end = scanned;
    scanned += 2;
    if (auto event = end_line(window, line_end)) return event;
    line_begin = scanned;
  }
  return std::nullopt;
}

// Takes the line [line_begin, line_end); kHead if it ends the head.
std::optional<HttpEvent> RequestParser::State::end_line(std::string_view window, size_t line_end) {
  const std::string_view line = window.substr(line_begin, line_end - line_begin);
  if (phase == Phase::kRequestLine) {
    if (line.empty()) {
      if (++empty_lines > kEmptyLinesMax) return fail(Code::kInvalid, "no request line");
      return std::nullopt;
    }
    request_line_begin = line_begin;
    request_line_end = line_end;
    fields_begin = scanned;
    phase = Phase::kFields;
    return std::nullopt;
  }
  if (line.empty()) return HttpEvent::kHead;
  if (scanned - fields_begin > limits.headers_bytes_max) {
    return fail(Code::kHeadersTooLarge, "the header fields are too long");
  }
  if (fields.size() == limits.headers_max) {
    return fail(Code::kHeadersTooLarge, "there are too many header fields");
  }
  // This refuses folded lines, too: they begin with a blank.
  const std::optional<FieldAt> field = http1::read_field(line, line_begin - request_line_begin);
  if (!field) return fail(Code::kInvalid, "a header field is not a name, a colon and a value");
  fields.push_back(*field);
  return std::nullopt;
}

// Interprets the complete head, which ends at `scanned`.
HttpEvent RequestParser::State::finish_head(std::string_view window) {
  head = {};
  head.bytes = Slice::copy_of(window.substr(request_line_begin, scanned - request_line_begin));
  const std::string_view request_line =
      head.bytes.view().substr(0, request_line_end - request_line_begin);
  if (auto why = http1::read_head(request_line, fields, limits, head)) return fail(*why);
  if (auto why = read_again(head)) return fail(*why);
  fields.clear();
  scanned = line_begin = empty_lines = 0;
  received = extension_bytes = trailer_bytes = size_digits = 0;
  remaining = head.content_length.value_or(0);
  phase = head.chunked ? Phase::kChunkSize : remaining > 0 ? Phase::kBody : Phase::kEnd;
  return HttpEvent::kHead;
}

HttpEvent RequestParser::State::feed_body(std::string_view bytes, size_t& used) {
  while (phase != Phase::kEnd) {
    if (used == bytes.size()) return HttpEvent::kNeedMore;
    if (phase == Phase::kBody || phase == Phase::kChunk) {
      body = bytes.substr(used,
                          static_cast<size_t>(std::min<uint64_t>(remaining, bytes.size() - used)));
      used += body.size();
      remaining -= body.size();
      if (remaining == 0) phase = phase == Phase::kBody ? Phase::kEnd : Phase::kChunkCr;
      return HttpEvent::kBody;
    }
    if (auto event = feed_frame(bytes[used++])) return *event;
  }
  phase = Phase::kRequestLine;
  return HttpEvent::kEnd;
}

// Takes one byte that is not content of a chunk.
std::optional<HttpEvent> RequestParser::State::feed_frame(char c) {
  // Where the grammar leaves no choice: this byte, then that phase.
  const auto expect = [&](char wanted, Phase next) -> std::optional<HttpEvent> {
    if (c != wanted) return fail(Code::kInvalid, "a chunk is not framed by CRLF");
    phase = next;
    return std::nullopt;
  };
  switch (phase) {
    case Phase::kChunkSize:
    case Phase::kExtension:
      return feed_size(c);
    case Phase::kChunkSizeLf:
      size_digits = 0;
      if (remaining > 0) return expect('\n', Phase::kChunk);
      return expect('\n', Phase::kTrailerStart);
    case Phase::kChunkCr:
      return expect('\r', Phase::kChunkLf);
    case Phase::kChunkLf:
      return expect('\n', Phase::kChunkSize);
    case Phase::kTrailerStart:
      if (c == '\r') return expect('\r', Phase::kEndLf);
      trailer.clear();
      phase = Phase::kTrailer;
      return feed_trailer(c);
    case Phase::kTrailer:
      return feed_trailer(c);
    case Phase::kTrailerLf:
      if (!http1::read_field(trailer, 0)) return fail(Code::kInvalid, "invalid trailer field");
      return expect('\n', Phase::kTrailerStart);
    default:
      ASSERT(phase == Phase::kEndLf);
      return expect('\n', Phase::kEnd);
  }
}

std::optional<HttpEvent> RequestParser::State::feed_size(char c) {
  if (phase == Phase::kChunkSize && hex_digit(c) >= 0) {
    if (++size_digits > kSizeDigitsMax) return fail(Code::kInvalid, "invalid chunk size");
    // Cannot overflow: no more than 16 digits, and what exceeds the limit ends here.
    remaining = (size_digits == 1 ? 0 : remaining * 16) + static_cast<uint64_t>(hex_digit(c));
    if (remaining > limits.body_bytes_max - received) {
      return fail(Code::kTooLarge,
                  "the body is longer than " + std::to_string(limits.body_bytes_max) + " bytes");
    }
    return std::nullopt;
  }
  if (size_digits == 0) return fail(Code::kInvalid, "invalid chunk size");
  if (c == '\r') {
    received += remaining;
    phase = Phase::kChunkSizeLf;
    return std::nullopt;
  }
  if (phase == Phase::kChunkSize && c != ';') return fail(Code::kInvalid, "invalid chunk size");
  phase = Phase::kExtension;
  if (is_control(c) && c != '\t') return fail(Code::kInvalid, "invalid chunk extension");
  if (++extension_bytes > kExtensionBytesMax) {
    return fail(Code::kInvalid, "the chunk extensions are too long");
  }
  return std::nullopt;
}

std::optional<HttpEvent> RequestParser::State::feed_trailer(char c) {
  if (c == '\r') {
    phase = Phase::kTrailerLf;
    return std::nullopt;
  }
  if (is_control(c) && c != '\t') return fail(Code::kInvalid, "control character in a trailer");
  if (++trailer_bytes > kTrailerBytesMax) return fail(Code::kInvalid, "the trailers are too long");
  trailer.push_back(c);
  return std::nullopt;
}

RequestParser::RequestParser(const HttpLimits& limits) : state_(std::make_unique<State>(limits)) {}
RequestParser::~RequestParser() = default;

HttpEvent RequestParser::feed(std::string_view bytes, size_t& used) {
  used = 0;
  state_->body = {};
  switch (state_->phase) {
    case State::Phase::kFailed:
      return HttpEvent::kError;
    case State::Phase::kRequestLine:
    case State::Phase::kFields:
      return state_->feed_head(bytes, used);
    default:
      return state_->feed_body(bytes, used);
  }
}

RequestHead& RequestParser::head() { return state_->head; }
std::string_view RequestParser::body() const { return state_->body; }

const Error& RequestParser::error() const {
  ASSERT(state_->phase == State::Phase::kFailed);
  return state_->error;
}

bool RequestParser::in_message() const {
  if (state_->phase == State::Phase::kFailed) return false;
  if (state_->phase != State::Phase::kRequestLine) return true;
  const std::string_view line = std::string_view(state_->pending).substr(state_->line_begin);
  return !line.empty() && line != "\r";
}

}  // namespace sluice
