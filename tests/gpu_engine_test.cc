// SPDX-License-Identifier: Apache-2.0
// The GPU engine on an emulated driver: its answers against a BERT in double precision, one
// submission per batch, and what becomes of jobs when the driver fails.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>

#include "gpu/cuda_counting.h"
#include "gpu/engine_gpu.h"
#include "tests/gpu_ptx_images.h"
#include "tests/gpu_small_model.h"

namespace sluice {
namespace {

std::vector<std::vector<int32_t>> some_rows(const ReferenceBert& reference) {
  std::vector<std::vector<int32_t>> rows;
  for (const size_t length : {3U, 65U, 1U, 96U}) {
    rows.push_back(reference.random_ids(length, length));
  }
  return rows;
}

// Compares vectors of some texts on an emulated device of that capability.
void check_vectors(const Model& model, int capability) {
  CAPTURE(capability);
  const size_t width = model.gpu.shape.hidden;
  const std::vector<std::vector<int32_t>> rows = some_rows(model.reference);
  EmulatedCuda cuda(machine(capability));
  {
    const std::vector<GpuImage> images = ptx_images(capability);
    const std::unique_ptr<GpuRunner> runner =
        value_of(GpuRunner::make(cuda, images, model.gpu, runner_options(300)));
    REQUIRE(runner->width() == width);
    // Alone and together: small batches and larger ones go through other kernels.
    for (size_t together : {size_t{1}, rows.size()}) {
      for (size_t first = 0; first < rows.size(); first += together) {
        const auto some = views(rows);
        std::vector<float> out(together * width, NAN);
        REQUIRE(runner->run(std::span(some).subspan(first, together), out.data()).ok());
        for (size_t i = 0; i < together; ++i) {
          CHECK(cosine(std::span(out).subspan(i * width, width),
                       model.reference.embed(rows[first + i])) > 0.99999);
        }
      }
    }
  }
  for (const std::string& finding : cuda.findings()) FAIL_CHECK(finding);
  CHECK(cuda.alive() == 0);
}

TEST_CASE("gpu: vectors are those of the definition, on every generation") {
  for (const Pooling pooling : {Pooling::kMean, Pooling::kCls}) {
    const Model model(small_options(0, pooling));
    for (const int capability : {75, 80, 90}) check_vectors(model, capability);
  }
  const Model wider(small_options(0, Pooling::kMean, 128));
  for (const int capability : {75, 80, 90}) check_vectors(wider, capability);
}

TEST_CASE("gpu: logits of pairs are those of the definition") {
  const Model model(small_options(3, Pooling::kMean));
  EmulatedCuda cuda(machine(80));
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuRunner> runner =
      value_of(GpuRunner::make(cuda, images, model.gpu, runner_options()));
  const std::vector<std::vector<int32_t>> rows = {model.reference.random_pair(5, 9, 1),
                                                  model.reference.random_pair(30, 40, 2),
                                                  model.reference.random_ids(7, 3)};
  std::vector<float> out(rows.size() * 3);
  REQUIRE(runner->run(views(rows), out.data()).ok());
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<double> wanted = model.reference.logits(rows[i]);
    for (size_t j = 0; j < 3; ++j) {
      CHECK(static_cast<double>(out[i * 3 + j]) == doctest::Approx(wanted[j]).epsilon(0.01));
    }
  }
  for (const std::string& finding : cuda.findings()) FAIL_CHECK(finding);
}

TEST_CASE("gpu: a batch is one submission whatever its lengths, and more only beyond the limits") {
  const Model model(small_options(0, Pooling::kMean));
  EmulatedMachine fast = machine(80);
  fast.check_memory = false;
  EmulatedCuda cuda(fast);
  CountingCuda counting(cuda);
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuRunner> runner =
      value_of(GpuRunner::make(counting, images, model.gpu, runner_options(96)));
  const auto submissions = [&](const std::vector<size_t>& lengths) {
    std::vector<std::vector<int32_t>> rows;
    for (const size_t length : lengths) rows.push_back(model.reference.random_ids(length, length));
    std::vector<float> out(rows.size() * 64);
    const uint64_t before = counting.counts().submissions();
    REQUIRE(runner->run(views(rows), out.data()).ok());
    for (size_t i = 0; i < rows.size(); ++i) {
      CHECK(cosine(std::span(out).subspan(i * 64, 64), model.reference.embed(rows[i])) > 0.99999);
    }
    return counting.counts().submissions() - before;
  };
  CHECK(submissions({1}) == 1);
  CHECK(submissions({96}) == 1);
  CHECK(submissions({32, 32, 32}) == 1);
  CHECK(submissions({3, 1, 40, 9, 2}) == 1);
  CHECK(submissions({96, 1}) == 2);
  CHECK(submissions(std::vector<size_t>(65, 1)) == 2);  // texts_max is 64
}

TEST_CASE("gpu: weights come back to the same addresses") {
  const Model model(small_options(0, Pooling::kMean));
  EmulatedCuda cuda(machine(80));
  CountingCuda counting(cuda);
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuRunner> runner =
      value_of(GpuRunner::make(counting, images, model.gpu, runner_options()));
  const std::vector<std::vector<int32_t>> rows = some_rows(model.reference);
  std::vector<float> before(rows.size() * 64);
  std::vector<float> after(rows.size() * 64);
  REQUIRE(runner->run(views(rows), before.data()).ok());
  size_t free_loaded = 0;
  size_t free_unloaded = 0;
  size_t total = 0;
  REQUIRE(cuda.memory_info(&free_loaded, &total) == CUDA_SUCCESS);
  REQUIRE(runner->unload().ok());
  REQUIRE(cuda.memory_info(&free_unloaded, &total) == CUDA_SUCCESS);
  CHECK(free_unloaded > free_loaded);
  REQUIRE(runner->run(views(rows), after.data()).ok());
  CHECK(before == after);
}

TEST_CASE("gpu: rows that the model cannot take are named, and nothing is launched") {
  const Model model(small_options(0, Pooling::kMean));
  EmulatedCuda cuda(machine(80));
  CountingCuda counting(cuda);
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuRunner> runner =
      value_of(GpuRunner::make(counting, images, model.gpu, runner_options()));
  const uint64_t before = counting.counts().submissions();
  const auto error = [&](const std::vector<int32_t>& row) {
    const std::vector<std::vector<int32_t>> rows = {{1, 2}, row};
    std::vector<float> out(rows.size() * 64);
    const Result<Done> done = runner->run(views(rows), out.data());
    REQUIRE(!done.ok());
    CHECK(done.error().code == Code::kInvalid);
    CHECK(done.error().message.starts_with("row 1 "));
    return done.error().message;
  };
  CHECK(error({}).find("no tokens") != std::string::npos);
  CHECK(error({1, 90}).find("90") != std::string::npos);
  CHECK(error({-1}).find("-1") != std::string::npos);
  CHECK(error(std::vector<int32_t>(97, 1)).find("97") != std::string::npos);
  CHECK(counting.counts().submissions() == before);
}

// Runs `jobs` one-row jobs through an engine and gives what became of each.
std::vector<Result<std::vector<Slice>>> run_jobs(std::unique_ptr<EmulatedCuda> cuda,
                                                 const GpuModel& model, int jobs) {
  std::vector<Result<std::vector<Slice>>> results;
  std::atomic<int> answered = 0;
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuEngine> engine = value_of(
      GpuEngine::make(std::move(cuda), images, model, runner_options(), [&](EngineDone done) {
        results.push_back(std::move(done.outputs));
        ++answered;
        answered.notify_all();
      }));
  CHECK(engine->slots() == 1);
  for (int i = 0; i < jobs; ++i) {
    const int32_t ids[] = {1, 2, i};
    EngineJob job;
    job.call = static_cast<CallId>(i);
    job.rows = {Slice::copy_of({reinterpret_cast<const char*>(ids), sizeof ids})};
    engine->submit(std::move(job));
    answered.wait(i);
  }
  return results;
}

TEST_CASE("gpu: jobs are answered, and after the device has failed with an error to retry") {
  const Model model(small_options(0, Pooling::kMean));
  auto good = std::make_unique<EmulatedCuda>(machine(80));
  for (const auto& result : run_jobs(std::move(good), model.gpu, 3)) {
    REQUIRE(result.ok());
    REQUIRE(result.value().size() == 1);
    CHECK(result.value()[0].size() == 64 * sizeof(float));
  }
  auto failing = std::make_unique<EmulatedCuda>(machine(80));
  failing->fail("graph_launch", CUDA_ERROR_ILLEGAL_ADDRESS, 3);  // the first is to warm up
  const auto results = run_jobs(std::move(failing), model.gpu, 3);
  REQUIRE(results.size() == 3);
  CHECK(results[0].ok());
  for (const size_t i : {size_t{1}, size_t{2}}) {
    REQUIRE(!results[i].ok());
    CHECK(results[i].error().code == Code::kUnavailable);
  }
}

TEST_CASE("gpu: too little memory is an error that says how much was needed") {
  const Model model(small_options(0, Pooling::kMean));
  EmulatedMachine small = machine(80);
  small.memory_bytes = size_t{2} << 20;
  EmulatedCuda cuda(small);
  const std::vector<GpuImage> images = ptx_images(80);
  const Result<std::unique_ptr<GpuRunner>> runner =
      GpuRunner::make(cuda, images, model.gpu, runner_options(32768));
  REQUIRE(!runner.ok());
  CHECK(runner.error().code == Code::kUnavailable);
  CHECK(runner.error().message.find("MiB, free are") != std::string::npos);
}

}  // namespace
}  // namespace sluice
