// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a ResponseParser makes of a connection, as text, so that two readings can be compared.

#include <functional>
#include <string>
#include <string_view>

#include "base/http1_response.h"

namespace sluice {

inline std::string describe_head(const UpstreamHead& head) {
  std::string text = std::to_string(head.status) + " 1." + std::to_string(head.version_minor);
  if (!head.reason.empty()) text.append(" ").append(head.reason);
  for (const Header& header : head.headers) {
    text.append(" ").append(header.name).append("=").append(header.value);
  }
  if (head.content_length) text += " length:" + std::to_string(*head.content_length);
  if (head.chunked) text += " chunked";
  if (head.until_close) text += " until-close";
  text += head.keep_alive ? " keep" : " close";
  return text;
}

// The events of a connection on which `methods`, words between blanks, were asked one after the
// other: "[200 1.1 OK A=b length:3 keep] body(abc) end(Trailer=1)", "interim[…]", "switched[…]
// rest(…)", "error" or "error(too large)". `stream` comes in pieces, then the connection ends. A
// request is sent when the response before it is complete; bytes that are left then are the next's.
inline std::string response_log(std::string_view methods, std::string_view stream,
                                const std::function<size_t(size_t)>& piece_size,
                                const HttpResponseLimits& limits = {}) {
  ResponseParser parser(limits);
  std::string log;
  std::string body;
  const auto expect_next = [&] {
    const size_t size = std::min(methods.find(' '), methods.size());
    if (size == 0) return;
    parser.expect(methods.substr(0, size));
    methods.remove_prefix(std::min(size + 1, methods.size()));
  };
  // Returns whether reading goes on.
  const auto note = [&](ResponseEvent event) {
    if (event == ResponseEvent::kBody) {
      body.append(parser.body());
      return true;
    }
    if (!body.empty() && event != ResponseEvent::kNeedMore) {
      log += "body(" + std::exchange(body, {}) + ") ";
    }
    if (event == ResponseEvent::kHead) log += "[" + describe_head(parser.head()) + "] ";
    if (event == ResponseEvent::kInterim) log += "interim[" + describe_head(parser.head()) + "] ";
    if (event == ResponseEvent::kSwitched) log += "switched[" + describe_head(parser.head()) + "] ";
    if (event == ResponseEvent::kEnd) {
      log += "end";
      std::string sum;
      for (const Header& trailer : parser.trailers()) {
        sum += sum.empty() ? "(" : " ";
        sum.append(trailer.name).append("=").append(trailer.value);
      }
      log += sum + (sum.empty() ? " " : ") ");
      expect_next();
    }
    if (event == ResponseEvent::kError) {
      log += parser.error().code == Code::kTooLarge ? "error(too large) " : "error ";
    }
    return event != ResponseEvent::kError && event != ResponseEvent::kSwitched;
  };
  expect_next();
  bool open = true;
  while (open && !stream.empty()) {
    const size_t size = piece_size(stream.size());
    std::string_view piece = stream.substr(0, size);
    ResponseEvent event = ResponseEvent::kBody;
    while (open && event != ResponseEvent::kNeedMore) {
      size_t used = 0;
      event = parser.feed(piece, used);
      piece.remove_prefix(used);
      stream.remove_prefix(used);
      open = note(event);
      if (event == ResponseEvent::kSwitched) log += "rest(" + std::string(stream) + ") ";
    }
  }
  if (open) note(parser.end());
  if (!log.empty()) log.pop_back();
  return log;
}

inline std::string response_log(std::string_view methods, std::string_view stream,
                                const HttpResponseLimits& limits = {}) {
  return response_log(methods, stream, [](size_t left) { return left; }, limits);
}

}  // namespace sluice
