// SPDX-License-Identifier: Apache-2.0
#include "base/http1_response.h"

// A head is read line by line, once, where it lies if it came in one piece; then it is copied,
// once, so that its views may outlive the read. Nothing is allocated for a response but that copy,
// unless the owner takes the head away.

#include <algorithm>

#include "base/http1_chunked.h"
#include "base/http1_response_head.h"
#include "base/http1_scan.h"

namespace sluice {
namespace {

using http1::ChunkedReader;
using http1::FieldAt;

// 1xx before the final head; beyond, somebody plays with us.
constexpr size_t kInterimMax = 32;
constexpr std::string_view kBegin = "HTTP/1.";

}  // namespace

struct ResponseParser::State {
  enum class Phase {
    kIdle,        // nothing is awaited
    kStatusLine,  // nothing, or a part of it, was read
    kFields,
    kBody,  // of a declared length
    kChunked,
    kUntilClose,
    kEnd,       // the body is complete, which was not told
    kSwitched,  // what comes is not ours
    kFailed,
  };

  explicit State(const HttpResponseLimits& l) : limits(l) {}

  ResponseEvent fail(std::string message) {
    return fail(Error{Code::kUpstream, std::move(message)});
  }
  ResponseEvent fail(Error why) {
    phase = Phase::kFailed;
    error = std::move(why);
    pending.clear();
    return ResponseEvent::kError;
  }
  ResponseEvent fail_head_too_long() {
    return fail({Code::kTooLarge, "the head of the upstream's answer is longer than " +
                                      std::to_string(limits.head_bytes_max) + " bytes"});
  }
  void await_head();
  ResponseEvent feed_head(std::string_view bytes, size_t& used);
  std::optional<ResponseEvent> scan_head(std::string_view window);
  std::optional<ResponseEvent> end_line(std::string_view window, size_t line_end);
  ResponseEvent finish_head(std::string_view window);
  ResponseEvent begin_body();
  ResponseEvent feed_body(std::string_view bytes, size_t& used);
  ResponseEvent feed_chunked(std::string_view bytes, size_t& used);
  ResponseEvent finish() {
    phase = Phase::kIdle;
    return ResponseEvent::kEnd;
  }

  const HttpResponseLimits limits;
  Phase phase = Phase::kIdle;
  bool bodiless = false;  // the request was HEAD
  bool begun = false;
  size_t interim = 0;
  UpstreamHead head;
  std::string_view body;
  Error error;

  // The head so far, if it came in pieces; what was scanned of it, as offsets.
  std::string pending;
  size_t scanned = 0;
  size_t line_begin = 0;
  size_t status_line_end = 0;
  std::vector<FieldAt> fields;

  uint64_t remaining = 0;  // of a declared length, or of what may come until the connection closes
  bool trailers_known = false;
  ChunkedReader chunks;
};

void ResponseParser::State::await_head() {
  phase = Phase::kStatusLine;
  scanned = line_begin = 0;
  fields.clear();
}

ResponseEvent ResponseParser::State::feed_head(std::string_view bytes, size_t& used) {
  begun |= !bytes.empty();
  const size_t before = pending.size();
  std::string_view window = bytes;
  if (before > 0) {
    pending.append(bytes);
    window = pending;
  }
  const std::optional<ResponseEvent> event = scan_head(window);
  if (event == ResponseEvent::kError) return *event;
  if (event) {
    used = scanned - before;
    const ResponseEvent result = finish_head(window);
    pending.clear();
    return result;
  }
  if (before == 0) pending.assign(bytes);
  used = bytes.size();
  return ResponseEvent::kNeedMore;
}

// Scans on until the head is complete (kHead), wrong (kError) or `window` used up. Each byte is
// judged once, in order, so that the first wrong one decides, however the bytes were split.
std::optional<ResponseEvent> ResponseParser::State::scan_head(std::string_view window) {
  // Whoever greets in another protocol may then wait for us for ever.
  if (phase == Phase::kStatusLine && !window.starts_with(kBegin.substr(0, window.size()))) {
    return fail("the upstream's answer does not begin with HTTP/1");
  }
  const char* const data = window.data();
  const char* const scan_end = data + std::min(window.size(), limits.head_bytes_max);
  while (scanned < window.size()) {
    scanned = static_cast<size_t>(
        http1::find_control(data + std::min(scanned, limits.head_bytes_max), scan_end) - data);
    if (scanned >= limits.head_bytes_max) return fail_head_too_long();
    if (scanned == window.size()) break;
    const char c = data[scanned];
    if (c == '\t') {
      ++scanned;
      continue;
    }
    if (c != '\r') return fail("control character in the head of the upstream's answer");
    if (scanned + 1 == window.size()) break;
    if (data[scanned + 1] != '\n')
      return fail("CR without LF in the head of the upstream's answer");
    const size_t line_end = scanned;
    scanned += 2;
    if (scanned > limits.head_bytes_max) return fail_head_too_long();
    if (auto event = end_line(window, line_end)) return event;
    line_begin = scanned;
  }
  return std::nullopt;
}

// Takes the line [line_begin, line_end); kHead if it ends the head.
std::optional<ResponseEvent> ResponseParser::State::end_line(std::string_view window,
                                                             size_t line_end) {
  const std::string_view line = window.substr(line_begin, line_end - line_begin);
  if (phase == Phase::kStatusLine) {
    if (line.empty()) return fail("the upstream's answer begins with an empty line");
    status_line_end = line_end;
    phase = Phase::kFields;
    return std::nullopt;
  }
  if (line.empty()) return ResponseEvent::kHead;
  if (fields.size() == limits.headers_max) {
    return fail({Code::kTooLarge, "the upstream's answer has more than " +
                                      std::to_string(limits.headers_max) + " header fields"});
  }
  // This refuses folded lines, too: they begin with a blank.
  const std::optional<FieldAt> field = http1::read_field(line, line_begin);
  if (!field) return fail("a header field of the upstream is not a name, a colon and a value");
  fields.push_back(*field);
  return std::nullopt;
}

// Interprets the complete head, which ends at `scanned`.
ResponseEvent ResponseParser::State::finish_head(std::string_view window) {
  head.bytes = Slice::copy_of(window.substr(0, scanned));
  const std::string_view status_line = head.bytes.view().substr(0, status_line_end);
  if (auto why =
          http1::read_response_head(status_line, fields, bodiless, limits.body_bytes_max, head)) {
    return fail(*why);
  }
  if (head.status == 101) {
    phase = Phase::kSwitched;
    return ResponseEvent::kSwitched;
  }
  if (head.status < 200) {
    if (++interim > kInterimMax) return fail("the upstream sends interim answers without end");
    await_head();
    return ResponseEvent::kInterim;
  }
  return begin_body();
}

ResponseEvent ResponseParser::State::begin_body() {
  if (head.chunked) {
    phase = Phase::kChunked;
    chunks.start(limits.body_bytes_max);
    trailers_known = true;
  } else if (head.until_close) {
    phase = Phase::kUntilClose;
    remaining = limits.body_bytes_max;
  } else {
    remaining = *head.content_length;
    phase = remaining > 0 ? Phase::kBody : Phase::kEnd;
  }
  return ResponseEvent::kHead;
}

ResponseEvent ResponseParser::State::feed_body(std::string_view bytes, size_t& used) {
  if (phase == Phase::kEnd) return finish();
  if (phase == Phase::kChunked) return feed_chunked(bytes, used);
  if (bytes.empty()) return ResponseEvent::kNeedMore;
  if (remaining == 0) {  // which only the end of the connection may follow
    return fail({Code::kTooLarge, "the upstream's answer is longer than " +
                                      std::to_string(limits.body_bytes_max) + " bytes"});
  }
  body = bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(remaining, bytes.size())));
  used = body.size();
  remaining -= body.size();
  if (phase == Phase::kBody && remaining == 0) phase = Phase::kEnd;
  return ResponseEvent::kBody;
}

