// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_json.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "backends/json_pointer.h"
#include "tests/codec_calls.h"

namespace sluice {
namespace {

using calls::text_of;

const Codec& predict(const Dialect& dialect) {
  return *dialect.upstream_codec(Operation::kPredict);
}

Asked read(const Codec& codec, std::string_view body) {
  CAPTURE(body);
  Result<Asked> asked = codec.read_request(calls::post("/?q=1"), Slice::copy_of(body));
  REQUIRE(asked.ok());
  return std::move(asked).value();
}

std::string call_text(const Codec& codec, const std::vector<Asked>& requests) {
  const auto call = codec.write_call(requests.front().key, calls::rows_of(requests));
  REQUIRE(call.ok());
  return text_of(call.value().body);
}

// The answers to requests from the one to their call.
std::vector<std::string> split(const Codec& codec, const std::vector<Asked>& requests,
                               std::string_view answer) {
  auto outcomes = codec.read_call(requests.front().key, calls::rows_of(requests),
                                  {.headers = {}, .body = Slice::copy_of(answer)});
  REQUIRE(outcomes.ok());
  std::vector<std::string> texts;
  for (const Asked& request : requests) {
    const auto outputs = calls::take_outputs(outcomes.value(), request.rows.size());
    const auto body = codec.write_response(request, {.outputs = outputs, .labels = {}});
    REQUIRE(body.ok());
    texts.push_back(text_of(body.value()));
  }
  return texts;
}

std::optional<std::string> found(std::string_view pointer, std::string_view text) {
  const Slice slice = Slice::copy_of(text);
  const auto value = JsonPointer::parse(pointer).value().find(parse_json(slice).value());
  return value ? std::optional<std::string>(value->raw()) : std::nullopt;
}

TEST_CASE("JSON pointers find what RFC 6901 says they do") {
  // The examples of its section 5.
  const char* const text = R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,)"
                           R"("i\\j":5,"k\"l":6," ":7,"m~n":8})";
  CHECK(found("", text) == text);
  CHECK(found("/foo", text) == R"(["bar","baz"])");
  CHECK(found("/foo/0", text) == "\"bar\"");
  CHECK(found("/", text) == "0");
  CHECK(found("/a~1b", text) == "1");
  CHECK(found("/c%d", text) == "2");
  CHECK(found("/i\\j", text) == "5");
  CHECK(found("/k\"l", text) == "6");
  CHECK(found("/m~0n", text) == "8");
  for (const char* nothing : {"/foo/2", "/foo/00", "/foo/-", "/foo/+1", "/foo/", "/x", "/ /x"})
    CHECK(!found(nothing, text));
  for (const char* bad : {"foo", "/~", "/~2", "/a~"}) {
    CAPTURE(bad);
    CHECK(!JsonPointer::parse(bad).ok());
  }
  const JsonPointer deep = JsonPointer::parse("/a~0/b\"").value();
  CHECK(deep.front() + "1" + deep.back() == R"({"a~":{"b\"":1}})");
  std::string too_deep;
  for (int i = 0; i < 64; ++i) too_deep += "/a";
  CHECK(!JsonPointer::parse(too_deep).ok());
}

