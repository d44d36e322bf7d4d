// SPDX-License-Identifier: Apache-2.0
#include "gateway/passthrough.h"

#include <algorithm>
#include <utility>

#include "base/http1_head.h"
#include "gateway/headers.h"

namespace sluice {

namespace {

bool wants_websocket(const RequestHead& head) {
  return http1::equal_any_case(head.upgrade, "websocket");
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

// "HTTP/1.1 200 OK" and the headers that go on; the caller adds framing and the blank line.
std::string answer_head(const UpstreamHead& head, bool keep_length) {
  std::string out = "HTTP/1.1 " + std::to_string(head.status) + " ";
  out += head.reason.empty() ? http_reason(head.status) : head.reason;
  out += "\r\n";
  for (const Header& header : head.headers) {
    const bool length = http1::equal_any_case(header.name, "content-length");
    const bool trailer = http1::equal_any_case(header.name, "trailer");
    if (length ? !keep_length : is_hop_by_hop(header.name) && !trailer) continue;
    if (is_listed_in_connection(head.headers, header.name)) continue;
    append_header(out, header.name, header.value);
  }
  return out;
}

// A piece of an answer's body as a chunk, or as it is.
void frame(std::string_view bytes, bool chunked, std::vector<Slice>& parts) {
  if (!chunked) {
    parts.push_back(Slice::copy_of(bytes));
    return;
  }
  std::string size;
  write_chunk_size(size, bytes.size());
  parts.emplace_back(ChunkRef::make(size.size() + bytes.size() + 2, [&](char* to) {
    to = std::copy(size.begin(), size.end(), to);
    to = std::copy(bytes.begin(), bytes.end(), to);
    *to++ = '\r';
    *to = '\n';
  }));
}

}  // namespace

PassThrough::PassThrough(RequestId id, Connection& connection, RequestHead head, Slice body,
                         bool complete, const PassTarget& target, PassOwner& owner)
    : id_(id),
      connection_(connection),
      head_(std::move(head)),
      target_(target),
      owner_(owner),
      client_ended_(complete) {
  chunked_ = head_.chunked;
  build_headers();
  if (!body.empty()) {
    kept_bytes_ = body.size();
    if (chunked_) {
      frame(body.view(), true, waiting_);
    } else {
      waiting_.push_back(std::move(body));
    }
  }
  if (complete && chunked_) {
    std::string last;
    write_last_chunk(last, {});
    waiting_.push_back(Slice::copy_of(last));
  }
  show_waiting(waiting_bytes());
}

PassThrough::~PassThrough() { show_waiting(0); }

// The client's headers in their order, Host as configured, framing anew, and the gateway's own.
void PassThrough::build_headers() {
  const UpstreamConfig& config = *target_.config;
  texts_.reserve(8);  // views point into the elements
  const bool websocket = wants_websocket(head_);
  for (const Header& header : head_.headers) {
    if (http1::equal_any_case(header.name, "host")) {
      headers_.push_back({header.name, config.preserve_host
                                           ? header.value
                                           : std::string_view(target_.origin.authority)});
      continue;
    }
    if (http1::equal_any_case(header.name, "content-length") && !head_.chunked) {
      headers_.push_back(header);
      continue;
    }
    if (is_hop_by_hop(header.name) || is_listed_in_connection(head_.headers, header.name)) continue;
    if (header.name.size() > 9 && http1::equal_any_case(header.name.substr(0, 9), "x-sluice-"))
      continue;
    const bool replaced = std::ranges::any_of(config.headers, [&](const auto& own) {
      return http1::equal_any_case(own.first, header.name);
    });
    if (!replaced) headers_.push_back(header);
  }
  if (!head_.find("host")) headers_.push_back({"Host", target_.origin.authority});
  for (const auto& [name, value] : config.headers) headers_.push_back({name, value});
  if (head_.chunked) headers_.push_back({"Transfer-Encoding", "chunked"});
  if (websocket) {
    headers_.push_back({"Connection", "Upgrade"});
    headers_.push_back({"Upgrade", "websocket"});
  }
  add_forwarded();
}

// Whom the request came from, where the endpoint should know: appended to what is there already.
void PassThrough::add_forwarded() {
  const ForwardedStyle style = target_.config->forwarded;
  if (style == ForwardedStyle::kOff) return;
  std::string peer = connection_.peer();
  peer.resize(std::min(peer.size(), peer.rfind(':')));
  const std::string host(head_.find("host").value_or(""));
  const auto add = [&](std::string_view name, std::string value) {
    headers_.push_back({name, texts_.emplace_back(std::move(value))});
  };
  if (style == ForwardedStyle::kForwarded) {
    const bool v6 = peer.starts_with('[');
    std::string value = "for=" + (v6 ? "\"" + peer + "\"" : peer) + ";proto=http";
    if (!host.empty() && host.find_first_of("\"\\") == std::string::npos)
      value += ";host=\"" + host + "\"";
    return add("Forwarded", value);
  }
  if (peer.starts_with('[')) peer = peer.substr(1, peer.size() - 2);
  add("X-Forwarded-For", peer);
  add("X-Forwarded-Proto", "http");
  if (!host.empty()) add("X-Forwarded-Host", host);
}

void PassThrough::start() {
  HttpRequest request;
  request.method = head_.method;
  request.target = target_.origin.prefix + head_.target;
  request.headers = headers_;
  request.body = waiting_;
  request.complete = client_ended_;
  request.retry_reset = false;  // it may have had an effect
  exchange_ = target_.pool->start(std::move(request), *this);
  pace_upstream();
}

void PassThrough::on_started() {
  started_ = true;
  owner_.on_pass_started(id_);
  // What came since start() was kept back, for it could not be told apart from what was given.
  waiting_.clear();
  kept_bytes_ = 0;
  pace_client();
}

void PassThrough::on_client_bytes(std::string_view bytes) {
  if (tunnel_) {
    const Slice part = Slice::copy_of(bytes);
    tunnel_->write({&part, 1});
    return pace_client();
  }
  std::vector<Slice> parts;
  frame(bytes, chunked_, parts);
  if (exchange_) exchange_->write(parts);
  // Until a connection has taken it, the request may have to be sent again from its beginning.
  if (!started_) {
    waiting_.insert(waiting_.end(), parts.begin(), parts.end());
    kept_bytes_ += bytes.size();
  }
  pace_client();
}

void PassThrough::on_client_end() {
  client_ended_ = true;
  connection_.read(true);  // it may leave
  std::vector<Slice> parts;
  if (chunked_) {
    std::string last;
    write_last_chunk(last, {});
    parts.push_back(Slice::copy_of(last));
  }
  if (!started_) waiting_.insert(waiting_.end(), parts.begin(), parts.end());
  if (!exchange_) return;
  if (!parts.empty()) exchange_->write(parts);
  exchange_->finish();
}

// What of the request, or of the tunnel's way there, is not on its way yet. Until a connection has
// it, the exchange has the same slices as `waiting_`.
size_t PassThrough::waiting_bytes() const {
  if (tunnel_) return tunnel_->unsent_bytes();
  return std::max(kept_bytes_, exchange_ ? exchange_->unsent_bytes() : 0);
}

void PassThrough::show_waiting(size_t bytes) {
  owner_.on_pass_holds(std::exchange(shown_bytes_, bytes), bytes);
}

// Stops the client while too much of its body waits.
void PassThrough::pace_client() {
  const size_t waits = waiting_bytes();
  show_waiting(waits);
  if (!client_ended_ || tunnel_) connection_.read(waits < owner_.pass_room(id_));
}

// Stops the upstream while too much of the answer waits for the client.
void PassThrough::pace_upstream() {
  const bool wanted = connection_.unsent_bytes() < owner_.pass_room(id_);
  if (tunnel_) {
    tunnel_->read(wanted);
  } else if (exchange_) {
    exchange_->read(wanted);
  }
}

void PassThrough::pace() {
  pace_client();
  pace_upstream();
}

void PassThrough::on_client_drained() { pace_upstream(); }

void PassThrough::on_drained() { pace_client(); }

void PassThrough::on_interim(UpstreamHead& head) {
  if (connection_.version_minor() == 0) return;  // HTTP/1.0 knows no 1xx
  connection_.interim(answer_head(head, false) + "\r\n");
}

void PassThrough::on_head(UpstreamHead& head) {
  status_ = head.status;
  owner_.on_pass_head(id_);
  const bool bodyless = head_.method == "HEAD" || head.status == 204 || head.status == 304;
  const bool unsized = !bodyless && !head.content_length;
  chunk_answer_ = unsized && connection_.version_minor() > 0;
  close_after_ = (unsized && !chunk_answer_) || !connection_.keep_alive_wanted();
  std::string out = answer_head(head, !head.chunked);
  if (chunk_answer_) append_header(out, "Transfer-Encoding", "chunked");
  if (close_after_) {
    append_header(out, "Connection", "close");
  } else if (connection_.version_minor() == 0) {
    append_header(out, "Connection", "keep-alive");
  }
  out += "\r\n";
  connection_.begin_answer(out);
}

void PassThrough::on_body(std::string_view bytes) {
  if (bytes.empty()) return;
  std::vector<Slice> parts;
  frame(bytes, chunk_answer_, parts);
  connection_.write_answer(parts);
  pace_upstream();
}

void PassThrough::on_end(std::span<const Header> trailers) {
  if (chunk_answer_) {
    std::string last;
    write_last_chunk(last, trailers);
    const Slice part = Slice::copy_of(last);
    connection_.write_answer({&part, 1});
  }
  connection_.read(true);
  connection_.end_answer(!close_after_);
  owner_.on_pass_end(id_, {.failure = std::nullopt, .status = status_, .answered = true});
}

void PassThrough::on_failed(const HttpFailure& failure) {
  exchange_.reset();
  started_ = false;
  owner_.on_pass_end(id_, {.failure = failure, .status = status_, .answered = status_ != 0});
}

void PassThrough::on_switched(UpstreamHead& head, std::unique_ptr<Stream> stream,
                              std::string_view rest) {
  if (!wants_websocket(head_) || !connection_.request_complete()) {
    const HttpFailure failure{
        .kind = HttpFailure::Kind::kCut,
        .sent = true,
        .error = {.code = Code::kUpstream,
                  .message = "The upstream changed the protocol, which nobody asked for."}};
    return on_failed(failure);
  }
  status_ = head.status;
  owner_.on_pass_head(id_);
  tunnel_ = std::move(stream);
  tunnel_->set_events(this);
  std::string out = answer_head(head, false);
  append_header(out, "Connection", "Upgrade");
  append_header(out, "Upgrade", head.find("upgrade").value_or("websocket"));
  out += "\r\n";
  connection_.begin_answer(out);
  if (!rest.empty()) on_bytes(rest);
  connection_.begin_tunnel();
}

void PassThrough::on_bytes(std::string_view bytes) {
  const Slice part = Slice::copy_of(bytes);
  connection_.write_answer({&part, 1});
  pace_upstream();
}

void PassThrough::on_end() {
  tunnel_ended_theirs_ = true;
  tunnel_over();
}

void PassThrough::on_client_fin() {
  tunnel_ended_ours_ = true;
  tunnel_->shut_down();
  tunnel_over();
}

// The client's connection ends when the upstream's side has; what the upstream still gets of a
// client that ended first is the upstream's business.
void PassThrough::tunnel_over() {
  if (!tunnel_ended_theirs_) return;
  connection_.end_tunnel();
  owner_.on_pass_end(id_, {.failure = std::nullopt, .status = status_, .answered = true});
}

void PassThrough::on_broken() {
  tunnel_.reset();
  owner_.on_pass_end(
      id_,
      {.failure = HttpFailure{.kind = HttpFailure::Kind::kCut,
                              .sent = true,
                              .error = {.code = Code::kUpstream, .message = "The tunnel broke."}},
       .status = status_,
       .answered = true});
}

}  // namespace sluice
