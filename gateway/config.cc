// SPDX-License-Identifier: Apache-2.0
#include "gateway/config.h"

#include <algorithm>
#include <map>

#include "base/assert.h"
#include "base/http1_head.h"
#include "gateway/units.h"

namespace sluice {

namespace {

constexpr Duration kEchoMax = seconds(60);

// The core's budget counts waiting rows alone; bodies being read, rows made of them and answers
// being written are as much again each.
constexpr uint64_t kQueuedShare = 4;

bool is_variable_byte(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

std::string default_name(const BackendConfig& backend) {
  if (backend.kind == BackendConfig::Kind::kHttp) return std::string(kAnyModel);
  if (backend.echo) return "echo";
  std::string_view path = backend.path;
  while (path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

// What metrics and answers call a backend, the `index`-th of the file.
std::string label_of(const BackendConfig& backend, size_t index) {
  if (!backend.name.empty()) return backend.name;
  const bool is_http = backend.kind == BackendConfig::Kind::kHttp;
  return (is_http ? "http-" : "local-") + std::to_string(index);
}

std::string at(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

// Names and aliases share one space: a client's `model` must mean one thing.
void check_names(const Config& config, std::vector<ConfigProblem>& problems) {
  std::map<std::string_view, std::string> owners;
  const auto claim = [&](std::string_view name, const std::string& path) {
    const auto [owner, is_new] = owners.emplace(name, path);
    if (!is_new) problems.push_back({path, "is the same name as " + owner->second});
  };
  for (size_t m = 0; m < config.models.size(); ++m) {
    const ModelConfig& model = config.models[m];
    const std::string path = at("models", m);
    if (!is_model_name(model.name)) {
      problems.push_back({path + ".name",
                          "must be 1 to 200 visible ASCII characters without quotes and "
                          "backslashes; a name left out is that of the model's folder"});
    }
    claim(model.name, path + ".name");
    for (size_t a = 0; a < model.aliases.size(); ++a) {
      claim(model.aliases[a], path + "." + at("aliases", a));
    }
  }
}

// Backends have labels in metrics, which must mean one thing too.
void check_backend_names(const Config& config, std::vector<ConfigProblem>& problems) {
  std::map<std::string, std::string> owners = {{"passthrough", "what is passed through"}};
  size_t index = 0;
  for (size_t m = 0; m < config.models.size(); ++m) {
    for (size_t b = 0; b < config.models[m].backends.size(); ++b, ++index) {
      const std::string path = at("models", m) + "." + at("backends", b) + ".name";
      const auto [owner, is_new] =
          owners.emplace(label_of(config.models[m].backends[b], index), path);
      if (!is_new) problems.push_back({path, "is the same name as " + owner->second});
    }
  }
  if (config.passthrough && !config.passthrough->name.empty())
    problems.push_back({"passthrough.name", "cannot be chosen: it is passthrough"});
}

void check_backend(const BackendConfig& backend, const std::string& path,
                   std::vector<ConfigProblem>& problems) {
  if (backend.kind == BackendConfig::Kind::kHttp) {
    if (backend.upstream.url.empty())
      problems.push_back({path + ".url", "is needed: the base URL of the endpoint"});
    if (!backend.path.empty() || backend.echo)
      problems.push_back({path + ".path", "is for models inside the process, not for a url"});
    if (backend.upstream.tls.certificate_file.empty() != backend.upstream.tls.key_file.empty())
      problems.push_back({path + ".tls", "needs certificate_file and key_file, or neither"});
  } else if (backend.path.empty() && !backend.echo) {
    problems.push_back({path + ".path", "is needed: the folder of the model, or echo"});
  }
}

void check_model(const ModelConfig& model, const std::string& path,
                 std::vector<ConfigProblem>& problems) {
  const auto require = [&](bool holds, const char* key, const char* message) {
    if (!holds) problems.push_back({path + key, message});
  };
  require(model.batch.items_max <= model.queue.items_max, ".batch.items_max",
          "must be at most queue.items_max of the same model: a batch is made of what waits");
  require(model.batch.bytes_max <= model.queue.bytes_max, ".batch.bytes_max",
          "must be at most queue.bytes_max of the same model: a batch is made of what waits");
  require(model.queue.tenant_items_max <= model.queue.items_max, ".queue.tenant_items_max",
          "must be at most queue.items_max of the same model");
  require(model.batch.wait_max < model.queue.deadline, ".batch.wait_max",
          "must be shorter than queue.deadline of the same model: everything would expire");
  require(!model.backends.empty(), ".backends", "needs at least one backend");
  for (size_t b = 0; b < model.backends.size(); ++b) {
    const BackendConfig& backend = model.backends[b];
    check_backend(backend, path + "." + at("backends", b), problems);
  }
}

}  // namespace

std::string format_problem(const ConfigProblem& problem, std::string_view file) {
  std::string out(file);
  if (problem.line > 0) {
    out += ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column);
  }
  if (!out.empty()) out += ": ";
  if (!problem.path.empty()) out += problem.path + ": ";
  return out + problem.message;
}

void finish_config(Config& config) {
  for (ModelConfig& model : config.models) {
    if (model.name.empty() && !model.backends.empty()) {
      model.name = default_name(model.backends.front());
    }
  }
}

std::vector<ConfigProblem> check_config(const Config& config) {
  std::vector<ConfigProblem> problems;
  if (config.models.empty() && !config.passthrough)
    problems.push_back({"models", "needs at least one model, or passthrough"});
  if (config.passthrough) check_backend(*config.passthrough, "passthrough", problems);
  if (config.admin && config.listen.port != 0 && config.admin->port == config.listen.port &&
      config.admin->host == config.listen.host) {
    problems.push_back({"admin", "must be another address than listen, or off"});
  }
  if (config.limits.connection.http.body_bytes_max > config.limits.bytes_held_max / kQueuedShare) {
    problems.push_back({"limits.body_bytes_max",
                        "must be at most a quarter of limits.bytes_held_max: a larger body could "
                        "never be let in"});
  }
  for (size_t m = 0; m < config.models.size(); ++m) {
    check_model(config.models[m], at("models", m), problems);
  }
  check_names(config, problems);
  check_backend_names(config, problems);
  return problems;
}

bool is_model_name(std::string_view name) {
  constexpr size_t kNameBytesMax = 200;
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

std::optional<Error> check_own_header(std::string_view name, std::string_view value) {
  constexpr size_t kValueBytesMax = 16 * 1024;
  static constexpr std::string_view kOurs[] = {
      "connection", "keep-alive",        "proxy-connection", "te",   "trailer",
      "upgrade",    "transfer-encoding", "content-length",   "host", "expect"};
  if (!http1::is_token(name)) return Error{Code::kInvalid, "is not a header's name"};
  if (std::ranges::any_of(kOurs,
                          [&](std::string_view our) { return http1::equal_any_case(our, name); }))
    return Error{Code::kInvalid, "is a header that the gateway itself must set"};
  const bool clean = std::all_of(value.begin(), value.end(), [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
  if (!clean || value.size() > kValueBytesMax)
    return Error{Code::kInvalid, "has a value with control characters, or one that is too long"};
  return std::nullopt;
}

Result<std::optional<EchoTimes>> parse_echo(std::string_view path) {
  const auto error = [](const char* message) { return Error{Code::kInvalid, message}; };
  if (path != "echo" && !path.starts_with("echo:")) return std::optional<EchoTimes>{};
  const Result<EchoTimes> times = parse_echo_spec(path);
  if (!times.ok()) {
    return error("must be echo with a (time per batch) and b (time per item): echo:a=2ms,b=0.1ms");
  }
  if (times.value().per_batch > kEchoMax || times.value().per_item > kEchoMax) {
    return error("must have times of at most 60s for a and b: echo:a=2ms,b=0.1ms");
  }
  return std::optional(times.value());
}

Result<std::string> expand_variables(std::string_view raw, const Environment& environment) {
  std::string out;
  while (!raw.empty()) {
    const size_t dollar = raw.find('$');
    out += raw.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    raw.remove_prefix(dollar);
    if (raw.starts_with("$${")) {
      out += "${";
      raw.remove_prefix(3);
      continue;
    }
    if (!raw.starts_with("${")) {
      out += '$';
      raw.remove_prefix(1);
      continue;
    }
    const size_t close = raw.find('}');
    const std::string_view name = raw.substr(2, close == std::string_view::npos ? 0 : close - 2);
    if (name.empty() || !std::all_of(name.begin(), name.end(), is_variable_byte)) {
      return Error{Code::kInvalid, "has a \"${\" that is not followed by a name and \"}\""};
    }
    const std::optional<std::string> value = environment(name);
    if (!value) {
      return Error{Code::kInvalid,
                   "needs the environment variable " + std::string(name) + ", which is not set"};
    }
    out += *value;
    raw.remove_prefix(close + 1);
  }
  return out;
}

namespace {

// The breaker of the endpoint that things are passed through to, which merged calls to it share.
constexpr uint32_t kPassBreaker = 0;

// What is passed through is a model of its own, whose calls have one request each.
void append_passthrough(const Config& config, CoreOptions& options) {
  const uint64_t slots = config.passthrough->upstream.slots;
  const uint64_t most = config.limits.connections_max;
  ModelOptions& model = options.models.emplace_back();
  model.name = "passthrough";
  model.batch = {.items_max = 1, .bytes_max = UINT64_MAX, .tokens_max = 0};
  model.queue.items_max = model.queue.tenant_items_max = most;
  model.learns_busy = true;
  model.queue.deadline = seconds(86'400 * 365);  // HttpTimeouts bound it, and the client's patience
  model.backends = {static_cast<BackendIndex>(options.backends.size())};
  BackendOptions& backend = options.backends.emplace_back();
  backend.name = "passthrough";
  backend.slots = static_cast<uint32_t>(slots > 0 ? slots : most);
  backend.repeatable = false;  // it may have had an effect
  backend.breaker = kPassBreaker;
}

BackendOptions backend_options(const Config& config, const BackendConfig& backend, size_t index,
                               uint32_t slots) {
  BackendOptions options;
  options.slots = slots;
  options.name = label_of(backend, index);
  if (backend.kind == BackendConfig::Kind::kLocal) {
    options.breaker_failures = 0;  // there is no other place to go to
    return options;
  }
  options.repeatable = backend.upstream.repeatable;
  options.bisect_5xx = backend.upstream.bisect_5xx;
  if (config.passthrough && config.passthrough->upstream.url == backend.upstream.url)
    options.breaker = kPassBreaker;
  return options;
}

}  // namespace

CoreOptions core_options(const Config& config, std::span<const uint32_t> slots) {
  CoreOptions options;
  options.queued_bytes_max = config.limits.bytes_held_max / kQueuedShare;
  options.attempts_max = static_cast<uint32_t>(config.limits.attempts_max);
  options.priority_step = config.limits.priority_step;
  options.keys_max = config.limits.keys_max;
  options.tenants_max = config.limits.tenants_max;
  for (const ModelConfig& model : config.models) {
    ModelOptions& out = options.models.emplace_back(ModelOptions{
        .name = model.name, .batch = model.batch, .queue = model.queue, .backends = {}});
    if (out.queue.tenant_items_max == 0) out.queue.tenant_items_max = out.queue.items_max;
    for (size_t b = 0; b < model.backends.size(); ++b) {
      const size_t index = options.backends.size();
      ASSERT(index < slots.size());
      out.backends.push_back(static_cast<BackendIndex>(index));
      options.backends.push_back(backend_options(config, model.backends[b], index, slots[index]));
    }
  }
  ASSERT(options.backends.size() == slots.size());
  if (config.passthrough) append_passthrough(config, options);
  return options;
}

std::vector<std::string> backend_names(const Config& config) {
  size_t backends = 0;
  for (const ModelConfig& model : config.models) backends += model.backends.size();
  std::vector<std::string> names;
  for (BackendOptions& backend : core_options(config, std::vector<uint32_t>(backends, 1)).backends)
    names.push_back(std::move(backend.name));
  return names;
}

std::vector<bool> endpoints_of(const Config& config) {
  std::vector<bool> endpoints;
  for (const ModelConfig& model : config.models) {
    for (const BackendConfig& backend : model.backends)
      endpoints.push_back(backend.kind == BackendConfig::Kind::kHttp);
  }
  if (config.passthrough) endpoints.push_back(true);
  return endpoints;
}

}  // namespace sluice
