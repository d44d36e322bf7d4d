// SPDX-License-Identifier: Apache-2.0
#pragma once
// A host name of UvLoop that is being resolved, on libuv's own threads. Only uv_loop.cc and
// uv_resolve.cc include this: it names types of libuv.

#include <uv.h>

#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "gateway/uv_impl.h"

namespace sluice {

class UvResolve final : public Pending {
 public:
  using Done = std::function<void(Result<std::vector<std::string>>)>;
  // Begins to resolve `host` on `loop`; `done` is called as Loop::resolve says.
  UvResolve(UvLoop::Impl& impl, uv_loop_t& loop, const std::string& host, Done done);
  ~UvResolve() override;

 private:
  // What libuv holds until it is through; it outlives a UvResolve that is destroyed before.
  struct Query {
    uv_getaddrinfo_t request;
    UvResolve* owner = nullptr;
  };
  static void on_result(uv_getaddrinfo_t* request, int status, addrinfo* found);
  void report(Result<std::vector<std::string>> result);

  UvLoop::Impl& impl_;
  const std::string host_;
  Done done_;
  Query* query_ = nullptr;
  std::unique_ptr<Timer> later_;  // reports what failed at once, for that must not be told at once
};

}  // namespace sluice
