// SPDX-License-Identifier: Apache-2.0
#pragma once
// HTTP/1.1 without I/O: bytes in, message events out. One RequestParser reads one connection's
// stream of requests; whatever could be read in two ways is refused (RFC 9112), and after a refusal
// the stream is never read again. Not thread-safe; belongs to its connection.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/chunk.h"
#include "base/result.h"

namespace sluice {

// What a request may at most be. Beyond: 414 for the line, 431 for the
// fields, 413 for the body.
struct HttpLimits {
  size_t line_bytes_max = 16 * 1024;  // the request line without its CRLF
  size_t headers_max = 128;           // number of header fields
  size_t headers_bytes_max =
      64 * 1024;  // all header fields with their CRLF; must cover cookies and tokens
  uint64_t body_bytes_max = 20 * 1024 * 1024;
};

// A header field; the name as it was sent, the value without blanks around it.
struct Header {
  std::string_view name;
  std::string_view value;
};

// The head of a request. The views point into bytes that the head owns; moving it keeps them valid.
struct RequestHead {
  std::string method;         // "POST"
  std::string target;         // origin-form: "/v1/embeddings?x=1"; absolute-form is turned into it
  uint8_t version_minor = 1;  // of HTTP/1.x: 0 or 1
  std::vector<Header> headers;
  bool keep_alive = true;         // whether the peer allows another request after this one
  bool expects_continue = false;  // "Expect: 100-continue" on a request with a body
  bool chunked = false;
  std::optional<uint64_t> content_length;
  std::string_view upgrade;  // the Upgrade header of an HTTP/1.1 request with "Connection: upgrade"
  Slice bytes;               // what the views point into

  // The value of the first field called `name` (any case), or nothing.
  std::optional<std::string_view> find(std::string_view name) const;
  // The target without its query.
  std::string_view path() const;
};

// What feed() has come to.
enum class HttpEvent {
  kNeedMore,  // all bytes given were used; nothing to tell
  kHead,      // head() is complete
  kBody,      // body() is a part of the body; only valid until the next feed()
  kEnd,       // the request is complete; feed() again begins the next one
  kError,     // error() says why; the answer is its status and then close
};

// Reads requests from a byte stream, given in any pieces.
class RequestParser {
 public:
  explicit RequestParser(const HttpLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Reads from `bytes`, stops at the first event and says in `used` how many bytes it has consumed;
  // call again with the rest, even if that is empty, until kNeedMore. Never consumes past kEnd, so
  // that pipelined bytes stay with the caller. After kError every call is kError.
  HttpEvent feed(std::string_view bytes, size_t& used);

  // REQUIRES: kHead was the last event but kBody and kEnd. May be moved from.
  RequestHead& head();
  std::string_view body() const;
  // kInvalid, kTooLarge, kUriTooLong, kHeadersTooLarge, kExpectation, or kNotImplemented (unknown
  // methods, CONNECT, transfer codings but chunked).
  const Error& error() const;
  // Whether a request has begun (its first byte was read) and not ended.
  bool in_message() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The header lines of a response, ready to be sent.
class HeaderLines {
 public:
  HeaderLines() = default;
  // Adds each.
  HeaderLines(std::initializer_list<std::pair<std::string_view, std::string_view>> lines) {
    for (const auto& [name, value] : lines) add(name, value);
  }
  // Appends a line. One that would break the message is left out: a name that is no token, CR, LF
  // or NUL in the value, or what write_response_head() says (Content-Length, Transfer-Encoding,
  // Connection, Date).
  void add(std::string_view name, std::string_view value);
  // As add(), in place of the lines that have that name.
  void set(std::string_view name, std::string_view value);
  // The value of the first line of that name, or nothing.
  std::optional<std::string_view> find(std::string_view name) const;
  // All of them, each with its CRLF.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// How a response is framed.
struct ResponseFraming {
  uint64_t content_length = 0;
  bool keep_alive = true;      // false adds "Connection: close"
  uint8_t version_minor = 1;   // of the request; HTTP/1.0 with keep-alive needs it said
  std::string_view date = {};  // the Date header's value; left out when empty
};

// Appends status line, headers and the blank line to `out`. Statuses 1xx, 204 and 304 get no
// Content-Length.
void write_response_head(std::string& out, int status, const HeaderLines& headers,
                         const ResponseFraming& framing);

}  // namespace sluice
