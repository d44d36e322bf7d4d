// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/proxy_client.h"

#include <charconv>
#include <cstdio>
#include <utility>

#include "base/base64.h"
#include "base/json.h"
#include "tests/sim/proxy_world.h"

namespace sluice::sim {
namespace {

// Undoes chunks from `at` on. Gives where the last one ends, or nothing if it is not there yet.
std::optional<size_t> unchunk(std::string_view bytes, size_t at, std::string& out) {
  while (true) {
    const size_t line = bytes.find("\r\n", at);
    if (line == std::string_view::npos) return std::nullopt;
    size_t size = 0;
    std::from_chars(bytes.data() + at, bytes.data() + line, size, 16);
    at = line + 2;
    out.append(bytes.substr(at, size));
    if (bytes.size() < at + size + 2) return std::nullopt;
    at += size + 2;
    if (size == 0) return at;
  }
}

// The value of a line of a head, by its lower-case name; empty if it is not there.
std::string_view header(std::string_view head, std::string_view lower_name) {
  for (size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
    at += 2;
    if (head.size() < at + lower_name.size() || head[at + lower_name.size()] != ':') continue;
    bool same = true;
    for (size_t i = 0; i < lower_name.size(); ++i)
      same &= std::tolower(static_cast<unsigned char>(head[at + i])) == lower_name[i];
    if (!same) continue;
    const std::string_view rest = head.substr(at + lower_name.size() + 2);
    return rest.substr(0, rest.find('\r'));
  }
  return {};
}

}  // namespace

std::optional<WireAnswer> take_answer(std::string& received, std::string* partial) {
  const size_t end = received.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  WireAnswer answer;
  answer.head = received.substr(0, end + 2);
  std::from_chars(answer.head.data() + 9, answer.head.data() + 12, answer.status);
  answer.closes = header(answer.head, "connection") == "close";
  size_t over = 0;
  if (header(answer.head, "transfer-encoding") == "chunked") {
    const std::optional<size_t> last = unchunk(received, end + 4, answer.body);
    if (!last) {
      if (partial != nullptr) *partial = answer.body;
      return std::nullopt;
    }
    over = *last;
  } else {
    size_t length = 0;
    const std::string_view declared = header(answer.head, "content-length");
    std::from_chars(declared.data(), declared.data() + declared.size(), length);
    if (received.size() < end + 4 + length) return std::nullopt;
    answer.body = received.substr(end + 4, length);
    over = end + 4 + length;
  }
  received.erase(0, over);
  return answer;
}

std::string post_text(std::string_view path, std::string_view headers, std::string_view body) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: sim\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}

ProxyClient::ProxyClient(World world, size_t number, size_t requests)
    : world_(std::move(world)), number_(number), left_(requests) {}

void ProxyClient::start() {
  world_.sim->after(world_.sim->some(milliseconds(20)), [this] { connect(); });
}

void ProxyClient::connect() {
  if (left_ == 0) {
    finished_ = true;
    return;
  }
  received_.clear();
  socket_ = SimLoop::connect(*world_.sim, world_.loops, world_.port);
  const uint64_t mine = ++connection_;
  socket_->on_bytes = [this, mine](std::string_view bytes) {
    if (mine == connection_) on_bytes(bytes);
  };
  socket_->on_end = socket_->on_reset = [this, mine] {
    if (mine == connection_) on_closed();
  };
  Prng& prng = world_.sim->prng();
  if (prng.chance(world_.plan->slow_reader))
    socket_->read_slowly(static_cast<size_t>(prng.between(500, 5000)), milliseconds(1));
  next();
}

void ProxyClient::next() {
  Prng& prng = world_.sim->prng();
  if (left_ == 0 || prng.chance(0.1)) {
    ++connection_;
    socket_.reset();
    if (left_ > 0) return world_.sim->after(microseconds(10), [this] { connect(); });
    finished_ = true;
    return;
  }
  --left_;
  socket_->send(ask());
  if (!prng.chance(world_.plan->leave)) return;
  world_.sim->after(world_.sim->some(milliseconds(10)), [this, mine = serial_] {
    if (mine == serial_ && waiting_) leave();
  });
}

