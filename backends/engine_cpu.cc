// SPDX-License-Identifier: Apache-2.0
#include "backends/engine_cpu.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <utility>

#include "backends/cpu_count.h"
#include "base/prng.h"

namespace sluice {
namespace {

// The probe's texts: short and long, drawn from the whole vocabulary, which is harder on rounding
// than words that go together. Classifiers get them as pairs, if they know pairs.
constexpr size_t kProbeLengths[] = {3, 9, 17, 33, 64, 128};
constexpr uint64_t kProbeSeed = 1;

struct Probe {
  std::vector<std::vector<int32_t>> rows;
  std::vector<std::span<const int32_t>> views;
};

Probe make_probe(const BertModel& model) {
  Probe probe;
  Prng random(kProbeSeed);
  for (const size_t length : kProbeLengths) {
    std::vector<int32_t>& row = probe.rows.emplace_back(std::min(length, model.tokens_max()));
    for (int32_t& id : row) {
      id = static_cast<int32_t>(random.between(0, int64_t{model.config().vocabulary} - 1));
    }
    if (model.config().labels == 0 || model.config().types < 2) continue;
    for (size_t i = row.size() / 2; i < row.size(); ++i) row[i] |= kSecondSegment;
  }
  probe.views.assign(probe.rows.begin(), probe.rows.end());
  return probe;
}

Result<std::vector<float>> run_probe(const BertModel& model, const Probe& probe) {
  Result<std::unique_ptr<BertRunner>> runner = BertRunner::make(model);
  if (!runner.ok()) return runner.error();
  std::vector<float> vectors(probe.rows.size() * model.width());
  const Result<Done> done = runner.value()->embed(probe.views, vectors.data());
  if (!done.ok()) return done.error();
  return vectors;
}

double smallest_cosine(const std::vector<float>& a, const std::vector<float>& b, size_t width) {
  double smallest = 1.0;
  for (size_t row = 0; row < a.size(); row += width) {
    double product = 0.0;
    double square_a = 0.0;
    double square_b = 0.0;
    for (size_t i = row; i < row + width; ++i) {
      product += static_cast<double>(a[i]) * b[i];
      square_a += static_cast<double>(a[i]) * a[i];
      square_b += static_cast<double>(b[i]) * b[i];
    }
    const double cosine = product / std::sqrt(square_a * square_b);
    // A NaN is the worst of all.
    smallest = cosine > smallest ? smallest : (std::isnan(cosine) ? -1.0 : cosine);
  }
  return smallest;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    // A NaN is the worst of all.
    largest = difference <= largest ? largest : (std::isnan(difference) ? HUGE_VAL : difference);
  }
  return largest;
}

void lower_priority(int nice) {
  // On Linux the value belongs to the thread. Failure leaves the worker as important as I/O.
  ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + nice);
}

}  // namespace

struct CpuEngine::Worker {
  std::unique_ptr<BertRunner> runner;
  std::vector<int32_t> ids;  // of the batch at hand, row after row
  std::vector<std::span<const int32_t>> rows;
  std::thread thread;
};

CpuEngine::CpuEngine(ModelFolder folder, CpuEngineOptions options, EngineSink done)
    : folder_(std::move(folder)), options_(std::move(options)), done_(std::move(done)) {}

Result<std::unique_ptr<CpuEngine>> CpuEngine::make(ModelFolder folder, CpuEngineOptions options,
                                                   EngineSink done) try {
  ASSERT(options.now && done);
  std::unique_ptr<CpuEngine> engine(
      new CpuEngine(std::move(folder), std::move(options), std::move(done)));
  Result<Done> ready = engine->load();
  if (ready.ok()) ready = engine->start();
  if (!ready.ok()) return ready.error();
  return engine;
} catch (const std::exception& reason) {
  return Error{Code::kInternal, std::string("CPU engine: ") + reason.what()};
}

Result<Done> CpuEngine::load() {
  const bool low_possible = cpu_level() >= CpuLevel::kAvx512Bf16;
  if (options_.precision == PrecisionChoice::kAuto && low_possible) return choose();
  const bool low = options_.precision == PrecisionChoice::kBf16;
  Result<std::unique_ptr<BertModel>> model =
      BertModel::load(folder_, low ? Precision::kBf16 : Precision::kF32);
  if (!model.ok()) return model.error();
  model_ = std::move(model).value();
  return Done{};
}

