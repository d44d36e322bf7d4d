// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "backends/cpu_count.h"
#include "backends/engine_cpu.h"
#include "backends/engine_echo.h"
#include "tests/reference_bert.h"

namespace sluice {
namespace {

// Collects what an engine reports and lets a test wait for it.
class Answers {
 public:
  EngineSink sink() {
    return [this](EngineDone done) {
      const std::lock_guard lock(mutex_);
      threads_.insert(std::this_thread::get_id());
      counts_[done.call] += 1;
      done_.insert_or_assign(done.call, std::move(done));
      changed_.notify_all();
    };
  }
  void wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_.size() >= count; });
  }
  EngineDone wait_for_call(CallId call) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_.contains(call); });
    return done_.at(call);
  }
  // Times each call was answered.
  size_t count(CallId call) {
    const std::lock_guard lock(mutex_);
    return counts_[call];
  }
  bool on_this_thread() {
    const std::lock_guard lock(mutex_);
    return threads_.contains(std::this_thread::get_id());
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<CallId, EngineDone> done_;
  std::map<CallId, size_t> counts_;
  std::set<std::thread::id> threads_;
};

// A clock that moves by one microsecond each time it is read.
std::function<Instant()> counting_clock() {
  auto now = std::make_shared<std::atomic<int64_t>>(0);
  return [now] { return Instant{now->fetch_add(1000)}; };
}

