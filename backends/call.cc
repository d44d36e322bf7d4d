// SPDX-License-Identifier: Apache-2.0
#include "backends/call.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>

#include "base/http1_head.h"

namespace sluice {

namespace {

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

CallDone failed(CallId call, Failure failure, Error error) {
  CallDone done{.call = call, .failure = failure, .busy = {}};
  done.outcomes = std::move(error);
  return done;
}

bool is_set(std::span<const std::pair<std::string, std::string>> headers, std::string_view name) {
  return std::ranges::any_of(
      headers, [&](const auto& own) { return http1::equal_any_case(own.first, name); });
}

}  // namespace

Result<const Codec*> choose_codec(const Dialect& dialect, const CallKey& key) {
  const Codec* chosen = nullptr;
  for (const CodecRoute& route : dialect.routes()) {
    if (route.codec->operation() == key.operation && route.method == "POST" &&
        match_path(route.pattern, path_of(key.target))) {
      chosen = route.codec;
      break;
    }
  }
  if (chosen == nullptr) chosen = dialect.upstream_codec(key.operation);
  if (chosen == nullptr)
    return Error{.code = Code::kInvalid,
                 .message = "What serves this model speaks " + std::string(dialect.name()) +
                            ", which has no operation '" + std::string(to_text(key.operation)) +
                            "'."};
  if (key.codec.empty() || key.codec == chosen->name()) return chosen;
  std::string names;
  for (const auto& [name, value] : key.params) names += (names.empty() ? "" : ", ") + name;
  return Error{.code = Code::kInvalid,
               .message = "What serves this model speaks " + std::string(dialect.name()) +
                          ", which cannot say all of: " + names + "."};
}

Failure failure_of_status(int status) {
  switch (status) {
    case 401:
    case 403:
      return Failure::kDenied;
    case 408:
    case 425:
    case 503:
      return Failure::kBusy;
    case 413:
      return Failure::kTooLarge;
    case 429:
      return Failure::kThrottled;
    case 502:
    case 504:
      return Failure::kCut;
    default:
      break;
  }
  if (status >= 500) return Failure::kBroken;
  return status >= 400 ? Failure::kRejected : Failure::kWrongAnswer;
}

Duration parse_retry_after(std::string_view value, int64_t unix_seconds) {
  constexpr double kLongest = 86'400;
  double wait = 0;
  const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), wait);
  if (failure != std::errc() || end != value.data() + value.size()) {
    const std::string text(value);
    tm parts{};
    if (strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) return {};
    wait = static_cast<double>(timegm(&parts) - unix_seconds);
  }
  if (!std::isfinite(wait) || wait <= 0) return {};
  return milliseconds(static_cast<int64_t>(std::min(wait, kLongest) * 1000));
}

// One call under way.
class Calls::Running final : public HttpExchangeEvents {
 public:
  Running(Calls& calls, StartCall call) : calls_(calls), call_(std::move(call)) {}
  ~Running() override { calls_.account_.give(body_.size()); }

  // The call as a request, or why it cannot be one.
  std::optional<Error> begin(const CallTarget& target, HttpPool& pool) {
    name_ = target.name;
    began_ = calls_.loop_.now();
    Result<CallKey> key = CallKey::decode(call_.key);
    if (!key.ok()) return key.error();
    key_ = std::move(key).value();
    const Result<const Codec*> codec = choose_codec(*target.dialect, key_);
    if (!codec.ok()) return codec.error();
    codec_ = codec.value();
    Result<CallRequest> written = codec_->write_call(key_, call_.rows);
    if (!written.ok()) return written.error();
    exchange_ = pool.start(http_request(target, std::move(written).value()), *this);
    return std::nullopt;
  }

  void on_started() override { calls_.sink_(CallStarted{call_.call}); }
  void on_head(UpstreamHead& head) override {
    head_ = std::move(head);
    if (head_.content_length) body_.reserve(*head_.content_length);
  }
  void on_body(std::string_view bytes) override {
    if (calls_.account_.take(bytes.size())) {
      body_.append(bytes);
      return;
    }
    calls_.end(call_.call, failed(call_.call, Failure::kFinal,
                                  {.code = Code::kOverloaded,
                                   .message = "The server holds as many bytes as it may.",
                                   .retry_after = seconds(1)}));
  }
  void on_end(std::span<const Header>) override { calls_.end(call_.call, read()); }
  void on_switched(UpstreamHead&, std::unique_ptr<Stream>, std::string_view) override {
    calls_.end(call_.call,
               failed(call_.call, Failure::kWrongAnswer,
                      {.code = Code::kUpstream,
                       .message = "The upstream changed the protocol, which nobody asked for."}));
  }
  void on_failed(const HttpFailure& failure) override {
    using Kind = HttpFailure::Kind;
    const bool unseen = failure.kind == Kind::kConnect || failure.kind == Kind::kReset;
    const Failure kind = unseen                            ? Failure::kUnreachable
                         : failure.kind == Kind::kTooLarge ? Failure::kWrongAnswer
                                                           : Failure::kCut;
    calls_.end(call_.call, failed(call_.call, kind, failure.error));
  }