Result<Done> CpuEngine::choose() {
  Result<std::unique_ptr<BertModel>> exact = BertModel::load(folder_, Precision::kF32);
  if (!exact.ok()) return exact.error();
  Result<std::unique_ptr<BertModel>> low = BertModel::load(folder_, Precision::kBf16);
  if (!low.ok()) return low.error();
  const Probe probe = make_probe(*exact.value());
  const Result<std::vector<float>> exact_vectors = run_probe(*exact.value(), probe);
  if (!exact_vectors.ok()) return exact_vectors.error();
  const Result<std::vector<float>> low_vectors = run_probe(*low.value(), probe);
  if (!low_vectors.ok()) return low_vectors.error();
  const bool good = agree(exact_vectors.value(), low_vectors.value(), exact.value()->width());
  model_ = std::move(good ? low : exact).value();
  return Done{};
}

bool CpuEngine::agree(const std::vector<float>& exact, const std::vector<float>& low,
                      size_t width) {
  if (folder_.config.labels != 0) {
    probe_logit_difference_ = largest_difference(exact, low);
    return *probe_logit_difference_ <= kProbeLogitDifferenceMax;
  }
  probe_cosine_ = smallest_cosine(exact, low, width);
  return *probe_cosine_ >= kProbeCosineMin;
}

Result<Done> CpuEngine::start() {
  slots_ = options_.threads != 0 ? options_.threads : worker_count_default();
  warming_ = slots_;
  for (uint32_t i = 0; i < slots_; ++i) {
    Result<std::unique_ptr<BertRunner>> runner = BertRunner::make(*model_);
    if (!runner.ok()) return runner.error();
    workers_.push_back(std::make_unique<Worker>());
    Worker& worker = *workers_.back();
    worker.runner = std::move(runner).value();
    worker.thread = std::thread([this, &worker] { work(worker); });
  }
  for (uint32_t left = warming_; left != 0; left = warming_) warming_.wait(left);
  return Done{};
}

CpuEngine::~CpuEngine() {
  const std::deque<EngineJob> left = jobs_.close_and_take_all();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
  for (const EngineJob& job : left) {
    done_({job.call, Error{Code::kUnavailable, "the engine is stopping"}, {}});
  }
}

void CpuEngine::submit(EngineJob job) { jobs_.put(std::move(job)); }

void CpuEngine::work(Worker& worker) {
  lower_priority(options_.nice);
  // Touches every buffer and weight once. Its result does not matter, nor would its failure: the
  // first batch would meet the same and report it.
  const int32_t id = 0;
  const std::vector<std::span<const int32_t>> row = {{&id, 1}};
  std::vector<float> vector(model_->width());
  static_cast<void>(worker.runner->embed(row, vector.data()));
  --warming_;
  warming_.notify_all();
  while (const std::optional<EngineJob> job = jobs_.take()) done_(answer(worker, *job));
}

EngineDone CpuEngine::answer(Worker& worker, const EngineJob& job) const try {
  const Instant start = options_.now();
  size_t tokens = 0;
  for (const Slice& row : job.rows) tokens += row.size() / sizeof(int32_t);
  worker.ids.resize(tokens);
  worker.rows.clear();
  int32_t* next = worker.ids.data();
  for (const Slice& row : job.rows) {
    if (row.size() % sizeof(int32_t) != 0) {
      return {job.call, Error{Code::kInvalid, "a row is not a list of 32-bit token ids"}, {}};
    }
    if (!row.empty()) std::memcpy(next, row.data(), row.size());
    worker.rows.emplace_back(next, row.size() / sizeof(int32_t));
    next += row.size() / sizeof(int32_t);
  }
  const size_t bytes = width() * sizeof(float);
  Result<Done> done = Done{};
  const ChunkRef chunk = ChunkRef::make(job.rows.size() * bytes, [&](char* to) {
    done = worker.runner->embed(worker.rows, reinterpret_cast<float*>(to));
  });
  if (!done.ok()) return {job.call, done.error(), options_.now() - start};
  std::vector<Slice> outputs;
  outputs.reserve(job.rows.size());
  for (size_t i = 0; i < job.rows.size(); ++i) outputs.emplace_back(chunk, i * bytes, bytes);
  return {job.call, std::move(outputs), options_.now() - start};
} catch (const std::exception& reason) {
  return {job.call, Error{Code::kInternal, std::string("CPU engine: ") + reason.what()}, {}};
}

}  // namespace sluice
