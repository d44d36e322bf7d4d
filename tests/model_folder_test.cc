// SPDX-License-Identifier: Apache-2.0
#include "backends/model_folder.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/reference_bert.h"

namespace sluice {
namespace {

ReferenceBert::Options tiny_options() {
  ReferenceBert::Options options;
  options.config = {.layers = 2,
                    .hidden = 64,
                    .heads = 2,
                    .intermediate = 96,
                    .vocabulary = 50,
                    .positions = 40,
                    .types = 2,
                    .layer_norm_epsilon = 1e-12F};
  return options;
}

// A good folder, to be spoilt by each test.
struct Folder : TempFolder {
  explicit Folder(const ReferenceBert::Options& options = tiny_options()) {
    ReferenceBert(options).write(*this);
  }
  std::string read(std::string_view name) const {
    std::ifstream file(path() + "/" + std::string(name), std::ios::binary);
    return (std::ostringstream() << file.rdbuf()).str();
  }
  void replace(std::string_view name, std::string_view from, std::string_view to) const {
    std::string text = read(name);
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    write(name, text.replace(at, from.size(), to));
  }
  void remove(std::string_view name) const {
    std::filesystem::remove(path() + "/" + std::string(name));
  }
  // The message of the error that reading must give, or "accepted".
  std::string message(Code code = Code::kInvalid) const {
    const Result<ModelFolder> folder = read_model_folder(path());
    if (folder.ok()) return "accepted";
    CHECK(folder.error().code == code);
    return folder.error().message;
  }
  bool says(std::string_view file, std::string_view part, Code code = Code::kInvalid) const {
    const std::string text = message(code);
    CAPTURE(text);
    CAPTURE(part);
    const bool good =
        text.starts_with(path() + "/" + std::string(file)) && text.find(part) != std::string::npos;
    CHECK(good);
    return good;
  }
};

ModelFolder read(const Folder& folder) {
  Result<ModelFolder> model = read_model_folder(folder.path());
  if (!model.ok()) FAIL(model.error().message);
  return std::move(model).value();
}

}  // namespace

TEST_CASE("a folder tells sizes, pooling, normalisation and limit") {
  const Folder folder;
  const ModelFolder model = read(folder);
  CHECK(model.config.layers == 2);
  CHECK(model.config.hidden == 64);
  CHECK(model.config.heads == 2);
  CHECK(model.config.intermediate == 96);
  CHECK(model.config.vocabulary == 50);
  CHECK(model.config.layer_norm_epsilon == 1e-12F);
  CHECK(model.pooling == Pooling::kMean);
  CHECK(model.normalize);
  CHECK(model.tokens_max == 40);
  CHECK(model.tensors.layers.size() == 2);
  CHECK(model.tensors.words->shape == std::vector<uint64_t>{50, 64});
}

TEST_CASE("sizes that vectors may be cut to are those the model was trained for") {
  const Folder plain;
  CHECK(read_model_folder(plain.path()).value().cut.sizes.empty());
  CHECK(!read_model_folder(plain.path()).value().cut.any);
  const Folder some;
  some.replace("config.json", "{", R"({"matryoshka_dimensions":[32,64],)");
  CHECK(read_model_folder(some.path()).value().cut.sizes == std::vector<uint32_t>{32, 64});
  const Folder any;
  any.replace("config.json", "{", R"({"is_matryoshka":true,)");
  CHECK(read_model_folder(any.path()).value().cut.any);
  const Folder broken;
  broken.replace("config.json", "{", R"({"matryoshka_dimensions":[65],)");
  CHECK(broken.says("config.json", "matryoshka_dimensions"));
}

TEST_CASE("tensor names may carry the prefix bert.") {
  ReferenceBert::Options options = tiny_options();
  options.prefix = "bert.";
  CHECK(Folder(options).message() == "accepted");
}

TEST_CASE("without modules.json vectors are mean-pooled and normalised") {
  const Folder folder;
  folder.remove("modules.json");
  folder.remove("1_Pooling/config.json");
  const ModelFolder model = read(folder);
  CHECK(model.pooling == Pooling::kMean);
  CHECK(model.normalize);
}

TEST_CASE("without modules.json the pooling folder still counts") {
  ReferenceBert::Options options = tiny_options();
  options.pooling = Pooling::kCls;
  const Folder folder(options);
  folder.remove("modules.json");
  CHECK(read(folder).pooling == Pooling::kCls);
}

TEST_CASE("modules.json without Normalize means no normalisation") {
  ReferenceBert::Options options = tiny_options();
  options.normalize = false;
  CHECK_FALSE(read(Folder(options)).normalize);
}

TEST_CASE("modules.json may name classes by their newer module paths") {
  const Folder folder;
  folder.replace("modules.json", "sentence_transformers.models.Pooling",
                 "sentence_transformers.sentence_transformer.modules.pooling.Pooling");
  CHECK(folder.message() == "accepted");
}

TEST_CASE("modules that would change the answer are refused") {
  const Folder folder;
  folder.replace("modules.json", "models.Normalize", "models.Dense");
  CHECK(folder.says("modules.json", "models.Dense"));
  folder.write("modules.json",
               R"([{"path":"","type":"sentence_transformers.models.Transformer"}])");
  CHECK(folder.says("modules.json", "lists no Pooling"));
  folder.write("modules.json", "{}");
  CHECK(folder.says("modules.json", "must be a list"));
  folder.write("modules.json", "[1]");
  CHECK(folder.says("modules.json", "'type'"));
  folder.write("modules.json", "[");
  CHECK(folder.says("modules.json", ""));
}

TEST_CASE("the transformer may lie in a folder of its own") {
  const Folder folder;
  folder.replace("modules.json", "\"path\":\"\"", "\"path\":\"0_Transformer\"");
  for (const char* name : {"config.json", "model.safetensors"}) {
    folder.write(std::string("0_Transformer/") + name, folder.read(name));
    folder.remove(name);
  }
  CHECK(folder.message() == "accepted");
}

TEST_CASE("poolings other than mean and cls are refused") {
  const Folder folder;
  const std::string file = "1_Pooling/config.json";
  folder.write(file, R"({"pooling_mode_max_tokens":true})");
  CHECK(folder.says(file, "pooling_mode_max_tokens"));
  folder.write(file, R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true})");
  CHECK(folder.says(file, "not supported"));
  folder.write(file, R"({"pooling_mode_mean_tokens":false})");
  CHECK(folder.says(file, "not supported"));
  folder.write(file, R"({"pooling_mode":"lasttoken"})");
  CHECK(folder.says(file, "lasttoken"));
  folder.write(file, "[]");
  CHECK(folder.says(file, "must be an object"));
  folder.write(file, R"({"pooling_mode":"cls"})");
  CHECK(read(folder).pooling == Pooling::kCls);
  folder.remove(file);
  CHECK(folder.says(file, "not found", Code::kNotFound));
}

