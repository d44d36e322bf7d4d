// SPDX-License-Identifier: Apache-2.0
#include "batcher/queue.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <vector>

#include "base/prng.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

// A Queue with pieces of its own, named by number in the order they were pushed.
struct Waiting {
  explicit Waiting(BatchLimits limits_given) : limits(limits_given), queue(limits, steps) {}

  // A piece of `count` rows that arrived at `at` ms.
  Piece& push(int64_t at, size_t count, uint64_t tenant = 0, uint32_t tokens = 0,
              size_t bytes = 1) {
    rows.push_back(std::make_unique<std::vector<Row>>(rows_of(count, bytes, tokens)));
    Piece& piece = *pieces.emplace_back(std::make_unique<Piece>());
    piece.index = pieces.size() - 1;
    piece.tenant = tenant;
    piece.order = {Instant{} + milliseconds(at), ++tie};
    piece.rows = *rows.back();
    piece.weight = weight_of(piece.rows);
    piece.oversize = broken_limit(piece.weight, limits).has_value();
    queue.push(piece);
    return piece;
  }
  // Takes a batch at `at` ms; gives the number of each row's piece.
  std::vector<size_t> take(int64_t at) {
    shares.clear();
    taken = queue.take(Instant{} + milliseconds(at), tie, shares);
    std::vector<size_t> numbers;
    for (const Share& share : shares) {
      numbers.insert(numbers.end(), share.count, share.piece->index);
    }
    return numbers;
  }

  BatchLimits limits;
  uint64_t steps = 0;
  uint64_t tie = 0;
  std::vector<std::unique_ptr<std::vector<Row>>> rows;
  std::vector<std::unique_ptr<Piece>> pieces;
  Queue queue;
  std::vector<Share> shares;
  Taken taken;
};

using Numbers = std::vector<size_t>;

BatchLimits items(uint64_t items_max) { return {.items_max = items_max, .tokens_max = 0}; }

TEST_CASE("the oldest leaves first, whatever the order of pushing; equals in that order") {
  Waiting waiting(items(3));
  waiting.push(30, 1);
  waiting.push(10, 1);
  waiting.push(20, 1);
  waiting.push(10, 1);
  CHECK(waiting.queue.head().at == Instant{} + milliseconds(10));
  CHECK(waiting.take(40) == Numbers{1, 3, 2});
  CHECK(waiting.take(40) == Numbers{0});
  CHECK(waiting.queue.empty());
}

TEST_CASE("a batch stops before each of its limits and says which") {
  SUBCASE("items") {
    Waiting waiting({.items_max = 2, .bytes_max = 100, .tokens_max = 100});
    for (int i = 0; i < 3; ++i) waiting.push(i, 1, 0, 10, 10);
    CHECK(waiting.take(9) == Numbers{0, 1});
    CHECK(waiting.taken.full == LeaveReason::kItems);
  }
  SUBCASE("bytes") {
    Waiting waiting({.items_max = 9, .bytes_max = 29, .tokens_max = 100});
    for (int i = 0; i < 3; ++i) waiting.push(i, 1, 0, 10, 10);
    CHECK(waiting.take(9) == Numbers{0, 1});
    CHECK(waiting.taken.full == LeaveReason::kBytes);
  }
  SUBCASE("tokens") {
    Waiting waiting({.items_max = 9, .bytes_max = 100, .tokens_max = 29});
    for (int i = 0; i < 3; ++i) waiting.push(i, 1, 0, 10, 10);
    CHECK(waiting.take(9) == Numbers{0, 1});
    CHECK(waiting.taken.full == LeaveReason::kTokens);
  }
  SUBCASE("exactly full is full, also when nothing more waits") {
    Waiting waiting({.items_max = 9, .bytes_max = 100, .tokens_max = 30});
    for (int i = 0; i < 3; ++i) waiting.push(i, 1, 0, 10, 10);
    CHECK(waiting.queue.full());
    CHECK(waiting.take(9) == Numbers{0, 1, 2});
    CHECK(waiting.taken.full == LeaveReason::kTokens);
  }
  SUBCASE("none is reached") {
    Waiting waiting({.items_max = 9, .bytes_max = 100, .tokens_max = 100});
    for (int i = 0; i < 3; ++i) waiting.push(i, 1, 0, 10, 10);
    CHECK_FALSE(waiting.queue.full());
    CHECK(waiting.take(9) == Numbers{0, 1, 2});
    CHECK_FALSE(waiting.taken.full);
    CHECK(waiting.taken.weight.bytes == 30);
  }
}

