// SPDX-License-Identifier: Apache-2.0
#include "gateway/uv_loop.h"

#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <system_error>

#include "base/assert.h"
#include "gateway/connector.h"
#include "gateway/sockets.h"
#include "gateway/tcp.h"
#include "gateway/uv_impl.h"
#include "gateway/uv_resolve.h"

namespace sluice {
namespace {

static_assert(kReadable == UV_READABLE && kWritable == UV_WRITABLE && kUrgent == UV_PRIORITIZED);

// Turns that may follow from one another before sockets are looked at again.
constexpr int kTurnsPerPoll = 4;

uv_handle_t* as_handle(auto& handle) { return reinterpret_cast<uv_handle_t*>(&handle); }

}  // namespace

struct Watch {
  uv_poll_t poll;
  Watched* owner = nullptr;  // null once closed
};

void watch_for(Watch& watch, int events) {
  if (events == 0) {
    uv_poll_stop(&watch.poll);
    return;
  }
  const auto on_poll = [](uv_poll_t* poll, int status, int ready) {
    static_cast<Watch*>(poll->data)->owner->on_events(status < 0, ready);
  };
  ASSERT(uv_poll_start(&watch.poll, events, on_poll) == 0);
}

void hand_over(Watch& watch, Watched& owner) { watch.owner = &owner; }

bool is_closed(const Watch& watch) { return watch.owner == nullptr; }

void close_watch(Watch* watch) {
  watch->owner = nullptr;
  uv_os_fd_t fd = -1;
  ASSERT(uv_fileno(as_handle(watch->poll), &fd) == 0);
  uv_close(as_handle(watch->poll),
           [](uv_handle_t* handle) { delete static_cast<Watch*>(handle->data); });
  // From here on libuv does not use the descriptor, so it may be closed before the handle is.
  ::close(fd);
}

struct LookUp {
  uv_getaddrinfo_t request;
  std::function<void(const char*, const addrinfo*)> done;  // empty once cancelled

  static void on_done(uv_getaddrinfo_t* request, int status, addrinfo* found) {
    const std::unique_ptr<LookUp> self(static_cast<LookUp*>(request->data));
    if (self->done) self->done(status != 0 ? uv_strerror(status) : nullptr, found);
    uv_freeaddrinfo(found);
  }
};

void cancel(LookUp* look_up) {
  look_up->done = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&look_up->request));
}

namespace {

class UvTimer final : public Timer, public TimerHeap::Node {
 public:
  UvTimer(UvLoop::Impl& loop, std::function<void()> callback)
      : loop_(loop), callback_(std::move(callback)) {
    ++loop_.owned;
  }
  ~UvTimer() override {
    loop_.timers.disarm(*this);
    --loop_.owned;
    if (loop_.running_timer == this) loop_.running_timer = nullptr;
  }
  void again(Instant when) override { loop_.timers.arm(*this, when); }
  void cancel() override { loop_.timers.disarm(*this); }

  // Calls the callback, which may destroy this timer; so it is not called in its place here.
  void run() {
    std::function<void()> callback = std::move(callback_);
    UvLoop::Impl& loop = loop_;
    loop.running_timer = this;
    callback();
    if (loop.running_timer == this) callback_ = std::move(callback);
    loop.running_timer = nullptr;
  }

 private:
  UvLoop::Impl& loop_;
  std::function<void()> callback_;
};

}  // namespace

struct UvLoop::Impl::Handles final : Watched {
  explicit Handles(Impl& the_impl) : impl(the_impl) {}
  void on_events(bool, int) override { impl.on_timerfd(); }
  // While the idle handle is active, waiting returns at once.
  void poll_again(bool wanted) {
    if (wanted) {
      ASSERT(uv_idle_start(&idle, [](uv_idle_t*) {}) == 0);
    } else {
      uv_idle_stop(&idle);
    }
  }

  struct Signal {
    uv_signal_t handle;
    std::function<void()> callback;
    Impl* impl = nullptr;
  };

  Impl& impl;
  uv_loop_t loop;
  uv_async_t async;
  uv_check_t check;  // runs when all events of one return from waiting were told
  uv_idle_t idle;
  Watch* timer = nullptr;
  std::vector<std::unique_ptr<Signal>> signals;
};

