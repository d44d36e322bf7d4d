// SPDX-License-Identifier: Apache-2.0
#pragma once
// A host name of UvLoop that is being resolved, on libuv's own threads.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "gateway/uv_impl.h"

namespace sluice {

// Reports each address once, and no more than kAddressesMax.
class UvResolve final : public Pending {
 public:
  using Done = std::function<void(Result<std::vector<std::string>>)>;
  static constexpr size_t kAddressesMax = 16;
  // Begins to resolve `host`; `done` is called as Loop::resolve says.
  UvResolve(UvLoop::Impl& impl, const std::string& host, Done done);
  ~UvResolve() override;

 private:
  void on_found(const char* reason, const addrinfo* found);
  void fail(const std::string& reason);

  UvLoop::Impl& impl_;
  const std::string host_;
  Done done_;
  LookUp* look_up_ = nullptr;     // while the system is at it
  std::unique_ptr<Timer> later_;  // reports what failed at once, for that must not be told at once
};

}  // namespace sluice