TEST_CASE("without settings a list is answered by a list") {
  const auto dialect = make_json_dialect({});
  const Codec& codec = predict(*dialect);
  const std::vector<Asked> requests = {read(codec, R"( ["a", "b"] )"), read(codec, "[1.0]")};
  CHECK(requests[0].key.encode() == requests[1].key.encode());
  CHECK(requests[0].key.codec.empty());
  CHECK(call_text(codec, requests) == R"(["a","b",1.0])");
  CHECK(codec.write_call(requests[0].key, {}).value().target == "/?q=1");
  CHECK(split(codec, requests, "[[1], [2], null]") ==
        std::vector<std::string>{"[[1],[2]]", "[null]"});
  CHECK(dialect->routes().size() == 1);
  CHECK(dialect->routes()[0].pattern == "/");
  CHECK(read(codec, "[]").pass_through);
  std::string many = "[1";
  for (int i = 1; i <= 16'384; ++i) many += ",1";
  CHECK(read(codec, many + "]").pass_through);
}

TEST_CASE("what stands around items and answers is kept") {
  const auto dialect = make_json_dialect({.items = "/in/list", .answers = "/out"});
  const Codec& codec = predict(*dialect);
  const std::vector<Asked> requests = {read(codec, R"({"k": 1, "in":{"list":[1,2],"u":"v"}})"),
                                       read(codec, R"({"k": 1, "in":{"list":[ 3 ],"u":"v"}})")};
  CHECK(requests[0].key.encode() == requests[1].key.encode());
  for (const char* other :
       {R"({"k": 2, "in":{"list":[1],"u":"v"}})", R"({"k": 1, "in":{"list":[1]}})"})
    CHECK(read(codec, other).key.encode() != requests[0].key.encode());
  CHECK(call_text(codec, requests) == R"({"k": 1, "in":{"list":[1,2,3],"u":"v"}})");
  CHECK(split(codec, requests, R"({"out": [7, 8,9] , "took":5})") ==
        std::vector<std::string>{R"({"out": [7,8] , "took":5})", R"({"out": [9] , "took":5})"});
  // An answer of another protocol's has no such things beside it.
  const auto body = codec.write_response(
      requests[0],
      {.outputs = std::vector{Output(Slice::copy_of("1"), Form::kJson)}, .labels = {}});
  CHECK(text_of(body.value()) == R"({"out":[1]})");
}

TEST_CASE("a request of one item is answered by one answer") {
  const auto dialect = make_json_dialect({.single = true});
  const Codec& codec = predict(*dialect);
  const std::vector<Asked> requests = {read(codec, R"({"a":1})"), read(codec, "[1,2]")};
  CHECK(call_text(codec, requests) == R"([{"a":1},[1,2]])");
  CHECK(split(codec, requests, R"([{"b":1},3])") == std::vector<std::string>{R"({"b":1})", "3"});
  const auto placed = make_json_dialect({.items = "/x", .answers = "/y", .single = true});
  const Codec& inner = predict(*placed);
  const std::vector<Asked> one = {read(inner, R"({"x":"a","k":1})")};
  CHECK(call_text(inner, one) == R"({"x":["a"],"k":1})");
  CHECK(split(inner, one, R"({"v":2,"y":[[1]]})") ==
        std::vector<std::string>{R"({"v":2,"y":[1]})"});
  const auto none = inner.write_response(one[0], {.outputs = {}, .labels = {}});
  REQUIRE(!none.ok());
  CHECK(none.error().code == Code::kUpstream);
}

TEST_CASE("what is wrong is refused by the name of its place") {
  const auto refused = [](JsonDialectOptions options, std::string_view body,
                          std::string_view param) {
    CAPTURE(body);
    const auto dialect = make_json_dialect(std::move(options));
    calls::check_invalid(predict(*dialect).read_request(calls::post("/"), Slice::copy_of(body)),
                         param);
  };
  refused({}, "", "");
  refused({}, R"(["\ud800"])", "");
  refused({}, R"([{"a":1,"a":2}])", "");
  refused({}, R"({"a":1})", "body");
  refused({.items = "/x"}, "[1]", "/x");
  refused({.items = "/x"}, R"({"y":[1]})", "/x");
  refused({.items = "/x"}, R"({"x":1})", "/x");
  refused({.items = "/x", .single = true}, R"({"y":1})", "/x");
}

TEST_CASE("an answer of another count or shape is an error") {
  const auto dialect = make_json_dialect({.answers = "/y"});
  const Codec& codec = predict(*dialect);
  const Asked asked = read(codec, "[1,2]");
  for (const char* body :
       {"", "[1,2]", "{}", R"({"y":1})", R"({"y":[1]})", R"({"y":[1,2,3]})", R"({"y":[1,2]},)"})
    calls::check_wrong_answer(codec, asked.key, calls::rows_of({asked}), body);
}

TEST_CASE("requests of other protocols go to the first path, if they can be said") {
  const auto dialect =
      make_json_dialect({.paths = {"/run", "/"}, .items = "/input", .answers = "/output"});
  const Codec& embed = *dialect->upstream_codec(Operation::kEmbed);
  const std::vector<CallRow> rows = {
      {.request = 1, .index = 0, .payload = {}, .wire = Slice::copy_of(R"("a")")}};
  CallKey key{.operation = Operation::kEmbed,
              .codec = {},
              .target = "/v1/embeddings",
              .model = "m",
              .params = {{"normalize", "true"}},
              .headers = {}};
  const auto call = embed.write_call(key, rows);
  REQUIRE(call.ok());
  CHECK(call.value().target == "/run");
  CHECK(text_of(call.value().body) == R"({"input":["a"]})");
  const auto vectors = embed.read_call(
      key, rows, {.headers = {}, .body = Slice::copy_of(R"({"output":[[1,2]],"x":1})")});
  REQUIRE(vectors.ok());
  CHECK(vectors.value()[0].value().bytes.view() == "[1,2]");
  CHECK(vectors.value()[0].value().envelope.empty());
  calls::check_wrong_answer(embed, key, rows, R"({"output":["AACAPw=="]})");
  key.params = {{"dimensions", "3"}};
  CHECK(embed.write_call(key, rows).error().param == "dimensions");
  // Nor does a request go where its items would be at another place.
  const auto other = make_json_dialect({.items = "/x"});
  const Asked asked = read(predict(*other), R"({"x":[1],"input":[2]})");
  CHECK(predict(*dialect).write_call(asked.key, rows).error().param == "items");
  CHECK(dialect->upstream_codec(Operation::kRerank) == nullptr);
}

TEST_CASE("options that are wrong are named") {
  const auto param = [](JsonDialectOptions options) {
    const auto error = check_json_options(options);
    return error ? error->param : "";
  };
  CHECK(param({}).empty());
  CHECK(param({.paths = {"/a", "/b"}, .items = "/a", .answers = "/b/0"}).empty());
  CHECK(param({.paths = {}}) == "paths");
  CHECK(param({.paths = {"a"}}) == "paths");
  CHECK(param({.paths = {"/a?b"}}) == "paths");
  CHECK(param({.paths = {"/{}"}}) == "paths");
  CHECK(param({.paths = {"/a", "/a"}}) == "paths");
  CHECK(param({.items = "a"}) == "items");
  CHECK(param({.answers = "/~"}) == "answers");
}

}  // namespace
}  // namespace sluice
