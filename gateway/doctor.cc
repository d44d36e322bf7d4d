// SPDX-License-Identifier: Apache-2.0
#include "gateway/doctor.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "backends/call.h"
#include "base/json.h"
#include "base/prng.h"
#include "gateway/byte_budget.h"
#include "gateway/headers.h"
#include "gateway/upstreams.h"

namespace sluice {

namespace {

constexpr std::string_view kTexts[] = {
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "Batching divides the overhead of a call by the number of those who share it.",
    "¿Qué es esto? 東京 🙂",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
    "def f(x):\n    return x * x  # comments count too",
    "",
    "0123456789",
};

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// Bodies that the codec of a dialect's first route takes; none where only the user can know.
std::vector<std::string> built_in_samples(std::string_view dialect, const std::string& model) {
  std::vector<std::string> samples;
  for (const std::string_view text : kTexts) {
    if (text.empty()) continue;  // some endpoints refuse it, which would prove nothing
    if (dialect == "openai") {
      samples.push_back("{\"model\":" + quoted(model) + ",\"input\":" + quoted(text) + "}");
    } else if (dialect == "tei") {
      samples.push_back("{\"inputs\":" + quoted(text) + "}");
    } else if (dialect == "cohere") {
      samples.push_back("{\"model\":" + quoted(model) +
                        ",\"query\":\"What is batching?\",\"documents\":[" + quoted(text) + "]}");
    }
  }
  return samples;
}

bool may_differ(std::string_view member) {
  return member == "id" || member == "created" || member == "usage" || member == "meta";
}

// Raises `largest` to the distance of two values; false if they are not alike.
bool measure(JsonView a, JsonView b, double& largest) {
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case JsonType::kNumber: {
      const double x = a.number();
      const double y = b.number();
      const double apart = std::abs(x - y);
      largest = std::max(largest, apart / std::max(1.0, std::max(std::abs(x), std::abs(y))));
      return true;
    }
    case JsonType::kArray: {
      std::vector<JsonView> others;
      b.for_each_item([&](JsonView item) {
        others.push_back(item);
        return true;
      });
      size_t next = 0;
      bool alike = true;
      a.for_each_item([&](JsonView item) {
        alike = next < others.size() && measure(item, others[next], largest);
        ++next;
        return alike;
      });
      return alike && next == others.size();
    }
    case JsonType::kObject: {
      if (a.count() != b.count()) return false;
      bool alike = true;
      a.for_each_member([&](std::string_view key, JsonView value) {
        if (may_differ(key)) return true;
        const std::optional<JsonView> other = b.member(key);
        alike = other && measure(value, *other, largest);
        return alike;
      });
      return alike;
    }
    default:
      return a.raw() == b.raw();
  }
}

// Of all answers that are kept for comparing.
constexpr uint64_t kAnswerBytesMax = uint64_t{1} << 30;

// One request as the gateway reads it.
struct Sample {
  Asked asked;
  Request request;
  std::string alone;  // the answer to it alone
};

// One examination, from the samples to the verdict.
class Examination {
 public:
  Examination(Loop& loop, const DoctorOptions& options, std::function<void()> run,
              std::function<void()> stop)
      : loop_(loop), options_(options), run_(std::move(run)), stop_(std::move(stop)) {}

