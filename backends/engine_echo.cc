// SPDX-License-Identifier: Apache-2.0
#include "backends/engine_echo.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "base/prng.h"

namespace sluice {
namespace {

constexpr int64_t kTimeMaxNs = 3'600'000'000'000;

Error invalid(std::string_view spec, const std::string& what) {
  return Error{Code::kInvalid, "model '" + std::string(spec) + "': " + what};
}

// "0.1ms", or nothing.
std::optional<Duration> parse_duration(std::string_view text) {
  double number = 0.0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  double factor = 0.0;
  if (unit == "ns") factor = 1.0;
  if (unit == "us") factor = 1e3;
  if (unit == "ms") factor = 1e6;
  if (unit == "s") factor = 1e9;
  const double ns = number * factor;
  if (factor == 0.0 || !(ns >= 0.0 && ns <= static_cast<double>(kTimeMaxNs))) return std::nullopt;
  return nanoseconds(std::llround(ns));
}

}  // namespace

std::array<float, 8> echo_vector(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char byte : text) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  }
  Prng mix(hash);
  std::array<float, 8> vector{};
  for (float& element : vector) element = static_cast<float>(mix.next() >> 48) * 0x1p-16F;
  return vector;
}

Result<EchoTimes> parse_echo_spec(std::string_view spec) {
  constexpr std::string_view kName = "echo";
  EchoTimes times;
  if (spec == kName) return times;
  if (!spec.starts_with("echo:")) return invalid(spec, "must be 'echo' or begin with 'echo:'");
  std::string_view rest = spec.substr(kName.size() + 1);
  bool seen_a = false;
  bool seen_b = false;
  while (true) {
    const std::string_view part = rest.substr(0, rest.find(','));
    const std::string_view name = part.substr(0, part.find('='));
    if (name.size() == part.size()) {
      return invalid(spec, "'" + std::string(part) + "' must be a=TIME or b=TIME");
    }
    if (name != "a" && name != "b") {
      return invalid(spec, "unknown setting '" + std::string(name) + "'; there are a and b");
    }
    bool& seen = name == "a" ? seen_a : seen_b;
    if (seen) return invalid(spec, "'" + std::string(name) + "' is set twice");
    seen = true;
    const std::string_view value = part.substr(name.size() + 1);
    const std::optional<Duration> time = parse_duration(value);
    if (!time) {
      return invalid(spec, "'" + std::string(value) +
                               "' must be a number with ns, us, ms or s, at most 3600s");
    }
    (name == "a" ? times.a : times.b) = *time;
    if (part.size() == rest.size()) return times;
    rest.remove_prefix(part.size() + 1);
  }
}

EchoEngine::EchoEngine(EchoOptions options, EngineSink done)
    : options_(std::move(options)), done_(std::move(done)) {}

Result<std::unique_ptr<EchoEngine>> EchoEngine::make(EchoOptions options, EngineSink done) try {
  ASSERT(options.now && done);
  std::unique_ptr<EchoEngine> engine(new EchoEngine(std::move(options), std::move(done)));
  engine->worker_ = std::thread([raw = engine.get()] { raw->work(); });
  return engine;
} catch (const std::exception& reason) {
  return Error{Code::kInternal, std::string("echo engine: ") + reason.what()};
}

EchoEngine::~EchoEngine() {
  if (!worker_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  worker_.join();
}

void EchoEngine::submit(EngineJob job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void EchoEngine::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    const EngineJob job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    done_(answer(job));
    lock.lock();
  }
}

void EchoEngine::wait(Duration duration) {
  if (options_.wait) return options_.wait(duration);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::nanoseconds(duration.ns), [&] { return stopping_; });
}

EngineDone EchoEngine::answer(const EngineJob& job) try {
  const Instant start = options_.now();
  const Duration busy = options_.times.a + options_.times.b * static_cast<int64_t>(job.rows.size());
  if (busy > Duration{}) wait(busy);
  constexpr size_t kBytes = kWidth * sizeof(float);
  const ChunkRef chunk = ChunkRef::make(job.rows.size() * kBytes, [&](char* to) {
    for (const Slice& row : job.rows) {
      const std::array<float, kWidth> vector = echo_vector(row.view());
      std::memcpy(to, vector.data(), kBytes);
      to += kBytes;
    }
  });
  std::vector<Slice> outputs;
  outputs.reserve(job.rows.size());
  for (size_t i = 0; i < job.rows.size(); ++i) outputs.emplace_back(chunk, i * kBytes, kBytes);
  return {job.call, std::move(outputs), options_.now() - start};
} catch (const std::exception& reason) {
  return {job.call, Error{Code::kInternal, std::string("echo engine: ") + reason.what()}, {}};
}

}  // namespace sluice
