// SPDX-License-Identifier: Apache-2.0
#include "backends/tokenizer_spec.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/json.h"

namespace sluice {
namespace {

// Far beyond any vocabulary; a larger id is a broken file.
constexpr int64_t kIdMax = 100'000'000;
constexpr std::streamoff kFileBytesMax = 256 << 20;

// One file, read field by field. The first thing that is wrong is kept; what is read after it does
// not matter, since finish() then gives the error.
class FileReader {
 public:
  explicit FileReader(std::string path) : path_(std::move(path)) {}

  // The bytes of the file, or nothing if it is not there.
  std::optional<Slice> open();
  // The bytes as JSON, which must be an object. An empty object after an error.
  JsonView parse(const Slice& bytes);

  // Keeps "<path>: <what>", if it is the first.
  void fail(std::string what) {
    if (!error_) error_ = Error{Code::kInvalid, path_ + ": " + std::move(what)};
  }
  // The member, or nothing if it is absent, null or not of `type` (which is an error).
  std::optional<JsonView> optional(JsonView object, std::string_view key, JsonType type);
  // The same, but absent or null is an error too.
  std::optional<JsonView> required(JsonView object, std::string_view key, JsonType type);
  bool flag(JsonView object, std::string_view key, bool otherwise);
  std::string text(JsonView object, std::string_view key);
  // REQUIRES: `field` names `value` for an error.
  int32_t id(JsonView value, std::string_view field);
  // Fails unless the member "type" of `object`, itself called `name`, is `expected`.
  void expect_type(JsonView object, std::string_view name, std::string_view expected);

  const std::optional<Error>& error() const { return error_; }

