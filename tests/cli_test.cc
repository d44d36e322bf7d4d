// SPDX-License-Identifier: Apache-2.0
// The command line, without a process: arguments in, a Command out.

#include "gateway/cli.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gateway/settings.h"

namespace sluice {
namespace {

const std::string kExample = SLUICE_SOURCE_DIR "/examples/sluice.yaml";

std::optional<std::string> no_environment(std::string_view) { return std::nullopt; }

Command parse(const std::vector<std::string>& args) {
  return parse_command_line(args, no_environment);
}

// REQUIRES: the arguments are right.
Config config_of(const std::vector<std::string>& args) {
  const Command command = parse(args);
  INFO(command.output);
  REQUIRE(command.kind == Command::Kind::kServe);
  REQUIRE(command.exit_code == 0);
  return command.config;
}

void check_refused(const std::vector<std::string>& args, int exit_code, const std::string& output) {
  const Command command = parse(args);
  CHECK(command.kind == Command::Kind::kDone);
  CHECK(command.exit_code == exit_code);
  CHECK(command.output == output);
}

// A file that is gone when the test ends.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string folder = (std::filesystem::temp_directory_path() / "sluice-cli-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    path_ = folder + "/sluice.yaml";
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove_all(folder_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string folder_;
  std::string path_;
};

TEST_CASE("a folder is served under its last component's name, with the defaults") {
  for (const char* path :
       {"models/all-MiniLM-L6-v2", "all-MiniLM-L6-v2", "/x/all-MiniLM-L6-v2//"}) {
    const Config config = config_of({"serve", "--model", path});
    REQUIRE(config.models.size() == 1);
    CHECK(config.models[0].name == "all-MiniLM-L6-v2");
    REQUIRE(config.models[0].backends.size() == 1);
    CHECK(config.models[0].backends[0].path == path);
    CHECK(!config.models[0].backends[0].echo);
    CHECK(config.listen.port == 8080);
    REQUIRE(config.admin);
    CHECK(config.admin->port == 9090);
  }
}

TEST_CASE("the echo engine is named echo and takes its times") {
  const Config plain = config_of({"serve", "--model", "echo"});
  CHECK(plain.models[0].name == "echo");
  REQUIRE(plain.models[0].backends[0].echo);
  CHECK(plain.models[0].backends[0].echo->per_batch == Duration{});
  const Config timed = config_of({"serve", "--model", "echo:a=2ms,b=0.1ms", "--model-name", "e"});
  CHECK(timed.models[0].name == "e");
  CHECK(timed.models[0].backends[0].echo->per_batch == milliseconds(2));
  CHECK(timed.models[0].backends[0].echo->per_item == microseconds(100));
  CHECK(config_of({"serve", "--model", "./echo"}).models[0].backends[0].path == "./echo");
}

TEST_CASE("every flag reaches its field") {
  const Config config = config_of({"serve",
                                   "--model=m",
                                   "--listen",
                                   "[::1]:0",
                                   "--admin",
                                   "off",
                                   "--io-threads",
                                   "4",
                                   "--threads",
                                   "3",
                                   "--device",
                                   "cuda:1",
                                   "--precision",
                                   "bf16",
                                   "--unload-after",
                                   "10m",
                                   "--batch-items-max",
                                   "32",
                                   "--batch-tokens-max",
                                   "100",
                                   "--wait-max",
                                   "5ms",
                                   "--queue-items-max",
                                   "99",
                                   "--body-bytes-max",
                                   "1MB",
                                   "--drain-max",
                                   "1m",
                                   "--on-too-long",
                                   "error",
                                   "--log-level",
                                   "debug",
                                   "--log-format",
                                   "json",
                                   "--access-log"});
  CHECK(config.listen.host == "::1");
  CHECK(!config.admin);
  CHECK(config.io_threads == 4);
  CHECK(config.threads == 3);
  const ModelConfig& model = config.models.at(0);
  CHECK(model.backends.at(0).device == DeviceChoice{DeviceChoice::Kind::kCuda, 1});
  CHECK(model.backends.at(0).precision == PrecisionChoice::kBf16);
  CHECK(model.backends.at(0).unload_after == seconds(600));
  CHECK(model.batch.items_max == 32);
  CHECK(model.batch.tokens_max == 100);
  CHECK(model.batch.wait_max == milliseconds(5));
  CHECK(model.queue.items_max == 99);
  CHECK(config.limits.connection.http.body_bytes_max == 1'000'000);
  CHECK(config.limits.drain_max == seconds(60));
  CHECK(model.on_too_long == OnTooLong::kError);
  CHECK(config.log.level == LogLevel::kDebug);
  CHECK(config.log.format == LogFormat::kJson);
  CHECK(config.log.access);
}

TEST_CASE("every flag of the tables is one that serve takes and its help names") {
  const std::string help = parse({"serve", "--help"}).output;
  for (const KeyDocument& document : documented_keys()) {
    if (document.flag.empty()) continue;
    CAPTURE(document.flag);
    CHECK(help.find("  " + document.flag) != std::string::npos);
  }
}

TEST_CASE("flags win over the file") {
  const Config config = config_of({"serve", "--config", kExample, "--listen", "127.0.0.1:1",
                                   "--batch-items-max", "7", "--access-log=off"});
  CHECK(config.listen.port == 1);
  REQUIRE(config.models.size() == 2);
  CHECK(config.models[0].batch.items_max == 7);
  CHECK(config.models[1].batch.items_max == 7);
  CHECK(config.models[1].backends[0].echo);
}

TEST_CASE("a file may leave the model to the flags") {
  const TemporaryFile file("limits: { connections_max: 5 }\n");
  const Config config = config_of({"serve", "--config", file.path(), "--model", "echo"});
  CHECK(config.limits.connections_max == 5);
  CHECK(config.models.size() == 1);
  check_refused({"serve", "--config", file.path()}, 1,
                file.path() + ": models: needs at least one model, or passthrough\n");
}

TEST_CASE("--model replaces the path of a file's only model and is refused for more") {
  const TemporaryFile file("models: [{aliases: [a], backends: [{path: x, threads: 2}]}]\n");
  const Config config = config_of({"serve", "--config", file.path(), "--model", "y/z"});
  CHECK(config.models[0].name == "z");
  CHECK(config.models[0].aliases == std::vector<std::string>{"a"});
  CHECK(config.models[0].backends[0].path == "y/z");
  CHECK(config.models[0].backends[0].threads == 2);
  check_refused({"serve", "--config", kExample, "--model", "x"}, 2,
                "sluice: --model can only replace that of a file's one model with one backend\n");
  check_refused({"serve", "--config", kExample, "--model-name", "x"}, 2,
                "sluice: --model-name needs a single model; the file has several\n");
}

TEST_CASE("a problem that a flag causes is told with the place it concerns in the file") {
  const TemporaryFile file("models:\n  - batch: {items_max: 50}\n    backends: [{path: x}]\n");
  check_refused({"serve", "--config", file.path(), "--queue-items-max", "10"}, 1,
                file.path() +
                    ":2:24: models[0].batch.items_max: must be at most queue.items_max of the same "
                    "model: a batch is made of what waits\n");
}

TEST_CASE("serve without a model says how to name one") {
  check_refused({"serve"}, 2,
                "sluice: nothing to serve; name a model with --model DIR (or --model echo), an "
                "endpoint with --upstream URL, or a file with --config FILE\n");
}

TEST_CASE("an unknown flag or command names the nearest known one") {
  check_refused({"serve", "--modle", "x"}, 2,
                "sluice: unknown flag \"--modle\"; did you mean --model?\n");
  check_refused({"serve", "--wait-mx=1ms"}, 2,
                "sluice: unknown flag \"--wait-mx\"; did you mean --wait-max?\n");
  check_refused({"serve", "--frobnicate"}, 2,
                "sluice: unknown flag \"--frobnicate\"; see sluice serve --help\n");
  check_refused({"sevre"}, 2, "sluice: unknown command \"sevre\"; did you mean serve?\n");
  check_refused({"chekc"}, 2, "sluice: unknown command \"chekc\"; did you mean check?\n");
  check_refused({"frobnicate"}, 2, "sluice: unknown command \"frobnicate\"; see sluice --help\n");
  check_refused({"--versoin"}, 2, "sluice: unknown flag \"--versoin\"; did you mean --version?\n");
  check_refused({"--model", "echo"}, 2,
                "sluice: unknown flag \"--model\"; did you mean sluice serve --model?\n");
  check_refused({"check", "--confg", "x"}, 2,
                "sluice: unknown flag \"--confg\"; did you mean --config?\n");
  check_refused({"serve", "echo"}, 2,
                "sluice: unexpected argument \"echo\"; see sluice serve --help\n");
}

TEST_CASE("a bad value names its flag and is quoted") {
  check_refused({"serve", "--model", "echo", "--wait-max", "5"}, 2,
                "sluice: --wait-max must be a duration with its unit, such as 500ms, 10s or 2m, "
                "not \"5\"\n");
  check_refused({"serve", "--model", "echo", "--io-threads", "65"}, 2,
                "sluice: --io-threads must be 1 to 64, not \"65\"\n");
  check_refused({"serve", "--model", "echo", "--threads", "-1"}, 2,
                "sluice: --threads must be a whole number such as 64, not \"-1\"\n");
  check_refused({"serve", "--model", "echo:c=1ms"}, 2,
                "sluice: --model must be echo with a (time per batch) and b (time per item): "
                "echo:a=2ms,b=0.1ms, not \"echo:c=1ms\"\n");
  for (const char* spec : {"echo:", "echo:a=1ms,", "echo:a=1ms,a=2ms"}) {
    check_refused({"serve", "--model", spec}, 2,
                  "sluice: --model must be echo with a (time per batch) and b (time per item): "
                  "echo:a=2ms,b=0.1ms, not \"" +
                      std::string(spec) + "\"\n");
  }
  check_refused({"serve", "--model", ""}, 2,
                "sluice: --model must be the model's folder or echo, not \"\"\n");
}

TEST_CASE("a flag without its value, or given twice, is refused") {
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"serve", "--model"},
        std::vector<std::string>{"serve", "--model", "echo", "--model", "echo"},
        std::vector<std::string>{"serve", "--config"}, std::vector<std::string>{"check"}}) {
    const Command command = parse(args);
    CHECK(command.exit_code == 2);
    CHECK(command.output.starts_with("sluice: "));
    CHECK(command.output.ends_with("\n"));
  }
}