TEST_CASE("a row larger than a batch travels alone") {
  Waiting waiting({.items_max = 9, .bytes_max = 29, .tokens_max = 29});
  waiting.push(0, 1, 0, 1, 5);
  waiting.push(1, 1, 0, 50, 50);
  waiting.push(2, 1, 0, 1, 5);
  CHECK(waiting.take(9) == Numbers{0});
  CHECK(waiting.take(9) == Numbers{1});
  CHECK(waiting.take(9) == Numbers{2});
}

TEST_CASE("a piece cut at the edge of a batch keeps its place, and its rows stay in order") {
  Waiting waiting(items(4));
  waiting.push(0, 3);
  waiting.push(1, 3);
  waiting.push(2, 3);
  CHECK(waiting.take(9) == Numbers{0, 0, 0, 1});
  CHECK_FALSE(waiting.shares[1].last);
  CHECK(waiting.take(9) == Numbers{1, 1, 2, 2});
  CHECK(waiting.shares[0].first == 1);
  CHECK(waiting.shares[0].count == 2);
  CHECK(waiting.shares[0].last);
}

TEST_CASE("an oversize piece takes one batch, then lines up behind those that waited") {
  Waiting waiting(items(4));
  waiting.push(0, 10);
  waiting.push(1, 1);
  waiting.push(2, 1);
  CHECK(waiting.take(5) == Numbers{0, 0, 0, 0});
  waiting.push(6, 1);  // later than its turn: behind what is left of it
  CHECK(waiting.take(7) == Numbers{1, 2, 0, 0});
  waiting.push(8, 1);
  CHECK(waiting.take(9) == Numbers{3, 0, 0, 0});
  CHECK(waiting.take(9) == Numbers{4, 0});
}

TEST_CASE("two oversize pieces take turns") {
  Waiting waiting(items(2));
  waiting.push(0, 6);
  waiting.push(1, 6);
  std::vector<size_t> firsts;
  while (!waiting.queue.empty()) firsts.push_back(waiting.take(5).front());
  CHECK(firsts == Numbers{0, 1, 0, 1, 0, 1});
}

TEST_CASE("tenants share a batch however much each has waiting, and however old it is") {
  Waiting waiting(items(16));
  waiting.push(0, 500, 1);
  waiting.push(1, 500, 1);
  for (int i = 0; i < 20; ++i) waiting.push(100, 1, 2);
  for (int i = 0; i < 20; ++i) waiting.push(100, 1, 3);
  CHECK(waiting.queue.tenants() == 3);
  std::map<uint64_t, int> rows;
  for (const size_t number : waiting.take(200)) ++rows[waiting.pieces[number]->tenant];
  CHECK(rows[1] == 6);
  CHECK(rows[2] == 5);
  CHECK(rows[3] == 5);
}

TEST_CASE("shares are counted in tokens where rows have them") {
  Waiting waiting({.items_max = 1000, .bytes_max = 1 << 20, .tokens_max = 1600});
  for (int i = 0; i < 100; ++i) waiting.push(i, 1, 1, 100);  // few and long
  for (int i = 0; i < 1000; ++i) waiting.push(i, 1, 2, 10);  // many and short
  std::map<uint64_t, uint64_t> tokens;
  for (int batch = 0; batch < 5; ++batch) {
    for (const size_t number : waiting.take(2000)) {
      const Piece& piece = *waiting.pieces[number];
      tokens[piece.tenant] += piece.tenant == 1 ? 100 : 10;
    }
  }
  CHECK(tokens[1] + tokens[2] > 7500);
  const auto gap = static_cast<int64_t>(tokens[1]) - static_cast<int64_t>(tokens[2]);
  CHECK(std::abs(gap) <= 200);
}

