// SPDX-License-Identifier: Apache-2.0
#include "gateway/api.h"

#include <doctest/doctest.h>

#include <string>

namespace sluice {
namespace {

Api make_api() {
  Api::Options options;
  options.models.push_back({"echo", {"other/name"}, std::make_shared<EmbeddedEcho>()});
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
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

Result<EmbeddingsCall> read(const RequestHead& head, std::string_view body, Request& request) {
  static const Api api = make_api();
  return api.read_embeddings(head, Slice::copy_of(body), Instant{1000}, request);
}

TEST_CASE("paths and methods lead where they should on each listener") {
  CHECK(Api::route(Surface::kMain, "POST", "/v1/embeddings") == Route::kEmbeddings);
  CHECK(Api::route(Surface::kMain, "GET", "/v1/embeddings") == Route::kMethodNotAllowed);
  CHECK(Api::route(Surface::kMain, "HEAD", "/v1/models") == Route::kModels);
  CHECK(Api::route(Surface::kMain, "GET", "/v1/models/a%2Fb") == Route::kModel);
  CHECK(Api::route(Surface::kMain, "GET", "/v1/models/") == Route::kNotFound);
  CHECK(Api::route(Surface::kMain, "GET", "/readyz") == Route::kReady);
  CHECK(Api::route(Surface::kMain, "GET", "/") == Route::kNotFound);
  CHECK(Api::route(Surface::kAdmin, "POST", "/v1/embeddings") == Route::kNotFound);
  CHECK(Api::route(Surface::kAdmin, "GET", "/metrics") == Route::kMetrics);
  CHECK(Api::allowed_methods(Surface::kMain, "/v1/embeddings") == "POST");
}

TEST_CASE("readiness follows the phase, health does not") {
  Api api = make_api();
  const RequestHead head = head_of("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(api.answer(Route::kReady, Surface::kAdmin, head).status == 503);
  api.set_phase(Phase::kReady);
  CHECK(api.answer(Route::kReady, Surface::kAdmin, head).status == 200);
  api.set_phase(Phase::kDraining);
  CHECK(api.answer(Route::kReady, Surface::kAdmin, head).status == 503);
  CHECK(api.answer(Route::kHealth, Surface::kAdmin, head).status == 200);
}

TEST_CASE("a model is found by name, alias and escaped path, else it is a 404 that names it") {
  const Api api = make_api();
  const auto ask = [&](const std::string& id) {
    return api.answer(Route::kModel, Surface::kMain,
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
  const Response response = api.answer(Route::kMethodNotAllowed, Surface::kMain,
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
  CHECK(api.check_head(post("Content-Encoding: gzip\r\n"))->code == Code::kMediaType);
  CHECK(!api.check_head(post("Content-Encoding: identity\r\n")));
}

TEST_CASE("an answer carries where its time went and what was cut") {
  const Api api = make_api();
  const float numbers[2] = {1, 2};
  Reply reply;
  reply.outcomes = std::vector<Outcome>{
      Output(Slice::copy_of({reinterpret_cast<const char*>(numbers), sizeof numbers}))};
  reply.timings.batch_items = 5;
  EmbeddingsCall call;
  call.inputs_truncated = 1;
  const Response response = api.write_embeddings(call, reply);
  CHECK(response.status == 200);
  CHECK(header(response, "x-sluice-batch-items") == "5");
  CHECK(header(response, "x-sluice-truncated") == "1");
  CHECK(header(response, "server-timing").find("queue;dur=") == 0);
}

TEST_CASE("a request with one failed row fails, with whole seconds of Retry-After") {
  const Api api = make_api();
  Reply reply;
  reply.outcomes = std::vector<Outcome>{
      Output(),
      Error{.code = Code::kOverloaded, .message = "m", .retry_after = milliseconds(1200)}};
  const Response response = api.write_embeddings({}, reply);
  CHECK(response.status == 429);
  CHECK(header(response, "retry-after") == "2");
}

}  // namespace
}  // namespace sluice