TEST_CASE("check says ok to the example and where a broken file is wrong") {
  const Command ok = parse({"check", "--config", kExample});
  CHECK(ok.kind == Command::Kind::kCheck);
  CHECK(ok.exit_code == 0);
  CHECK(ok.output == "ok\n");
  const TemporaryFile file("listen: 127.0.0.1:80\nlimts: {}\nmodels: []\n");
  check_refused({"check", "--config", file.path()}, 1,
                file.path() + ":2:1: limts: is not a known key; did you mean limits?\n");
  check_refused({"check", "--config", "/nonexistent/sluice.yaml"}, 1,
                "sluice: cannot read /nonexistent/sluice.yaml\n");
  check_refused({"check", "--config", SLUICE_SOURCE_DIR}, 1,
                "sluice: cannot read " SLUICE_SOURCE_DIR "\n");
}

TEST_CASE("help and version end well, no arguments do not") {
  const Command version = parse({"--version"});
  CHECK(version.kind == Command::Kind::kDone);
  CHECK(version.exit_code == 0);
  CHECK(version.output.starts_with("sluice "));
  const Command help = parse({"--help"});
  CHECK(help.exit_code == 0);
  CHECK(help.output.find("serve") != std::string::npos);
  CHECK(help.output.find("check") != std::string::npos);
  check_refused({}, 2, "sluice: no command; try sluice serve --model DIR, or see sluice --help\n");
}

TEST_CASE("variables of the environment are replaced in the file alone") {
  const TemporaryFile file("models: [{backends: [{path: \"${MODEL}\"}]}]\n");
  const auto environment = [](std::string_view name) {
    return name == "MODEL" ? std::optional<std::string>("a/b") : std::nullopt;
  };
  const Command command = parse_command_line({"serve", "--config", file.path()}, environment);
  REQUIRE(command.kind == Command::Kind::kServe);
  CHECK(command.config.models[0].backends[0].path == "a/b");
  const Command flag = parse_command_line({"serve", "--model", "${MODEL}"}, environment);
  REQUIRE(flag.kind == Command::Kind::kServe);
  CHECK(flag.config.models[0].backends[0].path == "${MODEL}");
}

}  // namespace
}  // namespace sluice
