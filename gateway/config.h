// SPDX-License-Identifier: Apache-2.0
#pragma once
// Config: everything a user can set, as plain values. The defaults stand in these structs; the
// keys, their limits and what they mean stand in settings_table.cc, which the file reader, the
// command line and docs/CONFIGURATION.md all follow.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dial.h"
#include "backends/echo_times.h"
#include "backends/embedded_model.h"
#include "backends/http_client.h"
#include "backends/precision.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/result.h"
#include "base/time.h"
#include "batcher/core.h"
#include "gateway/connection.h"

namespace sluice {

// The value of an environment variable, or nothing if it is not set. main passes the real one.
using Environment = std::function<std::optional<std::string>(std::string_view name)>;

// What the process may hold and how long it waits for peers.
struct LimitsConfig {
  uint64_t bytes_held_max = uint64_t{1} << 30;  // of requests and answers, over the whole process
  uint64_t connections_max = 10'000;
  ConnectionLimits connection;
  Duration drain_max = seconds(30);            // for what was accepted, after the first SIGTERM
  uint64_t keys_max = 1024;                    // as CoreOptions
  uint64_t tenants_max = 4096;                 // as CoreOptions
  uint64_t attempts_max = 3;                   // as CoreOptions
  Duration priority_step = milliseconds(500);  // as CoreOptions
};

// Where a local model runs.
struct DeviceChoice {
  enum class Kind { kAuto, kCpu, kCuda };  // kAuto: a GPU if there is one
  Kind kind = Kind::kAuto;
  uint32_t index = 0;  // of the GPU, for kCuda
  friend bool operator==(const DeviceChoice&, const DeviceChoice&) = default;
};

// Which headers tell an upstream whom a request that was passed through came from.
enum class ForwardedStyle { kOff, kXForwarded, kForwarded };

// How an HTTP endpoint is reached and what it speaks.
struct UpstreamConfig {
  std::string url;                 // scheme://host[:port][/prefix]
  std::string dialect = "openai";  // of merged calls
  uint64_t slots = 0;  // calls in flight; 0: kSlotsDefault, or for pass-through no limit
  TlsOptions tls;
  HttpTimeouts timeouts;
  uint64_t connections_max = 4096;                 // as PoolLimits
  uint64_t idle_connections_max = 64;              // as PoolLimits
  Duration keep_alive = seconds(50);               // as PoolLimits::idle_timeout
  Duration age_max = seconds(600);                 // as PoolLimits
  uint64_t response_bytes_max = 64 * 1024 * 1024;  // of a merged call's answer
  bool preserve_host = false;                      // send the client's Host when passing through
  ForwardedStyle forwarded = ForwardedStyle::kOff;
  bool bisect_5xx = false;  // a 500 may be one item's fault
  bool repeatable = true;   // a call that broke may be made again
  // Set on every request, in place of the client's own of these names. A credential among them
  // means that the gateway owns the key: clients' credentials are not sent on.
  std::vector<std::pair<std::string, std::string>> headers;
  // Of the json dialect: paths, JSON pointers into the bodies, whether a request is one item.
  std::vector<std::string> json_paths = {"/"};
  std::string json_items;
  std::string json_answers;
  bool json_single = false;
};
inline constexpr uint32_t kSlotsDefault = 4;

// A place where a model's batches run.
struct BackendConfig {
  // A model in this process, or an HTTP endpoint.
  enum class Kind { kLocal, kHttp };
  Kind kind = Kind::kLocal;
  std::string name;  // for metrics and x-sluice-backend; empty: its kind and number
  // Of a local model.
  std::string path;               // the model's folder; empty for the echo engine
  std::optional<EchoTimes> echo;  // the echo engine instead of a folder
  DeviceChoice device;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  uint64_t threads = 0;   // 0: as Config::threads
  Duration unload_after;  // without work, of a GPU's weights; 0: never
  // Of an HTTP endpoint.
  UpstreamConfig upstream;
};

// What happens to requests that could share a call: they do, or they are only counted, or neither.
enum class MergeMode { kOn, kShadow, kOff };
// The name of a model that takes every name no other model has.
inline constexpr std::string_view kAnyModel = "*";

// A model that clients can name, how it is batched, and where it runs.
struct ModelConfig {
  std::string name;  // empty until finish_config(): the folder's last component, or "echo"
  std::vector<std::string> aliases;
  BatchLimits batch;
  QueueLimits queue = {.tenant_items_max = 0};  // tenant_items_max 0: as items_max
  OnTooLong on_too_long = OnTooLong::kTruncate;
  MergeMode merge = MergeMode::kOn;
  std::vector<BackendConfig> backends;
};

// The whole of it.
struct Config {
  Address listen = {.host = "127.0.0.1", .port = 8080};
  std::optional<Address> admin = Address{.host = "127.0.0.1", .port = 9090};  // nothing: off
  uint64_t io_threads = 1;
  uint64_t threads = 0;  // of each local model on the CPU; 0: one less than the cores it may use
  LimitsConfig limits;
  LogOptions log;
  std::vector<ModelConfig> models;
  // Where everything goes that no model answers; nothing: 404.
  std::optional<BackendConfig> passthrough;
};

// Lists are part of the configuration, so they have limits too.
inline constexpr size_t kModelsMax = 256;
inline constexpr size_t kAliasesMax = 64;   // of one model
inline constexpr size_t kBackendsMax = 16;  // of one model
inline constexpr size_t kHeadersMax = 32;   // of one upstream

// Something wrong with a configuration: which key, and where it stands if it came from a file.
struct ConfigProblem {
  std::string path;     // e.g. "models[0].batch.items_max"; empty: the file as a whole
  std::string message;  // continues the path: "must be at most queue.items_max"
  int line = 0;         // from 1; 0: not from a file
  int column = 0;       // from 1
};

// "FILE:LINE:COLUMN: PATH: MESSAGE", without what is not known.
std::string format_problem(const ConfigProblem& problem, std::string_view file);

// Fills in what follows from other values: names that were left out.
void finish_config(Config& config);

// What no single key can tell: whether the values fit each other. REQUIRES: finish_config() was
// called. The messages hold no values, which may come from the environment.
std::vector<ConfigProblem> check_config(const Config& config);

// Whether `name` can stand in a JSON string, a path and a header as it is: 1 to 200 visible ASCII
// characters but for `"` and `\`.
bool is_model_name(std::string_view name);

// Why `name: value` cannot be a header that the gateway sets on upstream requests; nothing if it
// can. Framing and hop-by-hop headers are the gateway's own. The message holds no value.
std::optional<Error> check_own_header(std::string_view name, std::string_view value);

// "echo", or "echo:a=2ms,b=0.1ms" with either part: what it stands for. Nothing for any other path
// (a folder of that name is "./echo"); kInvalid for a parameter it does not know.
Result<std::optional<EchoTimes>> parse_echo(std::string_view path);

// `raw` with each ${NAME} replaced by that variable and "$${" by "${". kInvalid if a variable is
// missing or a "${" is not followed by a name and "}"; the message holds no variable's value.
Result<std::string> expand_variables(std::string_view raw, const Environment& environment);

// What metrics call the backends, in the order of CoreOptions::backends.
std::vector<std::string> backend_names(const Config& config);
// Which of them are HTTP endpoints, in the same order.
std::vector<bool> endpoints_of(const Config& config);

// The part of `config` that the core decides by. Backends are numbered through in the order of the
// file. `slots` holds what each engine says it can run at a time. REQUIRES: a config without
// problems, one element of `slots` per backend.
CoreOptions core_options(const Config& config, std::span<const uint32_t> slots);

}  // namespace sluice
