// SPDX-License-Identifier: Apache-2.0
#pragma once
// An engine and a device that do what a test says, when it says so.

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "backends/engine.h"

namespace sluice {

// What both fakes keep: jobs wait until the test answers them.
struct FakeState {
  EngineSink sink;
  std::deque<EngineJob> jobs;
  uint32_t slots = 1;
  bool alive = true;
  Absence absence = Absence::kNone;
  int unloads = 0;
  int loads = 0;
  DeviceStats stats;

  // Answers the oldest job with its own rows, each with `mark` before it.
  void answer(const std::string& mark, Duration busy = {}) {
    REQUIRE(!jobs.empty());
    EngineDone done{.call = jobs.front().call, .outputs = std::vector<Slice>{}, .busy = busy};
    for (const Slice& row : jobs.front().rows) {
      done.outputs.value().push_back(Slice::copy_of(mark + std::string(row.view())));
    }
    jobs.pop_front();
    sink(std::move(done));
  }
  void fail(Code code, Duration busy = {}) {
    REQUIRE(!jobs.empty());
    const CallId call = jobs.front().call;
    jobs.pop_front();
    sink({call, Error{code, "as the test says"}, busy});
  }
  void stop() {
    while (!jobs.empty()) fail(Code::kUnavailable);
    alive = false;
  }
};

// An engine whose jobs wait in its state.
class FakeSpare final : public Engine {
 public:
  explicit FakeSpare(FakeState& state) : state_(state) {}
  ~FakeSpare() override { state_.stop(); }
  void submit(EngineJob job) override {
    REQUIRE(state_.jobs.size() < state_.slots);
    state_.jobs.push_back(std::move(job));
  }
  uint32_t slots() const override { return state_.slots; }

 private:
  FakeState& state_;
};

// The same as a device.
class FakeDevice final : public DeviceEngine {
 public:
  explicit FakeDevice(FakeState& state) : state_(state) {}
  ~FakeDevice() override { state_.stop(); }
  void submit(EngineJob job) override {
    REQUIRE(state_.jobs.size() < state_.slots);
    state_.jobs.push_back(std::move(job));
  }
  uint32_t slots() const override { return state_.slots; }
  Absence absence() const override { return state_.absence; }
  void unload() override {
    ++state_.unloads;
    state_.absence = Absence::kUnloaded;
  }
  void load() override { ++state_.loads; }
  DeviceStats stats() const override { return state_.stats; }
  const std::string& device_name() const override { return name_; }

 private:
  FakeState& state_;
  const std::string name_ = "fake";
};

}  // namespace sluice
