// SPDX-License-Identifier: Apache-2.0
#pragma once
// The upstream's side of HTTP/1.1 without I/O: responses read strictly from bytes in any pieces,
// request heads and chunked bodies written. Not thread-safe; belongs to its connection.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/chunk.h"
#include "base/http1.h"
#include "base/result.h"

namespace sluice {

// What a response may at most be; beyond: kError.
struct HttpResponseLimits {
  size_t head_bytes_max = 64 * 1024;
  size_t headers_max = 256;
  uint64_t body_bytes_max = UINT64_MAX;
};

// The head of a response as it came. The views point into `bytes`; moving it keeps them valid.
struct UpstreamHead {
  int status = 0;
  std::string_view reason;
  uint8_t version_minor = 1;
  std::vector<Header> headers;  // order and duplicates kept
  bool keep_alive = true;       // whether another request may follow on this connection
  bool chunked = false;
  std::optional<uint64_t>
      content_length;        // of this message's body; nothing: chunked, or to the end
  bool until_close = false;  // the body ends with the connection
  Slice bytes;

  // The value of the first field called `name` (any case), or nothing.
  std::optional<std::string_view> find(std::string_view name) const;
};

// What feed() has come to.
enum class ResponseEvent {
  kNeedMore,  // all bytes given were used
  kInterim,   // head() is a 1xx other than 101; another head follows
  kHead,      // head() is the final one
  kBody,      // body() is a part of the body, its coding undone; valid until the next feed()
  kEnd,       // the response is complete; trailers() are known
  kSwitched,  // a 101: what follows are no longer HTTP's bytes, and stays with the caller
  kError,     // error() says why
};

// Reads the responses to requests that were sent one after another on one connection.
class ResponseParser {
 public:
  explicit ResponseParser(const HttpResponseLimits& limits);
  ~ResponseParser();
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  // A request was sent; `method` decides whether its response has a body. REQUIRES: the previous
  // response is complete.
  void expect(std::string_view method);
  // As RequestParser::feed. Bytes before expect() are an error: nobody asked for them. After kEnd
  // it consumes nothing until expect().
  ResponseEvent feed(std::string_view bytes, size_t& used);
  // The connection has ended. kEnd if that completes the body, kError if it cuts the response.
  ResponseEvent end();

  UpstreamHead& head();  // REQUIRES: kInterim, kHead or kSwitched came; may be moved from
  std::string_view body() const;
  std::span<const Header> trailers() const;  // valid from kEnd until expect()
  const Error& error() const;                // kUpstream; kTooLarge: beyond the limits
  // Whether any byte of the current response has been read.
  bool begun() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A request head as it is sent: what is not in `headers` is not sent, framing included.
struct RequestLine {
  std::string_view method;
  std::string_view target;
};
// Appends request line, headers and the blank line to `out`. A header whose name is no token or
// whose value holds CR, LF or NUL is left out.
void write_request_head(std::string& out, const RequestLine& line, std::span<const Header> headers);
// Appends the frame of a chunk of `bytes` bytes before its data; after the data comes CRLF.
void write_chunk_size(std::string& out, uint64_t bytes);
// Appends the last chunk with its trailers.
void write_last_chunk(std::string& out, std::span<const Header> trailers);

}  // namespace sluice
