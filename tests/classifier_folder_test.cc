// SPDX-License-Identifier: Apache-2.0
// What a classifier's folder says of its classes, and an encoder's of its prompts.

#include <doctest/doctest.h>

#include <string>

#include "backends/model_folder.h"
#include "tests/reference_bert.h"

namespace sluice {
namespace {

using Labels = std::vector<std::string>;

// The head that config.json with `members` gives, or the error.
Result<ClassifierHead> head_of(const std::string& members) {
  const TempFolder folder;
  const std::string path = folder.write("config.json", "{" + members + "}");
  const Result<JsonFile> file = JsonFile::read_required(path);
  if (!file.ok()) FAIL(file.error().message);
  return read_classifier_head(file.value());
}
const std::string kClassifier = R"("architectures":["BertForSequenceClassification"])";

std::string refusal(const std::string& members) {
  const Result<ClassifierHead> head = head_of(kClassifier + "," + members);
  if (head.ok()) return "accepted";
  CHECK(head.error().code == Code::kInvalid);
  return head.error().message;
}

Result<Prompts> prompts_of(const std::string& json) {
  const TempFolder folder;
  folder.write("config_sentence_transformers.json", json);
  return read_prompts(folder.path());
}

ReferenceBert::Options tiny(uint32_t labels) {
  return {.config = {.layers = 1,
                     .hidden = 32,
                     .heads = 1,
                     .intermediate = 32,
                     .vocabulary = 11,
                     .positions = 16,
                     .types = 2,
                     .labels = labels}};
}

}  // namespace

TEST_CASE("classes are named by id2label, else counted by num_labels, else two") {
  CHECK(head_of(kClassifier + R"(,"id2label":{"1":"no","0":"yes"})").value().labels ==
        Labels{"yes", "no"});
  CHECK(head_of(kClassifier + R"(,"num_labels":3,"id2label":null)").value().labels ==
        Labels{"LABEL_0", "LABEL_1", "LABEL_2"});
  CHECK(head_of(kClassifier).value().labels == Labels{"LABEL_0", "LABEL_1"});
  CHECK(head_of(R"("architectures":["BertModel"],"num_labels":3)").value().labels.empty());
  CHECK(head_of(R"("num_labels":3)").value().labels.empty());
}

TEST_CASE("one class is a sigmoid's and several a softmax's, unless problem_type differs") {
  const auto activation = [](const std::string& members) {
    return head_of(kClassifier + "," + members).value().activation;
  };
  CHECK(activation(R"("num_labels":1)") == Activation::kSigmoid);
  CHECK(activation(R"("num_labels":2,"problem_type":null)") == Activation::kSoftmax);
  CHECK(activation(R"("num_labels":2,"problem_type":"single_label_classification")") ==
        Activation::kSoftmax);
  CHECK(activation(R"("num_labels":2,"problem_type":"multi_label_classification")") ==
        Activation::kSigmoid);
  CHECK(activation(R"("num_labels":1,"problem_type":"regression")") == Activation::kNone);
}

TEST_CASE("a head that contradicts itself is refused by its field") {
  const struct {
    std::string members, says;
  } cases[] = {
      {R"("num_labels":0)", "'num_labels' must be a whole number from 1"},
      {R"("num_labels":"2")", "'num_labels' must be"},
      {R"("num_labels":2,"id2label":{"0":"a"})", "'num_labels' is 2, but 'id2label' has 1"},
      {R"("id2label":{})", "'id2label' must be an object"},
      {R"("id2label":["a"])", "'id2label' must be an object"},
      {R"("id2label":{"0":"a","2":"b"})", "'id2label' must name the classes"},
      {R"("id2label":{"0":"a","01":"b"})", "accepted"},
      {R"("id2label":{"0":"a","00":"b"})", "'id2label' must name the classes"},
      {R"("id2label":{"0":"a","-1":"b"})", "'id2label' must name the classes"},
      {R"("id2label":{"0":1})", "'id2label' must name the classes"},
      {R"("problem_type":"ranking")", "'problem_type' is 'ranking'"},
      {R"("problem_type":7)", "'problem_type' is '7'"},
  };
  for (const auto& [members, says] : cases) {
    CAPTURE(members);
    const std::string message = refusal(members);
    CAPTURE(message);
    CHECK(message.find(says) != std::string::npos);
  }
}

TEST_CASE("a classifier's folder has labels and no pooling, an encoder's the reverse") {
  const TempFolder disk;
  ReferenceBert(tiny(3)).write(disk);
  const Result<ModelFolder> folder = read_model_folder(disk.path());
  REQUIRE(folder.ok());
  CHECK(folder.value().head.labels == Labels{"class 0", "class 1", "class 2"});
  CHECK(folder.value().config.labels == 3);
  // The same folder with modules.json pools: sentence-transformers would make vectors of it.
  disk.write("modules.json",
             R"([{"path":"","type":"sentence_transformers.models.Transformer"},
                 {"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])");
  disk.write("1_Pooling/config.json", R"({"pooling_mode_mean_tokens":true})");
  const Result<ModelFolder> pooled = read_model_folder(disk.path());
  REQUIRE(pooled.ok());
  CHECK(pooled.value().config.labels == 0);
  CHECK(pooled.value().head.labels.empty());
  CHECK(pooled.value().tensors.classifier.weight == nullptr);
}

TEST_CASE("prompts are read by name, and one of them may be usual") {
  const Prompts two =
      prompts_of(R"({"prompts":{"query":"q: ","passage":""},"default_prompt_name":null})").value();
  CHECK(two.by_name ==
        std::vector<std::pair<std::string, std::string>>{{"query", "q: "}, {"passage", ""}});
  CHECK(two.usual.empty());
  CHECK(prompts_of(R"({"prompts":{"query":"q: "},"default_prompt_name":"query"})").value().usual ==
        "q: ");
  CHECK(prompts_of("{}").value().by_name.empty());
  CHECK(read_prompts("/nowhere").value().by_name.empty());
  for (const char* bad :
       {R"({"prompts":[]})", R"({"prompts":{"query":1}})", R"({"default_prompt_name":"query"})",
        R"({"prompts":{"query":"q"},"default_prompt_name":1})"}) {
    CAPTURE(bad);
    CHECK(!prompts_of(bad).ok());
  }
}

TEST_CASE("prompts that the pooling leaves out cannot be used") {
  const TempFolder disk;
  ReferenceBert(tiny(0)).write(disk);
  disk.write("1_Pooling/config.json",
             R"({"pooling_mode_mean_tokens":true,"include_prompt":false})");
  disk.write("config_sentence_transformers.json", R"({"prompts":{"query":"q: "}})");
  const Result<ModelFolder> folder = read_model_folder(disk.path());
  REQUIRE(folder.ok());
  CHECK(folder.value().prompts.by_name.empty());
  disk.write("config_sentence_transformers.json",
             R"({"prompts":{"query":"q: "},"default_prompt_name":"query"})");
  const Result<ModelFolder> refused = read_model_folder(disk.path());
  REQUIRE(!refused.ok());
  CHECK(refused.error().message.find("'include_prompt' must be true") != std::string::npos);
}

}  // namespace sluice
