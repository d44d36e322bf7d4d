// SPDX-License-Identifier: Apache-2.0
#include "gateway/api.h"

#include <doctest/doctest.h>

#include <string>

namespace sluice {
namespace {

Api make_api() {
  Api::Options options;
  options.models.push_back({"echo", {"other/name"}, std::make_shared<EmbeddedEcho>()});
  options.backends = {"local-0"};
  options.started_unix_seconds = 7;
  options.render_metrics = [] { return std::string("m 1\n"); };
  return Api(std::move(options));
}

// A head as the parser gives it.
RequestHead head_of(std::string_view text) {
  RequestParser parser{HttpLimits{}};
  size_t used = 0;
  REQUIRE(parser.feed(text, used) == HttpEvent::kHead);
  return std::move(parser.head());
}

RequestHead post(const std::string& headers = "") {
  return head_of("POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + headers +
                 "\r\n");
}

std::string header(const Response& response, std::string_view name) {
  return std::string(response.headers.find(name).value_or(""));
}

const Api& shared_api() {
  static const Api api = make_api();
  return api;
}

Result<Inquiry> read(const RequestHead& head, std::string_view body, Request& request) {
  const Match match = shared_api().router().match(Surface::kMain, head.method, head.path());
  REQUIRE(match.route == Route::kBatched);
  return shared_api().read(match, head, Slice::copy_of(body), Instant{1000}, request);
}

Route route(Surface surface, std::string_view method, std::string_view path) {
  return shared_api().router().match(surface, method, path).route;
}

TEST_CASE("paths and methods lead where they should on each listener") {
  CHECK(route(Surface::kMain, "POST", "/v1/embeddings") == Route::kBatched);
  CHECK(route(Surface::kMain, "POST", "/embed") == Route::kBatched);
  CHECK(route(Surface::kMain, "POST", "/v2/rerank") == Route::kBatched);
  CHECK(route(Surface::kMain, "POST", "/v2/models/echo/infer") == Route::kNotFound);
  CHECK(route(Surface::kMain, "GET", "/v1/embeddings") == Route::kMethodNotAllowed);
  CHECK(route(Surface::kMain, "HEAD", "/v1/models") == Route::kModels);
  CHECK(route(Surface::kMain, "GET", "/v1/models/a%2Fb") == Route::kModel);
  CHECK(route(Surface::kMain, "GET", "/v1/models/") == Route::kNotFound);
  CHECK(route(Surface::kMain, "GET", "/readyz") == Route::kReady);
  CHECK(route(Surface::kMain, "GET", "/") == Route::kNotFound);
  CHECK(route(Surface::kAdmin, "POST", "/v1/embeddings") == Route::kNotFound);
  CHECK(route(Surface::kAdmin, "GET", "/metrics") == Route::kMetrics);
  CHECK(shared_api().router().match(Surface::kMain, "GET", "/v1/embeddings").allowed == "POST");
}

TEST_CASE("what stands in for an endpoint answers for nothing but what can be merged") {
  const std::vector<ServedModel> models = {
      {.name = std::string(kAnyModel), .upstreams = {find_dialect("openai")}}};
  const Router router(models, true);
  const auto to = [&](Surface surface, std::string_view method, std::string_view path) {
    return router.match(surface, method, path).route;
  };
  CHECK(to(Surface::kMain, "POST", "/v1/embeddings") == Route::kBatched);
  CHECK(to(Surface::kMain, "GET", "/v1/embeddings") == Route::kPassThrough);
  CHECK(to(Surface::kMain, "POST", "/v1/chat/completions") == Route::kPassThrough);
  CHECK(to(Surface::kMain, "POST", "/embed") == Route::kPassThrough);
  CHECK(to(Surface::kMain, "GET", "/v1/models") == Route::kPassThrough);
  CHECK(to(Surface::kMain, "GET", "/metrics") == Route::kPassThrough);
  CHECK(to(Surface::kAdmin, "GET", "/metrics") == Route::kMetrics);
  CHECK(to(Surface::kAdmin, "GET", "/v1/models") == Route::kNotFound);
}

TEST_CASE("readiness follows the phase, health does not") {
  Api api = make_api();
  const RequestHead head = head_of("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(api.answer({.route = Route::kReady}, head).status == 503);
  api.set_phase(Phase::kReady);
  CHECK(api.answer({.route = Route::kReady}, head).status == 200);
  api.set_phase(Phase::kDraining);
  CHECK(api.answer({.route = Route::kReady}, head).status == 503);
  CHECK(api.answer({.route = Route::kHealth}, head).status == 200);
}

TEST_CASE("a model is found by name, alias and escaped path, else it is a 404 that names it") {
  const Api api = make_api();
  const auto ask = [&](const std::string& id) {
    return api.answer({.route = Route::kModel},
                      head_of("GET /v1/models/" + id + " HTTP/1.1\r\nHost: a\r\n\r\n"));
  };
  CHECK(ask("echo").status == 200);
  CHECK(ask("other/name").status == 200);
  CHECK(ask("other%2Fname").status == 200);
  CHECK(ask("other%2").status == 404);
  CHECK(ask("nobody").status == 404);
  CHECK(ask("nobody").body.find("nobody") != std::string::npos);
}

TEST_CASE("a wrong method is told which are right") {
  const Api api = make_api();
  const Response response = api.answer({.route = Route::kMethodNotAllowed, .allowed = "GET, HEAD"},
                                       head_of("DELETE /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"));
  CHECK(response.status == 405);
  CHECK(header(response, "allow") == "GET, HEAD");
}

TEST_CASE("the client's deadline counts from when its head was read") {
  Request request;
  REQUIRE(read(post("x-sluice-deadline-ms: 20\r\nx-sluice-priority: -3\r\n"),
               R"({"model":"echo","input":"a"})", request)
              .ok());
  CHECK(request.deadline == Instant{1000} + milliseconds(20));
  CHECK(request.priority == -3);
  Request none;
  REQUIRE(read(post(), R"({"model":"echo","input":"a"})", none).ok());
  CHECK(!none.deadline);
}

TEST_CASE("a header of ours that makes no sense is refused by name") {
  for (const char* value : {"0", "-1", "x", "1.5", "", "99999999999999999999"}) {
    Request request;
    const std::string line = std::string("x-sluice-deadline-ms: ") + value + "\r\n";
    const auto refused = read(post(line), R"({"model":"echo","input":"a"})", request);
    REQUIRE(!refused.ok());
    CHECK(refused.error().param == "x-sluice-deadline-ms");
  }
  Request request;
  CHECK(!read(post("x-sluice-priority: 11\r\n"), R"({"model":"echo","input":"a"})", request).ok());
}

TEST_CASE("the same credentials are one tenant, others another") {
  Request a;
  Request b;
  Request c;
  const char* body = R"({"model":"echo","input":"a"})";
  REQUIRE(read(post("Authorization: Bearer 1\r\n"), body, a).ok());
  REQUIRE(read(post("authorization: Bearer 1\r\nuser-agent: x\r\n"), body, b).ok());
  REQUIRE(read(post("Authorization: Bearer 2\r\n"), body, c).ok());
  CHECK(a.tenant == b.tenant);
  CHECK(a.tenant != c.tenant);
}

TEST_CASE("an unknown model is a 404 that names it, and a compressed body a 415") {
  Request request;
  const auto refused = read(post(), R"({"model":"nobody","input":"a"})", request);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Code::kNotFound);
  CHECK(refused.error().param == "model");
  const Api api = make_api();
  CHECK(api.check_head(post("Content-Encoding: gzip\r\n")).refused->code == Code::kMediaType);
  CHECK(!api.check_head(post("Content-Encoding: identity\r\n")).refused);
}

TEST_CASE("an answer carries where its time went and what was cut") {
  const std::vector<float> numbers(EmbeddedEcho().width(), 0.25f);
  Request request;
  Result<Inquiry> inquiry = read(post(), R"({"model":"echo","input":"a"})", request);
  REQUIRE(inquiry.ok());
  Reply reply;
  reply.outcomes = std::vector<Outcome>{Output(Slice::copy_of(
      {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)}))};
  reply.timings.batch_items = 5;
  inquiry.value().inputs_truncated = 1;
  const Response response = shared_api().write(inquiry.value(), reply);
  CHECK(response.status == 200);
  CHECK(header(response, "x-sluice-batch-items") == "5");
  CHECK(header(response, "x-sluice-truncated") == "1");
  CHECK(header(response, "server-timing").find("queue;dur=") == 0);
}

TEST_CASE("a request with one failed row fails, with whole seconds of Retry-After") {
  Request request;
  const Result<Inquiry> inquiry = read(post(), R"({"model":"echo","input":["a","b"]})", request);
  REQUIRE(inquiry.ok());
  Reply reply;
  reply.outcomes = std::vector<Outcome>{
      Output(),
      Error{.code = Code::kOverloaded, .message = "m", .retry_after = milliseconds(1200)}};
  const Response response = shared_api().write(inquiry.value(), reply);
  CHECK(response.status == 429);
  CHECK(header(response, "retry-after") == "2");
}

TEST_CASE(
    "what the endpoint said of a request that was at fault alone reaches its caller as it was") {
  Error refused{.code = Code::kUpstream, .message = "m"};
  refused.upstream_status = 422;
  refused.upstream_body = Slice::copy_of("no such thing");
  refused.upstream_type = "text/plain";
  const Response told = shared_api().error(refused, nullptr, "req-1");
  CHECK(told.status == 422);
  CHECK(told.body == "no such thing");
  CHECK(header(told, "content-type") == "text/plain");
  refused.upstream_status = 500;
  const Response hidden = shared_api().error(refused, nullptr, "req-1");
  CHECK(hidden.status == 502);
  CHECK(hidden.body.find("no such thing") == std::string::npos);
}

TEST_CASE("whatever could change an answer or leak to another caller is in the key") {
  Api::Options options;
  options.models.push_back({.name = std::string(kAnyModel), .upstreams = {find_dialect("openai")}});
  options.passthrough = true;
  const Api api(std::move(options));
  const auto key_of = [&](const std::string& headers, std::string_view body) {
    const RequestHead head = post(headers);
    Request request;
    const Match match = api.router().match(Surface::kMain, head.method, head.path());
    const auto inquiry = api.read(match, head, Slice::copy_of(body), Instant{1}, request);
    REQUIRE(inquiry.ok());
    return request.key;
  };
  const char* plain = R"({"model":"m","input":"a"})";
  const std::string key = key_of("", plain);
  // Headers that never matter.
  for (const char* same :
       {"User-Agent: x\r\n", "X-Stainless-OS: Linux\r\n", "traceparent: 00-1-1-00\r\n",
        "X-Amzn-Trace-Id: 7\r\n", "X-Request-Id: 9\r\n", "Accept: */*\r\n", "Via: b\r\n",
        "X-Fern-Language: py\r\n", "X-Forwarded-For: 1.2.3.4\r\n", "x-sluice-priority: 1\r\n"})
    CHECK_MESSAGE(key_of(same, plain) == key, same);
  // Inputs, their number and how the answer is to be encoded are each caller's own.
  CHECK(key_of("", R"({"model":"m","input":["b","c"],"encoding_format":"base64"})") == key);
  // Everything else is not.
  for (const char* other :
       {"Authorization: Bearer 1\r\n", "x-api-key: 1\r\n", "Cookie: a=1\r\n",
        "OpenAI-Organization: o\r\n", "OpenAI-Project: p\r\n", "X-Unknown: 1\r\n"})
    CHECK_MESSAGE(key_of(other, plain) != key, other);
  CHECK(key_of("Authorization: Bearer 1\r\n", plain) !=
        key_of("Authorization: Bearer 2\r\n", plain));
  CHECK(key_of("", R"({"model":"n","input":"a"})") != key);
  CHECK(key_of("", R"({"model":"m","input":"a","dimensions":8})") != key);
}

}  // namespace
}  // namespace sluice
