// SPDX-License-Identifier: Apache-2.0
#include "backends/tokenizer_spec.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "backends/engine.h"
#include "backends/file_reader.h"
#include "base/json.h"

namespace sluice {
namespace {

// One place of a template: a special token, or one of the texts.
struct TemplateItem {
  char kind = 's';  // s, or A or B as the file calls the texts
  int32_t id = 0;   // of a special token
  int64_t type = 0;
};

// The id of the special token called `name` in `tokens`, which says what stands for each name.
int32_t special_id(FileReader& file, JsonView tokens, const std::string& name) {
  const std::optional<JsonView> token = file.required(tokens, name, JsonType::kObject);
  const std::optional<JsonView> ids =
      token ? file.required(*token, "ids", JsonType::kArray) : std::nullopt;
  if (ids && ids->count() != 1) file.fail("the special token " + name + " is not one id");
  int32_t found = 0;
  if (!ids) return found;
  ids->for_each_item([&](JsonView id) {
    found = file.id(id, name);
    return true;
  });
  return found;
}

std::vector<TemplateItem> read_template(FileReader& file, JsonView items, JsonView tokens) {
  std::vector<TemplateItem> all;
  items.for_each_item([&](JsonView item) {
    TemplateItem& read = all.emplace_back();
    const bool object = item.is(JsonType::kObject);
    const auto special =
        object ? file.optional(item, "SpecialToken", JsonType::kObject) : std::optional<JsonView>();
    const auto part =
        object && !special ? file.required(item, "Sequence", JsonType::kObject) : special;
    if (!part) return true;
    const std::string name = file.text(*part, "id");
    if (const auto type = file.optional(*part, "type_id", JsonType::kNumber))
      read.type = type->integer().value_or(-1);
    if (special) {
      read.id = special_id(file, tokens, name);
    } else {
      read.kind = name == "B" ? 'B' : 'A';
    }
    return true;
  });
  return all;
}

// Nothing unless the items are the first text, then the second, with special tokens around them, in
// two segments at most.
std::optional<PairTemplate> pair_of(const std::vector<TemplateItem>& items) {
  PairTemplate pair;
  std::string texts;
  for (const TemplateItem& item : items) {
    if (item.type != 0 && item.type != 1) return std::nullopt;
    const int32_t mark = item.type == 1 ? kSecondSegment : 0;
    if (item.kind == 's') {
      (texts.empty()  ? pair.before
       : texts == "A" ? pair.between
                      : pair.behind)
          .push_back(item.id | mark);
    } else {
      (texts.empty() ? pair.first_mark : pair.second_mark) = mark;
      texts += item.kind;
    }
  }
  return texts == "AB" ? std::optional(pair) : std::nullopt;
}

// What stands around the texts, of a TemplateProcessing or a BertProcessing.
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
    spec.pair = bert_pair(spec.cls, spec.sep);
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
  const std::vector<TemplateItem> items = read_template(file, *single, *tokens);
  std::string shape;
  bool first_only = true;
  for (const TemplateItem& item : items) {
    shape += item.kind;
    first_only = first_only && item.type == 0;
  }
  if (shape != "sAs") {
    file.fail("post_processor.single is not one special token, the text, one special token");
    return;
  }
  if (!first_only) file.fail("post_processor.single has a type_id other than 0");
  spec.cls = items[0].id;
  spec.sep = items[2].id;
  if (const auto pair = file.optional(post, "pair", JsonType::kArray))
    spec.pair = pair_of(read_template(file, *pair, *tokens));
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

PairTemplate bert_pair(int32_t cls, int32_t sep) {
  return {{cls}, {sep}, {sep | kSecondSegment}, 0, kSecondSegment};
}

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
  if (!json_bytes) {
    read_config_tokens(config, root, spec);
    spec.pair = bert_pair(spec.cls, spec.sep);
  }
  read_config_flags(config, root, spec);
  for (const FileReader* file : {&json, &lines, &config}) {
    if (file->error()) return *file->error();
  }
  return spec;
}

}  // namespace sluice
