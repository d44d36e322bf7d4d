// SPDX-License-Identifier: Apache-2.0
// The tables: one entry per key. Limits are wide, they keep out slips (a missing unit, a zero too
// many) and what the code cannot hold, not what is merely unwise.

#include <algorithm>
#include <vector>

#include "gateway/settings.h"
#include "gateway/settings_upstream.h"
#include "gateway/units.h"

namespace sluice {

namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;
constexpr uint64_t kTiB = 1024 * kGiB;
constexpr Duration kHour = seconds(3600);

Error invalid(std::string message) {
  return {.code = Code::kInvalid, .message = std::move(message)};
}

Result<Done> set_listen(Config& config, std::string_view text) {
  Result<Address> address = parse_address(text);
  if (!address.ok()) return address.error();
  config.listen = std::move(address).value();
  return Done{};
}

Result<Done> set_admin(Config& config, std::string_view text) {
  if (text == "off") {
    config.admin.reset();
    return Done{};
  }
  Result<Address> address = parse_address(text);
  if (!address.ok()) return invalid(address.error().message + ", or off");
  config.admin = std::move(address).value();
  return Done{};
}

std::string show_admin(const Config& config) {
  return config.admin ? format_address(*config.admin) : "off";
}

Result<Done> set_log_level(Config& config, std::string_view text) {
  const std::optional<LogLevel> level = log_level_from(text);
  if (!level) return invalid("must be debug, info, warn or error");
  config.log.level = *level;
  return Done{};
}

std::string show_log_level(const Config& config) {
  switch (config.log.level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      break;
  }
  return "error";
}

Result<Done> set_log_format(Config& config, std::string_view text) {
  const std::optional<LogFormat> format = log_format_from(text);
  if (!format) return invalid("must be text or json");
  config.log.format = *format;
  return Done{};
}

std::string show_log_format(const Config& config) {
  return config.log.format == LogFormat::kJson ? "json" : "text";
}

Result<Done> set_name(ModelConfig& model, std::string_view text) {
  if (!is_model_name(text)) {
    return invalid("must be 1 to 200 visible ASCII characters without quotes and backslashes");
  }
  model.name = text;
  return Done{};
}

Result<Done> set_on_too_long(ModelConfig& model, std::string_view text) {
  if (text != "truncate" && text != "error") return invalid("must be truncate or error");
  model.on_too_long = text == "error" ? OnTooLong::kError : OnTooLong::kTruncate;
  return Done{};
}

std::string show_on_too_long(const ModelConfig& model) {
  return model.on_too_long == OnTooLong::kError ? "error" : "truncate";
}

Result<Done> set_merge(ModelConfig& model, std::string_view text) {
  if (text != "on" && text != "shadow" && text != "off")
    return invalid("must be on, shadow or off");
  model.merge = text == "on"       ? MergeMode::kOn
                : text == "shadow" ? MergeMode::kShadow
                                   : MergeMode::kOff;
  return Done{};
}

std::string show_merge(const ModelConfig& model) {
  switch (model.merge) {
    case MergeMode::kOn:
      return "on";
    case MergeMode::kShadow:
      return "shadow";
    case MergeMode::kOff:
      break;
  }
  return "off";
}

Result<Done> set_kind(BackendConfig& backend, std::string_view text) {
  if (text != "local" && text != "http")
    return invalid(
        "must be local or http; runpod, modal and lambda are not available in this "
        "version");
  backend.kind = text == "http" ? BackendConfig::Kind::kHttp : BackendConfig::Kind::kLocal;
  return Done{};
}

std::string show_kind(const BackendConfig& backend) {
  return backend.kind == BackendConfig::Kind::kHttp ? "http" : "local";
}

Result<Done> set_path(BackendConfig& backend, std::string_view text) {
  constexpr size_t kPathBytesMax = 4000;  // the system's own limit is 4096
  if (text.empty() || text.size() > kPathBytesMax || text.find('\0') != std::string_view::npos) {
    return invalid("must be the model's folder or echo");
  }
  Result<std::optional<EchoTimes>> echo = parse_echo(text);
  if (!echo.ok()) return echo.error();
  backend.echo = echo.value();
  backend.path = backend.echo ? std::string_view{} : text;
  return Done{};
}

std::string show_path(const BackendConfig& backend) {
  if (!backend.echo) return backend.path;
  return "echo:a=" + format_duration(backend.echo->per_batch) +
         ",b=" + format_duration(backend.echo->per_item);
}

Result<Done> set_backend_name(BackendConfig& backend, std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (text.empty() || text.size() > 64 || !std::ranges::all_of(text, plain))
    return invalid("must be 1 to 64 of A-Z, a-z, 0-9, \".\", \"_\" and \"-\"");
  backend.name = text;
  return Done{};
}

Result<Done> set_device(BackendConfig& backend, std::string_view text) {
  constexpr uint64_t kDevicesMax = 64;
  using Kind = DeviceChoice::Kind;
  if (text == "auto" || text == "cpu") {
    backend.device = {.kind = text == "cpu" ? Kind::kCpu : Kind::kAuto};
    return Done{};
  }
  if (text == "cuda") text = "cuda:0";
  constexpr std::string_view kCudaPrefix = "cuda:";
  if (text.starts_with(kCudaPrefix)) {
    const Result<uint64_t> index = parse_count(text.substr(kCudaPrefix.size()));
    if (index.ok() && index.value() < kDevicesMax) {
      backend.device = {.kind = Kind::kCuda, .index = static_cast<uint32_t>(index.value())};
      return Done{};
    }
  }
  return invalid("must be auto, cpu, cuda or cuda:N with N from 0 to 63");
}

std::string show_device(const BackendConfig& backend) {
  switch (backend.device.kind) {
    case DeviceChoice::Kind::kAuto:
      return "auto";
    case DeviceChoice::Kind::kCpu:
      return "cpu";
    case DeviceChoice::Kind::kCuda:
      break;
  }
  return "cuda:" + std::to_string(backend.device.index);
}

Result<Done> set_precision(BackendConfig& backend, std::string_view text) {
  const Result<PrecisionChoice> precision = parse_precision(text);
  if (!precision.ok()) return invalid("must be auto, f32 or bf16");
  backend.precision = precision.value();
  return Done{};
}

std::string show_precision(const BackendConfig& backend) {
  if (backend.precision == PrecisionChoice::kAuto) return "auto";
  return backend.precision == PrecisionChoice::kF32 ? "f32" : "bf16";
}

using Process = Setting<Config>;
using Model = Setting<ModelConfig>;
using Backend = Setting<BackendConfig>;

std::vector<Process> make_process() {
  using Count = CountField<Config>;
  using Switch = SwitchField<Config>;
  using Text = TextField<Config>;
  const auto show_listen = [](const Config& c) { return format_address(c.listen); };
  return {
      {"listen", "--listen", "where clients connect; port 0 takes any free one",
       Text{set_listen, show_listen, "HOST:PORT"}},
      {"admin", "--admin", "where health, readiness and metrics are asked for",
       Text{set_admin, show_admin, "HOST:PORT or off"}},
      {"io_threads", "--io-threads", "threads that serve connections",
       Count{[](Config& c) -> uint64_t& { return c.io_threads; }, 1, 64}},
      {"threads", "--threads",
       "threads of each model on the CPU; 0: the cores this process may use less one, at least one",
       Count{[](Config& c) -> uint64_t& { return c.threads; }, 0, 256}},
      {"half_close", "", "a client that has shut down its sending side still wants its answer",
       Switch{[](Config& c) -> bool& { return c.limits.connection.half_close; }}},
      {"access_log", "--access-log", "one log line per request",
       Switch{[](Config& c) -> bool& { return c.log.access; }}},
      {"log.level", "--log-level", "the least that is logged",
       Text{set_log_level, show_log_level, "debug, info, warn or error"}},
      {"log.format", "--log-format", "lines for people or one JSON object a line",
       Text{set_log_format, show_log_format, "text or json"}},
  };
}

void append_sizes(std::vector<Process>& table) {
  using Count = CountField<Config>;
  using Bytes = BytesField<Config>;
  const Process sizes[] = {
      {"limits.bytes_held_max", "",
       "bytes of requests and answers held by the whole process; a quarter may wait for a model",
       Bytes{[](Config& c) -> uint64_t& { return c.limits.bytes_held_max; }, kMiB, kTiB}},
      {"limits.connections_max", "", "client connections at a time",
       Count{[](Config& c) -> uint64_t& { return c.limits.connections_max; }, 1, 1'000'000}},
      {"limits.body_bytes_max", "--body-bytes-max", "bytes of one request's body; beyond: 413",
       Bytes{[](Config& c) -> uint64_t& { return c.limits.connection.http.body_bytes_max; }, kKiB,
             kGiB}},
      {"limits.line_bytes_max", "", "bytes of a request line; beyond: 414",
       Bytes{[](Config& c) -> uint64_t& { return c.limits.connection.http.line_bytes_max; }, 256,
             kMiB}},
      {"limits.headers_max", "", "header fields of one request; beyond: 431",
       Count{[](Config& c) -> uint64_t& { return c.limits.connection.http.headers_max; }, 8, 1000}},
      {"limits.headers_bytes_max", "", "bytes of all header fields of one request; beyond: 431",
       Bytes{[](Config& c) -> uint64_t& { return c.limits.connection.http.headers_bytes_max; },
             kKiB, kMiB}},
      {"limits.output_bytes_max", "",
       "unsent bytes on one connection; beyond, its next request is not read",
       Bytes{[](Config& c) -> uint64_t& { return c.limits.connection.output_bytes_max; }, 64 * kKiB,
             kGiB}},
      {"limits.pipelined_bytes_max", "", "bytes read ahead on a connection that awaits an answer",
       Bytes{[](Config& c) -> uint64_t& { return c.limits.connection.pipelined_bytes_max; }, kKiB,
             kGiB}},
      {"limits.keys_max", "", "kinds of requests that wait at a time; beyond: 429",
       Count{[](Config& c) -> uint64_t& { return c.limits.keys_max; }, 1, 1'000'000}},
      {"limits.tenants_max", "", "tenants that wait at a time, per kind of request; beyond: 429",
       Count{[](Config& c) -> uint64_t& { return c.limits.tenants_max; }, 1, 1'000'000}},
      {"limits.attempts_max", "", "calls an item may be part of before its failure is answered",
       Count{[](Config& c) -> uint64_t& { return c.limits.attempts_max; }, 1, 16}},
  };
  table.insert(table.end(), std::begin(sizes), std::end(sizes));
}

void append_times(std::vector<Process>& table) {
  using Time = DurationField<Config>;
  constexpr Duration kLeast = milliseconds(10);
  const Process times[] = {
      {"limits.header_timeout", "", "from a request's first byte to the end of its head",
       Time{[](Config& c) -> Duration& { return c.limits.connection.header_timeout; }, kLeast,
            kHour}},
      {"limits.body_timeout", "", "from the end of a request's head to the end of its body",
       Time{[](Config& c) -> Duration& { return c.limits.connection.body_timeout; }, kLeast,
            kHour}},
      {"limits.idle_timeout", "", "for a connection without a request",
       Time{[](Config& c) -> Duration& { return c.limits.connection.idle_timeout; }, kLeast,
            kHour * 24}},
      {"limits.linger", "", "reading on after an answer that came early, so that it arrives",
       Time{[](Config& c) -> Duration& { return c.limits.connection.linger; }, {}, kHour}},
      {"limits.drain_max", "--drain-max",
       "after SIGTERM, for the answers to what was accepted; 0 waits for nothing",
       Time{[](Config& c) -> Duration& { return c.limits.drain_max; }, {}, kHour}},
      {"limits.priority_step", "", "the waiting time that one level of x-sluice-priority is worth",
       Time{[](Config& c) -> Duration& { return c.limits.priority_step; }, {}, kHour}},
  };
  table.insert(table.end(), std::begin(times), std::end(times));
}

std::vector<Model> make_model() {
  using Count = CountField<ModelConfig>;
  using Bytes = BytesField<ModelConfig>;
  using Time = DurationField<ModelConfig>;
  using Text = TextField<ModelConfig>;
  using M = ModelConfig;
  return {
      {"name", "--model-name",
       "what clients call the model; left out: the last component of its folder",
       Text{set_name, [](const M& m) { return m.name; }, "1 to 200 visible ASCII characters"}},
      {"on_too_long", "--on-too-long", "what becomes of a text longer than the model can take",
       Text{set_on_too_long, show_on_too_long, "truncate or error"}},
      {"merge", "--merge",
       "requests that can share a call do (on), are only counted (shadow), or neither (off)",
       Text{set_merge, show_merge, "on, shadow or off"}},
      {"batch.items_max", "--batch-items-max", "items of one batch; 1 turns batching off",
       Count{[](M& m) -> uint64_t& { return m.batch.items_max; }, 1, 65'536}},
      {"batch.tokens_max", "--batch-tokens-max", "tokens of one batch; 0: tokens do not count",
       Count{[](M& m) -> uint64_t& { return m.batch.tokens_max; }, 0, 16'777'216}},
      {"batch.bytes_max", "", "payload bytes of one batch",
       Bytes{[](M& m) -> uint64_t& { return m.batch.bytes_max; }, kKiB, kGiB}},
      {"batch.wait_max", "--wait-max",
       "how long a batch is held for company; 0 lets a free slot take what waits",
       Time{[](M& m) -> Duration& { return m.batch.wait_max; }, {}, seconds(60)}},
      {"queue.items_max", "--queue-items-max", "items that wait; beyond: 429",
       Count{[](M& m) -> uint64_t& { return m.queue.items_max; }, 1, 10'000'000}},
      {"queue.bytes_max", "", "payload bytes that wait; beyond: 429",
       Bytes{[](M& m) -> uint64_t& { return m.queue.bytes_max; }, kKiB, kTiB}},
      {"queue.tenant_items_max", "", "items of one tenant that wait; 0: as queue.items_max",
       Count{[](M& m) -> uint64_t& { return m.queue.tenant_items_max; }, 0, 10'000'000}},
      {"queue.deadline", "", "how long a request may take that brings no deadline; beyond: 504",
       Time{[](M& m) -> Duration& { return m.queue.deadline; }, milliseconds(1), kHour * 24}},
  };
}

std::vector<Backend> make_backend() {
  using B = BackendConfig;
  using Count = CountField<B>;
  using Time = DurationField<B>;
  using Text = TextField<B>;
  return {
      {"kind", "", "what runs the batches: a model inside the process or an HTTP endpoint",
       Text{set_kind, show_kind, "local or http"}},
      {"name", "", "what metrics and x-sluice-backend call it; empty: its kind and number",
       Text{set_backend_name, [](const B& b) { return b.name; }, "1 to 64 of A-Z a-z 0-9 . _ -"}},
      {"path", "--model",
       "the model's folder, or the test engine: busy for a and b more per item, a vector of the "
       "bytes",
       Text{set_path, show_path, "DIR or echo[:a=TIME,b=TIME]"}},
      {"device", "--device",
       "where the model runs; auto: the first GPU if there is one; cuda: the first",
       Text{set_device, show_device, "auto, cpu, cuda or cuda:N"}},
      {"precision", "--precision", "numbers to compute in; auto: the fastest that is exact enough",
       Text{set_precision, show_precision, "auto, f32 or bf16"}},
      {"threads", "", "threads of this model; 0: as the key threads at the top",
       Count{[](B& b) -> uint64_t& { return b.threads; }, 0, 256}},
      {"unload_after", "--unload-after",
       "without work for so long, a GPU's weights leave it until the next request; 0: never",
       Time{[](B& b) -> Duration& { return b.unload_after; }, {}, kHour * 24 * 7}},
  };
}

}  // namespace

std::span<const Setting<Config>> process_settings() {
  static const std::vector<Process> table = [] {
    std::vector<Process> all = make_process();
    append_sizes(all);
    append_times(all);
    return all;
  }();
  return table;
}

std::span<const Setting<ModelConfig>> model_settings() {
  static const std::vector<Model> table = make_model();
  return table;
}

std::span<const Setting<BackendConfig>> backend_settings() {
  static const std::vector<Backend> table = [] {
    std::vector<Backend> all = make_backend();
    append_upstream_settings(all);
    return all;
  }();
  return table;
}

}  // namespace sluice
