// SPDX-License-Identifier: Apache-2.0
#include "gateway/tcp.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/assert.h"

namespace sluice {
namespace {

// Of one connection in one turn, so that a fast reader does not keep the loop for itself.
constexpr size_t kSendBytesPerTurn = 1024 * 1024;
constexpr size_t kPartsPerSend = 64;
// An idle connection keeps room for so many parts to send, and no more.
constexpr size_t kPartsKept = 8;
// New connections per listener and turn; the rest still waits in the next.
constexpr int kAcceptsPerTurn = 256;
// How long a listener rests when the system has no descriptor or memory for a connection.
constexpr Duration kAcceptRest = milliseconds(100);

// Closes a descriptor through its watch, or by itself if it could not be watched; then errno still
// says why.
void let_go(Watch* watch, int fd) {
  if (watch != nullptr) return close_watch(watch);
  const int error = errno;
  ::close(fd);
  errno = error;
}

}  // namespace

TcpStream::TcpStream(UvLoop::Impl& loop, int fd, const PeerAddress& peer)
    : loop_(loop), fd_(fd), peer_(peer) {
  ++loop_.owned;
}

std::unique_ptr<TcpStream> TcpStream::open(UvLoop::Impl& loop, int fd, const PeerAddress& peer) {
  std::unique_ptr<TcpStream> stream(new TcpStream(loop, fd, peer));
  stream->watch_ = loop.watch(fd, stream->watching_, *stream);
  if (stream->watch_ == nullptr) return nullptr;
  return stream;
}

std::unique_ptr<TcpStream> TcpStream::adopt(UvLoop::Impl& loop, Watch& watch, int fd,
                                            const PeerAddress& peer) {
  std::unique_ptr<TcpStream> stream(new TcpStream(loop, fd, peer));
  stream->watch_ = &watch;
  hand_over(watch, *stream);
  watch_for(watch, stream->watching_);
  return stream;
}

TcpStream::~TcpStream() {
  loop_.forget(*this);
  --loop_.owned;
  let_go(watch_, fd_);
}

void TcpStream::write(std::span<const Slice> parts) {
  if (broken_ || ending_) return;
  for (const Slice& part : parts) {
    if (part.empty()) continue;
    parts_.push_back(part);
    unsent_ += part.size();
  }
  if (unsent_ > 0 && !blocked_) loop_.send_later(*this);
}

// Interest is given back at once but only taken away when bytes do come while nobody wants them:
// changing it costs more than most pauses are worth.
void TcpStream::read(bool wanted) {
  reading_ = wanted;
  if (wanted && !broken_) watch_for_what_matters();
}

void TcpStream::shut_down() {
  if (broken_ || ending_) return;
  ending_ = true;
  if (!blocked_) loop_.send_later(*this);
}

void TcpStream::on_events(bool failed, int events) {
  loop_.begin();
  if (broken_) return;
  if (failed) return fail();
  if ((events & kWritable) != 0 && blocked_) {
    blocked_ = false;
    loop_.send_later(*this);
  }
  if ((events & kUrgent) != 0) return on_odd_event();
  if ((events & kReadable) != 0) on_readable();
}

// With nothing to wait for, it waits for urgent data: the system tells of errors only to those who
// wait for something.
void TcpStream::watch_for_what_matters() {
  int wanted = 0;
  if (!ended_theirs_) wanted |= reading_ ? kReadable : 0;
  if (blocked_) wanted |= kWritable;
  if (wanted == 0) wanted = kUrgent;
  if (wanted == watching_) return;
  watching_ = wanted;
  watch_for(*watch_, wanted);
}

// Told while it waits for nothing: an error, or that both directions have ended, or urgent data.
// The latter two would be told for ever, so it stops listening to them.
void TcpStream::on_odd_event() {
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail();
  watching_ = 0;
  watch_for(*watch_, 0);
}

void TcpStream::on_readable() {
  if (!reading_ || ended_theirs_) return watch_for_what_matters();
  char* buffer = loop_.read_buffer.get();
  const ssize_t got = recv(fd_, buffer, UvLoop::Impl::kReadBytes, 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) fail();
    return;
  }
  loop_.happen();
  ASSERT(events_ != nullptr);
  if (got > 0) return events_->on_bytes({buffer, static_cast<size_t>(got)});
  ended_theirs_ = true;
  watch_for_what_matters();
  events_->on_end();
}

void TcpStream::flush() {
  if (broken_ || blocked_) return;
  const bool had_bytes = unsent_ > 0;
  if (!send_parts()) return fail();
  blocked_ = unsent_ > 0;
  if (blocked_ || (watching_ & kWritable) != 0) watch_for_what_matters();
  if (blocked_) return;
  if (ending_ && !ended_ours_) {
    ended_ours_ = true;
    ::shutdown(fd_, SHUT_WR);
  }
  if (!had_bytes) return;
  loop_.happen();
  ASSERT(events_ != nullptr);
  events_->on_drained();
}

