// SPDX-License-Identifier: Apache-2.0
#include "gateway/models.h"

#include <filesystem>
#include <utility>

#include "backends/engine_cpu.h"
#include "backends/engine_echo.h"

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
};

Error named(const ModelConfig& model, const Error& error) {
  return {.code = error.code, .message = "model '" + model.name + "': " + error.message};
}

Result<Loaded> load_echo(const BackendConfig& backend, const Loading& loading) {
  Result<std::unique_ptr<EchoEngine>> engine =
      EchoEngine::make({.times = *backend.echo, .now = loading.clock}, loading.sink);
  if (!engine.ok()) return engine.error();
  return Loaded{std::move(engine).value(), std::make_shared<EmbeddedEcho>()};
}

Result<Loaded> load_bert(const ModelConfig& model, const BackendConfig& backend,
                         const Loading& loading) {
  const Instant began = loading.clock();
  if (backend.device.kind == DeviceChoice::Kind::kCuda)
    return Error{.code = Code::kInvalid,
                 .message = "device cuda is not available in this version; use cpu or auto"};
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
  const uint64_t threads = backend.threads > 0 ? backend.threads : loading.config.threads;
  Result<std::unique_ptr<CpuEngine>> engine =
      CpuEngine::make(std::move(folder).value(),
                      {.threads = static_cast<uint32_t>(threads),
                       .precision = backend.precision,
                       .now = loading.clock},
                      loading.sink);
  if (!engine.ok()) return engine.error();
  const CpuEngine& made = *engine.value();
  loading.log.info("model loaded",
                   {{"model", model.name},
                    {"threads", made.slots()},
                    {"precision", made.precision() == Precision::kBf16 ? "bf16" : "f32"},
                    {"width", static_cast<uint64_t>(made.width())},
                    {"tokens_max", static_cast<uint64_t>(made.tokens_max())},
                    {"ms", (loading.clock() - began).ns / 1'000'000}});
  return Loaded{std::move(engine).value(),
                std::make_shared<EmbeddedBert>(std::move(options), std::move(tokenizer).value())};
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
    }
    all.served.push_back(std::move(served));
  }
  return all;
}

}  // namespace sluice