Slice row_of(const std::vector<int32_t>& ids) {
  return Slice::copy_of({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

std::vector<float> floats_of(const Slice& output) {
  std::vector<float> values(output.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), output.data(), output.size());
  return values;
}

double distance(const std::vector<float>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double square = 0.0;
  for (size_t i = 0; i < a.size(); ++i) square += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(square);
}

struct CpuFixture {
  TempFolder disk;
  ReferenceBert reference;
  Answers answers;
  std::unique_ptr<CpuEngine> engine;

  explicit CpuFixture(uint32_t threads, PrecisionChoice precision = PrecisionChoice::kF32,
                      uint32_t labels = 0)
      : reference({.config = {.layers = 1,
                              .hidden = 64,
                              .heads = 2,
                              .intermediate = 64,
                              .vocabulary = 97,
                              .positions = 64,
                              .types = labels == 0 ? 1U : 2U,
                              .labels = labels}}) {
    reference.write(disk);
    Result<ModelFolder> folder = read_model_folder(disk.path());
    REQUIRE(folder.ok());
    Result<std::unique_ptr<CpuEngine>> made = CpuEngine::make(
        std::move(folder).value(),
        {.threads = threads, .precision = precision, .now = counting_clock()}, answers.sink());
    if (!made.ok()) FAIL(made.error().message);
    engine = std::move(made).value();
  }
};

}  // namespace

TEST_CASE("an engine answers every row with its own vector, in order, on many threads") {
  CpuFixture fixture(3);
  REQUIRE(fixture.engine->slots() == 3);
  std::map<CallId, std::vector<std::vector<int32_t>>> sent;
  constexpr CallId kCalls = 30;
  for (CallId call = 0; call < kCalls; ++call) {
    // Never more in flight than slots: call n goes when call n - 3 is answered.
    if (call >= 3) static_cast<void>(fixture.answers.wait_for_call(call - 3));
    EngineJob job{call, {}};
    for (size_t i = 0; i < call % 7; ++i) {
      sent[call].push_back(fixture.reference.random_ids(1 + (call * 5 + i) % 64, call * 100 + i));
      job.rows.push_back(row_of(sent[call].back()));
    }
    fixture.engine->submit(std::move(job));
  }
  for (CallId call = 0; call < kCalls; ++call) {
    const EngineDone done = fixture.answers.wait_for_call(call);
    REQUIRE(done.outputs.ok());
    REQUIRE(done.outputs.value().size() == sent[call].size());
    CHECK(done.busy > Duration{});
    for (size_t i = 0; i < sent[call].size(); ++i) {
      CHECK(distance(floats_of(done.outputs.value()[i]), fixture.reference.embed(sent[call][i])) <
            1e-5);
    }
    CHECK(fixture.answers.count(call) == 1);
  }
  CHECK_FALSE(fixture.answers.on_this_thread());
}

TEST_CASE("a batch with a bad row is one error and the next batch is fine") {
  CpuFixture fixture(1);
  fixture.engine->submit({1, {row_of({1, 2}), row_of({97})}});
  const EngineDone bad = fixture.answers.wait_for_call(1);
  REQUIRE(!bad.outputs.ok());
  CHECK(bad.outputs.error().code == Code::kInvalid);
  CHECK(bad.outputs.error().message.starts_with("row 1 "));
  fixture.engine->submit({2, {Slice::copy_of("abc")}});
  const EngineDone odd = fixture.answers.wait_for_call(2);
  REQUIRE(!odd.outputs.ok());
  CHECK(odd.outputs.error().code == Code::kInvalid);
  fixture.engine->submit({3, {row_of({1, 2})}});
  CHECK(fixture.answers.wait_for_call(3).outputs.ok());
}

TEST_CASE("an engine that goes away answers what it was given") {
  Answers answers;
  {
    CpuFixture fixture(1);
    auto& inner = fixture.answers;
    fixture.engine->submit({1, {row_of({1, 2, 3})}});
    fixture.engine.reset();
    CHECK(inner.count(1) == 1);
  }
}

TEST_CASE("automatic precision is bf16 only where the probe shows the same vectors") {
  CpuFixture fixture(1, PrecisionChoice::kAuto);
  const std::optional<double> cosine = fixture.engine->probe_cosine();
  if (cpu_level() < CpuLevel::kAvx512Bf16) {
    CHECK_FALSE(cosine.has_value());
    CHECK(fixture.engine->precision() == Precision::kF32);
    return;
  }
  REQUIRE(cosine.has_value());
  CHECK(*cosine > 0.99);
  CHECK((fixture.engine->precision() == Precision::kBf16) == (*cosine >= kProbeCosineMin));
}

TEST_CASE(
    "a classifier's engine gives each pair's logits, in whatever precision the probe allows") {
  CpuFixture fixture(1, PrecisionChoice::kAuto, 3);
  REQUIRE(fixture.engine->width() == 3);
  const std::optional<double> difference = fixture.engine->probe_logit_difference();
  CHECK_FALSE(fixture.engine->probe_cosine().has_value());
  CHECK(difference.has_value() == (cpu_level() >= CpuLevel::kAvx512Bf16));
  if (difference) {
    CHECK((fixture.engine->precision() == Precision::kBf16) ==
          (*difference <= kProbeLogitDifferenceMax));
  }
  const std::vector<int32_t> pairs[] = {fixture.reference.random_pair(5, 9, 1),
                                        fixture.reference.random_pair(20, 3, 2)};
  fixture.engine->submit({1, {row_of(pairs[0]), row_of(pairs[1])}});
  const EngineDone done = fixture.answers.wait_for_call(1);
  REQUIRE(done.outputs.ok());
  REQUIRE(done.outputs.value().size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(done.outputs.value()[i].size() == 3 * sizeof(float));
    CHECK(distance(floats_of(done.outputs.value()[i]), fixture.reference.logits(pairs[i])) < 0.1);
  }
}

TEST_CASE("precisions are read by name") {
  CHECK(parse_precision("auto").value() == PrecisionChoice::kAuto);
  CHECK(parse_precision("f32").value() == PrecisionChoice::kF32);
  CHECK(parse_precision("bf16").value() == PrecisionChoice::kBf16);
  const Result<PrecisionChoice> wrong = parse_precision("fp16");
  REQUIRE(!wrong.ok());
  CHECK(wrong.error().message.find("'fp16'") != std::string::npos);
}

TEST_CASE("the echo vector is the documented function of the bytes") {
  // Computed from the definition in the header by another program.
  const std::array<float, 8> empty = echo_vector("");
  CHECK(empty[0] * 65536.0F == 50049.0F);
  CHECK(empty[7] * 65536.0F == 26034.0F);
  const std::array<float, 8> text = echo_vector(
      "Gr\xc3\xbc\xc3\x9f"
      "e");
  CHECK(text[0] * 65536.0F == 21780.0F);
  CHECK(text[3] * 65536.0F == 40136.0F);
  std::set<std::array<float, 8>> all;
  for (int i = 0; i < 2000; ++i) {
    const std::array<float, 8> vector = echo_vector(std::to_string(i));
    for (const float element : vector) CHECK((element >= 0.0F && element < 1.0F));
    all.insert(vector);
  }
  CHECK(all.size() == 2000);
}

TEST_CASE("echo specifications say how long a batch takes") {
  const auto times = [](std::string_view spec) {
    const Result<EchoTimes> parsed = parse_echo_spec(spec);
    if (!parsed.ok()) FAIL(parsed.error().message);
    return parsed.value();
  };
  CHECK(times("echo").per_batch == Duration{});
  CHECK(times("echo:a=2ms,b=0.1ms").per_batch == milliseconds(2));
  CHECK(times("echo:a=2ms,b=0.1ms").per_item == microseconds(100));
  CHECK(times("echo:b=7ns").per_item == nanoseconds(7));
  CHECK(times("echo:b=1.5us,a=3600s").per_batch == seconds(3600));
  CHECK(times("echo:b=1.5us").per_item == nanoseconds(1500));
  for (const char* bad :
       {"", "echoes", "echo:", "echo:a", "echo:a=", "echo:a=1", "echo:a=ms", "echo:a=-1ms",
        "echo:a=1ms,", "echo:a=1ms,a=2ms", "echo:c=1ms", "echo:a=nanms", "echo:a=infs",
        "echo:a=3601s", "echo:a=1e3ms", "echo:a=1 ms", "ECHO"}) {
    CAPTURE(bad);
    const Result<EchoTimes> parsed = parse_echo_spec(bad);
    REQUIRE(!parsed.ok());
    CHECK(parsed.error().code == Code::kInvalid);
    CHECK(parsed.error().message.find(bad) != std::string::npos);
  }
}

TEST_CASE("the echo engine waits a + b n and answers each text with its own vector") {
  Answers answers;
  std::vector<Duration> waits;
  EchoOptions options;
  options.times = {microseconds(50), microseconds(3)};
  options.now = counting_clock();
  options.wait = [&](Duration wait) { waits.push_back(wait); };
  Result<std::unique_ptr<EchoEngine>> engine = EchoEngine::make(std::move(options), answers.sink());
  REQUIRE(engine.ok());
  CHECK(engine.value()->slots() == 1);
  const std::vector<std::string> texts = {"one", "", "three"};
  EngineJob job{9, {}};
  for (const std::string& text : texts) job.rows.push_back(Slice::copy_of(text));
  engine.value()->submit(std::move(job));
  const EngineDone done = answers.wait_for_call(9);
  REQUIRE(done.outputs.ok());
  REQUIRE(done.outputs.value().size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::array<float, 8> expected = echo_vector(texts[i]);
    CHECK(floats_of(done.outputs.value()[i]) ==
          std::vector<float>(expected.begin(), expected.end()));
  }
  CHECK(done.busy == microseconds(1));
  engine.value().reset();
  CHECK(waits == std::vector<Duration>{microseconds(59)});
  CHECK_FALSE(answers.on_this_thread());
}

TEST_CASE("an echo engine without times never waits, and answers what it holds when it ends") {
  Answers answers;
  EchoOptions options;
  options.now = counting_clock();
  options.wait = [](Duration) { FAIL("waited"); };
  Result<std::unique_ptr<EchoEngine>> engine = EchoEngine::make(std::move(options), answers.sink());
  REQUIRE(engine.ok());
  for (CallId call = 0; call < 50; ++call) {
    engine.value()->submit({call, {Slice::copy_of(std::to_string(call))}});
  }
  engine.value().reset();
  answers.wait_for(50);
  for (CallId call = 0; call < 50; ++call) {
    const EngineDone done = answers.wait_for_call(call);
    REQUIRE(done.outputs.ok());
    CHECK(floats_of(done.outputs.value()[0])[0] == echo_vector(std::to_string(call))[0]);
    CHECK(answers.count(call) == 1);
  }
}

TEST_CASE("limits of control groups are read, nested, in both versions") {
  const TempFolder folder;
  const auto cores = [&](const std::string& membership) {
    return cgroup_cores({folder.write("membership", membership), folder.path()});
  };
  CHECK(cores("0::/\n") == 0);
  folder.write("pod/cpu.max", "250000 100000\n");
  folder.write("pod/inner/cpu.max", "max 100000\n");
  CHECK(cores("0::/pod/inner\n") == 2);
  CHECK(cores("0::/elsewhere\n") == 0);
  folder.write("pod/inner/cpu.max", "50000 100000\n");
  CHECK(cores("0::/pod/inner\n") == 1);
  folder.write("cpu.max", "400000 100000\n");
  CHECK(cores("0::/elsewhere/deep\n") == 4);
  folder.write("cpu/box/cpu.cfs_quota_us", "300000\n");
  folder.write("cpu/box/cpu.cfs_period_us", "100000\n");
  CHECK(cores("7:memory:/box\n4:cpu,cpuacct:/box\n") == 3);
  folder.write("cpu/box/cpu.cfs_quota_us", "-1\n");
  CHECK(cores("4:cpuacct,cpu:/box\n") == 0);
  CHECK(cores("garbage\n\n1:cpu\n") == 0);
  CHECK(cgroup_cores({folder.path() + "/none", folder.path()}) == 0);
}

TEST_CASE("there is at least one core and one worker") {
  CHECK(affinity_cores() >= 1);
  CHECK(usable_cores() >= 1);
  CHECK(worker_count_default() >= 1);
  CHECK(worker_count_default() <= std::max(1U, usable_cores() - 1));
}

}  // namespace sluice
