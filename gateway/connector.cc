// SPDX-License-Identifier: Apache-2.0
#include "gateway/connector.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "gateway/tcp.h"

namespace sluice {

Connector::Connector(UvLoop::Impl& loop, const Address& address, Done done)
    : loop_(loop), address_(address), done_(std::move(done)) {
  ++loop_.owned;
  Result<int> fd = open_connection(address, peer_);
  std::string reason = fd.ok() ? "" : fd.error().message;
  if (fd.ok()) {
    fd_ = fd.value();
    watch_ = loop_.watch(fd_, kWritable, *this);
    if (watch_ != nullptr) return;
    reason = std::generic_category().message(errno);
    ::close(std::exchange(fd_, -1));
  }
  later_ = loop_.timer([this, reason] { fail(reason); });
  later_->again(loop_.now);
}

Connector::~Connector() {
  if (watch_ != nullptr) close_watch(watch_);
  --loop_.owned;
}

void Connector::on_events(bool failed, int) {
  loop_.happen();
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (failed && error == 0) error = ECONNREFUSED;
  if (error != 0) return fail(std::generic_category().message(error));
  std::unique_ptr<Stream> stream =
      TcpStream::adopt(loop_, *std::exchange(watch_, nullptr), fd_, peer_);
  report(std::move(stream));
}

void Connector::fail(const std::string& reason) {
  report(Error{.code = Code::kUnavailable,
               .message = "cannot connect to " + to_text(address_) + ": " + reason});
}

// The owner may destroy this in the call.
void Connector::report(Result<std::unique_ptr<Stream>> result) {
  if (watch_ != nullptr) close_watch(std::exchange(watch_, nullptr));
  const Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace sluice
