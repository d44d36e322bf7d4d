// SPDX-License-Identifier: Apache-2.0
#include "gateway/uv_resolve.h"

#include <netdb.h>

#include <memory>
#include <utility>

namespace sluice {

UvResolve::UvResolve(UvLoop::Impl& impl, uv_loop_t& loop, const std::string& host, Done done)
    : impl_(impl), host_(host), done_(std::move(done)) {
  ++impl_.owned;
  auto query = std::make_unique<Query>();
  query->owner = this;
  query->request.data = query.get();
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  const int status =
      uv_getaddrinfo(&loop, &query->request, &on_result, host.c_str(), nullptr, &wanted);
  if (status == 0) {
    query_ = query.release();
    return;
  }
  later_ = impl_.timer([this, reason = std::string(uv_strerror(status))] {
    report(Error{.code = Code::kUnavailable, .message = "cannot resolve " + host_ + ": " + reason});
  });
  later_->again(impl_.now);
}

UvResolve::~UvResolve() {
  if (query_ != nullptr) {
    query_->owner = nullptr;
    uv_cancel(reinterpret_cast<uv_req_t*>(&query_->request));
  }
  --impl_.owned;
}

void UvResolve::on_result(uv_getaddrinfo_t* request, int status, addrinfo* found) {
  const std::unique_ptr<Query> query(static_cast<Query*>(request->data));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, &uv_freeaddrinfo);
  UvResolve* owner = query->owner;
  if (owner == nullptr) return;
  owner->query_ = nullptr;
  owner->impl_.happen();
  std::vector<std::string> addresses;
  for (const addrinfo* one = found; status == 0 && one != nullptr; one = one->ai_next) {
    char text[NI_MAXHOST] = {};
    if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) ==
        0)
      addresses.emplace_back(text);
  }
  if (!addresses.empty()) return owner->report(std::move(addresses));
  owner->report(Error{.code = Code::kUnavailable,
                      .message = "cannot resolve " + owner->host_ + ": " +
                                 (status != 0 ? uv_strerror(status) : "it has no address")});
}

// The owner may destroy this in the call.
void UvResolve::report(Result<std::vector<std::string>> result) {
  const Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace sluice