void ProxyClient::leave() {
  if (world_.sim->prng().chance(0.5)) socket_->reset();
  ++connection_;
  socket_.reset();
  waiting_.reset();
  ++world_.summary->left;
  world_.sim->after(world_.sim->some(milliseconds(5)), [this] { connect(); });
}

std::string ProxyClient::ask() {
  Prng& prng = world_.sim->prng();
  const ProxyPlan& plan = *world_.plan;
  waiting_.emplace();
  waiting_->sent = world_.sim->now();
  Tag& tag = waiting_->tag;
  std::string headers;
  const int64_t person = prng.between(0, static_cast<int64_t>(plan.people));
  if (person > 0) {
    tag.credentials = "Bearer " + std::to_string(person);
    headers += "Authorization: " + tag.credentials + "\r\n";
  }
  if (prng.chance(0.1)) {
    tag.odd = std::to_string(prng.between(1, 2));
    headers += "X-Odd: " + tag.odd + "\r\n";
  }
  if (prng.chance(0.3)) headers += "User-Agent: client " + std::to_string(number_) + "\r\n";
  const std::string serial = "c" + std::to_string(number_) + "r" + std::to_string(++serial_);
  return prng.chance(plan.chat) ? ask_chat(headers, serial) : ask_vectors(headers, serial);
}

std::string ProxyClient::ask_chat(const std::string& headers, const std::string& serial) {
  waiting_->chat = true;
  waiting_->texts = {waiting_->tag.text(serial)};
  Prng& prng = world_.sim->prng();
  const std::string padding(prng.chance(0.2) ? 50'000 : 0, ' ');
  const std::string body =
      R"({"stream":true,)" + padding + R"("messages":")" + waiting_->texts[0] + "\"}";
  if (prng.chance(0.7)) return post_text("/v1/chat/completions", headers, body);
  std::string text =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n" +
      headers + "\r\n";
  for (size_t at = 0; at < body.size(); at += 4096) {
    const std::string piece = body.substr(at, 4096);
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    text += size + piece + "\r\n";
  }
  return text + "0\r\n\r\n";
}

std::string ProxyClient::ask_vectors(std::string headers, const std::string& serial) {
  Prng& prng = world_.sim->prng();
  const ProxyPlan& plan = *world_.plan;
  ProxyAsked& asked = *waiting_;
  std::string fields;
  if (!plan.tei) {
    asked.tag.model = prng.chance(0.7) ? "m" : "n";
    fields += R"(,"model":")" + asked.tag.model + "\"";
    asked.base64 = prng.chance(0.3);
    if (asked.base64) {
      fields += R"(,"encoding_format":"base64")";
    } else if (prng.chance(0.5)) {
      fields += R"(,"encoding_format":"float")";
    }
  }
  if (prng.chance(0.2)) {
    asked.tag.dimensions = prng.between(3, 4);
    fields += R"(,"dimensions":)" + std::to_string(asked.tag.dimensions);
  }
  if (prng.chance(plan.deadline)) {
    asked.deadline = true;
    headers += "x-sluice-deadline-ms: " + std::to_string(prng.between(1, 30)) + "\r\n";
  }
  asked.poisoned = prng.chance(plan.poison);
  std::string list;
  const int64_t count = prng.between(1, prng.chance(0.1) ? 60 : 4);
  const int64_t bad = asked.poisoned ? prng.between(0, count - 1) : -1;
  for (int64_t i = 0; i < count; ++i) {
    std::string text = asked.tag.text(serial + "i" + std::to_string(i)) +
                       std::string(static_cast<size_t>(prng.between(0, 30)), 'x');
    if (i == bad) text += "poison";
    list += (i > 0 ? ",\"" : "\"") + text + "\"";
    asked.texts.push_back(std::move(text));
  }
  return post_text(
      plan.tei ? "/embed" : "/v1/embeddings", headers,
      std::string(plan.tei ? R"({"inputs":[)" : R"({"input":[)") + list + "]" + fields + "}");
}

