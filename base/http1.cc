// SPDX-License-Identifier: Apache-2.0
#include "base/http1.h"

// A head is read twice before it is believed: here, strictly and line by line as its bytes arrive,
// and then as a whole by llhttp. The two must agree about the fields and the framing. Each closes
// what the other leaves open: llhttp 8.1 takes a lone CR for the end of a header, and it stops at
// nothing that is merely long. Because only whole heads are interpreted, it cannot matter in which
// pieces they came.
#include <llhttp.h>

#include <algorithm>

#include "base/http1_chunked.h"
#include "base/http1_head.h"
#include "base/http1_scan.h"

namespace sluice {
namespace {

using http1::ChunkedReader;
using http1::FieldAt;
using http1::find_control;

// Empty lines that may stand before a request line (RFC 9112, 2.2).
constexpr size_t kEmptyLinesMax = 4;
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
    kBody,  // of a declared length
    kChunked,
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
  HttpEvent feed_chunked(std::string_view bytes, size_t& used);

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
  uint64_t remaining = 0;  // of the body, if its length was declared
  ChunkedReader chunks;
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
  if (head.chunked) chunks.start(limits.body_bytes_max);
  remaining = head.content_length.value_or(0);
  phase = head.chunked ? Phase::kChunked : remaining > 0 ? Phase::kBody : Phase::kEnd;
  return HttpEvent::kHead;
}

HttpEvent RequestParser::State::feed_body(std::string_view bytes, size_t& used) {
  if (phase == Phase::kChunked) return feed_chunked(bytes, used);
  if (phase == Phase::kBody) {
    if (bytes.empty()) return HttpEvent::kNeedMore;
    body = bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(remaining, bytes.size())));
    used = body.size();
    remaining -= body.size();
    if (remaining == 0) phase = Phase::kEnd;
    return HttpEvent::kBody;
  }
  phase = Phase::kRequestLine;
  return HttpEvent::kEnd;
}

// Trailers are checked and dropped.
HttpEvent RequestParser::State::feed_chunked(std::string_view bytes, size_t& used) {
  switch (chunks.feed(bytes, used)) {
    case ChunkedReader::Step::kNeedMore:
      return HttpEvent::kNeedMore;
    case ChunkedReader::Step::kData:
      body = chunks.data();
      return HttpEvent::kBody;
    case ChunkedReader::Step::kEnd:
      phase = Phase::kRequestLine;
      return HttpEvent::kEnd;
    case ChunkedReader::Step::kError:
      break;
  }
  return fail(chunks.error());
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
