// SPDX-License-Identifier: Apache-2.0
#include "backends/dial.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/tls.h"

namespace sluice {

namespace {

using Connected = std::function<void(Result<std::unique_ptr<Stream>>)>;

bool is_literal(std::string_view host) {
  if (host.find(':') != std::string_view::npos) return true;
  return std::ranges::all_of(host, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

// Names and what they were resolved to, for a while.
class NameCache {
 public:
  NameCache(Loop& loop, const Dialer::Options& options) : loop_(loop), options_(options) {}

  // Null, and counted as a lookup, if there is none.
  const std::vector<std::string>* find(const std::string& host) {
    const auto found = entries_.find(host);
    if (found == entries_.end()) {
      ++lookups_;
      return nullptr;
    }
    if (found->second.until <= loop_.now()) {
      entries_.erase(found);
      ++lookups_;
      return nullptr;
    }
    return &found->second.addresses;
  }

  void keep(const std::string& host, std::vector<std::string> addresses) {
    if (entries_.size() >= options_.names_max && !entries_.contains(host))
      entries_.erase(entries_.begin());
    entries_[host] = {std::move(addresses), loop_.now() + options_.resolved_for};
  }

  uint64_t lookups() const { return lookups_; }

  // None of its addresses answered: perhaps it has moved.
  void forget(const std::string& host) { entries_.erase(host); }

 private:
  struct Entry {
    std::vector<std::string> addresses;
    Instant until;
  };
  Loop& loop_;
  const Dialer::Options& options_;
  std::unordered_map<std::string, Entry> entries_;
  uint64_t lookups_ = 0;
};

// One dial under way: name, then address after address, then TLS.
class Dial final : public Pending {
 public:
  Dial(Loop& loop, NameCache& names, const Dialer::Options& options, const Origin& origin,
       TlsContext* tls, Duration timeout, Connected done)
      : loop_(loop),
        names_(names),
        options_(options),
        origin_(origin),
        tls_(tls),
        done_(std::move(done)),
        began_(loop.now()),
        timeout_(timeout) {
    timer_ = loop_.timer([this] { on_timer(); });
    if (is_literal(origin_.host)) {
      addresses_ = {origin_.host};
    } else if (const auto* known = names_.find(origin_.host)) {
      addresses_ = *known;
    } else {
      step_ = loop_.resolve(origin_.host, [this](auto found) { on_resolved(std::move(found)); });
      arm();
      return;
    }
    try_next();
  }

 private:
  void on_resolved(Result<std::vector<std::string>> found) {
    if (!found.ok())
      return report(Error{.code = Code::kUpstream, .message = found.error().message});
    addresses_ = std::move(found).value();
    names_.keep(origin_.host, addresses_);
    try_next();
  }

  void try_next() {
    step_ = loop_.connect({addresses_[next_++], origin_.port},
                          [this](auto stream) { on_connected(std::move(stream)); });
    attempt_began_ = loop_.now();
    arm();
  }

  void on_connected(Result<std::unique_ptr<Stream>> stream) {
    if (!stream.ok()) return next_or_fail(stream.error().message);
    if (!origin_.tls) return report(std::move(stream));
    attempt_began_.reset();
    arm();
    step_ = tls_->connect(std::move(stream).value(), origin_.host,
                          [this](auto secured) { report(std::move(secured)); });
  }

  void next_or_fail(const std::string& reason) {
    if (next_ < addresses_.size()) return try_next();
    names_.forget(origin_.host);
    report(Error{.code = Code::kUpstream, .message = reason});
  }

  // The end of the dial, or of an attempt that is not the last.
  void arm() {
    Instant end = timeout_ > Duration{} ? began_ + timeout_ : kNever;
    if (attempt_began_ && next_ < addresses_.size())
      end = std::min(end, *attempt_began_ + options_.attempt_max);
    if (end == kNever) {
      timer_->cancel();
    } else {
      timer_->again(end);
    }
  }

  void on_timer() {
    if (timeout_ > Duration{} && loop_.now() >= began_ + timeout_)
      return report(Error{.code = Code::kTimeout,
                          .message = "no connection to " + origin_.authority +
                                     " within the time "
                                     "allowed"});
    next_or_fail("an address of " + origin_.host + " did not answer");
  }

  // The owner may destroy this in the call.
  void report(Result<std::unique_ptr<Stream>> result) {
    timer_->cancel();
    const Connected done = std::move(done_);
    done(std::move(result));
  }

  Loop& loop_;
  NameCache& names_;
  const Dialer::Options& options_;
  const Origin origin_;
  TlsContext* const tls_;
  Connected done_;
  const Instant began_;
  const Duration timeout_;
  std::unique_ptr<Timer> timer_;
  std::vector<std::string> addresses_;
  size_t next_ = 0;
  std::optional<Instant> attempt_began_;
  std::unique_ptr<Pending> step_;
};

class PlainDialer final : public Dialer {
 public:
  PlainDialer(Loop& loop, Options options)
      : loop_(loop), options_(options), names_(loop, options_) {}

  std::unique_ptr<Pending> dial(const Origin& origin, TlsContext* tls, Duration timeout,
                                Connected done) override {
    return std::make_unique<Dial>(loop_, names_, options_, origin, tls, timeout, std::move(done));
  }

  uint64_t lookups() const override { return names_.lookups(); }

 private:
  Loop& loop_;
  const Options options_;
  NameCache names_;
};

}  // namespace

std::unique_ptr<Dialer> Dialer::make(Loop& loop, Options options) {
  return std::make_unique<PlainDialer>(loop, options);
}

}  // namespace sluice
