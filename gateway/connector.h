// SPDX-License-Identifier: Apache-2.0
#pragma once
// A connection of UvLoop that is being made.

#include <functional>
#include <memory>

#include "base/loop.h"
#include "gateway/sockets.h"
#include "gateway/uv_impl.h"

namespace sluice {

class Connector final : public Pending, Watched {
 public:
  using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;
  // Begins to connect to `address`; `done` is called as Loop::connect says.
  Connector(UvLoop::Impl& loop, const Address& address, Done done);
  ~Connector() override;

 private:
  void on_events(bool failed, int events) override;
  void fail(const std::string& reason);
  void report(Result<std::unique_ptr<Stream>> result);

  UvLoop::Impl& loop_;
  const Address address_;
  Done done_;
  int fd_ = -1;
  Watch* watch_ = nullptr;
  PeerAddress peer_;
  std::unique_ptr<Timer> later_;  // reports what failed at once, for that must not be told at once
};

}  // namespace sluice
