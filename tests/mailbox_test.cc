// SPDX-License-Identifier: Apache-2.0
#include "base/mailbox.h"

#include <doctest/doctest.h>

#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

namespace sluice {
namespace {

struct Mail {
  int sender = 0;
  int number = 0;
  std::unique_ptr<int> body;
};

TEST_CASE("an empty mailbox gives nothing and leaves the message alone") {
  Mailbox<int> mailbox([] {});
  int message = 7;
  CHECK_FALSE(mailbox.take(message));
  CHECK(message == 7);
}

TEST_CASE("each post wakes the receiver after the message is there") {
  int wakes = 0;
  Mailbox<int>* self = nullptr;
  Mailbox<int> mailbox([&] {
    ++wakes;
    int message = 0;
    CHECK(self->take(message));
    CHECK(message == wakes);
  });
  self = &mailbox;
  for (int i = 1; i <= 3; ++i) mailbox.post(i);
  CHECK(wakes == 3);
}

TEST_CASE("what was not taken is destroyed with the mailbox") {
  const auto body = std::make_shared<int>(1);
  {
    Mailbox<std::shared_ptr<int>> mailbox([] {});
    mailbox.post(body);
    mailbox.post(body);
    CHECK(body.use_count() == 3);
  }
  CHECK(body.use_count() == 1);
}

TEST_CASE("four senders: nothing is lost, nothing doubled, order is kept per sender") {
  constexpr int kSenders = 4;
  constexpr int kEach = 25'000;
  std::counting_semaphore<> awake(0);
  Mailbox<Mail> mailbox([&] { awake.release(); });
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s) {
    senders.emplace_back([&mailbox, s] {
      for (int i = 0; i < kEach; ++i) mailbox.post({s, i, std::make_unique<int>(s + i)});
    });
  }
  int next[kSenders] = {};
  int wrong = 0;
  for (int taken = 0; taken < kSenders * kEach;) {
    awake.acquire();
    for (Mail mail; mailbox.take(mail); ++taken) {
      if (mail.number != next[mail.sender]++ || *mail.body != mail.sender + mail.number) ++wrong;
      *mail.body = 0;  // it is ours now; a sender that still used it would be a race
    }
  }
  for (std::thread& sender : senders) sender.join();
  CHECK(wrong == 0);
  for (const int count : next) CHECK(count == kEach);
  Mail rest;
  CHECK_FALSE(mailbox.take(rest));
}

}  // namespace
}  // namespace sluice