 private:
  HttpRequest http_request(const CallTarget& target, CallRequest written) {
    HttpRequest request;
    request.method = std::move(written.method);
    request.target = target.origin.prefix + written.target;
    length_ = std::to_string(written.body.size());
    type_ = std::move(written.body.content_type);
    extra_ = std::move(written.body.headers);
    auto& headers = request.headers;
    headers.push_back({"Host", target.origin.authority});
    for (const auto& [name, value] : key_.headers) {
      if (!is_set(target.headers, name)) headers.push_back({name, value});
    }
    for (const auto& [name, value] : target.headers) headers.push_back({name, value});
    for (const auto& [name, value] : extra_) headers.push_back({name, value});
    headers.push_back({"Accept", "application/json, */*;q=0.5"});
    // A coded answer would have to be undone before it can be split.
    headers.push_back({"Accept-Encoding", "identity"});
    headers.push_back({"Content-Type", type_});
    headers.push_back({"Content-Length", length_});
    request.body = std::move(written.body.parts);
    return request;
  }

  // The whole answer as outcomes.
  CallDone read() {
    const Slice body = take_body();
    if (head_.status < 200 || head_.status > 299) return refusal(body);
    const auto coding = head_.find("content-encoding");
    if (coding && *coding != "identity")
      return failed(call_.call, Failure::kWrongAnswer,
                    {.code = Code::kUpstream,
                     .message = "The upstream coded its answer though asked not to."});
    Result<std::vector<Outcome>> outcomes =
        codec_->read_call(key_, call_.rows, {.headers = head_.headers, .body = body});
    if (!outcomes.ok()) return failed(call_.call, Failure::kWrongAnswer, outcomes.error());
    CallDone done{.call = call_.call, .busy = calls_.loop_.now() - began_};
    done.outcomes = std::move(outcomes);
    return done;
  }

  // The body, in a block that gives its bytes back itself.
  Slice take_body() {
    const std::string body = std::exchange(body_, {});
    return Slice(ChunkRef::make_counted(
        body.size(), calls_.account_, [&](char* to) { std::copy(body.begin(), body.end(), to); }));
  }

  CallDone refusal(const Slice& body) const {
    Error error{.code = Code::kUpstream,
                .message = "The upstream '" + name_ + "' answered with status " +
                           std::to_string(head_.status) + "."};
    error.upstream_status = head_.status;
    error.upstream_body = body;
    if (const auto type = head_.find("content-type")) error.upstream_type = *type;
    if (const auto wait = head_.find("retry-after"))
      error.retry_after = parse_retry_after(*wait, calls_.loop_.unix_seconds());
    return failed(call_.call, failure_of_status(head_.status), std::move(error));
  }

  Calls& calls_;
  StartCall call_;
  std::string name_;
  CallKey key_;
  const Codec* codec_ = nullptr;
  Instant began_;
  std::string length_;  // what the request's headers point into
  std::string type_;
  std::vector<std::pair<std::string, std::string>> extra_;
  UpstreamHead head_;
  std::string body_;
  std::unique_ptr<HttpExchange> exchange_;
};

Calls::Calls(Loop& loop, Sink sink, ByteAccount& account)
    : loop_(loop), sink_(std::move(sink)), account_(account) {}

Calls::~Calls() = default;

void Calls::start(StartCall call, const CallTarget& target, HttpPool& pool) {
  const CallId id = call.call;
  auto& running = running_[id];
  running = std::make_unique<Running>(*this, std::move(call));
  if (auto error = running->begin(target, pool))
    end(id, failed(id, Failure::kFinal, std::move(*error)));
}

void Calls::abort(CallId call) {
  if (!running_.contains(call)) return;
  end(call, failed(call, Failure::kFinal,
                   {.code = Code::kTimeout, .message = "Nobody waited for the call any more."}));
}

void Calls::end(CallId call, CallDone done) {
  running_.erase(call);
  sink_(std::move(done));
}

}  // namespace sluice
