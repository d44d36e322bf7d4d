// SPDX-License-Identifier: Apache-2.0
#include "gateway/uv_resolve.h"

#include <netdb.h>

#include <algorithm>
#include <utility>

namespace sluice {

UvResolve::UvResolve(UvLoop::Impl& impl, const std::string& host, Done done)
    : impl_(impl), host_(host), done_(std::move(done)) {
  ++impl_.owned;
  std::string reason;
  look_up_ = impl_.look_up(
      host, [this](const char* why, const addrinfo* found) { on_found(why, found); }, reason);
  if (look_up_ != nullptr) return;
  later_ = impl_.timer([this, reason] { fail(reason); });
  later_->again(impl_.now);
}

UvResolve::~UvResolve() {
  if (look_up_ != nullptr) cancel(look_up_);
  --impl_.owned;
}

// Tells the owner last, who may destroy this.
void UvResolve::on_found(const char* reason, const addrinfo* found) {
  look_up_ = nullptr;
  impl_.happen();
  if (reason != nullptr) return fail(reason);
  std::vector<std::string> addresses;
  for (; found != nullptr && addresses.size() < kAddressesMax; found = found->ai_next) {
    char text[NI_MAXHOST] = {};
    const bool readable = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text),
                                      nullptr, 0, NI_NUMERICHOST) == 0;
    if (!readable || std::ranges::find(addresses, text) != addresses.end()) continue;
    addresses.emplace_back(text);
  }
  if (addresses.empty()) return fail("it has no address");
  const Done done = std::move(done_);
  done(std::move(addresses));
}

void UvResolve::fail(const std::string& reason) {
  Error error{.code = Code::kUnavailable, .message = "cannot resolve " + host_ + ": " + reason};
  const Done done = std::move(done_);
  done(std::move(error));
}

}  // namespace sluice
