// SPDX-License-Identifier: Apache-2.0
// The configuration file: what a right one means, and that each kind of mistake names its place and
// its key. The tables of settings.h are walked, so that a new key is tested with the others.

#include "gateway/config.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "gateway/config_yaml.h"
#include "gateway/settings.h"
#include "gateway/units.h"

namespace sluice {
namespace {

std::optional<std::string> test_environment(std::string_view name) {
  if (name == "NAME") return "secret-name";
  if (name == "PORT") return "8181";
  if (name == "BAD") return "secret bad value";
  if (name == "EMPTY") return "";
  return std::nullopt;
}

// All problems of a file, values and how they fit, one a line, as `sluice check` shows them.
std::string problems_of(const std::string& text) {
  LoadedConfig loaded = load_config(text, test_environment);
  if (loaded.problems.empty()) {
    finish_config(loaded.config);
    loaded.problems = check_config(loaded.config);
    place_problems(loaded, loaded.problems);
  }
  std::string out;
  for (const ConfigProblem& problem : loaded.problems) out += format_problem(problem, "f") + "\n";
  return out;
}

// REQUIRES: a file without problems.
Config config_of(const std::string& text) {
  REQUIRE(problems_of(text) == "");
  Config config = load_config(text, test_environment).config;
  finish_config(config);
  return config;
}

const std::string kModel = "models: [{backends: [{path: m}]}]\n";

TEST_CASE("a file sets what it names and leaves the rest at its default") {
  const Config config = config_of(
      "listen: 0.0.0.0:80\n"
      "admin: off\n"
      "io_threads: 2\n"
      "half_close: on\n"
      "limits: {bytes_held_max: 2GiB, header_timeout: 1s, headers_max: 9}\n"
      "log:\n  level: warn\n  format: json\n"
      "models:\n"
      "  - name: one\n"
      "    aliases: [uno, eins]\n"
      "    batch: {items_max: 8, wait_max: 2ms}\n"
      "    queue: {items_max: 100, deadline: 5s}\n"
      "    on_too_long: error\n"
      "    backends:\n"
      "      - {kind: local, path: /m/one, device: cpu, precision: f32, threads: 2}\n"
      "  - backends: [{path: \"echo:b=1us\"}]\n");
  CHECK(format_address(config.listen) == "0.0.0.0:80");
  CHECK(!config.admin);
  CHECK(config.io_threads == 2);
  CHECK(config.threads == 0);
  CHECK(config.limits.bytes_held_max == uint64_t{2} << 30);
  CHECK(config.limits.connections_max == 10'000);
  CHECK(config.limits.connection.half_close);
  CHECK(config.limits.connection.header_timeout == seconds(1));
  CHECK(config.limits.connection.body_timeout == seconds(60));
  CHECK(config.limits.connection.http.headers_max == 9);
  CHECK(config.log.level == LogLevel::kWarn);
  CHECK(config.log.format == LogFormat::kJson);
  REQUIRE(config.models.size() == 2);
  const ModelConfig& one = config.models[0];
  CHECK(one.name == "one");
  CHECK(one.aliases == std::vector<std::string>{"uno", "eins"});
  CHECK(one.batch.items_max == 8);
  CHECK(one.batch.tokens_max == 16'384);
  CHECK(one.batch.wait_max == milliseconds(2));
  CHECK(one.queue.deadline == seconds(5));
  CHECK(one.on_too_long == OnTooLong::kError);
  CHECK(one.backends.at(0).path == "/m/one");
  CHECK(one.backends.at(0).device.kind == DeviceChoice::Kind::kCpu);
  CHECK(one.backends.at(0).precision == PrecisionChoice::kF32);
  CHECK(one.backends.at(0).threads == 2);
  CHECK(config.models[1].name == "echo");
  CHECK(config.models[1].backends.at(0).echo->per_item == microseconds(1));
}

TEST_CASE("an empty file lacks a model and nothing else") {
  for (const char* text : {"", "# nothing\n", "---\n", "limits:\n", "models:\n", "models: []\n"}) {
    CAPTURE(text);
    CHECK(problems_of(text).ends_with("models: needs at least one model, or passthrough\n"));
  }
}

TEST_CASE("each kind of mistake names its place and its key") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"listn: 127.0.0.1:1\n", "f:1:1: listn: is not a known key; did you mean listen?\n"},
      {"limits:\n  byte_held_max: 1GiB\n",
       "f:2:3: limits.byte_held_max: is not a known key; did you mean bytes_held_max?\n"},
      {"models:\n  - batch: {item_max: 3}\n",
       "f:2:13: models[0].batch.item_max: is not a known key; did you mean items_max?\n"},
      {"models: [{backend: []}]\n",
       "f:1:11: models[0].backend: is not a known key; did you mean backends?\n"},
      {"models: [{backends: [{pth: x}]}]\n",
       "f:1:23: models[0].backends[0].pth: is not a known key; did you mean path?\n"},
      {"drain_max: 1s\n",
       "f:1:1: drain_max: is not a known key here; did you mean limits.drain_max?\n"},
      {"log: {verbosity: 3}\n",
       "f:1:7: log.verbosity: is not a known key; known here: level format\n"},
      {"limits: {header_timeout: 10}\n",
       "f:1:26: limits.header_timeout: must be a duration with its unit, such as 500ms, 10s or 2m, "
       "not \"10\"\n"},
      {"limits: {header_timeout: 2h}\n",
       "f:1:26: limits.header_timeout: must be 10ms to 1h, not \"2h\"\n"},
      {"listen: 8080\n",
       "f:1:9: listen: must be an address such as 127.0.0.1:8080 or [::1]:8080, not \"8080\"\n"},
      {"admin: none\n",
       "f:1:8: admin: must be an address such as 127.0.0.1:8080 or [::1]:8080, or off, not "
       "\"none\"\n"},
      {"access_log: 2\n", "f:1:13: access_log: must be on or off, not \"2\"\n"},
      {"log: {level: loud}\n",
       "f:1:14: log.level: must be debug, info, warn or error, not \"loud\"\n"},
      {"log: {format: xml}\n", "f:1:15: log.format: must be text or json, not \"xml\"\n"},
      {"models: [{backends: [{device: gpu}]}]\n",
       "f:1:31: models[0].backends[0].device: must be auto, cpu, cuda or cuda:N with N from 0 to "
       "63, not \"gpu\"\n"},
      {"models: [{backends: [{precision: f16}]}]\n",
       "f:1:34: models[0].backends[0].precision: must be auto, f32 or bf16, not \"f16\"\n"},
      {"models: [{on_too_long: cut}]\n",
       "f:1:24: models[0].on_too_long: must be truncate or error, not \"cut\"\n"},
      {"models: [{aliases: [a, \"b c\"]}]\n",
       "f:1:24: models[0].aliases[1]: must be 1 to 200 visible ASCII characters without quotes and "
       "backslashes, not \"b c\"\n"},
      {"io_threads: [1]\n", "f:1:13: io_threads: must be a single value\n"},
      {"io_threads:\n", "f:1:1: io_threads: has no value\n"},
      {"limits: 3\n", "f:1:9: limits: must be a section of keys and values\n"},
      {"models: 3\n", "f:1:9: models: must be a list\n"},
      {"models: [3]\n", "f:1:10: models[0]: must be a section of keys and values\n"},
      {"[1, 2]\n", "f:1:1: must be a section of keys and values\n"},
      {"io_threads: 1\nio_threads: 2\n", "f:2:1: io_threads: is given twice\n"},
      {"limits.drain_max: 1s\n",
       "f:1:1: limits.drain_max: is not a known key; known here: models passthrough listen admin "
       "io_threads "
       "threads half_close access_log log limits\n"},
      {"[1]: 2\n", "f:1:1: has a key that is not a word\n"},
      {"a: 1\n---\nb: 2\n", "f:2:1: must be one YAML document, but here begins another\n"},
      {"jobs: {store: x}\n", "f:1:1: jobs: is not available in this version\n"},
  };
  for (const auto& [text, problems] : cases) {
    CAPTURE(text);
    CHECK(problems_of(text) == problems);
  }
}

TEST_CASE("kinds of backends that do not exist yet are refused without a word on their keys") {
  for (const std::string kind : {"runpod", "modal", "lambda"}) {
    CHECK(problems_of("models:\n  - backends:\n      - {kind: " + kind + ", url: u, slots: 4}\n") ==
          "f:3:16: models[0].backends[0].kind: must be local or http; runpod, modal and lambda "
          "are not available in this version, not \"" +
              kind + "\"\n");
  }
}

TEST_CASE("all mistakes of a file are told, in its order") {
  CHECK(problems_of("listn: x\nio_threads: 0\nlimits: {keys_max: no}\n") ==
        "f:1:1: listn: is not a known key; did you mean listen?\n"
        "f:2:13: io_threads: must be 1 to 64, not \"0\"\n"
        "f:3:20: limits.keys_max: must be a whole number such as 64, not \"no\"\n");
}

TEST_CASE("a file that is wrong from end to end is told so a limited number of times") {
  std::string text;
  for (size_t i = 0; i < 10 * kConfigProblemsMax; ++i) text += "k" + std::to_string(i) + ": 1\n";
  CHECK(load_config(text, test_environment).problems.size() == kConfigProblemsMax);
}

TEST_CASE("text that is no YAML is refused with its place") {
  const std::string broken = problems_of("listen: 127.0.0.1:1\nlimits: {a: b\n");
  CHECK(broken.starts_with("f:3:1: is not valid YAML: "));
  CHECK(problems_of("a: b: c\n").starts_with("f:1:5: is not valid YAML: "));
  CHECK(problems_of("a: *nothing\n").find("is not valid YAML") != std::string::npos);
  CHECK(problems_of(std::string(100'000, '[')) == "f: nests too deep\n");
  CHECK(problems_of(std::string(kConfigBytesMax + 1, '#')) == "f: is larger than 1MiB\n");
}

TEST_CASE("a control character or broken UTF-8 is refused where it stands") {
  const std::string message = "holds a control character or bytes that are not UTF-8\n";
  CHECK(problems_of(std::string("a: 1\n# \0", 8)) == "f:2:3: " + message);
  CHECK(problems_of("listen: \x04\n") == "f:1:9: " + message);
  CHECK(problems_of("# \xc3\xa9\xff\n") == "f:1:4: " + message);
  CHECK(problems_of("\xfe\xff") == "f:1:1: " + message);
  CHECK(problems_of("# \xc3\xa9\r\n\tx: 1\n").find(message) == std::string::npos);
}

TEST_CASE("a text that begins with a comma is refused and does not keep the reader forever") {
  CHECK(problems_of(",:") == "f:1:1: must be one YAML document, but here begins another\n");
}

TEST_CASE("an anchor that contains itself ends") {
  CHECK(
      problems_of("models: &a [{backends: *a}]\n")
          .starts_with("f:1:14: models[0].backends[0].backends: is not a known key; known here: "));
}

TEST_CASE("values must fit each other, and the problem stands where the file has the value") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"models:\n  - {batch: {items_max: 9}, queue: {items_max: 8}, backends: [{path: x}]}\n",
       "f:2:25: models[0].batch.items_max: must be at most queue.items_max of the same model: a "
       "batch is made of what waits\n"},
      {"models:\n  - {queue: {bytes_max: 1MiB}, backends: [{path: x}]}\n",
       "f:2:5: models[0].batch.bytes_max: must be at most queue.bytes_max of the same model: a "
       "batch is made of what waits\n"},
      {"models:\n  - {queue: {tenant_items_max: 4097}, backends: [{path: x}]}\n",
       "f:2:32: models[0].queue.tenant_items_max: must be at most queue.items_max of the same "
       "model\n"},
      {"models: [{batch: {wait_max: 1s}, queue: {deadline: 1s}, backends: [{path: x}]}]\n",
       "f:1:29: models[0].batch.wait_max: must be shorter than queue.deadline of the same model: "
       "everything would expire\n"},
      {"models: [{name: x}]\n", "f:1:10: models[0].backends: needs at least one backend\n"},
      {"models: [{name: x, backends: [{}]}]\n",
       "f:1:31: models[0].backends[0].path: is needed: the folder of the model, or echo\n"},
      {"models: [{backends: [{path: /}]}]\n",
       "f:1:10: models[0].name: must be 1 to 200 visible ASCII characters without quotes and "
       "backslashes; a name left out is that of the model's folder\n"},
      {"models: [{backends: [{path: a/x}]}, {backends: [{path: b/x}]}]\n",
       "f:1:37: models[1].name: is the same name as models[0].name\n"},
      {"models: [{aliases: [y], backends: [{path: x}]}, {backends: [{path: y}]}]\n",
       "f:1:49: models[1].name: is the same name as models[0].aliases[0]\n"},
      {"models: [{aliases: [x], backends: [{path: x}]}]\n",
       "f:1:21: models[0].aliases[0]: is the same name as models[0].name\n"},
      {"models: [{name: x, backends: [{path: x, name: a}, {path: y, name: a}]}]\n",
       "f:1:67: models[0].backends[1].name: is the same name as models[0].backends[0].name\n"},
      {"models: [{name: x, backends: [{path: x, name: local-1}, {path: y}]}]\n",
       "f:1:57: models[0].backends[1].name: is the same name as models[0].backends[0].name\n"},
      {"models: [{name: x, backends: [{path: x, name: passthrough}]}]\n",
       "f:1:47: models[0].backends[0].name: is the same name as what is passed through\n"},
      {kModel + "listen: 127.0.0.1:9\nadmin: 127.0.0.1:9\n",
       "f:3:8: admin: must be another address than listen, or off\n"},
      {kModel + "limits: {bytes_held_max: 64MiB}\n",
       "f:2:1: limits.body_bytes_max: must be at most a quarter of limits.bytes_held_max: a larger "
       "body could never be let in\n"},
      {kModel + "limits: {bytes_held_max: 64MiB, body_bytes_max: 16MiB}\n", ""},
      {kModel + "limits: {bytes_held_max: 64MiB, body_bytes_max: 17MiB}\n",
       "f:2:49: limits.body_bytes_max: must be at most a quarter of limits.bytes_held_max: a "
       "larger "
       "body could never be let in\n"},
      {kModel + "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n", ""},
  };
  for (const auto& [text, problems] : cases) {
    CAPTURE(text);
    CHECK(problems_of(text) == problems);
  }
}

TEST_CASE("a list has a limit") {
  const auto list = [](size_t count, const std::string& element) {
    std::string out = "[";
    for (size_t i = 0; i < count; ++i) out += element + ",";
    return out + "]";
  };
  CHECK(problems_of("models: " + list(kModelsMax + 1, "{}")) ==
        "f:1:9: models: must have at most 256 elements\n");
  CHECK(problems_of("models: [{aliases: " + list(kAliasesMax + 1, "x") + "}]") ==
        "f:1:20: models[0].aliases: must have at most 64 elements\n");
  CHECK(problems_of("models: [{backends: " + list(kBackendsMax, "{path: x}") + "}]") == "");
  CHECK(problems_of("models: [{backends: " + list(kBackendsMax + 1, "{}") + "}]") ==
        "f:1:21: models[0].backends: must have at most 16 elements\n");
}

TEST_CASE("variables of the environment are replaced anywhere in a value") {
  const Config config = config_of(
      "listen: \"127.0.0.1:${PORT}\"\n"
      "models: [{name: \"x-${NAME}-$${NAME}-$y${EMPTY}\", aliases: [\"${NAME}\"], "
      "backends: [{path: \"${NAME}/${PORT}\"}]}]\n");
  CHECK(config.listen.port == 8181);
  CHECK(config.models.at(0).name == "x-secret-name-${NAME}-$y");
  CHECK(config.models.at(0).aliases.at(0) == "secret-name");
  CHECK(config.models.at(0).backends.at(0).path == "secret-name/8181");
}

TEST_CASE("a variable that is missing is named, and so is a broken reference") {
  CHECK(problems_of("listen: \"${NOT_SET}\"\n") ==
        "f:1:9: listen: needs the environment variable NOT_SET, which is not set\n");
  for (const char* value : {"${", "${}", "${NAME", "${A B}", "${A${NAME}}"}) {
    CHECK(problems_of("listen: \"" + std::string(value) + "\"\n") ==
          "f:1:9: listen: has a \"${\" that is not followed by a name and \"}\"\n");
  }
}

TEST_CASE("what a variable stands for never shows in a message") {
  for (const KeyDocument& document : documented_keys()) {
    if (document.key.find("[]") != std::string::npos || document.key == "models" ||
        document.key == "passthrough")
      continue;
    std::string text = "\"${BAD}\"";
    std::string key = document.key;
    if (const size_t dot = key.find('.'); dot != std::string::npos) {
      text = "{" + key.substr(dot + 1) + ": " + text + "}";
      key.resize(dot);
    }
    CAPTURE(document.key);
    const std::string problems = problems_of(key + ": " + text + "\n");
    CHECK(problems.find(document.key + ": must be") != std::string::npos);
    CHECK(problems.find("${BAD}") != std::string::npos);
    CHECK(problems.find("secret") == std::string::npos);
  }
  const std::string twice =
      "{name: \"${NAME}\", batch: {items_max: 4097}, backends: [{path: \"${NAME}\"}]}";
  const std::string problems = problems_of("models: [" + twice + ", " + twice + "]\n");
  CHECK(problems.find("models[1].name: is the same name as models[0].name") != std::string::npos);
  CHECK(problems.find("secret") == std::string::npos);
}

TEST_CASE("the core gets the limits of the file, with backends numbered through") {
  Config config = config_of(
      "limits: {bytes_held_max: 100MiB, keys_max: 7, tenants_max: 8, attempts_max: 3, "
      "priority_step: 1s}\n"
      "models:\n"
      "  - {name: a, batch: {items_max: 5}, backends: [{path: x}, {path: y}]}\n"
      "  - {name: b, queue: {items_max: 100, tenant_items_max: 9}, backends: [{path: z}]}\n");
  const std::vector<uint32_t> slots = {1, 2, 3};
  const CoreOptions options = core_options(config, slots);
  CHECK(options.queued_bytes_max == uint64_t{25} << 20);
  CHECK(options.keys_max == 7);
  CHECK(options.tenants_max == 8);
  CHECK(options.attempts_max == 3);
  CHECK(options.priority_step == seconds(1));
  REQUIRE(options.models.size() == 2);
  CHECK(options.models[0].name == "a");
  CHECK(options.models[0].batch.items_max == 5);
  CHECK(options.models[0].queue.tenant_items_max == options.models[0].queue.items_max);
  CHECK(options.models[0].backends == std::vector<BackendIndex>{0, 1});
  CHECK(options.models[1].queue.tenant_items_max == 9);
  CHECK(options.models[1].backends == std::vector<BackendIndex>{2});
  REQUIRE(options.backends.size() == 3);
  CHECK(options.backends[1].name == "local-1");
  CHECK(options.backends[2].slots == 3);
}

TEST_CASE("a model's name can stand in JSON, a path and a header") {
  for (const char* name : {"a", "sentence-transformers/all-MiniLM-L6-v2", "x:y@z"})
    CHECK(is_model_name(name));
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\"b"), std::string("a\\b"),
        std::string("a\n"), std::string("\xc3\xa9"), std::string(201, 'x')}) {
    CHECK(!is_model_name(name));
  }
}

}  // namespace
}  // namespace sluice