ResponseEvent ResponseParser::State::feed_chunked(std::string_view bytes, size_t& used) {
  switch (chunks.feed(bytes, used)) {
    case ChunkedReader::Step::kNeedMore:
      return ResponseEvent::kNeedMore;
    case ChunkedReader::Step::kData:
      body = chunks.data();
      return ResponseEvent::kBody;
    case ChunkedReader::Step::kEnd:
      return finish();
    case ChunkedReader::Step::kError:
      break;
  }
  const bool too_large = chunks.error().code == Code::kTooLarge;
  return fail({too_large ? Code::kTooLarge : Code::kUpstream,
               "in the upstream's answer: " + chunks.error().message});
}

ResponseParser::ResponseParser(const HttpResponseLimits& limits)
    : state_(std::make_unique<State>(limits)) {}
ResponseParser::~ResponseParser() = default;

void ResponseParser::expect(std::string_view method) {
  ASSERT(state_->phase == State::Phase::kIdle);
  state_->bodiless = method == "HEAD";
  state_->begun = false;
  state_->interim = 0;
  state_->trailers_known = false;
  state_->await_head();
}

ResponseEvent ResponseParser::feed(std::string_view bytes, size_t& used) {
  used = 0;
  state_->body = {};
  switch (state_->phase) {
    case State::Phase::kFailed:
      return ResponseEvent::kError;
    case State::Phase::kSwitched:
      return ResponseEvent::kNeedMore;
    case State::Phase::kIdle:
      if (bytes.empty()) return ResponseEvent::kNeedMore;
      return state_->fail("the upstream sent bytes that nobody asked for");
    case State::Phase::kStatusLine:
    case State::Phase::kFields:
      return state_->feed_head(bytes, used);
    default:
      return state_->feed_body(bytes, used);
  }
}

ResponseEvent ResponseParser::end() {
  state_->body = {};
  switch (state_->phase) {
    case State::Phase::kFailed:
      return ResponseEvent::kError;
    case State::Phase::kIdle:
    case State::Phase::kSwitched:
      return ResponseEvent::kNeedMore;
    case State::Phase::kUntilClose:
    case State::Phase::kEnd:
      return state_->finish();
    default:
      return state_->fail("the upstream closed the connection in the middle of its answer");
  }
}

UpstreamHead& ResponseParser::head() { return state_->head; }
std::string_view ResponseParser::body() const { return state_->body; }

std::span<const Header> ResponseParser::trailers() const {
  if (!state_->trailers_known) return {};
  return state_->chunks.trailers();
}

const Error& ResponseParser::error() const {
  ASSERT(state_->phase == State::Phase::kFailed);
  return state_->error;
}

bool ResponseParser::begun() const { return state_->begun; }

}  // namespace sluice
