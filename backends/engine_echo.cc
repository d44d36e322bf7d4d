// SPDX-License-Identifier: Apache-2.0
#include "backends/engine_echo.h"

#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "base/prng.h"

namespace sluice {
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
  jobs_.close();
  if (worker_.joinable()) worker_.join();
}

void EchoEngine::submit(EngineJob job) { jobs_.put(std::move(job)); }

void EchoEngine::work() {
  while (const std::optional<EngineJob> job = jobs_.take()) done_(answer(*job));
}

EngineDone EchoEngine::answer(const EngineJob& job) try {
  const Instant start = options_.now();
  const Duration busy =
      options_.times.per_batch + options_.times.per_item * static_cast<int64_t>(job.rows.size());
  if (busy > Duration{} && options_.wait) options_.wait(busy);
  if (busy > Duration{} && !options_.wait) jobs_.wait_closed(busy);
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