void ProxyClient::on_bytes(std::string_view bytes) {
  received_.append(bytes);
  std::optional<WireAnswer> answer = take_answer(received_);
  if (!answer) return;
  if (!waiting_) return violation("an answer nobody asked for: " + answer->head);
  const ProxyAsked asked = *std::exchange(waiting_, std::nullopt);
  judge(asked, *answer);
  if (!received_.empty()) violation("bytes after an answer");
  if (!answer->closes) next();
}

void ProxyClient::on_closed() {
  if (waiting_) {
    std::string partial;
    take_answer(received_, &partial);
    std::string whole;
    for (const std::string& piece : chat_pieces(waiting_->texts[0])) whole += piece;
    // A stream may break before anything of it is here.
    if (!waiting_->chat || !world_.plan->faulty())
      violation("closed instead of an answer to " + waiting_->texts[0]);
    if (!whole.starts_with(partial)) violation("a stream with somebody else's bytes");
    ++world_.summary->failed;
    waiting_.reset();
  }
  ++connection_;
  socket_.reset();
  world_.sim->after(world_.sim->some(milliseconds(1)), [this] { connect(); });
}

void ProxyClient::judge(const ProxyAsked& asked, const WireAnswer& answer) {
  ProxySummary& summary = *world_.summary;
  const int status = answer.status;
  // What is passed on waits for nothing but connections.
  if (asked.chat && world_.sim->now() - asked.sent > seconds(60)) violation("a chat that hung");
  if (status == 200 && asked.chat) {
    std::string whole;
    for (const std::string& piece : chat_pieces(asked.texts[0])) whole += piece;
    if (answer.body != whole) violation("a stream that is not its own");
    ++summary.chats;
    ++summary.answered;
  } else if (status == 200) {
    if (asked.poisoned) violation("200 for a poisonous text");
    judge_vectors(asked, answer.body);
    ++summary.answered;
  } else if (status == 422) {
    if (!asked.poisoned || answer.body != R"({"error":"poison"})")
      violation("422 for somebody who is not at fault");
    ++summary.poisoned;
  } else if ((status == 504 && asked.deadline) || (status == 413 && world_.plan->tight)) {
    ++summary.failed;
  } else if (status == 429 || status == 500 || (status >= 502 && status <= 504)) {
    if (!world_.plan->faulty())
      violation("a failure without a cause: " + std::to_string(status) + " " + answer.body);
    if (status == 503 && header(answer.head, "retry-after").empty())
      violation("503 without Retry-After");
    ++summary.failed;
  } else {
    violation("status " + std::to_string(status) + ": " + answer.body);
  }
}

void ProxyClient::judge_vectors(const ProxyAsked& asked, const std::string& body) {
  const Slice slice = Slice::copy_of(body);
  const Result<JsonView> json = parse_json(slice);
  if (!json.ok()) return violation("an answer that is no JSON: " + body);
  const bool tei = world_.plan->tei;
  size_t at = 0;
  const auto data = tei ? std::optional(json.value()) : json.value().member("data");
  data->for_each_item([&](JsonView item) {
    if (at >= asked.texts.size()) return false;
    if (!tei && item.member("index")->integer() != static_cast<int64_t>(at))
      violation("an index out of order");
    const JsonView vector = tei ? item : *item.member("embedding");
    std::string bytes;
    if (asked.base64 != vector.is(JsonType::kString)) {
      violation("the other encoding_format");
    } else if (asked.base64) {
      append_from_base64(bytes, vector.text());
    } else {
      vector.for_each_item([&](JsonView number) {
        const auto value = static_cast<float>(number.number());
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
        return true;
      });
    }
    if (bytes != endpoint_vector('"' + asked.texts[at] + '"', asked.tag.dimensions))
      violation("not the vector of " + asked.texts[at]);
    ++at;
    return true;
  });
  if (at != asked.texts.size() || data->count() != at) violation("not one vector for each input");
  if (tei) return;
  if (json.value().member("model")->text() != asked.tag.model + "-served")
    violation("somebody else's model");
  const auto tokens = json.value().member("usage")->member("total_tokens")->integer();
  world_.summary->usage += static_cast<uint64_t>(tokens.value_or(0));
}

void ProxyClient::violation(const std::string& what) {
  world_.summary->violations.push_back("client " + std::to_string(number_) + ": " + what);
}

}  // namespace sluice::sim
