// SPDX-License-Identifier: Apache-2.0
#include "gateway/models.h"

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "backends/engine_cpu.h"
#include "backends/engine_echo.h"
#include "backends/engine_fallback.h"
#include "gateway/gpu.h"

namespace sluice {
namespace {

// What load_models() passes down.
struct Loading {
  const Config& config;
  const EngineSink& sink;
  const std::function<Instant()>& clock;
  Log& log;
};

// One engine, and what its model looks like from outside.
struct Loaded {
  std::unique_ptr<Engine> engine;
  std::shared_ptr<const EmbeddedModel> model;
  std::optional<Device> device;
};

Error named(const ModelConfig& model, const Error& error) {
  return {.code = error.code, .message = "model '" + model.name + "': " + error.message};
}

Result<Loaded> load_echo(const BackendConfig& backend, const Loading& loading) {
  Result<std::unique_ptr<EchoEngine>> engine =
      EchoEngine::make({.times = *backend.echo, .now = loading.clock}, loading.sink);
  if (!engine.ok()) return engine.error();
  return Loaded{std::move(engine).value(), std::make_shared<EmbeddedEcho>(), {}};
}

std::string device_name(const DeviceChoice& device) {
  if (device.kind == DeviceChoice::Kind::kCpu) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

// The GPU that `backend` asks for, or null where the CPU is to run the model alone, which the log
// then says. `engine` is what the GPU's engine reports to.
Result<std::unique_ptr<DeviceEngine>> open_device(const ModelConfig& model,
                                                  const BackendConfig& backend,
                                                  const ModelFolder& folder, FallbackEngine& engine,
                                                  const Loading& loading) {
  using Kind = DeviceChoice::Kind;
  if (backend.device.kind == Kind::kCpu) return std::unique_ptr<DeviceEngine>();
  Result<std::unique_ptr<DeviceEngine>> device =
      make_gpu(folder, model.batch, backend.device.index, loading.clock, engine.device_sink());
  if (device.ok()) return device;
  const bool named = backend.device.kind == Kind::kCuda;
  const Code code = device.error().code;
  // Whoever names a GPU of a machine that has some wants that one, and not a slow server.
  if (named && code != Code::kNotFound && code != Code::kInvalid) {
    return Error{
        .code = code,
        .message = "device " + device_name(backend.device) + ": " + device.error().message};
  }
  const std::string asked = named ? device_name(backend.device) : "auto";
  const bool expected = !named && code == Code::kNotFound;
  loading.log.write(expected ? LogLevel::kInfo : LogLevel::kWarn, "no GPU; the CPU runs the model",
                    {{"model", model.name}, {"device", asked}, {"reason", device.error().message}});
  return std::unique_ptr<DeviceEngine>();
}

Result<std::unique_ptr<CpuEngine>> load_cpu(const BackendConfig& backend, ModelFolder folder,
                                            EngineSink sink, const Loading& loading) {
  const uint64_t threads = backend.threads > 0 ? backend.threads : loading.config.threads;
  return CpuEngine::make(std::move(folder),
                         {.threads = static_cast<uint32_t>(threads),
                          .precision = backend.precision,
                          .now = loading.clock},
                         std::move(sink));
}

void log_loaded(const ModelConfig& model, const CpuEngine& cpu, const DeviceEngine* device,
                const BackendConfig& backend, Instant began, const Loading& loading) {
  const std::string name = device != nullptr ? device_name(backend.device) : "cpu";
  const std::string gpu = device != nullptr ? device->device_name() : "none";
  loading.log.info("model loaded",
                   {{"model", model.name},
                    {"device", name},
                    {"gpu", gpu},
                    {"threads", cpu.slots()},
                    {"precision", cpu.precision() == Precision::kBf16 ? "bf16" : "f32"},
                    {"width", static_cast<uint64_t>(cpu.width())},
                    {"tokens_max", static_cast<uint64_t>(cpu.tokens_max())},
                    {"ms", (loading.clock() - began).ns / 1'000'000}});
}

// The engines of a model: the CPU's, and in front of it the GPU's, if there is one.
Result<Loaded> load_engines(const ModelConfig& model, const BackendConfig& backend,
                            ModelFolder folder, const Loading& loading) {
  const Instant began = loading.clock();
  auto both = std::make_unique<FallbackEngine>(
      FallbackEngine::Options{.unload_after = backend.unload_after, .now = loading.clock},
      loading.sink);
  Result<std::unique_ptr<DeviceEngine>> opened =
      open_device(model, backend, folder, *both, loading);
  if (!opened.ok()) return opened.error();
  std::unique_ptr<DeviceEngine> device = std::move(opened).value();
  Result<std::unique_ptr<CpuEngine>> cpu =
      load_cpu(backend, std::move(folder), device ? both->spare_sink() : loading.sink, loading);
  if (!cpu.ok()) return cpu.error();
  log_loaded(model, *cpu.value(), device.get(), backend, began, loading);
  Loaded loaded;
  if (device != nullptr) {
    loaded.device = Device{model.name, device_name(backend.device), both.get()};
    both->take(std::move(device), std::move(cpu).value());
    loaded.engine = std::move(both);
  } else {
    if (backend.device.kind == DeviceChoice::Kind::kCuda) {
      loaded.device = Device{model.name, device_name(backend.device), nullptr};
    }
    loaded.engine = std::move(cpu).value();
  }
  return loaded;
}

Result<Loaded> load_bert(const ModelConfig& model, const BackendConfig& backend,
                         const Loading& loading) {
  Result<ModelFolder> folder = read_model_folder(backend.path);
  if (!folder.ok()) return folder.error();
  const ModelFolder& read = folder.value();
  EmbeddedBertOptions options = EmbeddedBertOptions::of(read, model.name, model.on_too_long);
  Result<std::unique_ptr<const Tokenizer>> tokenizer =
      Tokenizer::load(backend.path, read.tokens_max);
  if (!tokenizer.ok()) return tokenizer.error();
  if (tokenizer.value()->vocabulary_size() > read.config.vocabulary)
    return Error{.code = Code::kInvalid,
                 .message = backend.path + ": the tokenizer knows " +
                            std::to_string(tokenizer.value()->vocabulary_size()) +
                            " ids, the model's embeddings only " +
                            std::to_string(read.config.vocabulary)};
  Result<Loaded> loaded = load_engines(model, backend, std::move(folder).value(), loading);
  if (!loaded.ok()) return loaded;
  loaded.value().model =
      std::make_shared<EmbeddedBert>(std::move(options), std::move(tokenizer).value());
  return loaded;
}

}  // namespace

Result<LoadedModels> load_models(const Config& config, const EngineSink& sink,
                                 const std::function<Instant()>& clock, Log& log) {
  const Loading loading{config, sink, clock, log};
  LoadedModels all;
  for (const ModelConfig& model : config.models) {
    ServedModel served{.name = model.name, .aliases = model.aliases};
    for (const BackendConfig& backend : model.backends) {
      if (backend.kind == BackendConfig::Kind::kHttp) {
        all.engines.push_back(nullptr);
        continue;
      }
      Result<Loaded> loaded =
          backend.echo ? load_echo(backend, loading) : load_bert(model, backend, loading);
      if (!loaded.ok()) return named(model, loaded.error());
      if (served.model && served.model->width() != loaded.value().model->width())
        return named(model, {.code = Code::kInvalid,
                             .message = "its backends give vectors of different widths"});
      if (!served.model) served.model = loaded.value().model;
      all.engines.push_back(std::move(loaded.value().engine));
      if (loaded.value().device) all.devices.push_back(*loaded.value().device);
    }
    all.served.push_back(std::move(served));
  }
  return all;
}

}  // namespace sluice
