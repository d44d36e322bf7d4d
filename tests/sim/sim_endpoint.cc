// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_endpoint.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "backends/engine_echo.h"
#include "base/base64.h"
#include "base/json.h"

namespace sluice::sim {

// A call of /v1/embeddings or /embed, as it was read.
struct SimEndpoint::Call {
  uint64_t serial = 0;
  bool openai = true;
  bool base64 = false;
  int64_t dimensions = 0;
  std::string model;
  std::vector<std::string> items;  // raw JSON
  bool poisoned = false;
};

std::string Tag::text(std::string_view serial) const {
  return credentials + "|" + model + "|" + odd + "|" + std::to_string(dimensions) + "|" +
         std::string(serial);
}

std::string endpoint_vector(std::string_view raw, int64_t dimensions) {
  const auto vector = echo_vector(raw);
  const size_t width =
      dimensions > 0 ? std::min(vector.size(), static_cast<size_t>(dimensions)) : vector.size();
  return {reinterpret_cast<const char*>(vector.data()), width * sizeof(float)};
}

std::vector<std::string> chat_pieces(std::string_view tag) {
  std::vector<std::string> pieces;
  const auto draws = echo_vector(tag);
  // Some streams are larger than what may wait on the way.
  const size_t size = draws[0] < 0.2F ? 30'000 : 20;
  for (size_t i = 0; i < 2 + static_cast<size_t>(draws[1] * 6); ++i)
    pieces.push_back("data: " + std::string(tag) + "#" + std::to_string(i) +
                     std::string(size, static_cast<char>('a' + i)) + "\n\n");
  pieces.emplace_back("data: [DONE]\n\n");
  return pieces;
}

SimEndpoint::SimEndpoint(SimWorld& world, Options options,
                         std::function<void(std::string)> violation)
    : world_(world),
      options_(std::move(options)),
      violation_(std::move(violation)),
      upstream_(world, options_.host, 8000,
                [this](const SimRequest& request, const SimReply& reply) {
                  if (request.target == "/v1/chat/completions") return take_chat(request, reply);
                  take(request, reply);
                }) {}

void SimEndpoint::take(const SimRequest& request, const SimReply& reply) {
  Call call;
  call.serial = request.serial;
  call.openai = request.target == "/v1/embeddings";
  if (!call.openai && request.target != "/embed") violation_("a call of " + request.target);
  const Slice body = Slice::copy_of(request.body);
  const Result<JsonView> root = parse_json(body);
  if (!root.ok()) return violation_("a call that is no JSON: " + request.body);
  const auto member = [&](std::string_view name) { return root.value().member(name); };
  const auto inputs = member(call.openai ? "input" : "inputs");
  if (!inputs || !inputs->is(JsonType::kArray))
    return violation_("a call without a list: " + request.body);
  inputs->for_each_item([&](JsonView item) {
    call.items.emplace_back(item.raw());
    call.poisoned |= item.raw().find("poison") != std::string_view::npos;
    return true;
  });
  if (const auto model = member("model")) call.model = model->text();
  if (const auto dimensions = member("dimensions")) call.dimensions = *dimensions->integer();
  if (const auto format = member("encoding_format")) call.base64 = format->text() == "base64";
  check(request, call);
  ++calls_;
  items_ += call.items.size();
  if (!reply.open()) return;  // it is met by a reset
  running_[call.serial] = reply;
  Duration took = options_.a + options_.b * static_cast<int64_t>(call.items.size());
  if (world_.prng().chance(options_.faults.slow)) took = took * 50;
  world_.after(took, [this, call = std::move(call), reply] {
    running_.erase(call.serial);
    if (reply.open()) answer(call, reply);
  });
}

void SimEndpoint::check(const SimRequest& request, const Call& call) {
  const Tag tag{.credentials = std::string(request.find("authorization").value_or("")),
                .model = call.model,
                .odd = std::string(request.find("x-odd").value_or("")),
                .dimensions = call.dimensions};
  const std::string wanted = '"' + tag.text("");
  for (const std::string& item : call.items) {
    if (item.starts_with('"') && !item.starts_with(wanted))
      violation_("a call as " + wanted + " with somebody else's " + item);
    const auto earliest = not_before_.find(item);
    if (earliest != not_before_.end() && world_.now() < earliest->second)
      violation_("Retry-After was not waited for: " + item);
  }
  if (call.items.empty()) violation_("a call without items");
  if (call.items.size() > options_.items_max) violation_("a call with too many items");
  if (running_.size() < options_.slots) return;
  // Calls that nobody waits for any more are aborted; of these this end hears a little later.
  const Duration grace = (world_.faults.latency_max + world_.faults.coarse + microseconds(20)) * 6;
  std::vector<uint64_t> together = {call.serial};
  for (const auto& [serial, reply] : running_) together.push_back(serial);
  world_.after(grace, [this, together = std::move(together)] {
    const auto runs = [this](uint64_t serial) {
      const auto found = running_.find(serial);
      return found != running_.end() && found->second.open();
    };
    if (static_cast<size_t>(std::ranges::count_if(together, runs)) > options_.slots)
      violation_("more calls than slots");
  });
}

void SimEndpoint::answer(const Call& call, const SimReply& reply) {
  Prng& prng = world_.prng();
  const Faults& faults = options_.faults;
  if (prng.chance(faults.busy)) return refuse(call, reply, 503);
  if (prng.chance(faults.throttled)) return refuse(call, reply, 429);
  if (prng.chance(faults.broken)) return reply.respond(500, R"({"error":"broken"})");
  if (call.poisoned) return reply.respond(422, R"({"error":"poison"})");
  Call told = call;
  if (prng.chance(faults.miscounted)) {
    if (prng.chance(0.5)) {
      told.items.pop_back();
    } else {
      told.items.push_back(told.items.front());
    }
  }
  const std::string body = body_of(told);
  const auto whole = [](std::string_view text, size_t length) {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(length) + "\r\n\r\n" + std::string(text);
  };
  if (prng.chance(faults.truncated)) {
    reply.send(whole(std::string_view(body).substr(0, body.size() / 2), body.size()));
    return reply.close();
  }
  if (prng.chance(faults.surplus)) return reply.send(whole(body, body.size()) + "surplus");
  if (prng.chance(faults.twice)) {
    for (std::string& item : told.items) item += "?";
    const std::string other = body_of(told);
    return reply.send(whole(body, body.size()) + whole(other, other.size()));
  }
  reply.respond(200, body, {{"Content-Type", "application/json"}});
}

void SimEndpoint::refuse(const Call& call, const SimReply& reply, int status) {
  std::vector<std::pair<std::string, std::string>> headers;
  if (world_.prng().chance(0.8)) {
    const int64_t wait = world_.prng().between(1, 3);
    headers.emplace_back("Retry-After", std::to_string(wait));
    // Where the answer may be cut, nobody is sure to hear of it.
    for (const std::string& item : call.items) {
      if (upstream_.faults.cut <= 0) not_before_[item] = world_.now() + seconds(wait);
    }
  }
  reply.respond(status, R"({"error":"later"})", headers);
}

std::string SimEndpoint::body_of(const Call& call) {
  std::vector<std::string> entries;
  uint64_t tokens = 0;
  const bool misplaced = call.openai && world_.prng().chance(options_.faults.misplaced);
  for (size_t i = 0; i < call.items.size(); ++i) {
    const std::string bytes = endpoint_vector(call.items[i], call.dimensions);
    tokens += call.items[i].size();
    std::string vector;
    if (call.base64) {
      vector = "\"";
      append_base64(vector, bytes);
      vector += '"';
    } else {
      for (size_t at = 0; at < bytes.size(); at += sizeof(float)) {
        float number = 0;
        std::copy_n(bytes.data() + at, sizeof number, reinterpret_cast<char*>(&number));
        vector += at == 0 ? '[' : ',';
        append_json_number(vector, number);
      }
      vector += ']';
    }
    const size_t index = misplaced && i > 0 ? i - 1 : i;
    entries.push_back(call.openai ? R"({"object":"embedding","index":)" + std::to_string(index) +
                                        R"(,"embedding":)" + vector + "}"
                                  : vector);
  }
  if (misplaced && world_.prng().chance(0.5)) {
    entries.assign(1, R"({"object":"embedding","index":0,"embedding":[1,2,3]})");
    for (size_t i = 0; i < call.items.size(); ++i)
      entries.push_back(R"({"object":"embedding","index":)" + std::to_string(i) +
                        R"(,"embedding":[3,2,1]})");
  }
  // Where entries name their places, any order is right.
  for (size_t i = 1; call.openai && options_.shuffles && i < entries.size(); ++i)
    std::swap(entries[i],
              entries[static_cast<size_t>(world_.prng().between(0, static_cast<int64_t>(i)))]);
  std::string list = "[";
  for (const std::string& entry : entries) list += (list.size() > 1 ? "," : "") + entry;
  list += "]";
  tokens_ += tokens;
  if (!call.openai) return list;
  const std::string count = std::to_string(tokens);
  return R"({"object":"list","data":)" + list + R"(,"model":")" + call.model +
         R"(-served","usage":{"prompt_tokens":)" + count + R"(,"total_tokens":)" + count + "}}";
}

void SimEndpoint::take_chat(const SimRequest& request, const SimReply& reply) {
  const Slice body = Slice::copy_of(request.body);
  const Result<JsonView> root = parse_json(body);
  if (!root.ok()) return violation_("a chat that is no JSON: " + request.body);
  const std::string tag = root.value().member("messages")->text();
  if (!chats_.insert(tag).second) violation_("a chat was sent twice: " + tag);
  if (!tag.starts_with(std::string(request.find("authorization").value_or("")) + "|"))
    violation_("a chat with somebody else's credentials: " + tag);
  if (!reply.open()) return;
  reply.send(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  stream(chat_pieces(tag), 0, reply);
}

void SimEndpoint::stream(std::vector<std::string> pieces, size_t next, const SimReply& reply) {
  if (!reply.open()) return;
  if (world_.prng().chance(options_.faults.chat_cut)) return reply.reset();
  if (next == pieces.size()) return reply.send("0\r\n\r\n");
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", pieces[next].size());
  reply.send(size + pieces[next] + "\r\n");
  world_.after(world_.some(milliseconds(3)), [this, pieces = std::move(pieces), next, reply] {
    stream(pieces, next + 1, reply);
  });
}

}  // namespace sluice::sim
