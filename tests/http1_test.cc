// SPDX-License-Identifier: Apache-2.0
// Each case is a stream and the log of what is read in it: "[METHOD target 1.minor Name=value …
// framing keep|close]", "body(…)", "end", "error(status)", and "more" if a message is unfinished.
#include "base/http1.h"

#include <doctest/doctest.h>

#include "base/prng.h"
#include "tests/http1_events.h"

namespace sluice {
namespace {

using namespace std::literals;

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kGetLog = "[GET / 1.1 Host=a keep] end";

// A request with `fields` after its Host.
std::string post(std::string_view fields, std::string_view body = "") {
  std::string text = "POST / HTTP/1.1\r\nHost: a\r\n";
  text.append(fields).append("\r\n").append(body);
  return text;
}
std::string chunked(std::string_view body) { return post("Transfer-Encoding: chunked\r\n", body); }
const std::string kChunkedLog = "[POST / 1.1 Host=a Transfer-Encoding=chunked chunked keep]";

std::string request_line(std::string_view line) {
  return std::string(line) + "\r\nHost: a\r\n\r\n";
}

}  // namespace

TEST_CASE("requests are read one after the other, with and without bodies") {
  CHECK(event_log(kGet) == kGetLog);
  CHECK(event_log(kGet + kGet) == kGetLog + " " + kGetLog);
  CHECK(event_log(post("Content-Length: 3\r\n", "abc") + kGet) ==
        "[POST / 1.1 Host=a Content-Length=3 length:3 keep] body(abc) end " + kGetLog);
  CHECK(event_log(post("Content-Length: 0\r\n") + kGet) ==
        "[POST / 1.1 Host=a Content-Length=0 length:0 keep] end " + kGetLog);
  CHECK(event_log(post("Content-Length: 3\r\n", "ab")) ==
        "[POST / 1.1 Host=a Content-Length=3 length:3 keep] body(ab) more");
  CHECK(event_log("GET / HTT") == "more");
  CHECK(event_log("") == "");
  CHECK(event_log(post("X: \t a b\t \r\nEmpty:\r\nEmpty2:  \r\nUtf8: \xc3\xa9\r\n")) ==
        "[POST / 1.1 Host=a X=a b Empty= Empty2= Utf8=\xc3\xa9 keep] end");
}

TEST_CASE("a valid request followed by garbage is given first, then the error") {
  CHECK(event_log(kGet + "garbage\r\n\r\n") == kGetLog + " error(400)");
  CHECK(event_log(kGet + "\x16\x03\x01") == kGetLog + " error(400)");
  RequestParser parser(HttpLimits{});
  const std::string stream = kGet + "\0"s;
  size_t used = 0;
  CHECK(parser.feed(stream, used) == HttpEvent::kHead);
  CHECK(used == kGet.size());
  CHECK(parser.feed(std::string_view(stream).substr(used), used) == HttpEvent::kEnd);
  CHECK(used == 0);
  CHECK_FALSE(parser.in_message());
}

TEST_CASE("chunked bodies are joined; extensions and trailers are dropped") {
  CHECK(event_log(chunked("3\r\nabc\r\n0\r\n\r\n") + kGet) ==
        kChunkedLog + " body(abc) end " + kGetLog);
  CHECK(event_log(chunked("3;a=b;c=\"d\"\r\nabc\r\n00A\r\n0123456789\r\n0;x\r\n\r\n")) ==
        kChunkedLog + " body(abc0123456789) end");
  CHECK(event_log(chunked("1\r\nx\r\n0\r\nChecksum: 1\r\nA:\r\n\r\n") + kGet) ==
        kChunkedLog + " body(x) end " + kGetLog);
  CHECK(event_log(post("transfer-encoding:Chunked\r\n", "0\r\n\r\n")) ==
        "[POST / 1.1 Host=a transfer-encoding=Chunked chunked keep] end");
  CHECK(event_log(chunked("1\r\nx\r\n")) == kChunkedLog + " body(x) more");
}

TEST_CASE("a wrong frame ends the stream") {
  for (const auto body : {"\r\n"sv,
                          "x\r\n"sv,
                          "-1\r\n"sv,
                          "+1\r\nx\r\n"sv,
                          "0x1\r\n"sv,
                          " 1\r\n"sv,
                          "1 \r\nx\r\n"sv,
                          "1 ;a\r\nx\r\n"sv,
                          "1\nx\r\n"sv,
                          "1\r\r\n"sv,
                          "1;a\nx\r\n"sv,
                          "1;\x01\r\nx\r\n"sv,
                          ";a\r\n"sv,
                          "00000000000000001\r\nx\r\n"sv,
                          "0\r\nX\r\n\r\n"sv,
                          "0\r\nX : 1\r\n"sv,
                          "0\r\n X: 1\r\n"sv,
                          "0\r\nX: 1\n\r\n"sv,
                          "0\r\nX: \x01\r\n"sv,
                          "0\r\n\n"sv,
                          "0\r\n\rx"sv,
                          "1\0\r\n"sv}) {
    CAPTURE(body);
    CHECK(event_log(chunked(body)) == kChunkedLog + " error(400)");
  }
  for (const auto body : {"1\r\nxy\r\n"sv, "1\r\nx\n"sv, "1\r\nx\ry"sv, "1\r\nx0\r\n\r\n"sv}) {
    CAPTURE(body);
    CHECK(event_log(chunked(body)) == kChunkedLog + " body(x) error(400)");
  }
}

TEST_CASE("a request whose framing could be read in two ways is refused") {
  for (const auto fields : {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"sv,
                            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"sv,
                            "Content-Length: 3\r\nContent-Length: 3\r\n"sv,
                            "Content-Length: 3\r\nContent-Length: 4\r\n"sv,
                            "Content-Length: 3\r\ncontent-length: 3\r\n"sv,
                            "Content-Length: 3, 3\r\n"sv,
                            "Content-Length:\r\n"sv,
                            "Content-Length: +3\r\n"sv,
                            "Content-Length: -3\r\n"sv,
                            "Content-Length: 0x3\r\n"sv,
                            "Content-Length: 3.0\r\n"sv,
                            "Content-Length: 3 3\r\n"sv,
                            "Content-Length: a\r\n"sv,
                            "Content-Length: 18446744073709551616\r\n"sv,
                            "Content-Length: 99999999999999999999999\r\n"sv,
                            "Content-Length : 3\r\n"sv,
                            "Transfer-Encoding:\r\n"sv,
                            "Transfer-Encoding: ,\r\n"sv,
                            "Transfer-Encoding: chunked,\r\n"sv,
                            "Transfer-Encoding: chunked, chunked\r\n"sv,
                            "Transfer-Encoding: chunked, identity\r\n"sv,
                            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"sv,
                            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"sv,
                            "Transfer-Encoding: chun ked\r\n"sv,
                            "Transfer-Encoding: \"chunked\"\r\n"sv,
                            "Transfer-Encoding: \vchunked\r\n"sv,
                            "Transfer-Encoding : chunked\r\n"sv,
                            "Transfer-Encoding\t: chunked\r\n"sv,
                            "Transfer-Encoding: chunked\rX: 1\r\n"sv,
                            "Transfer-Encoding: xchunked\n"sv,
                            " Transfer-Encoding: chunked\r\n"sv,
                            "X: 1\r\n Transfer-Encoding: chunked\r\n"sv,
                            "X: 1\rTransfer-Encoding: chunked\r\n"sv,
                            "X: 1\nTransfer-Encoding: chunked\r\n"sv,
                            "Transfer-Encoding: chunked, identity\r\nContent-Length: 3\r\n"sv,
                            "Transfer-Encoding: x\r\nContent-Length: 3\r\n"sv}) {
    CAPTURE(fields);
    CHECK(event_log(post(fields, "abc")) == "error(400)");
  }
  CHECK(event_log("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
        "error(400)");
}

TEST_CASE("transfer codings that are well-formed but unknown are not implemented") {
  for (const auto coding :
       {"gzip, chunked"sv, "gzip"sv, "identity"sv, "xchunked"sv, "x;q=1, chunked"sv}) {
    CAPTURE(coding);
    CHECK(event_log(post("Transfer-Encoding: " + std::string(coding) + "\r\n")) == "error(501)");
  }
}

TEST_CASE("a head that is not strictly a head is refused") {
  for (const auto fields :
       {"X\r\n"sv,           ": x\r\n"sv,          "X y: 1\r\n"sv,  "X : 1\r\n"sv,
        "X\t: 1\r\n"sv,      " X: 1\r\n"sv,        "\tX: 1\r\n"sv,  "X: 1\r\n y\r\n"sv,
        "X: 1\r\n\ty\r\n"sv, "X: 1\r\n \r\n"sv,    "X: a\0b\r\n"sv, "X: a\x01\r\n"sv,
        "X: a\x7f\r\n"sv,    "X: a\x1b[0m\r\n"sv,  "X: 1\r"sv,      "X: 1\ry: 2\r\n"sv,
        "X: 1\n"sv,          "X\xc3\xa9: 1\r\n"sv, "X(: 1\r\n"sv,   "X\": 1\r\n"sv,
        "X/: 1\r\n"sv,       "\0: 1\r\n"sv,        "X: 1\r\r\n"sv,  "Host: a\r\n"sv,
        "host: b\r\n"sv}) {
    CAPTURE(fields);
    CHECK(event_log(post(fields)) == "error(400)");
  }
  CHECK(event_log("GET / HTTP/1.1\nHost: a\n\n") == "error(400)");
  CHECK(event_log("GET / HTTP/1.1\r\nHost: a\r\n\n") == "error(400)");
  CHECK(event_log("GET / HTTP/1.1\r\n Host: a\r\n\r\n") == "error(400)");
}

TEST_CASE("a request line is a method, a target and HTTP/1.0 or 1.1") {
  for (const auto line : {"GET /"sv,
                          "GET"sv,
                          "GET / HTTP/2.0"sv,
                          "GET / HTTP/0.9"sv,
                          "GET / HTTP/1.2"sv,
                          "GET / HTTP/3.0"sv,
                          "GET / http/1.1"sv,
                          "GET / HTTP/1.1 "sv,
                          "GET / HTTP/1"sv,
                          "GET / HTTP/1.10"sv,
                          "GET / HTTP/11"sv,
                          "GET / HTTP 1.1"sv,
                          "GET / XTTP/1.1"sv,
                          "GET  / HTTP/1.1"sv,
                          "GET /  HTTP/1.1"sv,
                          " GET / HTTP/1.1"sv,
                          "GET\t/ HTTP/1.1"sv,
                          "GET /\tHTTP/1.1"sv,
                          "GET / a HTTP/1.1"sv,
                          "GET HTTP/1.1"sv,
                          "get / HTTP/1.1"sv,
                          "Get / HTTP/1.1"sv,
                          "G(T / HTTP/1.1"sv,
                          "PRI * HTTP/2.0"sv,
                          "GET a HTTP/1.1"sv,
                          "GET * HTTP/1.1"sv,
                          "GET /#x HTTP/1.1"sv,
                          "GET /\xc3\xa9 HTTP/1.1"sv,
                          "GET /\x7f HTTP/1.1"sv,
                          "GET /\0 HTTP/1.1"sv,
                          "GET ftp://a/ HTTP/1.1"sv,
                          "GET http:///x HTTP/1.1"sv,
                          "GET http://u@h/ HTTP/1.1"sv,
                          "GET http:/x HTTP/1.1"sv,
                          "GET http://a:x/ HTTP/1.1"sv,
                          "\x16\x03\x01\x02"sv}) {
    CAPTURE(line);
    CHECK(event_log(request_line(line)) == "error(400)");
  }
  CHECK(event_log(request_line("CONNECT a:80 HTTP/1.1")) == "error(501)");
  CHECK(event_log(request_line("BREW / HTTP/1.1")) == "error(501)");
  CHECK(event_log("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == "error(400)");
  for (const auto method : {"GET"sv, "HEAD"sv, "POST"sv, "PUT"sv, "DELETE"sv, "PATCH"sv,
                            "OPTIONS"sv, "TRACE"sv, "PROPFIND"sv}) {
    CHECK(event_log(request_line(std::string(method) + " /v1/a?b=c&d=%20 HTTP/1.1")) ==
          "[" + std::string(method) + " /v1/a?b=c&d=%20 1.1 Host=a keep] end");
  }
}

TEST_CASE("an absolute target becomes a path, and its authority the Host") {
  CHECK(event_log(request_line("GET http://b:81/x?y HTTP/1.1")) ==
        "[GET /x?y 1.1 Host=b:81 keep] end");
  CHECK(event_log(request_line("GET HTTPS://b HTTP/1.1")) == "[GET / 1.1 Host=b keep] end");
  CHECK(event_log(request_line("GET http://b?x HTTP/1.1")) == "[GET /?x 1.1 Host=b keep] end");
  CHECK(event_log(request_line("OPTIONS http://b HTTP/1.1")) == "[OPTIONS * 1.1 Host=b keep] end");
  CHECK(event_log(request_line("OPTIONS * HTTP/1.1")) == "[OPTIONS * 1.1 Host=a keep] end");
}

TEST_CASE("a request of HTTP/1.1 has one valid Host") {
  const auto with_host = [](std::string_view host) {
    return event_log("GET / HTTP/1.1\r\nHost:" + std::string(host) + "\r\n\r\n");
  };
  for (const auto host :
       {"a"sv, "A.b-c_d"sv, "127.0.0.1:8080"sv, "[::1]"sv, "[2001:db8::1]:443"sv, "a:65535"sv}) {
    CAPTURE(host);
    CHECK(with_host(host) == "[GET / 1.1 Host=" + std::string(host) + " keep] end");
  }
  for (const auto host :
       {""sv,       " "sv,   ":80"sv, "a:"sv,   "a:b"sv,  "a:65536"sv,   "a:000080"sv,
        "a b"sv,    "a/b"sv, "a,b"sv, "u@a"sv,  "[::1"sv, "[]"sv,        "[g]"sv,
        "[::1]x"sv, "a?b"sv, "a#b"sv, "a\\b"sv, "<a>"sv,  "a\xc3\xa9"sv, "::1"sv}) {
    CAPTURE(host);
    CHECK(with_host(host) == "error(400)");
  }
  CHECK(event_log("GET / HTTP/1.1\r\n\r\n") == "error(400)");
  CHECK(event_log("GET / HTTP/1.1\r\nX: y\r\n\r\n") == "error(400)");
  CHECK(event_log("GET / HTTP/1.0\r\n\r\n") == "[GET / 1.0 close] end");
  CHECK(event_log("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n") == "error(400)");
}

TEST_CASE("whether the connection stays is decided by version and Connection") {
  const auto keeps = [](std::string_view version, std::string_view fields) {
    const std::string log = event_log("GET / HTTP/" + std::string(version) + "\r\nHost: a\r\n" +
                                      std::string(fields) + "\r\n");
    CHECK(log.ends_with(" end"));
    return log.ends_with(" keep] end");
  };
  CHECK(keeps("1.1", ""));
  CHECK_FALSE(keeps("1.1", "Connection: close\r\n"));
  CHECK_FALSE(keeps("1.1", "connection: x, CLOSE\r\n"));
  CHECK_FALSE(keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  CHECK(keeps("1.1", "Connection: closed\r\n"));
  CHECK_FALSE(keeps("1.0", ""));
  CHECK(keeps("1.0", "Connection: Keep-Alive\r\n"));
  CHECK_FALSE(keeps("1.0", "Connection: keep-alive, close\r\n"));
}

TEST_CASE("an upgrade is told but does not change how the stream is read") {
  CHECK(event_log("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" +
                  kGet) ==
        "[GET / 1.1 Host=a Connection=Upgrade Upgrade=websocket upgrade:websocket keep] end " +
            kGetLog);
  CHECK(event_log(post("Connection: x, upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n", "x")) ==
        "[POST / 1.1 Host=a Connection=x, upgrade Upgrade=h2c Content-Length=1 length:1 "
        "upgrade:h2c keep] body(x) end");
  CHECK(event_log(post("Upgrade: websocket\r\n")) ==
        "[POST / 1.1 Host=a Upgrade=websocket keep] end");
}

TEST_CASE("100-continue is expected only where a body follows; other expectations fail") {
  CHECK(event_log(post("Expect: 100-Continue\r\nContent-Length: 1\r\n", "x")) ==
        "[POST / 1.1 Host=a Expect=100-Continue Content-Length=1 length:1 continue keep] body(x) "
        "end");
  CHECK(event_log(post("Expect: 100-continue\r\n")) ==
        "[POST / 1.1 Host=a Expect=100-continue keep] end");
  CHECK(event_log(post("Expect: wonders\r\n")) == "error(417)");
  CHECK(event_log("GET / HTTP/1.0\r\nExpect: wonders\r\n\r\n") ==
        "[GET / 1.0 Expect=wonders close] end");
}

TEST_CASE("a few empty lines may stand before a request, and do not begin one") {
  CHECK(event_log("\r\n\r\n\r\n\r\n" + kGet + "\r\n" + kGet) == kGetLog + " " + kGetLog);
  CHECK(event_log("\r\n\r\n\r\n\r\n\r\n" + kGet) == "error(400)");
  CHECK(event_log("\n" + kGet) == "error(400)");
  CHECK(event_log("\r\n\r\n") == "");
  CHECK(event_log("\r") == "");
  CHECK(event_log("\r\nG") == "more");
}

TEST_CASE("limits allow exactly their value") {
  const HttpLimits limits{
      .line_bytes_max = 20, .headers_max = 3, .headers_bytes_max = 40, .body_bytes_max = 5};
  const auto status = [&](const std::string& stream) {
    const std::string log = event_log(stream, limits);
    const size_t error = log.find("error(");
    return error == log.npos ? "ok"s : log.substr(error + 6, 3);
  };
  CHECK(status("GET /1234567 HTTP/1.1\r\nHost: a\r\n\r\n") == "414");
  CHECK(status("GET /123456 HTTP/1.1\r\nHost: a\r\n\r\n") == "ok");
  CHECK(status(std::string(21, 'G')) == "414");
  CHECK(status(std::string(20, 'G')) == "ok");
  // "Host: a\r\n" has 9 bytes.
  CHECK(status(post("X: " + std::string(26, 'x') + "\r\n")) == "ok");
  CHECK(status(post("X: " + std::string(27, 'x') + "\r\n")) == "431");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nX: " + std::string(28, 'x')) == "ok");
  CHECK(status("POST / HTTP/1.1\r\nHost: a\r\nX: " + std::string(29, 'x')) == "431");
  CHECK(status(post("A:\r\nB:\r\n")) == "ok");
  CHECK(status(post("A:\r\nB:\r\nC:\r\n")) == "431");
  CHECK(status(post("Content-Length: 5\r\n", "12345")) == "ok");
  // The declared length is refused before any of the body.
  CHECK(event_log(post("Content-Length: 6\r\n", "123456"), limits) == "error(413)");
  const HttpLimits small_body{.body_bytes_max = 5};
  CHECK(event_log(chunked("5\r\n12345\r\n0\r\n\r\n"), small_body) ==
        kChunkedLog + " body(12345) end");
  CHECK(event_log(chunked("6\r\n123456\r\n"), small_body) == kChunkedLog + " error(413)");
  CHECK(event_log(chunked("3\r\n123\r\n3\r\n456\r\n"), small_body) ==
        kChunkedLog + " body(123) error(413)");
  CHECK(event_log(chunked("ffffffffffffffff\r\n"), small_body) == kChunkedLog + " error(413)");
  const std::string extension = "1;" + std::string(2000, 'x') + "\r\na\r\n";
  CHECK(event_log(chunked(extension + extension + "0\r\n\r\n")) == kChunkedLog + " body(aa) end");
  CHECK(event_log(chunked(extension + extension + extension)) ==
        kChunkedLog + " body(aa) error(400)");
  const std::string trailer = "X: " + std::string(4000, 'x') + "\r\n";
  CHECK(event_log(chunked("0\r\n" + trailer + trailer + "\r\n")) == kChunkedLog + " end");
  CHECK(event_log(chunked("0\r\n" + trailer + trailer + trailer + "\r\n")) ==
        kChunkedLog + " error(400)");
}

TEST_CASE("the head's views stay valid when it is moved") {
  RequestParser parser(HttpLimits{});
  size_t used = 0;
  std::string stream = post("Content-Type: application/json\r\n");
  CHECK(parser.feed(stream, used) == HttpEvent::kHead);
  const RequestHead head = std::move(parser.head());
  stream.assign(stream.size(), 'x');
  CHECK(parser.feed("", used) == HttpEvent::kEnd);
  CHECK(parser.feed(kGet, used) == HttpEvent::kHead);
  CHECK(head.find("content-type") == "application/json");
  CHECK(head.find("Content-TYPE").has_value());
  CHECK_FALSE(head.find("content").has_value());
  RequestHead other;
  other.target = "/a?b";
  CHECK(other.path() == "/a");
}

TEST_CASE("a stream is read the same in whatever pieces it arrives") {
  const HttpLimits small{
      .line_bytes_max = 60, .headers_max = 4, .headers_bytes_max = 120, .body_bytes_max = 12};
  const std::string streams[] = {
      kGet + "\r\n" + post("Content-Length: 3\r\n", "abc") + "garbage",
      chunked("3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n") + kGet + "\r",
      "\r\n" + request_line("GET http://b:81/x?y HTTP/1.1") + "GET /\r\nX",
      post("X: 1\r\n folded\r\n"),
      post("X: 1\rY: 2\r\n"),
      post("X: 1\r\r\n"),
      post("A:\r\nB:\r\nC:\r\nD:\r\nE:\r\n"),
      post("X: " + std::string(200, 'x') + "\0\r\n"s),
      "GET /" + std::string(100, 'x'),
      "GET /" + std::string(30, 'x') + "\n" + std::string(100, 'x'),
      chunked("d\r\n"),
      chunked("5\r\nabcdefgh"),
      "\r\n\r\n\r\n\r\n\r\n",
  };
  for (const std::string& stream : streams) {
    CAPTURE(stream);
    for (const HttpLimits& limits : {HttpLimits{}, small}) {
      const std::string whole = event_log(stream, limits);
      CHECK(event_log(stream, [](size_t) { return size_t{1}; }, limits) == whole);
      for (size_t split = 1; split < stream.size(); ++split) {
        const auto piece = [&](size_t left) { return left == stream.size() ? split : left; };
        REQUIRE(event_log(stream, piece, limits) == whole);
      }
      for (uint64_t seed = 0; seed < 50; ++seed) {
        Prng prng(seed);
        const auto piece = [&](size_t left) {
          return static_cast<size_t>(prng.between(1, static_cast<int64_t>(left)));
        };
        REQUIRE(event_log(stream, piece, limits) == whole);
      }
    }
  }
}

}  // namespace sluice
