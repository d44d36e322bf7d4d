// SPDX-License-Identifier: Apache-2.0
// The fallback engine over two engines that do what the test says.
#include "backends/engine_fallback.h"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "backends/engine_echo.h"
#include "base/prng.h"
#include "base/work_queue.h"
#include "tests/fake_engines.h"

namespace sluice {
namespace {

struct World {
  FakeState device, spare;
  Instant now{1'000};
  std::vector<EngineDone> done;
  std::unique_ptr<FallbackEngine> engine;

  explicit World(uint32_t spare_slots = 1, Duration unload_after = {}) {
    spare.slots = spare_slots;
    engine = std::make_unique<FallbackEngine>(
        FallbackEngine::Options{.unload_after = unload_after, .now = [this] { return now; }},
        [this](EngineDone one) { done.push_back(std::move(one)); });
    device.sink = engine->device_sink();
    spare.sink = engine->spare_sink();
    engine->take(std::make_unique<FakeDevice>(device), std::make_unique<FakeSpare>(spare));
  }
  void submit(CallId call, const std::vector<std::string>& rows) {
    EngineJob job{.call = call, .rows = {}};
    for (const std::string& row : rows) job.rows.push_back(Slice::copy_of(row));
    engine->submit(std::move(job));
  }
  // The only answer so far, as text.
  std::vector<std::string> outputs() {
    REQUIRE(done.size() == 1);
    REQUIRE(done[0].outputs.ok());
    std::vector<std::string> texts;
    for (const Slice& output : done[0].outputs.value()) texts.emplace_back(output.view());
    return texts;
  }
};

using Texts = std::vector<std::string>;

TEST_CASE("fallback: the device answers while it can, and the spare has nothing to do") {
  World world;
  world.submit(7, {"a", "b"});
  REQUIRE(world.spare.jobs.empty());
  world.device.answer("gpu ", milliseconds(3));
  CHECK(world.outputs() == Texts{"gpu a", "gpu b"});
  CHECK(world.done[0].call == 7);
  CHECK(world.done[0].busy == milliseconds(3));
  for (const FallbackReason reason :
       {FallbackReason::kUnloaded, FallbackReason::kFailed, FallbackReason::kLost}) {
    CHECK(world.engine->batches(reason) == 0);
  }
}

TEST_CASE("fallback: a batch at which the device fails is answered by the spare, once") {
  World world;
  world.submit(7, {"a", "b"});
  world.device.fail(Code::kUnavailable, milliseconds(1));
  REQUIRE(world.done.empty());
  world.spare.answer("cpu ", milliseconds(4));
  CHECK(world.outputs() == Texts{"cpu a", "cpu b"});
  CHECK(world.done[0].call == 7);
  CHECK(world.done[0].busy == milliseconds(5));
  CHECK(world.engine->batches(FallbackReason::kFailed) == 1);
}

TEST_CASE("fallback: rows that are at fault are not tried again") {
  World world;
  world.submit(7, {"a"});
  world.device.fail(Code::kInvalid);
  REQUIRE(world.done.size() == 1);
  CHECK(world.done[0].outputs.error().code == Code::kInvalid);
  CHECK(world.spare.jobs.empty());
}

TEST_CASE("fallback: while the weights are out the spare answers, and they are called for") {
  World world;
  world.device.absence = Absence::kUnloaded;
  world.submit(1, {"a"});
  CHECK(world.device.loads == 1);
  CHECK(world.device.jobs.empty());
  world.spare.answer("cpu ");
  CHECK(world.outputs() == Texts{"cpu a"});
  CHECK(world.engine->batches(FallbackReason::kUnloaded) == 1);
  world.device.absence = Absence::kNone;
  world.submit(2, {"b"});
  CHECK(world.spare.jobs.empty());
  CHECK(world.device.jobs.size() == 1);
}

TEST_CASE("fallback: a device that is lost is left alone") {
  World world(1, seconds(1));
  world.device.absence = Absence::kLost;
  world.submit(1, {"a"});
  world.spare.answer("cpu ");
  CHECK(world.outputs() == Texts{"cpu a"});
  CHECK(world.device.loads == 0);
  CHECK(world.engine->batches(FallbackReason::kLost) == 1);
  CHECK(!world.engine->rest(world.now + seconds(100)).has_value());
  CHECK(world.device.unloads == 0);
}

TEST_CASE(
    "fallback: the spare gets as many parts as it has slots, and one answer is made of them") {
  World world(3);
  world.device.absence = Absence::kLost;
  world.submit(9, {"aaaa", "b", "c", "dddd", "ee", "ff", "g"});
  REQUIRE(world.spare.jobs.size() == 3);
  size_t rows = 0;
  for (const EngineJob& part : world.spare.jobs) {
    CHECK(!part.rows.empty());
    rows += part.rows.size();
  }
  CHECK(rows == 7);
  std::swap(world.spare.jobs.front(), world.spare.jobs.back());  // they end in any order
  world.spare.answer("cpu ", milliseconds(1));
  world.spare.answer("cpu ", milliseconds(5));
  CHECK(world.done.empty());
  world.spare.answer("cpu ", milliseconds(2));
  CHECK(world.outputs() ==
        Texts{"cpu aaaa", "cpu b", "cpu c", "cpu dddd", "cpu ee", "cpu ff", "cpu g"});
  CHECK(world.done[0].busy == milliseconds(5));
}

TEST_CASE("fallback: parts never outnumber the spare's slots, whatever the rows are") {
  Prng random(3);
  for (int round = 0; round < 500; ++round) {
    World world(static_cast<uint32_t>(random.between(1, 5)));
    world.device.absence = Absence::kLost;
    Texts rows(static_cast<size_t>(random.between(0, 12)));
    for (std::string& row : rows) row.resize(static_cast<size_t>(random.between(0, 9)), 'x');
    world.submit(1, rows);
    CHECK(!world.spare.jobs.empty());
    CHECK(world.spare.jobs.size() <= world.spare.slots);
    while (!world.spare.jobs.empty()) world.spare.answer("");
    CHECK(world.outputs() == rows);
  }
}

TEST_CASE("fallback: one part that fails is an error for the whole job, once") {
  World world(2);
  world.device.absence = Absence::kLost;
  world.submit(9, {"a", "b"});
  REQUIRE(world.spare.jobs.size() == 2);
  world.spare.fail(Code::kInternal);
  CHECK(world.done.empty());
  world.spare.answer("cpu ");
  REQUIRE(world.done.size() == 1);
  CHECK(world.done[0].call == 9);
  CHECK(world.done[0].outputs.error().code == Code::kInternal);
}

TEST_CASE("fallback: a part with too few outputs is an error, not a shifted answer") {
  World world;
  world.device.absence = Absence::kLost;
  world.submit(9, {"a", "b"});
  world.spare.jobs.front().rows.pop_back();
  world.spare.answer("cpu ");
  REQUIRE(world.done.size() == 1);
  CHECK(world.done[0].outputs.error().code == Code::kInternal);
}

TEST_CASE("fallback: the weights leave an idle device when their time has come, and not before") {
  World world(1, seconds(10));
  const Instant start = world.now;
  CHECK(world.engine->rest(start) == start + seconds(10));
  world.now = start + seconds(4);
  world.submit(1, {"a"});
  // Busy for longer than that: not idle.
  CHECK(world.engine->rest(start + seconds(30)) == start + seconds(40));
  world.now = start + seconds(31);
  world.device.answer("gpu ");
  CHECK(world.engine->rest(start + seconds(40)) == start + seconds(41));
  CHECK(world.device.unloads == 0);
  CHECK(world.engine->rest(start + seconds(41)) == start + seconds(51));
  CHECK(world.device.unloads == 1);
  CHECK(world.engine->rest(start + seconds(51)) == start + seconds(61));
  CHECK(world.device.unloads == 1);
}

TEST_CASE("fallback: without a time the weights stay") {
  World world;
  CHECK(!world.engine->rest(world.now + seconds(1'000'000)).has_value());
  CHECK(world.device.unloads == 0);
}

TEST_CASE("fallback: what waits when it ends is answered, once, and both engines are gone") {
  World world(2);
  world.submit(1, {"a"});
  world.device.absence = Absence::kUnloaded;
  world.submit(2, {"b", "c"});
  world.engine.reset();
  REQUIRE(world.done.size() == 2);
  for (const EngineDone& done : world.done) {
    CHECK(done.outputs.error().code == Code::kUnavailable);
  }
  CHECK(world.done[0].call != world.done[1].call);
  CHECK(!world.device.alive);
  CHECK(!world.spare.alive);
}

// A device with a thread of its own, which fails every third job and gives rows back as outputs.
class ThreadedDevice final : public DeviceEngine {
 public:
  explicit ThreadedDevice(EngineSink done) : done_(std::move(done)) {
    thread_ = std::thread([this] {
      for (int i = 0; std::optional<EngineJob> job = jobs_.take(); ++i) {
        if (i % 3 == 2) {
          done_({job->call, Error{Code::kUnavailable, "it fails"}, {}});
        } else {
          done_({job->call, std::move(job->rows), {}});
        }
        if (i % 5 == 4) absence_ = Absence::kNone;
      }
    });
  }
  ~ThreadedDevice() override {
    jobs_.close();
    thread_.join();
  }
  void submit(EngineJob job) override { jobs_.put(std::move(job)); }
  uint32_t slots() const override { return 4; }
  Absence absence() const override { return absence_; }
  void unload() override { absence_ = Absence::kUnloaded; }
  void load() override { absence_ = Absence::kNone; }
  DeviceStats stats() const override { return {}; }
  const std::string& device_name() const override { return name_; }