TEST_CASE("what a tenant did not use is lost when it leaves, so idling earns nothing") {
  Waiting waiting(items(32));
  for (int round = 0; round < 50; ++round) {
    waiting.push(round, 1, 7);
    waiting.take(round);
  }
  waiting.push(100, 100, 7);
  waiting.push(100, 100, 8);
  std::map<uint64_t, int> rows;
  for (const size_t number : waiting.take(200)) ++rows[waiting.pieces[number]->tenant];
  CHECK(rows[7] == 16);
  CHECK(rows[8] == 16);
}

TEST_CASE("removing a piece leaves the others, and nothing at the end") {
  Waiting waiting(items(8));
  Piece& a = waiting.push(0, 2, 1);
  waiting.push(1, 2, 1);
  Piece& c = waiting.push(2, 2, 2);
  waiting.queue.remove(a);
  CHECK(waiting.queue.weight().items == 4);
  waiting.queue.remove(c);
  CHECK(waiting.queue.tenants() == 1);
  CHECK_FALSE(waiting.queue.has_tenant(2));
  CHECK(waiting.take(9) == Numbers{1, 1});
  CHECK(waiting.queue.empty());
  CHECK(waiting.queue.weight().items == 0);
  CHECK(waiting.queue.weight().bytes == 0);
}

TEST_CASE("the first to stop waiting for company is known, also after it left") {
  Waiting waiting(items(8));
  CHECK(waiting.queue.leave_by() == kNever);
  for (const int at : {30, 10, 20}) {
    Piece& piece = waiting.push(at, 1);
    waiting.queue.remove(piece);
    piece.leave_by = Instant{} + milliseconds(at);
    waiting.queue.push(piece);
  }
  CHECK(waiting.queue.leave_by() == Instant{} + milliseconds(10));
  waiting.queue.remove(*waiting.pieces[1]);
  CHECK(waiting.queue.leave_by() == Instant{} + milliseconds(20));
}

TEST_CASE("a heap gives everything back in order, after any removals and moves") {
  struct Thing {
    size_t place = kNowhere;
    Order order;
  };
  uint64_t steps = 0;
  Prng prng(5);
  std::vector<Thing> things(200);
  Heap<Thing, &Thing::place> heap(steps);
  const auto draw = [&] { return Order{{prng.between(0, 50)}, prng.next()}; };
  for (Thing& thing : things) heap.insert(thing.order = draw(), thing);
  for (Thing& thing : things) {
    if (prng.chance(0.3)) heap.remove(thing);
    if (prng.chance(0.3)) heap.update(thing.order = draw(), thing);
  }
  Order last{{-1}, 0};
  while (!heap.empty()) {
    Thing& thing = heap.top();
    CHECK(thing.order == heap.top_order());
    CHECK(last < thing.order);
    last = thing.order;
    heap.remove(thing);
  }
  for (const Thing& thing : things) CHECK(thing.place == kNowhere);
}

// Elementary steps per piece when pieces come, are removed and leave while `waiting` others wait.
double steps_per_piece(int64_t pieces_waiting) {
  Waiting waiting(items(64));
  Prng prng(1);
  for (int64_t i = 0; i < pieces_waiting; ++i) {
    waiting.push(prng.between(0, 1'000'000), 1, prng.next() % 100);
  }
  waiting.steps = 0;
  constexpr int kRounds = 200;
  for (int i = 0; i < kRounds; ++i) {
    for (int j = 0; j < 64; ++j) waiting.push(prng.between(0, 1'000'000), 1, prng.next() % 100);
    Piece& gone = waiting.push(prng.between(0, 1'000'000), 1, prng.next() % 100);
    waiting.queue.remove(gone);
    waiting.take(1'000'000);
  }
  return static_cast<double>(waiting.steps) / (kRounds * 65);
}

TEST_CASE("the work per piece grows like the logarithm of what waits") {
  const double few = steps_per_piece(100);
  const double many = steps_per_piece(100'000);  // a thousand times as much: 10 more levels
  MESSAGE("steps per piece: ", few, " at 100 waiting, ", many, " at 100,000");
  CHECK(many < few + 10 * 6);
}

}  // namespace
}  // namespace sluice
