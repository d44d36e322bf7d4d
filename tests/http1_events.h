// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a RequestParser makes of a stream, as text, so that two readings can be compared.

#include <functional>
#include <string>
#include <string_view>

#include "base/http1.h"

namespace sluice {

// How many bytes of the `left` ones to feed next; at least 1.
using PieceSize = std::function<size_t(size_t left)>;

inline std::string describe_head(const RequestHead& head) {
  std::string text = head.method + " " + head.target + " 1." + std::to_string(head.version_minor);
  for (const Header& header : head.headers) {
    text.append(" ").append(header.name).append("=").append(header.value);
  }
  if (head.content_length) text += " length:" + std::to_string(*head.content_length);
  if (head.chunked) text += " chunked";
  if (head.expects_continue) text += " continue";
  if (!head.upgrade.empty()) text.append(" upgrade:").append(head.upgrade);
  text += head.keep_alive ? " keep" : " close";
  return text;
}

// The events of `stream`, fed in pieces: "[POST / 1.1 Host=a keep] body(abc) end error(400)", then
// "more" if the stream ends inside a message.
inline std::string event_log(std::string_view stream, const PieceSize& piece_size,
                             const HttpLimits& limits = {}) {
  RequestParser parser(limits);
  std::string log;
  std::string body;
  const auto flush_body = [&] {
    if (!body.empty()) log += "body(" + body + ") ";
    body.clear();
  };
  while (!stream.empty()) {
    const size_t size = piece_size(stream.size());
    std::string_view piece = stream.substr(0, size);
    stream.remove_prefix(size);
    HttpEvent event;
    do {
      size_t used = 0;
      event = parser.feed(piece, used);
      piece.remove_prefix(used);
      if (event == HttpEvent::kHead) log += "[" + describe_head(parser.head()) + "] ";
      if (event == HttpEvent::kBody) body.append(parser.body());
      if (event == HttpEvent::kEnd) {
        flush_body();
        log += "end ";
      }
    } while (event != HttpEvent::kNeedMore && event != HttpEvent::kError);
    if (event == HttpEvent::kError) {
      flush_body();
      log += "error(" + std::to_string(http_status(parser.error().code)) + ") ";
      size_t used = 0;
      if (parser.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", used) != HttpEvent::kError) log += "!";
      stream = {};
    }
  }
  flush_body();
  if (parser.in_message()) log += "more ";
  if (!log.empty()) log.pop_back();
  return log;
}

inline std::string event_log(std::string_view stream, const HttpLimits& limits = {}) {
  return event_log(stream, [](size_t left) { return left; }, limits);
}

}  // namespace sluice
