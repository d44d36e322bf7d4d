// SPDX-License-Identifier: Apache-2.0
#include "backends/model_folder.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "backends/json_file.h"

namespace sluice {
namespace {

// Limits far above any BERT, low enough that no product of two of them overflows 64 bits.
constexpr int64_t kLayersMax = 1000;
constexpr int64_t kWidthMax = 1 << 16;
constexpr int64_t kTableMax = 1 << 24;
// The kernels work on 32 columns at a time.
constexpr uint32_t kColumnStep = 32;

// What config.json may say only in one way.
Result<Done> check_kind(const JsonFile& file) {
  const std::string type = file.text("model_type").value_or("");
  if (type != "bert") {
    return file.error("model_type", "is '" + type + "'; only 'bert' is supported");
  }
  const std::string activation = file.text("hidden_act").value_or("gelu");
  if (activation != "gelu") {
    return file.error("hidden_act", "is '" + activation + "'; only 'gelu' (exact) is supported");
  }
  const std::string positions = file.text("position_embedding_type").value_or("absolute");
  if (positions != "absolute") {
    return file.error("position_embedding_type",
                      "is '" + positions + "'; only 'absolute' is supported");
  }
  if (file.is_true("is_decoder")) return file.error("is_decoder", "must be false");
  return Done{};
}

Result<BertConfig> read_config(const JsonFile& file) {
  const Result<Done> kind = check_kind(file);
  if (!kind.ok()) return kind.error();
  BertConfig config;
  const struct {
    std::string_view field;
    int64_t max;
    uint32_t* to;
  } counts[] = {
      {"num_hidden_layers", kLayersMax, &config.layers},
      {"hidden_size", kWidthMax, &config.hidden},
      {"num_attention_heads", kWidthMax, &config.heads},
      {"intermediate_size", kWidthMax, &config.intermediate},
      {"vocab_size", kTableMax, &config.vocabulary},
      {"max_position_embeddings", kTableMax, &config.positions},
  };
  for (const auto& [field, max, to] : counts) {
    const Result<uint32_t> value = file.count(field, max);
    if (!value.ok()) return value.error();
    *to = value.value();
  }
  config.types = 2;
  if (file.member("type_vocab_size")) {
    const Result<uint32_t> types = file.count("type_vocab_size", kTableMax);
    if (!types.ok()) return types.error();
    config.types = types.value();
  }
  if (const auto epsilon = file.member("layer_norm_eps")) {
    const double value = epsilon->is(JsonType::kNumber) ? epsilon->number() : 0.0;
    if (!(value > 0.0 && value < 1.0)) return file.error("layer_norm_eps", "must be in (0, 1)");
    config.layer_norm_epsilon = static_cast<float>(value);
  }
  if (config.hidden % config.heads != 0 || config.head_width() % kColumnStep != 0) {
    return file.error("num_attention_heads",
                      "must divide 'hidden_size' into heads of a multiple of 32 columns");
  }
  if (config.intermediate % kColumnStep != 0) {
    return file.error("intermediate_size", "must be a multiple of 32");
  }
  return config;
}

// What modules.json lists; the defaults are those of a folder without one.
struct Modules {
  bool listed = false;
  std::string transformer_path;
  std::optional<std::string> pooling_path = "1_Pooling";
  bool normalize = true;
};

Result<Modules> read_modules(const std::string& folder) {
  Result<std::optional<JsonFile>> read = JsonFile::read(folder + "/modules.json");
  if (!read.ok()) return read.error();
  if (!read.value()) return Modules{};
  const JsonFile& file = *read.value();
  if (!file.root().is(JsonType::kArray)) {
    return Error{Code::kInvalid, file.path() + ": must be a list"};
  }
  Modules modules{true, {}, std::nullopt, false};
  std::optional<Error> failure;
  file.root().for_each_item([&](JsonView item) {
    const bool object = item.is(JsonType::kObject);
    const auto type = object ? item.member("type") : std::nullopt;
    const auto path = object ? item.member("path") : std::nullopt;
    const std::string name = type && type->is(JsonType::kString) ? type->text() : "";
    const std::string where = path && path->is(JsonType::kString) ? path->text() : "";
    // Module paths moved between releases of sentence-transformers; the class name did not.
    const std::string kind = name.substr(name.rfind('.') + 1);
    if (kind == "Transformer") {
      modules.transformer_path = where;
    } else if (kind == "Pooling") {
      modules.pooling_path = where;
    } else if (kind == "Normalize") {
      modules.normalize = true;
    } else {
      failure =
          file.error("type", "is '" + name + "'; Transformer, Pooling and Normalize are supported");
    }
    return !failure;
  });
  if (failure) return *failure;
  return modules;
}

Result<Pooling> read_pooling(const std::string& folder, const Modules& modules) {
  if (!modules.pooling_path) {
    return Error{Code::kInvalid, folder + "/modules.json: 'type' lists no Pooling module"};
  }
  const std::string path = folder + "/" + *modules.pooling_path + "/config.json";
  Result<std::optional<JsonFile>> read = JsonFile::read(path);
  if (!read.ok()) return read.error();
  if (!read.value()) {
    if (modules.listed) return Error{Code::kNotFound, path + ": not found"};
    return Pooling::kMean;
  }
  const JsonFile& file = *read.value();
  const std::string mode = file.text("pooling_mode").value_or("");
  if (mode == "mean") return Pooling::kMean;
  if (mode == "cls") return Pooling::kCls;
  if (!mode.empty()) {
    return file.error("pooling_mode", "is '" + mode + "'; 'mean' and 'cls' are supported");
  }
  if (!file.root().is(JsonType::kObject)) {
    return Error{Code::kInvalid, file.path() + ": must be an object"};
  }
  std::vector<std::string> modes;
  file.root().for_each_member([&](std::string_view key, JsonView value) {
    const bool on = value.is(JsonType::kBool) && value.boolean();
    if (on && key.starts_with("pooling_mode_")) modes.emplace_back(key);
    return true;
  });
  if (modes.size() == 1 && modes[0] == "pooling_mode_mean_tokens") return Pooling::kMean;
  if (modes.size() == 1 && modes[0] == "pooling_mode_cls_token") return Pooling::kCls;
  return file.error(modes.empty() ? "pooling_mode_mean_tokens" : modes.back(),
                    "asks for a pooling that is not supported; exactly one of "
                    "pooling_mode_mean_tokens and pooling_mode_cls_token must be true");
}

// The limit the model was published with: sentence-transformers', else the tokenizer's, else the
// size of the position table.
Result<uint32_t> read_tokens_max(const std::string& folder, uint32_t positions) {
  const std::pair<std::string, std::string_view> places[] = {
      {folder + "/sentence_bert_config.json", "max_seq_length"},
      {folder + "/tokenizer_config.json", "model_max_length"},
  };
  for (const auto& [path, field] : places) {
    Result<std::optional<JsonFile>> file = JsonFile::read(path);
    if (!file.ok()) return file.error();
    if (!file.value()) continue;
    const auto limit = file.value()->integer(field);
    // Transformers writes 10^30 where there is no limit, which is no 64-bit integer.
    if (!limit || *limit >= kTableMax) continue;
    if (*limit < 2) return file.value()->error(field, "must be at least 2");
    return std::min(static_cast<uint32_t>(*limit), positions);
  }
  return positions;
}

Result<CutSizes> read_cut_sizes(const JsonFile& file, uint32_t hidden) {
  CutSizes cut;
  const auto any = file.member("is_matryoshka");
  if (any && !any->is(JsonType::kBool)) return file.error("is_matryoshka", "must be a boolean");
  const auto sizes = file.member("matryoshka_dimensions");
  if (!sizes || sizes->is(JsonType::kNull)) {
    cut.any = any && any->boolean();
    return cut;
  }
  bool good = sizes->is(JsonType::kArray);
  if (good) {
    sizes->for_each_item([&](JsonView item) {
      const int64_t size = item.is(JsonType::kNumber) ? item.integer().value_or(0) : 0;
      good = size >= 1 && size <= hidden;
      if (good) cut.sizes.push_back(static_cast<uint32_t>(size));
      return good;
    });
  }
  if (!good)
    return file.error("matryoshka_dimensions", "must be an array of sizes up to 'hidden_size'");
  return cut;
}

// The prompts, which count as part of the text: a model that leaves them out of its pooling can be
// asked without one only.
Result<Prompts> read_counted_prompts(const std::string& folder, const Modules& modules) {
  Result<Prompts> prompts = read_prompts(folder);
  if (!prompts.ok() || prompts.value().by_name.empty()) return prompts;
  const std::string path = folder + "/" + modules.pooling_path.value_or("") + "/config.json";
  const Result<std::optional<JsonFile>> pooling = JsonFile::read(path);
  if (!pooling.ok()) return pooling.error();
  if (!pooling.value() || !pooling.value()->member("include_prompt") ||
      pooling.value()->is_true("include_prompt"))
    return prompts;
  if (prompts.value().usual.empty()) return Prompts{};
  return pooling.value()->error("include_prompt",
                                "must be true where config_sentence_transformers.json has a "
                                "default prompt");
}

// What config.json says of the model, and what modules.json and its neighbours make of it.
Result<Done> read_kind(const JsonFile& file, const Modules& modules, ModelFolder& folder) {
  Result<BertConfig> config = read_config(file);
  if (!config.ok()) return config.error();
  folder.config = config.value();
  if (!modules.listed || !modules.pooling_path) {
    Result<ClassifierHead> head = read_classifier_head(file);
    if (!head.ok()) return head.error();
    folder.head = std::move(head).value();
    folder.config.labels = static_cast<uint32_t>(folder.head.labels.size());
  }
  folder.normalize = modules.normalize;
  if (folder.config.labels != 0) return Done{};
  const Result<Pooling> pooling = read_pooling(folder.path, modules);
  if (!pooling.ok()) return pooling.error();
  folder.pooling = pooling.value();
  Result<CutSizes> cut = read_cut_sizes(file, folder.config.hidden);
  if (!cut.ok()) return cut.error();
  folder.cut = std::move(cut).value();
  Result<Prompts> prompts = read_counted_prompts(folder.path, modules);
  if (!prompts.ok()) return prompts.error();
  folder.prompts = std::move(prompts).value();
  return Done{};
}

}  // namespace

Result<ModelFolder> read_model_folder(const std::string& path) {
  const Result<Modules> modules = read_modules(path);
  if (!modules.ok()) return modules.error();
  std::string model = path;
  if (!modules.value().transformer_path.empty()) model += "/" + modules.value().transformer_path;

  const Result<JsonFile> file = JsonFile::read_required(model + "/config.json");
  if (!file.ok()) return file.error();
  ModelFolder folder;
  folder.path = path;
  const Result<Done> kind = read_kind(file.value(), modules.value(), folder);
  if (!kind.ok()) return kind.error();
  const Result<uint32_t> tokens_max = read_tokens_max(model, folder.config.positions);
  if (!tokens_max.ok()) return tokens_max.error();
  folder.tokens_max = tokens_max.value();
  Result<SafetensorsFile> weights = SafetensorsFile::open(model + "/model.safetensors");
  if (!weights.ok()) return weights.error();
  folder.weights = std::move(weights).value();
  Result<BertTensors> tensors = find_bert_tensors(folder.weights, folder.config);
  if (!tensors.ok()) return tensors.error();
  folder.tensors = std::move(tensors).value();
  return folder;
}

}  // namespace sluice
