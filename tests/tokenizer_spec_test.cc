// SPDX-License-Identifier: Apache-2.0
// Reading a tokenizer's folder: what counts in which file, and what is refused.

#include "backends/tokenizer_spec.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "backends/tokenizer.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;
using TokenizerPtr = std::unique_ptr<const Tokenizer>;

// A folder of its own for one test, removed at its end.
class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() /
              ("sluice-tokenizer-" + name + "-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  std::string path() const { return path_.string(); }
  TokenizerPtr load() const {
    Result<TokenizerPtr> tokenizer = Tokenizer::load(path(), 16);
    if (!tokenizer.ok()) throw std::runtime_error(tokenizer.error().message);
    return std::move(tokenizer).value();
  }
  // The ids of `text`.
  Ids ids(std::string_view text) const {
    Ids all;
    load()->encode(text, all);
    return all;
  }
  // What is wrong with the folder; empty if it can be read.
  std::string refusal() const {
    const Result<TokenizerPtr> tokenizer = Tokenizer::load(path(), 16);
    return tokenizer.ok() ? "" : tokenizer.error().message;
  }

 private:
  std::filesystem::path path_;
};

const std::string kTokenizerJson = R"({
  "truncation": {"max_length": 3}, "padding": {"strategy": {"Fixed": 9}},
  "added_tokens": [{"id": 0, "content": "[UNK]", "normalized": false, "single_word": false},
                   {"id": 2, "content": "[SEP]", "normalized": false, "lstrip": true}],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                 "strip_accents": null, "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A"}},
               {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
    "special_tokens": {"[CLS]": {"ids": [1]}, "[SEP]": {"ids": [2]}}},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "hello": 3, "é": 4, "e": 5, "E": 6}}
})";

// kTokenizerJson with `from` replaced by `to`.
std::string changed(const std::string& from, const std::string& to) {
  std::string text = kTokenizerJson;
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("not in the file: " + from);
  return text.replace(at, from.size(), to);
}

TEST_CASE("a folder with tokenizer.json is read, its truncation and padding are not") {
  const Folder folder("json");
  folder.write("tokenizer.json", kTokenizerJson);
  const TokenizerPtr tokenizer = folder.load();
  CHECK(folder.ids("Hello É hello [SEP] E") == Ids{1, 3, 5, 3, 2, 5, 2});
  CHECK(tokenizer->vocabulary_size() == 7);
  CHECK(tokenizer->tokens_max() == 16);
  CHECK(tokenizer->cls() == 1);
  CHECK(tokenizer->sep() == 2);
  CHECK(tokenizer->unknown() == 0);
}

TEST_CASE("tokenizer_config.json overrules the flags of tokenizer.json where it gives them") {
  const Folder folder("config");
  folder.write("tokenizer.json", kTokenizerJson);
  folder.write("tokenizer_config.json", R"({"do_lower_case": false})");
  CHECK(folder.ids("E é") == Ids{1, 6, 4, 2});
  folder.write("tokenizer_config.json", R"({"strip_accents": false})");
  CHECK(folder.ids("E É") == Ids{1, 5, 4, 2});
  folder.write("tokenizer_config.json", R"({"do_lower_case": "yes"})");
  CHECK(folder.refusal().find("tokenizer_config.json: the field \"do_lower_case\"") !=
        std::string::npos);
}

TEST_CASE("a folder with vocab.txt alone is read as BertTokenizer reads it") {
  const Folder folder("vocab");
  folder.write("vocab.txt", "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\nhello \n\nwörld\nworld");
  CHECK(folder.ids("Hello [PAD] WÖRLD x") == Ids{2, 4, 0, 7, 1, 3});
  folder.write("tokenizer_config.json", R"({
    "do_lower_case": false, "cls_token": "hello", "sep_token": {"content": "world"},
    "added_tokens_decoder": {"9": {"content": "<x>"}}})");
  CHECK(folder.ids("wörld<x>") == Ids{4, 6, 9, 7});
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "MPNetTokenizer"})");
  CHECK(folder.refusal().find("tokenizer_config.json: tokenizer_class is \"MPNet") !=
        std::string::npos);
  folder.write("tokenizer_config.json", "{}");
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n");
  CHECK(folder.refusal().find("the sep_token \"[SEP]\" is not in vocab.txt") != std::string::npos);
}

TEST_CASE("what is not BERT's tokenizer, or not whole, is refused by file and field") {
  const Folder folder("refusals");
  CHECK(folder.refusal().find("neither tokenizer.json nor vocab.txt") != std::string::npos);
  struct Case {
    std::string from, to, says;
  };
  for (const Case& c : std::vector<Case>{
           {"WordPiece", "BPE", "model.type is \"BPE\""},
           {"BertNormalizer", "Sequence", "normalizer.type is \"Sequence\""},
           {"BertPreTokenizer", "Metaspace", "pre_tokenizer.type is \"Metaspace\""},
           {"TemplateProcessing", "RobertaProcessing", "post_processor.type is \"Roberta"},
           {"{\"Sequence\": {\"id\": \"A\"}},", "", "post_processor.single"},
           {"\"[CLS]\": {\"ids\": [1]}", "\"[CLS]\": {\"ids\": [1, 1]}", "is not one id"},
           {"\"[CLS]\": {\"ids\": [1]}", "\"[CLZ]\": {\"ids\": [1]}", "\"[CLS]\" is missing"},
           {"\"single_word\": false", "\"single_word\": true", "has single_word"},
           {"\"normalized\": false", "\"normalized\": true", "has normalized"},
           {"\"hello\": 3", "\"hello\": -3", "the id hello"},
           {"\"hello\": 3", "\"hello\": \"3\"", "the id hello"},
           {"\"unk_token\": \"[UNK]\"", "\"unk_token\": \"<unk>\"", "\"<unk>\" has no id"},
           {"\"unk_token\": \"[UNK]\",", "", "\"unk_token\" is missing"},
           {"\"vocab\"", "\"vocabulary\"", "\"vocab\" is missing"},
           {"word\": 100", "word\": 100000", "max_input_chars_per_word"},
           {"\"clean_text\": true", "\"clean_text\": 1", "\"clean_text\" is of the wrong type"},
           {"{\n", "[1]{\n", "tokenizer.json: "},
       }) {
    folder.write("tokenizer.json", changed(c.from, c.to));
    CHECK_MESSAGE(folder.refusal().find(c.says) != std::string::npos, c.from, " -> ",
                  folder.refusal());
  }
}

TEST_CASE("an early tokenizer.json without model.type and with BertProcessing is read") {
  const Folder folder("early");
  std::string text = changed("\"type\": \"WordPiece\", ", "");
  const size_t begin = text.find("{\"type\": \"TemplateProcessing\"");
  const size_t end = text.find("\"model\"");
  text.replace(begin, end - begin,
               R"({"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},)");
  folder.write("tokenizer.json", text);
  CHECK(folder.refusal() == "");
  CHECK(folder.ids("hello") == Ids{1, 3, 2});
}

}  // namespace
}  // namespace sluice
