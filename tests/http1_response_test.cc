// SPDX-License-Identifier: Apache-2.0
// Each case is what was asked, the bytes that came until the connection ended, and the log of what
// is read in them; see http1_response_events.h.
#include "base/http1_response.h"

#include <doctest/doctest.h>

#include "base/prng.h"
#include "tests/http1_response_events.h"

namespace sluice {
namespace {

using namespace std::literals;

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string kOkLog = "[200 1.1 OK Content-Length=2 length:2 keep] body(ok) end";

// A response with `fields`.
std::string ok(std::string_view fields, std::string_view body = "") {
  std::string text = "HTTP/1.1 200 OK\r\n";
  return text.append(fields).append("\r\n").append(body);
}
std::string chunked(std::string_view body) { return ok("Transfer-Encoding: chunked\r\n", body); }
const std::string kChunkedLog = "[200 1.1 OK Transfer-Encoding=chunked chunked keep]";

}  // namespace

TEST_CASE("responses are read one after the other, each for its request") {
  CHECK(response_log("GET", kOk) == kOkLog);
  CHECK(response_log("GET POST", kOk + kOk) == kOkLog + " " + kOkLog);
  CHECK(response_log("HEAD GET", ok("Content-Length: 9\r\n") + kOk) ==
        "[200 1.1 OK Content-Length=9 length:0 keep] end " + kOkLog);
  CHECK(response_log("GET", ok("Content-Length: 0\r\n")) ==
        "[200 1.1 OK Content-Length=0 length:0 keep] end");
}

TEST_CASE("fields keep their order, their case and their duplicates; blanks around values go") {
  CHECK(response_log(
            "GET", ok("B: 1\r\na:\t2 3 \r\nB: 1\r\nE:\r\nU: \xc3\xa9\r\nContent-Length: 0\r\n")) ==
        "[200 1.1 OK B=1 a=2 3 B=1 E= U=\xc3\xa9 Content-Length=0 length:0 keep] end");
  ResponseParser parser(HttpResponseLimits{});
  parser.expect("GET");
  size_t used = 0;
  REQUIRE(parser.feed(ok("A: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\n"), used) ==
          ResponseEvent::kHead);
  const UpstreamHead head = std::move(parser.head());
  CHECK(head.find("SET-COOKIE") == "a");
  CHECK(head.find("b") == std::nullopt);
  CHECK(head.reason == "OK");
}

TEST_CASE("a status line is a version, a status and perhaps a reason") {
  CHECK(response_log("GET", "HTTP/1.1 404 Not  Found\t\r\nContent-Length: 0\r\n\r\n")
            .starts_with("[404 1.1 Not  Found\t Content"));
  CHECK(
      response_log("GET", "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n").starts_with("[599 1.1 C"));
  CHECK(response_log("GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").starts_with("[200 1.1 C"));
  for (const auto line : {"HTTP/1.1 20 OK"sv,    "HTTP/1.1 2000 OK"sv,    "HTTP/1.1 099 X"sv,
                          "HTTP/1.1  200 OK"sv,  "HTTP/1.1 -20 OK"sv,     "HTTP/1.1 2x0 OK"sv,
                          "HTTP/2.0 200 OK"sv,   "HTTP/1.2 200 OK"sv,     "HTTP/1.11 200 OK"sv,
                          "http/1.1 200 OK"sv,   "HTTP/1.1\t200 OK"sv,    "HTTP/1.1 200\tOK"sv,
                          "ICY 200 OK"sv,        " HTTP/1.1 200 OK"sv,    ""sv,
                          "HTTP/1.1"sv,          "HTTP/1.1 200 O\x01K"sv, "HTTP/1.1 200 O\rK"sv,
                          "HTTP/1.1 200 O\nK"sv, "HTTP/1.1 200 O\0K"sv,   "HTTP/1.1 200 \x7f"sv}) {
    CAPTURE(line);
    CHECK(response_log("GET", std::string(line) + "\r\nContent-Length: 0\r\n\r\n") == "error");
  }
}

TEST_CASE("interim responses come before the final one, up to a limit; 101 ends HTTP") {
  CHECK(response_log("GET",
                     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + kOk) ==
        "interim[100 1.1 Continue length:0 keep] interim[103 1.1 Hints Link=a length:0 keep] " +
            kOkLog);
  std::string many;
  for (int i = 0; i < 33; ++i) many += "HTTP/1.1 102 P\r\n\r\n";
  CHECK(response_log("GET", many + kOk).ends_with("] error"));
  CHECK(response_log("GET", "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n\x01\x02 raw") ==
        "switched[101 1.1 S Upgrade=x length:0 close] rest(\x01\x02 raw)");
}

TEST_CASE("204 and 304 have no body, whatever they declare") {
  for (const std::string status : {"204", "304"}) {
    const std::string head = "HTTP/1.1 " + status + " X\r\n";
    CHECK(response_log("GET GET", head + "\r\n" + kOk) ==
          "[" + status + " 1.1 X length:0 keep] end " + kOkLog);
    CHECK(response_log("GET GET", head + "Content-Length: 4\r\n\r\n" + kOk) ==
          "[" + status + " 1.1 X Content-Length=4 length:0 keep] end " + kOkLog);
    CHECK(response_log("GET GET", head + "Transfer-Encoding: chunked\r\n\r\n" + kOk) ==
          "[" + status + " 1.1 X Transfer-Encoding=chunked length:0 keep] end " + kOkLog);
  }
}

TEST_CASE("a body without a length ends with the connection, which is not used again") {
  CHECK(response_log("GET", ok("", "abc" + kOk)) ==
        "[200 1.1 OK until-close close] body(abc" + kOk + ") end");
  CHECK(response_log("GET", ok("")) == "[200 1.1 OK until-close close] end");
}

TEST_CASE("a connection is kept as its version and its words say") {
  const auto kept = [](std::string_view version, std::string_view fields) {
    const std::string text =
        std::string(version) + " 200 OK\r\nContent-Length: 0\r\n" + std::string(fields) + "\r\n";
    return response_log("GET", text).ends_with(" keep] end");
  };
  CHECK(kept("HTTP/1.1", ""));
  CHECK_FALSE(kept("HTTP/1.1", "Connection: close\r\n"));
  CHECK_FALSE(kept("HTTP/1.1", "connection: a,  CLOSE ,b\r\n"));
  CHECK_FALSE(kept("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  CHECK(kept("HTTP/1.1", "Connection: closed\r\n"));
  CHECK_FALSE(kept("HTTP/1.0", ""));
  CHECK(kept("HTTP/1.0", "Connection: Keep-Alive\r\n"));
  CHECK_FALSE(kept("HTTP/1.0", "Connection: keep-alive, close\r\n"));
}

TEST_CASE("chunked bodies are joined; extensions go, trailers are kept in order") {
  CHECK(response_log("GET GET", chunked("3\r\nabc\r\n0\r\n\r\n") + kOk) ==
        kChunkedLog + " body(abc) end " + kOkLog);
  CHECK(response_log("GET GET",
                     chunked("3;a=b;c=\"d\"\r\nabc\r\n00A\r\n0123456789\r\n0;x\r\nB: 1\r\n"
                             "A:  2 \r\nB: 3\r\n\r\n") +
                         kOk) == kChunkedLog + " body(abc0123456789) end(B=1 A=2 B=3) " + kOkLog);
  CHECK(response_log("HEAD", chunked("")) ==
        "[200 1.1 OK Transfer-Encoding=chunked length:0 keep] end");
  for (const auto body : {"x\r\n"sv, "-1\r\n"sv, " 1\r\n"sv, "1 \r\nx\r\n"sv, "1\nx\r\n"sv,
                          "1;\x01\r\nx\r\n"sv, "00000000000000001\r\nx\r\n"sv, "0\r\nX\r\n\r\n"sv,
                          "0\r\n X: 1\r\n"sv, "0\r\nX: 1\n\r\n"sv, "0\r\n\n"sv, "1\0\r\n"sv}) {
    CAPTURE(body);
    CHECK(response_log("GET", chunked(body)) == kChunkedLog + " error");
  }
  CHECK(response_log("GET", chunked("0\r\nA: " + std::string(9000, 'a'))) ==
        kChunkedLog + " error");
}

TEST_CASE("a response whose framing could be read in two ways is refused") {
  for (const auto fields : {"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"sv,
                            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"sv,
                            "Content-Length: 2\r\nContent-Length: 3\r\n"sv,
                            "Content-Length: 2, 2\r\n"sv,
                            "Content-Length:\r\n"sv,
                            "Content-Length: +2\r\n"sv,
                            "Content-Length: 0x2\r\n"sv,
                            "Content-Length: 2 2\r\n"sv,
                            "Content-Length: 18446744073709551616\r\n"sv,
                            "Content-Length : 2\r\n"sv,
                            "Transfer-Encoding:\r\n"sv,
                            "Transfer-Encoding: gzip\r\n"sv,
                            "Transfer-Encoding: gzip, chunked\r\n"sv,
                            "Transfer-Encoding: chunked, chunked\r\n"sv,
                            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"sv,
                            "Transfer-Encoding: chunked\rX: 1\r\n"sv,
                            "X: 1\r\n Content-Length: 2\r\n"sv,
                            "X: 1\r\n\tfolded\r\n"sv,
                            "X: 1\nContent-Length: 2\r\n"sv,
                            ": 1\r\n"sv,
                            "X\r\n"sv,
                            "X Y: 1\r\n"sv,
                            "X: a\0b\r\n"sv,
                            "X\0: 1\r\n"sv,
                            "\r: 1\r\n"sv,
                            "X: \x7f\r\n"sv}) {
    CAPTURE(fields);
    CHECK(response_log("GET", ok(fields, "ok")) == "error");
    CHECK(response_log("HEAD", ok(fields)) == "error");  // it goes to a client all the same
  }
  CHECK(response_log("GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
        "error");
  CHECK(response_log("GET", ok("Content-Length: 2\r\nContent-length: 2\r\n", "ok")) ==
        "[200 1.1 OK Content-Length=2 Content-length=2 length:2 keep] body(ok) end");
}

TEST_CASE("bytes that nobody asked for are an error, before a request and after its response") {
  CHECK(response_log("", kOk) == "error");
  CHECK(response_log("", "") == "");
  CHECK(response_log("GET", kOk + "\r\n") == kOkLog + " error");
  CHECK(response_log("GET", kOk + kOk) == kOkLog + " error");
  ResponseParser parser(HttpResponseLimits{});
  parser.expect("GET");
  CHECK_FALSE(parser.begun());
  size_t used = 0;
  CHECK(parser.feed("H", used) == ResponseEvent::kNeedMore);
  CHECK(parser.begun());
  CHECK(parser.feed(kOk.substr(1) + "x", used) == ResponseEvent::kHead);
  CHECK(parser.feed("okx", used) == ResponseEvent::kBody);
  CHECK(used == 2);
  CHECK(parser.feed("x", used) == ResponseEvent::kEnd);
  CHECK(used == 0);
  parser.expect("GET");
  CHECK_FALSE(parser.begun());
  CHECK(parser.feed("x", used) == ResponseEvent::kError);
  CHECK(parser.feed(kOk, used) == ResponseEvent::kError);
  CHECK(parser.end() == ResponseEvent::kError);
}

TEST_CASE("a connection that ends in the middle cuts the response") {
  const std::string whole = "HTTP/1.1 103 E\r\n\r\n" + chunked("1\r\na\r\n0\r\nA: 1\r\n\r\n");
  for (size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(response_log("GET", whole.substr(0, size)).ends_with("error"));
  }
  for (size_t size = 0; size < kOk.size(); ++size) {
    CHECK(response_log("GET", kOk.substr(0, size)).ends_with("error"));
  }
}

TEST_CASE("what is larger than it may be is refused as soon as that is known") {
  const HttpResponseLimits limits = {.head_bytes_max = 60, .headers_max = 2, .body_bytes_max = 5};
  const auto log = [&](const std::string& text) { return response_log("GET", text, limits); };
  CHECK(log(ok("A: " + std::string(36, 'a') + "\r\n")).ends_with("end"));
  CHECK(log(ok("A: " + std::string(37, 'a') + "\r\n")) == "error(too large)");
  CHECK(log(std::string("HTTP/1.1 200 ") + std::string(60, 'a')) == "error(too large)");
  CHECK(log(ok("A: 1\r\nB: 1\r\n")).ends_with("end"));
  CHECK(log(ok("A: 1\r\nB: 1\r\nC: 1\r\n")) == "error(too large)");
  CHECK(log(ok("Content-Length: 5\r\n", "12345")).ends_with("body(12345) end"));
  CHECK(log(ok("Content-Length: 6\r\n")) == "error(too large)");
  CHECK(log(chunked("5\r\n12345\r\n0\r\n\r\n")).ends_with("body(12345) end"));
  CHECK(log(chunked("3\r\n123\r\n3\r\n")).ends_with("body(123) error(too large)"));
  CHECK(log(ok("", "12345")).ends_with("body(12345) end"));
  CHECK(log(ok("", "123456")).ends_with("body(12345) error(too large)"));
  CHECK(response_log("HEAD", ok("Content-Length: 6\r\n"), limits).ends_with("end"));
}

TEST_CASE("it does not matter in which pieces the bytes come") {
  const std::vector<std::pair<std::string, std::string>> corpus = {
      {"GET HEAD GET", kOk + ok("Content-Length: 4\r\n") + chunked("1\r\na\r\n0\r\nT: 1\r\n\r\n")},
      {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n" + kOk},
      {"GET", ok("A: \tb \r\nE:\r\n", "until the end\r\n\r\n")},
      {"GET", chunked("3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nA: 1\r\nB: 2\r\n\r\nsurplus")},
      {"GET GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na" + kOk},
      {"GET", "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\nraw\r\n"},
      {"GET", ok("A: 1\r\n folded\r\n")},
      {"GET", ok("Content-Length: 2\r\nContent-Length: 3\r\n", "ok")},
      {"GET", chunked("2\r\nabc")},
      {"GET", "HTTP/1.1 200 OK\rX"},
      {"GET", "SSH-2.0-x\r\n"},
  };
  for (const auto& [methods, stream] : corpus) {
    CAPTURE(stream);
    const std::string whole = response_log(methods, stream);
    for (size_t first = 1; first < stream.size(); ++first) {
      size_t pieces = 0;
      const auto split = [&](size_t left) { return pieces++ == 0 ? first : left; };
      CHECK(response_log(methods, stream, split) == whole);
    }
    CHECK(response_log(methods, stream, [](size_t) { return size_t{1}; }) == whole);
    Prng prng(1);
    const auto some = [&](size_t left) {
      return static_cast<size_t>(prng.between(1, static_cast<int64_t>(left)));
    };
    for (int i = 0; i < 50; ++i) CHECK(response_log(methods, stream, some) == whole);
  }
}

TEST_CASE("a request's head and its chunks are written as given, but nothing that ends a line") {
  std::string out = "x";
  const std::vector<Header> headers = {{"Host", "a"},      {"A", "1\r\nB: 2"}, {"A b", "1"},
                                       {"", "1"},          {"C", "1\n"},       {"D", "\0"sv},
                                       {"TE", "trailers"}, {"host", ""}};
  write_request_head(out, {.method = "POST", .target = "/a?b=c"}, headers);
  CHECK(out == "xPOST /a?b=c HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nhost: \r\n\r\n");
  out.clear();
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{255}, UINT64_MAX})
    write_chunk_size(out, bytes);
  CHECK(out == "1\r\nff\r\nffffffffffffffff\r\n");
  out.clear();
  const std::vector<Header> trailers = {{"Sum", "1"}, {"Bad", "\r"}};
  write_last_chunk(out, trailers);
  write_last_chunk(out, {});
  CHECK(out == "0\r\nSum: 1\r\n\r\n0\r\n\r\n");
}

}  // namespace sluice