 private:
  const EngineSink done_;
  const std::string name_ = "threaded";
  std::atomic<Absence> absence_ = Absence::kNone;
  WorkQueue<EngineJob> jobs_;
  std::thread thread_;
};

TEST_CASE("fallback: with threads on both sides each job is answered once") {
  std::mutex mutex;
  std::map<CallId, size_t> outputs;
  std::atomic<int> left = 0;
  const auto clock = [ticks = std::make_shared<std::atomic<int64_t>>()] {
    return Instant{++*ticks};
  };
  FallbackEngine engine({.unload_after = nanoseconds(1), .now = clock}, [&](EngineDone done) {
    const std::lock_guard lock(mutex);
    REQUIRE(done.outputs.ok());
    CHECK(outputs.emplace(done.call, done.outputs.value().size()).second);
    --left;
    left.notify_all();
  });
  Result<std::unique_ptr<EchoEngine>> spare =
      EchoEngine::make({.times = {}, .now = clock}, engine.spare_sink());
  REQUIRE(spare.ok());
  const auto slots = static_cast<int>(std::min(uint32_t{4}, spare.value()->slots()));
  engine.take(std::make_unique<ThreadedDevice>(engine.device_sink()), std::move(spare).value());
  constexpr CallId kJobs = 600;
  for (CallId call = 0; call < kJobs; ++call) {
    for (int busy = left; busy >= slots; busy = left) left.wait(busy);
    ++left;
    engine.submit({.call = call, .rows = std::vector<Slice>(1 + call % 7, Slice::copy_of("row"))});
    if (call % 10 == 0) engine.rest(clock());
  }
  for (int busy = left; busy > 0; busy = left) left.wait(busy);
  const std::lock_guard lock(mutex);
  REQUIRE(outputs.size() == kJobs);
  for (const auto& [call, count] : outputs) CHECK(count == 1 + call % 7);
  CHECK(engine.batches(FallbackReason::kFailed) > 0);
}

}  // namespace
}  // namespace sluice