UvLoop::Impl::Impl(Log& the_log) : log(the_log), handles(std::make_unique<Handles>(*this)) {
  now = UvLoop::clock();
  ASSERT(uv_loop_init(&handles->loop) == 0);
  handles->loop.data = this;
  ASSERT(uv_async_init(&handles->loop, &handles->async, [](uv_async_t* async) {
           auto* impl = static_cast<Impl*>(async->loop->data);
           if (impl->wake_pending.load()) impl->happen();
         }) == 0);
  ASSERT(uv_idle_init(&handles->loop, &handles->idle) == 0);
  ASSERT(uv_check_init(&handles->loop, &handles->check) == 0);
  ASSERT(uv_check_start(&handles->check, [](uv_check_t* check) {
           static_cast<Impl*>(check->loop->data)->finish_poll();
         }) == 0);
  timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  ASSERT(timerfd >= 0);
  handles->timer = watch(timerfd, kReadable, *handles);
  ASSERT(handles->timer != nullptr);
}

UvLoop::Impl::~Impl() {
  ASSERT(owned == 0);
  close_watch(handles->timer);
  for (const auto& signal : handles->signals) uv_close(as_handle(signal->handle), nullptr);
  uv_close(as_handle(handles->async), nullptr);
  uv_close(as_handle(handles->idle), nullptr);
  uv_close(as_handle(handles->check), nullptr);
  uv_run(&handles->loop, UV_RUN_DEFAULT);
  ASSERT(uv_loop_close(&handles->loop) == 0);
}

Watch* UvLoop::Impl::watch(int fd, int events, Watched& owner) {
  auto made = std::make_unique<Watch>();
  const int result = uv_poll_init(&handles->loop, &made->poll, fd);
  if (result != 0) {
    errno = -result;
    return nullptr;
  }
  made->poll.data = made.get();
  made->owner = &owner;
  watch_for(*made, events);
  return made.release();
}

LookUp* UvLoop::Impl::look_up(const std::string& host,
                              std::function<void(const char*, const addrinfo*)> done,
                              std::string& reason) {
  auto made = std::make_unique<LookUp>();
  made->done = std::move(done);
  made->request.data = made.get();
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;  // or each address would come once per kind of socket
  wanted.ai_flags = AI_ADDRCONFIG;
  const int status = uv_getaddrinfo(&handles->loop, &made->request, &LookUp::on_done, host.c_str(),
                                    nullptr, &wanted);
  if (status == 0) return made.release();
  reason = uv_strerror(status);
  return nullptr;
}

std::unique_ptr<Timer> UvLoop::Impl::timer(std::function<void()> callback) {
  return std::make_unique<UvTimer>(*this, std::move(callback));
}

void UvLoop::Impl::begin() {
  if (begun) return;
  begun = true;
  now = UvLoop::clock();
}

void UvLoop::Impl::send_later(Sender& sender) {
  if (sender.place != Sender::kNowhere) return;
  sender.place = senders.size();
  senders.push_back(&sender);
}

void UvLoop::Impl::forget(Sender& sender) {
  if (sender.place != Sender::kNowhere) senders[sender.place] = nullptr;
}

void UvLoop::Impl::on_timerfd() {
  begin();
  uint64_t times = 0;
  if (read(timerfd, &times, sizeof(times)) == sizeof(times)) timerfd_when = kNever;
}

void UvLoop::Impl::run_due_timers() {
  const uint64_t mark = timers.mark();
  while (TimerHeap::Node* due = timers.take_due(now, mark)) {
    happen();
    static_cast<UvTimer*>(due)->run();
  }
}

// All events of this return from waiting were told. Finishes the turn, and at once those that
// follow from it: what senders told their owners, and mail that the loop's thread sent to itself.
void UvLoop::Impl::finish_poll() {
  ++polls;
  begin();
  run_due_timers();
  int turns_left = kTurnsPerPoll;
  while ((happened || wake_pending.load() || !senders.empty()) && turns_left-- > 0) {
    happened = false;
    if (wake_pending.exchange(false)) wake_handler();
    ++turns;
    turn_handler();
    flush_senders();
  }
  handles->poll_again(happened || wake_pending.load() || !senders.empty());
  arm_timerfd();
  begun = false;
  if (stopping.load()) uv_stop(&handles->loop);
}

// Those who come to the list meanwhile have their turn in the next round, or two that answer each
// other would never let go.
void UvLoop::Impl::flush_senders() {
  const size_t count = senders.size();
  for (size_t i = 0; i < count; ++i) {
    Sender* sender = std::exchange(senders[i], nullptr);
    if (sender == nullptr) continue;
    sender->place = Sender::kNowhere;
    sender->flush();
  }
  senders.erase(senders.begin(), senders.begin() + static_cast<ptrdiff_t>(count));
  for (size_t i = 0; i < senders.size(); ++i) {
    if (senders[i] != nullptr) senders[i]->place = i;
  }
}

