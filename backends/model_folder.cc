// SPDX-License-Identifier: Apache-2.0
#include "backends/model_folder.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "base/chunk.h"
#include "base/json.h"

namespace sluice {
namespace {

// Configuration files have a few kilobytes; a larger one is not what its name says.
constexpr std::streamsize kFileBytesMax = 1 << 20;
// Limits far above any BERT, low enough that no product of two of them overflows 64 bits.
constexpr int64_t kLayersMax = 1000;
constexpr int64_t kWidthMax = 1 << 16;
constexpr int64_t kTableMax = 1 << 24;
// The kernels work on 32 columns at a time.
constexpr uint32_t kColumnStep = 32;

// One JSON object read from a file, with the questions asked of it here.
class JsonFile {
 public:
  // Nothing if there is no such file.
  static Result<std::optional<JsonFile>> read(std::string path) {
    std::ifstream stream(path, std::ios::binary | std::ios::ate);
    if (!stream) return std::optional<JsonFile>();
    const std::streamsize size = stream.tellg();
    if (size < 0 || size > kFileBytesMax) {
      return Error{Code::kInvalid, path + ": larger than a configuration file may be"};
    }
    stream.seekg(0);
    JsonFile file;
    file.path_ = std::move(path);
    file.text_ =
        Slice(ChunkRef::make(static_cast<size_t>(size), [&](char* to) { stream.read(to, size); }));
    if (!stream) return Error{Code::kInvalid, file.path_ + ": cannot be read"};
    const Result<JsonView> root = parse_json(file.text_);
    if (!root.ok()) return Error{Code::kInvalid, file.path_ + ": " + root.error().message};
    file.root_ = root.value();
    return std::optional<JsonFile>(std::move(file));
  }

  const std::string& path() const { return path_; }
  JsonView root() const { return *root_; }
  Error error(std::string_view field, const std::string& what) const {
    return Error{Code::kInvalid, path_ + ": '" + std::string(field) + "' " + what};
  }
  std::optional<JsonView> member(std::string_view field) const {
    return root_->is(JsonType::kObject) ? root_->member(field) : std::nullopt;
  }
  std::optional<std::string> text(std::string_view field) const {
    const auto value = member(field);
    if (!value || !value->is(JsonType::kString)) return std::nullopt;
    return value->text();
  }
  bool is_true(std::string_view field) const {
    const auto value = member(field);
    return value && value->is(JsonType::kBool) && value->boolean();
  }
  std::optional<int64_t> integer(std::string_view field) const {
    const auto value = member(field);
    if (!value || !value->is(JsonType::kNumber)) return std::nullopt;
    return value->integer();
  }
  // An integer in [1, max], or the error that says so.
  Result<uint32_t> count(std::string_view field, int64_t max) const {
    const auto value = integer(field);
    if (!value || *value < 1 || *value > max) {
      return error(field, "must be a whole number from 1 to " + std::to_string(max));
    }
    return static_cast<uint32_t>(*value);
  }

 private:
  JsonFile() = default;
  std::string path_;
  Slice text_;
  std::optional<JsonView> root_;
};

Result<JsonFile> read_required(const std::string& path) {
  Result<std::optional<JsonFile>> file = JsonFile::read(path);
  if (!file.ok()) return file.error();
  if (!file.value()) return Error{Code::kNotFound, path + ": not found"};
  return std::move(*file.value());
}

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
  std::string transformer_path;
  std::optional<std::string> pooling_path = "1_Pooling";
  bool pooling_required = false;
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
  Modules modules{{}, std::nullopt, true, false};
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
  if (!modules.pooling_path) return file.error("type", "lists no Pooling module");
  return modules;
}

Result<Pooling> read_pooling(const std::string& folder, const Modules& modules) {
  const std::string path = folder + "/" + *modules.pooling_path + "/config.json";
  Result<std::optional<JsonFile>> read = JsonFile::read(path);
  if (!read.ok()) return read.error();
  if (!read.value()) {
    if (modules.pooling_required) return Error{Code::kNotFound, path + ": not found"};
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

}  // namespace

Result<ModelFolder> read_model_folder(const std::string& path) {
  const Result<Modules> modules = read_modules(path);
  if (!modules.ok()) return modules.error();
  std::string model = path;
  if (!modules.value().transformer_path.empty()) model += "/" + modules.value().transformer_path;

  const Result<JsonFile> file = read_required(model + "/config.json");
  if (!file.ok()) return file.error();
  const Result<BertConfig> config = read_config(file.value());
  if (!config.ok()) return config.error();
  const Result<Pooling> pooling = read_pooling(path, modules.value());
  if (!pooling.ok()) return pooling.error();
  const Result<uint32_t> tokens_max = read_tokens_max(model, config.value().positions);
  if (!tokens_max.ok()) return tokens_max.error();
  Result<SafetensorsFile> weights = SafetensorsFile::open(model + "/model.safetensors");
  if (!weights.ok()) return weights.error();
  Result<BertTensors> tensors = find_bert_tensors(weights.value(), config.value());
  if (!tensors.ok()) return tensors.error();
  const Result<CutSizes> cut = read_cut_sizes(file.value(), config.value().hidden);
  if (!cut.ok()) return cut.error();
  return ModelFolder{path,
                     config.value(),
                     pooling.value(),
                     modules.value().normalize,
                     cut.value(),
                     tokens_max.value(),
                     std::move(weights).value(),
                     std::move(tensors).value()};
}

}  // namespace sluice