  DoctorReport go() {
    if (auto error = prepare())
      return {.asked_wrongly = true, .text = "sluice: doctor: " + error->message + "\n"};
    for (Sample& sample : samples_) {
      if (auto error = ask_alone(sample)) return give_up(*error);
    }
    Prng prng(1);
    std::vector<size_t> order(samples_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (uint64_t round = 0; round < options_.rounds; ++round) {
      if (auto error = ask_merged(order)) return refuse("merged: " + error->message);
      for (size_t i = order.size(); i > 1; --i) {
        const auto other = static_cast<size_t>(prng.between(0, static_cast<int64_t>(i) - 1));
        std::swap(order[i - 1], order[other]);
      }
    }
    return verdict();
  }

 private:
  static DoctorReport refuse(const std::string& why) {
    return {.safe = false, .text = "NOT SAFE to merge: " + why + "\n"};
  }

  // An endpoint that does not answer a request alone says nothing about merged ones.
  static DoctorReport give_up(const Error& error) {
    std::string text = "NOT FOUND OUT whether it is safe to merge: asked alone: " + error.message;
    if (error.upstream_status == 404) text += " (--path names another path, --model a model)";
    return {.safe = false, .text = text + "\n"};
  }

  std::optional<Error> prepare() {
    Config config;
    ModelConfig& model = config.models.emplace_back();
    model.name = options_.backend.upstream.url;  // for messages
    model.backends = {options_.backend};
    Result<Upstreams> upstreams = Upstreams::make(config);
    if (!upstreams.ok()) return upstreams.error();
    upstreams_ = std::move(upstreams).value();
    Result<std::unique_ptr<LoopUpstreams>> own = LoopUpstreams::make(loop_, upstreams_);
    if (!own.ok()) return own.error();
    loop_upstreams_ = std::move(own).value();
    calls_.emplace(
        loop_,
        [this](Event event) {
          if (auto* done = std::get_if<CallDone>(&event)) {
            done_ = std::move(*done);
            stop_();
          }
        },
        budget_);
    return read_samples();
  }

  std::optional<Error> read_samples() {
    const Dialect& dialect = *upstreams_.find(0)->target.dialect;
    std::vector<std::string> bodies = options_.samples;
    if (bodies.empty()) bodies = built_in_samples(dialect.name(), options_.model);
    if (bodies.size() < 2)
      return Error{.code = Code::kInvalid,
                   .message =
                       "there is nothing to ask: give at least two request bodies with "
                       "--sample FILE"};
    const CodecRoute* route = nullptr;
    for (const CodecRoute& one : dialect.routes()) {
      if (options_.path.empty() ? route == nullptr : match_path(one.pattern, options_.path))
        route = &one;
    }
    if (route == nullptr)
      return Error{.code = Code::kInvalid,
                   .message = "--path: no request on the path " + options_.path +
                              " is ever merged in " + std::string(dialect.name())};
    codec_ = route->codec;
    const std::string path = options_.path.empty() ? std::string(route->pattern) : options_.path;
    for (const std::string& body : bodies) {
      if (auto error = read_sample(path, body)) return error;
    }
    return std::nullopt;
  }

  std::optional<Error> read_sample(const std::string& path, const std::string& body) {
    std::string text = "POST " + path + " HTTP/1.1\r\nHost: doctor\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\nContent-Type: application/json\r\n";
    for (const std::string& header : options_.headers) text += header + "\r\n";
    text += "\r\n";
    RequestParser parser{HttpLimits{}};
    size_t used = 0;
    if (parser.feed(text, used) != HttpEvent::kHead)
      return Error{.code = Code::kInvalid, .message = "--path or --header is malformed"};
    const RequestHead head = std::move(parser.head());
    Result<Asked> asked = codec_->read_request(head, Slice::copy_of(body));
    if (!asked.ok())
      return Error{.code = Code::kInvalid, .message = "a sample: " + asked.error().message};
    if (asked.value().pass_through)
      return Error{.code = Code::kInvalid,
                   .message = "a sample is of a form that is never merged: " + body.substr(0, 200)};
    Sample& sample = samples_.emplace_back();
    sample.asked = std::move(asked).value();
    sample.asked.key.target = head.target;
    sample.asked.key.headers = merge_headers(head.headers, false);
    sample.request.id = samples_.size();
    sample.request.key = sample.asked.key.encode();
    sample.request.rows = std::move(sample.asked.rows);
    if (sample.request.key != samples_.front().request.key)
      return Error{.code = Code::kInvalid,
                   .message = "the samples differ in a parameter, so they would never be merged"};
    return std::nullopt;
  }

  // Makes one call of the requests in `order`; their outcomes one after another.
  Result<std::vector<Outcome>> call(std::span<const size_t> order) {
    StartCall start;
    start.call = ++calls_made_;
    start.key = samples_.front().request.key;
    for (const size_t i : order) {
      const Request& request = samples_[i].request;
      for (uint32_t row = 0; row < request.rows.size(); ++row)
        start.rows.push_back({request.id, row, {}, request.rows[row].wire});
    }
    const size_t rows = start.rows.size();
    done_.reset();
    calls_->start(std::move(start), upstreams_.find(0)->target, loop_upstreams_->pool(0));
    if (!done_) run_();
    if (!done_) return Error{.code = Code::kInternal, .message = "interrupted"};
    if (!done_->outcomes.ok()) {
      Error error = done_->outcomes.error();
      if (!error.upstream_body.empty())
        error.message += " It said: " + std::string(error.upstream_body.view().substr(0, 300));
      return error;
    }
    ASSERT(done_->outcomes.value().size() == rows);
    return std::move(done_->outcomes);
  }

  // What the caller of `sample` would get from `outcomes`.
  Result<std::string> answer(const Sample& sample, std::span<const Outcome> outcomes) const {
    std::vector<Output> outputs;
    for (const Outcome& outcome : outcomes) {
      if (!outcome.ok()) return outcome.error();
      outputs.push_back(outcome.value());
    }
    const Result<Body> body =
        codec_->write_response(sample.asked, {.outputs = outputs, .tokens = 1, .labels = {}});
    if (!body.ok()) return body.error();
    std::string text;
    for (const Slice& part : body.value().parts) text += part.view();
    return text;
  }

  std::optional<Error> ask_alone(Sample& sample) {
    const auto index = static_cast<size_t>(&sample - samples_.data());
    Result<std::vector<Outcome>> outcomes = call({&index, 1});
    if (!outcomes.ok()) return outcomes.error();
    Result<std::string> text = answer(sample, outcomes.value());
    if (!text.ok()) return text.error();
    sample.alone = std::move(text).value();
    return std::nullopt;
  }

  std::optional<Error> ask_merged(std::span<const size_t> order) {
    Result<std::vector<Outcome>> outcomes = call(order);
    if (!outcomes.ok()) return outcomes.error();
    std::span<const Outcome> rest = outcomes.value();
    for (const size_t i : order) {
      const Sample& sample = samples_[i];
      const size_t rows = sample.request.rows.size();
      const Result<std::string> text = answer(sample, rest.first(rows));
      rest = rest.subspan(rows);
      if (!text.ok()) return text.error();
      note(sample, text.value());
    }
    return std::nullopt;
  }

  void note(const Sample& sample, const std::string& merged) {
    ++compared_;
    if (merged == sample.alone) {
      ++identical_;
      return;
    }
    const std::optional<double> apart = json_distance(sample.alone, merged);
    if (!apart) {
      ++different_;
    } else {
      largest_ = std::max(largest_, *apart);
    }
  }

  DoctorReport verdict() const {
    char line[200];
    std::snprintf(line, sizeof line, "%.3g (allowed: %.3g)", largest_, options_.tolerance);
    std::string text = "requests asked one by one: " + std::to_string(samples_.size()) +
                       "\nmerged calls of all of them: " + std::to_string(options_.rounds) +
                       "\nanswers compared: " + std::to_string(compared_) +
                       "\nidentical: " + std::to_string(identical_) +
                       "\nof another shape: " + std::to_string(different_) +
                       "\nlargest distance of numbers: " + line + "\n";
    const bool safe = different_ == 0 && largest_ <= options_.tolerance;
    text += safe ? "SAFE to merge: each caller gets the answer it would have got alone\n"
                 : "NOT SAFE to merge: answers depend on who else is in the call\n";
    return {.safe = safe, .text = std::move(text)};
  }

  Loop& loop_;
  const DoctorOptions& options_;
  const std::function<void()> run_;
  const std::function<void()> stop_;
  ByteBudget budget_{kAnswerBytesMax};
  Upstreams upstreams_;
  std::unique_ptr<LoopUpstreams> loop_upstreams_;
  std::optional<Calls> calls_;
  const Codec* codec_ = nullptr;
  std::vector<Sample> samples_;
  std::optional<CallDone> done_;
  CallId calls_made_ = 0;
  uint64_t compared_ = 0;
  uint64_t identical_ = 0;
  uint64_t different_ = 0;
  double largest_ = 0;
};

}  // namespace

std::optional<double> json_distance(std::string_view a, std::string_view b) {
  const Slice first = Slice::copy_of(a);
  const Slice second = Slice::copy_of(b);
  const Result<JsonView> x = parse_json(first);
  const Result<JsonView> y = parse_json(second);
  if (!x.ok() || !y.ok()) return std::nullopt;  // no JSON: equal or not
  double largest = 0;
  return measure(x.value(), y.value(), largest) ? std::optional(largest) : std::nullopt;
}

Doctor::Doctor(Loop& loop, std::function<void()> run, std::function<void()> stop)
    : loop_(loop), run_(std::move(run)), stop_(std::move(stop)) {}

DoctorReport Doctor::examine(const DoctorOptions& options) {
  return Examination(loop_, options, run_, stop_).go();
}

}  // namespace sluice