// Sets the timerfd only when the earliest deadline came forward. When it went back, as idle time
// limits do with each request, being woken once for nothing is cheaper than setting it each time.
void UvLoop::Impl::arm_timerfd() {
  const Instant earliest = timers.earliest();
  if (earliest >= timerfd_when) return;
  timerfd_when = earliest;
  const int64_t ns = std::max<int64_t>(earliest.ns, 1);  // zero would disarm it
  const itimerspec spec = {{}, {ns / 1'000'000'000, ns % 1'000'000'000}};
  ASSERT(timerfd_settime(timerfd, TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
}

// The exchange comes before the look at libuv's own flag: it is what orders a message that was
// posted before this call with the handler that takes it. The loop's own thread looks at the flag
// before it waits, and needs no wake-up.
void UvLoop::Impl::wake() {
  if (wake_pending.exchange(true)) return;
  if (thread.load(std::memory_order_relaxed) == std::this_thread::get_id()) return;
  uv_async_send(&handles->async);
}

UvLoop::UvLoop(Log& log) : impl_(std::make_unique<Impl>(log)) {}
UvLoop::~UvLoop() = default;

Instant UvLoop::clock() { return {static_cast<int64_t>(uv_hrtime())}; }

void UvLoop::run() {
  impl_->thread = std::this_thread::get_id();
  impl_->finish_poll();
  uv_run(&impl_->handles->loop, UV_RUN_DEFAULT);
  impl_->stopping = false;
  impl_->thread = std::thread::id();
}

void UvLoop::stop() {
  impl_->stopping = true;
  uv_async_send(&impl_->handles->async);
}

void UvLoop::on_signal(int signal, std::function<void()> callback) {
  auto made = std::make_unique<Impl::Handles::Signal>();
  made->callback = std::move(callback);
  made->impl = impl_.get();
  ASSERT(uv_signal_init(&impl_->handles->loop, &made->handle) == 0);
  made->handle.data = made.get();
  const auto on_signal = [](uv_signal_t* handle, int) {
    auto* self = static_cast<Impl::Handles::Signal*>(handle->data);
    self->impl->happen();
    self->callback();
  };
  ASSERT(uv_signal_start(&made->handle, on_signal, signal) == 0);
  impl_->handles->signals.push_back(std::move(made));
}

uint64_t UvLoop::turns() const { return impl_->turns; }
uint64_t UvLoop::polls() const { return impl_->polls; }

Instant UvLoop::now() const { return impl_->now; }

int64_t UvLoop::unix_seconds() const {
  if (impl_->unix_seconds_poll != impl_->polls) {
    impl_->unix_seconds_poll = impl_->polls;
    timespec wall = {};
    clock_gettime(CLOCK_REALTIME_COARSE, &wall);
    impl_->unix_seconds = wall.tv_sec;
  }
  return impl_->unix_seconds;
}

std::unique_ptr<Timer> UvLoop::timer(std::function<void()> callback) {
  return impl_->timer(std::move(callback));
}

Result<std::unique_ptr<Listener>> UvLoop::listen(const Address& address, bool shared,
                                                 ListenerEvents& events) {
  Result<int> fd = open_listener(address, shared);
  if (!fd.ok()) return fd.error();
  std::unique_ptr<Listener> listener = TcpListener::open(*impl_, fd.value(), events);
  if (listener != nullptr) return listener;
  return Error{Code::kUnavailable, "cannot watch the socket of " + to_text(address) + ": " +
                                       std::generic_category().message(errno)};
}

std::unique_ptr<Pending> UvLoop::connect(
    const Address& address, std::function<void(Result<std::unique_ptr<Stream>>)> done) {
  return std::make_unique<Connector>(*impl_, address, std::move(done));
}

std::unique_ptr<Pending> UvLoop::resolve(
    const std::string& host, std::function<void(Result<std::vector<std::string>>)> done) {
  return std::make_unique<UvResolve>(*impl_, host, std::move(done));
}

void UvLoop::wake() { impl_->wake(); }
void UvLoop::on_wake(std::function<void()> handler) { impl_->wake_handler = std::move(handler); }
void UvLoop::on_turn(std::function<void()> handler) { impl_->turn_handler = std::move(handler); }

}  // namespace sluice