TEST_CASE("the limit is sentence-transformers', then the tokenizer's, then the position table's") {
  const Folder folder;
  folder.write("tokenizer_config.json", R"({"model_max_length":1000000000000000019884624838656})");
  CHECK(read(folder).tokens_max == 40);
  folder.write("tokenizer_config.json", R"({"model_max_length":30})");
  CHECK(read(folder).tokens_max == 30);
  folder.write("sentence_bert_config.json", R"({"max_seq_length":20})");
  CHECK(read(folder).tokens_max == 20);
  folder.write("sentence_bert_config.json", R"({"max_seq_length":null})");
  CHECK(read(folder).tokens_max == 30);
  folder.write("sentence_bert_config.json", R"({"max_seq_length":4000})");
  CHECK(read(folder).tokens_max == 40);
  folder.write("sentence_bert_config.json", R"({"max_seq_length":1})");
  CHECK(folder.says("sentence_bert_config.json", "max_seq_length"));
}

TEST_CASE("configurations of other models are refused by field") {
  const struct {
    const char* from;
    const char* to;
    const char* field;
  } cases[] = {
      {"\"bert\"", "\"roberta\"", "'model_type' is 'roberta'"},
      {"\"bert\"", "\"bert\",\"position_embedding_type\":\"relative_key\"", "relative_key"},
      {"\"bert\"", "\"bert\",\"is_decoder\":true", "is_decoder"},
      {"\"gelu\"", "\"gelu_new\"", "'hidden_act' is 'gelu_new'"},
      {"\"hidden_size\":64", "\"hidden_size\":0", "hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":64.5", "hidden_size"},
      {"\"hidden_size\":64", "\"hidden_size\":\"64\"", "hidden_size"},
      {"\"hidden_size\":64", "\"x\":64", "hidden_size"},
      {"\"num_hidden_layers\":2", "\"num_hidden_layers\":100000000000", "num_hidden_layers"},
      {"\"num_attention_heads\":2", "\"num_attention_heads\":4", "num_attention_heads"},
      {"\"num_attention_heads\":2", "\"num_attention_heads\":3", "num_attention_heads"},
      {"\"intermediate_size\":96", "\"intermediate_size\":80", "intermediate_size"},
      {"\"layer_norm_eps\":1e-12", "\"layer_norm_eps\":0", "layer_norm_eps"},
  };
  for (const auto& [from, to, field] : cases) {
    const Folder folder;
    folder.replace("config.json", from, to);
    CHECK(folder.says("config.json", field));
  }
}

TEST_CASE("files that are missing, empty or huge are refused by path") {
  for (const char* name : {"config.json", "model.safetensors"}) {
    const Folder folder;
    folder.remove(name);
    CHECK(folder.says(name, "", Code::kNotFound));
    folder.write(name, "");
    CHECK(folder.says(name, ""));
  }
  const Folder folder;
  folder.write("config.json", std::string(2 << 20, ' '));
  CHECK(folder.says("config.json", "larger"));
  CHECK_FALSE(read_model_folder(folder.path() + "/nowhere").ok());
}

TEST_CASE("every tensor the model needs is missed by name") {
  for (const char* name :
       {"embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias",
        "encoder.layer.0.attention.self.key.bias", "encoder.layer.1.output.dense.weight",
        "encoder.layer.1.output.LayerNorm.weight"}) {
    ReferenceBert::Options options = tiny_options();
    options.left_out = name;
    const Folder folder(options);
    CHECK(folder.says("model.safetensors", "tensor '" + std::string(name) + "' is missing"));
  }
}

TEST_CASE("a tensor of another shape or type is refused by name with both shapes") {
  {
    const Folder folder;
    folder.replace("config.json", "\"intermediate_size\":96", "\"intermediate_size\":128");
    CHECK(folder.says("model.safetensors",
                      "tensor 'encoder.layer.0.intermediate.dense.weight' has shape [96, 64], but "
                      "config.json asks for [128, 64]"));
  }
  const Folder folder;
  folder.replace("model.safetensors", R"("embeddings.LayerNorm.bias":{"dtype":"F32")",
                 R"("embeddings.LayerNorm.bias":{"dtype":"I32")");
  CHECK(folder.says("model.safetensors", "tensor 'embeddings.LayerNorm.bias' is I32"));
}

TEST_CASE("a weight file that is cut off is refused with tensor and file") {
  const Folder folder;
  const std::string whole = folder.read("model.safetensors");
  folder.write("model.safetensors", whole.substr(0, whole.size() - 100));
  CHECK(folder.says("model.safetensors", "tensor '"));
}

}  // namespace sluice
