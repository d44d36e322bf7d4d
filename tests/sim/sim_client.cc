// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_client.h"

#include <charconv>
#include <utility>

#include "backends/engine_echo.h"
#include "base/json.h"

namespace sluice::sim {
namespace {

// The bytes after "\r\nname: " up to the line's end, in a head; empty if it is not there.
std::string_view header(std::string_view head, std::string_view name) {
  const std::string key = "\r\n" + std::string(name) + ": ";
  const size_t at = head.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = head.substr(at + key.size());
  return rest.substr(0, rest.find('\r'));
}

}  // namespace

SimClient::SimClient(World world, size_t number, size_t requests)
    : world_(std::move(world)), number_(number), left_(requests) {}

void SimClient::start() {
  world_.sim->after(world_.sim->some(milliseconds(50)), [this] { connect(); });
}

void SimClient::connect() {
  if (left_ == 0) {
    finished_ = true;
    return;
  }
  received_.clear();
  last_closes_ = false;
  socket_ = SimLoop::connect(*world_.sim, world_.loops, world_.port);
  const uint64_t mine = ++connection_;
  socket_->on_bytes = [this, mine](std::string_view bytes) {
    if (mine == connection_) on_bytes(bytes);
  };
  socket_->on_end = [this, mine] {
    if (mine == connection_) on_closed(false);
  };
  socket_->on_reset = [this, mine] {
    if (mine == connection_) on_closed(true);
  };
  if (world_.sim->prng().chance(world_.plan->slow_reader))
    socket_->read_slowly(static_cast<size_t>(world_.sim->prng().between(1, 200)), milliseconds(1));
  next();
}

// Sends a request, or several at once, and perhaps leaves before the answer.
void SimClient::next() {
  if (left_ == 0) {
    finished_ = true;
    ++connection_;
    socket_.reset();
    return;
  }
  Prng& prng = world_.sim->prng();
  send_one();
  while (left_ > 0 && waiting_.back().kind != Expectation::Kind::kGarbage &&
         prng.chance(world_.plan->pipelined))
    send_one();
  if (!prng.chance(world_.plan->leave)) return;
  world_.sim->after(world_.sim->some(milliseconds(10)), [this, mine = connection_] {
    if (mine == connection_) leave();
  });
}

void SimClient::leave() {
  if (world_.sim->prng().chance(world_.plan->reset)) socket_->reset();
  ++connection_;
  socket_.reset();
  world_.summary->dropped += waiting_.size();
  waiting_.clear();
  world_.sim->after(world_.sim->some(milliseconds(5)), [this] { connect(); });
}

void SimClient::send_one() {
  --left_;
  Expectation expected;
  expected.sent = world_.sim->now();
  const std::string text = request_text(expected);
  expected.bytes = text.size();
  waiting_.push_back(std::move(expected));
  socket_->send(text);
}

std::string SimClient::request_text(Expectation& expected) {
  Prng& prng = world_.sim->prng();
  const Plan& plan = *world_.plan;
  if (prng.chance(plan.garbage)) {
    expected.kind = Expectation::Kind::kGarbage;
    static constexpr const char* kGarbage[] = {
        "GET\r\n\r\n", "POST /v1/embeddings HTTP/1.1\r\n\r\n", "\x16\x03\x01\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"};
    return kGarbage[prng.between(0, 3)];
  }
  std::string body;
  if (prng.chance(plan.bad_body)) {
    expected.kind = Expectation::Kind::kBadBody;
    static constexpr const char* kBad[] = {"{", "[]", R"({"model":"echo"})",
                                           R"({"model":"echo","input":[1,"a"]})",
                                           R"({"model":"nobody","input":"a"})"};
    body = kBad[prng.between(0, 4)];
  } else {
    const int64_t most = prng.chance(plan.big) ? 200 : 4;
    const int64_t count = prng.between(1, most);
    body = R"({"model":"echo","input":[)";
    for (int64_t i = 0; i < count; ++i) {
      // A tag of its own, so that no answer can pass for another's.
      std::string input = "c" + std::to_string(number_) + "r" + std::to_string(serial_) + "i" +
                          std::to_string(i) +
                          std::string(static_cast<size_t>(prng.between(0, 40)), 'x');
      body += (i > 0 ? ",\"" : "\"") + input + "\"";
      expected.inputs.push_back(std::move(input));
    }
    body += "]}";
  }
  ++serial_;
  std::string head = "POST /v1/embeddings HTTP/1.1\r\nHost: sim\r\nContent-Length: " +
                     std::to_string(body.size()) + "\r\nAuthorization: Bearer " +
                     std::to_string(number_ % 3) + "\r\n";
  if (prng.chance(0.2))
    head += "x-sluice-priority: " + std::to_string(prng.between(-3, 3)) + "\r\n";
  if (expected.kind == Expectation::Kind::kValid && prng.chance(plan.deadline)) {
    expected.deadline = milliseconds(prng.between(1, 30));
    head += "x-sluice-deadline-ms: " + std::to_string(expected.deadline->ns / 1'000'000) + "\r\n";
  }
  return head + "\r\n" + body;
}

void SimClient::on_bytes(std::string_view bytes) {
  received_.append(bytes);
  const uint64_t mine = connection_;
  while (mine == connection_ && take_response()) {
  }
}

// Takes one response off what was received, if it is whole.
bool SimClient::take_response() {
  const size_t end = received_.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  const std::string head = received_.substr(0, end + 2);
  size_t length = 0;
  const std::string_view declared = header(head, "Content-Length");
  std::from_chars(declared.data(), declared.data() + declared.size(), length);
  if (received_.size() < end + 4 + length) return false;
  const std::string body = received_.substr(end + 4, length);
  received_.erase(0, end + 4 + length);
  int status = 0;
  std::from_chars(head.data() + 9, head.data() + 12, status);
  last_closes_ = header(head, "Connection") == "close";
  if (waiting_.empty()) {
    // A connection may be turned away before anything was asked of it.
    if (status != 503 && status != 408) violation("an answer nobody asked for: " + head);
    return true;
  }
  const Expectation expected = std::move(waiting_.front());
  waiting_.pop_front();
  judge(expected, status, body);
  if (waiting_.empty() && !last_closes_) next();
  return true;
}

void SimClient::judge(const Expectation& expected, int status, const std::string& body) {
  Summary& summary = *world_.summary;
  const bool valid = expected.kind == Expectation::Kind::kValid;
  if (status == 200) {
    ++summary.answered;
    if (!valid) violation("200 for a broken request");
    return judge_vectors(expected, body);
  }
  const Slice slice = Slice::copy_of(body);
  const Result<JsonView> json = parse_json(slice);
  if (!json.ok() || !json.value().member("error"))
    violation("an error that has not the dialect's shape: " + body);
  if (status == 429 || status == 503 || (status == 413 && valid)) {
    ++summary.refused;
  } else if (status == 504) {
    ++summary.expired;
    if (!valid || !expected.deadline) violation("504 without a deadline");
    judge_time(expected);
  } else if (status == 500 || status == 502) {
    ++summary.failed;
    if (world_.plan->engine_error == 0 && world_.plan->engine_wrong == 0)
      violation("a failure without a cause: " + body);
  } else {
    ++summary.invalid;
    if (valid) violation("a valid request was refused: " + std::to_string(status) + " " + body);
  }
}

void SimClient::judge_vectors(const Expectation& expected, const std::string& body) {
  const Slice slice = Slice::copy_of(body);
  const Result<JsonView> json = parse_json(slice);
  if (!json.ok()) return violation("an answer that is no JSON");
  size_t index = 0;
  json.value().member("data")->for_each_item([&](JsonView item) {
    if (index >= expected.inputs.size()) return false;
    if (item.member("index")->integer() != static_cast<int64_t>(index))
      violation("an index out of order");
    const auto wanted = echo_vector(expected.inputs[index]);
    size_t k = 0;
    item.member("embedding")->for_each_item([&](JsonView number) {
      if (k >= wanted.size() || static_cast<float>(number.number()) != wanted[k])
        violation("somebody else's vector");
      ++k;
      return true;
    });
    ++index;
    return true;
  });
  if (index != expected.inputs.size()) violation("not one vector for each input");
}

Duration SimClient::travel(size_t bytes) const {
  const Faults& faults = world_.plan->faults;
  const int64_t pieces =
      faults.one_byte > 0 || faults.split > 0 ? static_cast<int64_t>(bytes) + 2 : 3;
  return (faults.latency_max + faults.coarse + microseconds(20)) * (pieces + 4);
}

// Told at the deadline, give or take the way there and back.
void SimClient::judge_time(const Expectation& expected) {
  if (world_.plan->slow_reader > 0 || world_.plan->pipelined > 0) return;
  const Duration took = world_.sim->now() - expected.sent;
  const Duration most =
      *expected.deadline + travel(expected.bytes) + travel(600) + world_.plan->faults.coarse * 4;
  if (took > most)
    violation("504 after " + std::to_string(took.ns) + " ns for a deadline of " +
              std::to_string(expected.deadline->ns));
}

void SimClient::on_closed(bool reset) {
  const std::optional<Instant>& drain = *world_.drain_began;
  for (const Expectation& expected : waiting_) {
    ++world_.summary->dropped;
    const bool read_before_drain = !drain || expected.sent + travel(expected.bytes) < *drain;
    // What stood behind a request that ended the connection was never read.
    if (expected.kind == Expectation::Kind::kValid && read_before_drain && !last_closes_ &&
        world_.plan->pipelined == 0)
      violation(reset ? "reset instead of an answer" : "closed instead of an answer");
  }
  waiting_.clear();
  ++connection_;
  socket_.reset();
  if (drain) {
    finished_ = true;
    return;
  }
  world_.sim->after(world_.sim->some(milliseconds(1)), [this] { connect(); });
}

void SimClient::violation(const std::string& what) {
  world_.summary->violations.push_back("client " + std::to_string(number_) + ": " + what);
}

}  // namespace sluice::sim