 private:
  std::string path_;
  std::optional<Error> error_;
};

std::optional<Slice> FileReader::open() {
  std::ifstream file(path_, std::ios::binary | std::ios::ate);
  if (!file) return std::nullopt;
  const std::streamoff size = file.tellg();
  if (size < 0 || size > kFileBytesMax) {
    fail("not a file of at most 256 MiB");
    return Slice();
  }
  file.seekg(0);
  Slice bytes(ChunkRef::make(static_cast<size_t>(size), [&](char* to) { file.read(to, size); }));
  if (!file) fail("cannot be read");
  return bytes;
}

JsonView FileReader::parse(const Slice& bytes) {
  if (!error_) {
    Result<JsonView> root = parse_json(bytes);
    if (!root.ok()) {
      fail(root.error().message);
    } else if (!root.value().is(JsonType::kObject)) {
      fail("is not a JSON object");
    } else {
      return root.value();
    }
  }
  return JsonView("{}");
}

std::optional<JsonView> FileReader::optional(JsonView object, std::string_view key, JsonType type) {
  const std::optional<JsonView> value = object.member(key);
  if (!value || value->is(JsonType::kNull)) return std::nullopt;
  if (value->is(type)) return value;
  fail("the field \"" + std::string(key) + "\" is of the wrong type");
  return std::nullopt;
}

std::optional<JsonView> FileReader::required(JsonView object, std::string_view key, JsonType type) {
  const std::optional<JsonView> value = optional(object, key, type);
  if (!value) fail("the field \"" + std::string(key) + "\" is missing");
  return value;
}

bool FileReader::flag(JsonView object, std::string_view key, bool otherwise) {
  const std::optional<JsonView> value = optional(object, key, JsonType::kBool);
  return value ? value->boolean() : otherwise;
}

std::string FileReader::text(JsonView object, std::string_view key) {
  const std::optional<JsonView> value = required(object, key, JsonType::kString);
  return value ? value->text() : std::string();
}

int32_t FileReader::id(JsonView value, std::string_view field) {
  const std::optional<int64_t> id =
      value.is(JsonType::kNumber) ? value.integer() : std::optional<int64_t>();
  if (id && *id >= 0 && *id <= kIdMax) return static_cast<int32_t>(*id);
  fail("the id " + std::string(field) + " is not an integer between 0 and 100000000");
  return 0;
}

void FileReader::expect_type(JsonView object, std::string_view name, std::string_view expected) {
  const std::string type = text(object, "type");
  if (type == expected) return;
  fail(std::string(name) + ".type is \"" + type + "\", but only \"" + std::string(expected) +
       "\" is supported");
}

// The ids that stand before and behind the text, of a TemplateProcessing or a BertProcessing.
void read_post_processor(FileReader& file, JsonView post, TokenizerSpec& spec) {
  const std::string type = file.text(post, "type");
  if (type == "BertProcessing") {
    for (const auto& [key, id] : {std::pair{"cls", &spec.cls}, {"sep", &spec.sep}}) {
      const std::optional<JsonView> pair = file.required(post, key, JsonType::kArray);
      if (!pair) continue;
      pair->for_each_item([&](JsonView item) {
        if (item.is(JsonType::kNumber)) *id = file.id(item, key);
        return true;
      });
    }
    return;
  }
  if (type != "TemplateProcessing") {
    file.fail("post_processor.type is \"" + type +
              "\", but only \"TemplateProcessing\" and \"BertProcessing\" are supported");
    return;
  }
  const std::optional<JsonView> single = file.required(post, "single", JsonType::kArray);
  const std::optional<JsonView> tokens = file.required(post, "special_tokens", JsonType::kObject);
  if (!single || !tokens) return;
  std::string shape;  // one letter per item: s for a special token, a for the text
  single->for_each_item([&](JsonView item) {
    const std::optional<JsonView> special =
        item.is(JsonType::kObject) ? item.member("SpecialToken") : std::nullopt;
    shape += special ? 's' : 'a';
    if (!special || !special->is(JsonType::kObject)) return true;
    const std::string name = file.text(*special, "id");
    const std::optional<JsonView> token = file.required(*tokens, name, JsonType::kObject);
    const std::optional<JsonView> ids =
        token ? file.required(*token, "ids", JsonType::kArray) : std::nullopt;
    if (ids && ids->count() != 1) file.fail("the special token " + name + " is not one id");
    if (!ids) return true;
    ids->for_each_item([&](JsonView id) {
      (shape == "s" ? spec.cls : spec.sep) = file.id(id, name);
      return true;
    });
    return true;
  });
  if (shape != "sas") {
    file.fail("post_processor.single is not one special token, the text, one special token");
  }
}

void read_normalizer(FileReader& file, JsonView root, TokenizerSpec& spec) {
  const std::optional<JsonView> normalizer = file.optional(root, "normalizer", JsonType::kObject);
  if (!normalizer) {
    spec.flags = {false, false, false, false};
    return;
  }
  file.expect_type(*normalizer, "normalizer", "BertNormalizer");
  spec.flags.clean_text = file.flag(*normalizer, "clean_text", true);
  spec.flags.handle_chinese_chars = file.flag(*normalizer, "handle_chinese_chars", true);
  spec.flags.lowercase = file.flag(*normalizer, "lowercase", true);
  spec.flags.strip_accents = file.flag(*normalizer, "strip_accents", spec.flags.lowercase);
}

void read_model(FileReader& file, JsonView model, TokenizerSpec& spec) {
  // Early files of BERT models leave the type out; the prefix then tells WordPiece from the rest.
  if (model.member("type") || !model.member("continuing_subword_prefix")) {
    file.expect_type(model, "model", "WordPiece");
  }
  spec.prefix = file.text(model, "continuing_subword_prefix");
  spec.unknown = file.text(model, "unk_token");
  if (const auto max = file.optional(model, "max_input_chars_per_word", JsonType::kNumber)) {
    const std::optional<int64_t> value = max->integer();
    if (!value || *value < 1 || *value > kWordCharactersLimit) {
      file.fail("model.max_input_chars_per_word is not between 1 and " +
                std::to_string(kWordCharactersLimit));
    } else {
      spec.word_characters_max = static_cast<uint32_t>(*value);
    }
  }
  const std::optional<JsonView> vocabulary = file.required(model, "vocab", JsonType::kObject);
  if (!vocabulary) return;
  vocabulary->for_each_member([&](std::string_view text, JsonView id) {
    spec.vocabulary.push_back({std::string(text), file.id(id, text)});
    return !file.error();
  });
}

// An object with the fields of Hugging Face's AddedToken. lstrip and rstrip make no difference:
// they take blanks, which the splitter drops in any case.
void read_added_token(FileReader& file, JsonView token, int32_t id, TokenizerSpec& spec) {
  const std::string content = file.text(token, "content");
  for (const char* field : {"single_word", "normalized"}) {
    if (file.flag(token, field, false)) {
      file.fail("the added token \"" + content + "\" has " + field + ", which is not supported");
    }
  }
  spec.added.push_back({content, id});
}

void read_tokenizer_json(FileReader& file, JsonView root, TokenizerSpec& spec) {
  if (const auto model = file.required(root, "model", JsonType::kObject)) {
    read_model(file, *model, spec);
  }
  read_normalizer(file, root, spec);
  if (const auto splitter = file.required(root, "pre_tokenizer", JsonType::kObject)) {
    file.expect_type(*splitter, "pre_tokenizer", "BertPreTokenizer");
  }
  if (const auto post = file.required(root, "post_processor", JsonType::kObject)) {
    read_post_processor(file, *post, spec);
  }
  const std::optional<JsonView> added = file.optional(root, "added_tokens", JsonType::kArray);
  if (!added) return;
  added->for_each_item([&](JsonView token) {
    if (!token.is(JsonType::kObject)) {
      file.fail("added_tokens holds something that is not an object");
    } else if (const auto id = file.required(token, "id", JsonType::kNumber)) {
      read_added_token(file, token, file.id(*id, "of an added token"), spec);
    }
    return !file.error();
  });
}

// One piece per line; its id is the number of the line. Blanks at the end are no part of it.
void read_vocabulary_lines(std::string_view text, TokenizerSpec& spec) {
  for (int32_t id = 0; !text.empty(); ++id) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    line = line.substr(0, line.find_last_not_of(" \t\r\v\f") + 1);
    spec.vocabulary.push_back({std::string(line), id});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// The flags that BertTokenizerFast takes from here, whatever tokenizer.json says.
void read_config_flags(FileReader& file, JsonView config, TokenizerSpec& spec) {
  SplitFlags& flags = spec.flags;
  const bool lowercase_before = flags.lowercase;
  flags.lowercase = file.flag(config, "do_lower_case", flags.lowercase);
  flags.handle_chinese_chars =
      file.flag(config, "tokenize_chinese_chars", flags.handle_chinese_chars);
  if (config.member("strip_accents") || flags.lowercase != lowercase_before) {
    flags.strip_accents = file.flag(config, "strip_accents", flags.lowercase);
  }
}

// The name of a special token: a string, or an AddedToken with its content.
std::string special_name(FileReader& file, JsonView config, const std::string& field,
                         std::string otherwise) {
  const std::optional<JsonView> value = config.member(field);
  if (!value || value->is(JsonType::kNull)) return otherwise;
  if (value->is(JsonType::kString)) return value->text();
  if (value->is(JsonType::kObject)) return file.text(*value, "content");
  file.fail("the field \"" + field + "\" is neither a string nor an object");
  return otherwise;
}

// What vocab.txt leaves open: the kind of tokenizer and its special tokens.
void read_config_tokens(FileReader& file, JsonView config, TokenizerSpec& spec) {
  std::string kind = special_name(file, config, "tokenizer_class", "BertTokenizer");
  if (kind.ends_with("Fast")) kind.resize(kind.size() - 4);
  if (kind != "BertTokenizer" && kind != "DistilBertTokenizer" && kind != "ElectraTokenizer") {
    file.fail("tokenizer_class is \"" + kind + "\", but only BERT's tokenizer is supported");
  }
  std::unordered_map<std::string_view, int32_t> ids;
  for (const VocabularyPiece& piece : spec.vocabulary) ids[piece.text] = piece.id;
  spec.unknown = special_name(file, config, "unk_token", "[UNK]");
  const auto add = [&](const std::string& field, const char* otherwise, int32_t* id) {
    const std::string name = special_name(file, config, field, otherwise);
    const auto found = ids.find(name);
    if (found != ids.end()) {
      spec.added.push_back({name, found->second});
      if (id != nullptr) *id = found->second;
    } else if (id != nullptr) {
      file.fail("the " + field + " \"" + name + "\" is not in vocab.txt");
    }
  };
  int32_t unknown = -1;
  add("unk_token", "[UNK]", &unknown);
  add("cls_token", "[CLS]", &spec.cls);
  add("sep_token", "[SEP]", &spec.sep);
  add("pad_token", "[PAD]", nullptr);
  add("mask_token", "[MASK]", nullptr);
  const auto more = file.optional(config, "added_tokens_decoder", JsonType::kObject);
  if (!more) return;
  more->for_each_member([&](std::string_view key, JsonView token) {
    // The key is the id in decimal digits, which is what an integer of JSON is.
    if (!token.is(JsonType::kObject) || key.empty() || key.size() > 9 ||
        key.find_first_not_of("0123456789") != std::string_view::npos) {
      file.fail("added_tokens_decoder has a member that is not an added token by its id");
    } else {
      read_added_token(file, token, file.id(JsonView(key), key), spec);
    }
    return !file.error();
  });
}

}  // namespace

Result<TokenizerSpec> read_tokenizer_spec(const std::string& folder) {
  TokenizerSpec spec;
  FileReader json(folder + "/tokenizer.json");
  FileReader lines(folder + "/vocab.txt");
  FileReader config(folder + "/tokenizer_config.json");
  const std::optional<Slice> json_bytes = json.open();
  const std::optional<Slice> lines_bytes = json_bytes ? std::nullopt : lines.open();
  if (json_bytes) {
    read_tokenizer_json(json, json.parse(*json_bytes), spec);
  } else if (lines_bytes) {
    read_vocabulary_lines(lines_bytes->view(), spec);
  } else {
    return Error{Code::kNotFound, folder + ": holds neither tokenizer.json nor vocab.txt"};
  }
  const Slice config_bytes = config.open().value_or(Slice::copy_of("{}"));
  const JsonView root = config.parse(config_bytes);
  if (!json_bytes) read_config_tokens(config, root, spec);
  read_config_flags(config, root, spec);
  for (const FileReader* file : {&json, &lines, &config}) {
    if (file->error()) return *file->error();
  }
  return spec;
}

}  // namespace sluice