// Returns false if the connection is broken; else unsent_ says what is left.
bool TcpStream::send_parts() {
  size_t sent_now = 0;
  while (unsent_ > 0 && sent_now < kSendBytesPerTurn) {
    iovec pieces[kPartsPerSend];
    size_t count = 0;
    size_t wanted = 0;
    for (size_t i = first_part_; i < parts_.size() && count < kPartsPerSend; ++i, ++count) {
      const size_t skip = i == first_part_ ? sent_of_first_ : 0;
      pieces[count] = {const_cast<char*>(parts_[i].data()) + skip, parts_[i].size() - skip};
      wanted += pieces[count].iov_len;
    }
    msghdr message = {};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    const ssize_t result = count == 1 ? send(fd_, pieces[0].iov_base, wanted, MSG_NOSIGNAL)
                                      : sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0) return errno == EAGAIN;
    const auto sent = static_cast<size_t>(result);
    drop_sent(sent);
    sent_now += sent;
    if (sent < wanted) break;
  }
  return true;
}

void TcpStream::drop_sent(size_t bytes) {
  unsent_ -= bytes;
  sent_of_first_ += bytes;
  while (first_part_ < parts_.size() && sent_of_first_ >= parts_[first_part_].size()) {
    sent_of_first_ -= parts_[first_part_].size();
    parts_[first_part_++] = Slice();
  }
  // A stream that is written to before it ever drains must not keep what it has sent.
  const bool all = first_part_ == parts_.size();
  if (!all && first_part_ < parts_.size() / 2) return;
  parts_.erase(parts_.begin(), parts_.begin() + static_cast<ptrdiff_t>(first_part_));
  first_part_ = 0;
  if (all && parts_.capacity() > kPartsKept) parts_ = {};
}

// Tells the owner last, for it may destroy this stream.
void TcpStream::fail() {
  const Watch& watch = *watch_;
  broken_ = true;
  watch_for(*watch_, 0);
  parts_ = {};
  first_part_ = 0;
  sent_of_first_ = 0;
  loop_.happen();
  ASSERT(events_ != nullptr);
  read_last();
  if (!is_closed(watch)) events_->on_broken();
}

// What the peer sent before it reset is still there, and may be an answer.
void TcpStream::read_last() {
  const Watch& watch = *watch_;
  while (!is_closed(watch) && reading_ && !ended_theirs_) {
    char* buffer = loop_.read_buffer.get();
    const ssize_t got = recv(fd_, buffer, UvLoop::Impl::kReadBytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    events_->on_bytes({buffer, static_cast<size_t>(got)});
  }
}

TcpListener::TcpListener(UvLoop::Impl& loop, int fd, ListenerEvents& events)
    : loop_(loop), events_(events), fd_(fd), address_(local_address(fd)) {
  ++loop_.owned;
}

std::unique_ptr<TcpListener> TcpListener::open(UvLoop::Impl& loop, int fd, ListenerEvents& events) {
  std::unique_ptr<TcpListener> listener(new TcpListener(loop, fd, events));
  listener->watch_ = loop.watch(fd, kReadable, *listener);
  if (listener->watch_ == nullptr) return nullptr;
  listener->rest_ = loop.timer([raw = listener.get()] { watch_for(*raw->watch_, kReadable); });
  return listener;
}

TcpListener::~TcpListener() {
  --loop_.owned;
  let_go(watch_, fd_);
}

void TcpListener::on_events(bool failed, int) {
  loop_.begin();
  if (failed) return rest(EBADF);
  const Watch& watch = *watch_;
  for (int i = 0; i < kAcceptsPerTurn && !is_closed(watch); ++i) {
    PeerAddress peer;
    const int fd = accept_connection(fd_, peer);
    std::unique_ptr<TcpStream> stream = fd < 0 ? nullptr : TcpStream::open(loop_, fd, peer);
    if (stream != nullptr) {
      loop_.happen();
      events_.on_accept(std::move(stream));
      continue;
    }
    if (errno == EAGAIN) return;
    const bool only_this_one =
        errno == EINTR || errno == ECONNABORTED || errno == EPROTO || errno == EPERM;
    if (only_this_one) continue;
    return rest(errno);
  }
}

void TcpListener::rest(int error) {
  loop_.log.error("cannot accept connections, will try again",
                  {{"address", to_text(address_)},
                   {"reason", std::generic_category().message(error)},
                   {"after_ms", kAcceptRest.ns / 1'000'000}});
  watch_for(*watch_, 0);
  rest_->again(loop_.now + kAcceptRest);
}

}  // namespace sluice
