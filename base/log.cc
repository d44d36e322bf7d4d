// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <cmath>
#include <cstdio>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/json.h"

namespace sluice {
namespace {

// Messages are constants in the program, so there are far fewer; whoever breaks that rule loses the
// counts, not the memory.
constexpr size_t kMessagesMax = 1024;

// Hands whole lines to a function.
class FunctionSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FunctionSink(Log::Sink to) : sink_(std::move(to)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    sink_({line.data(), line.size()});
  }
  void flush_() override {}

  Log::Sink sink_;
};

constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                 spdlog::level::warn, spdlog::level::err};
spdlog::level::level_enum level_of(LogLevel level) { return kLevels[static_cast<size_t>(level)]; }

void append_json(std::string& out, std::string_view text) { append_json_string(out, text); }
void append_json(std::string& out, int64_t number) { out += std::to_string(number); }
void append_json(std::string& out, uint64_t number) { out += std::to_string(number); }
void append_json(std::string& out, bool flag) { out += flag ? "true" : "false"; }
void append_json(std::string& out, double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", number);
  out += std::isfinite(number) ? text : "null";
}

// Text without quotes where nobody could misread it; else as a JSON string.
void append_plain(std::string& out, std::string_view text) {
  bool plain = !text.empty();
  for (const char c : text) plain = plain && c > ' ' && c < 0x7f && c != '"' && c != '=';
  if (plain) {
    out += text;
  } else {
    append_json_string(out, text);
  }
}

void append_fields(std::string& out, LogFormat format, LogFields fields) {
  for (const LogField& field : fields) {
    if (format == LogFormat::kJson) {
      out += ',';
      append_json_string(out, field.key);
      out += ':';
      std::visit([&](auto value) { append_json(out, value); }, field.value);
      continue;
    }
    out += ' ';
    out += field.key;
    out += '=';
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      append_plain(out, *text);
    } else {
      std::visit([&](auto value) { append_json(out, value); }, field.value);
    }
  }
}

}  // namespace

std::optional<LogLevel> log_level_from(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warn") return LogLevel::kWarn;
  if (name == "error") return LogLevel::kError;
  return std::nullopt;
}

std::optional<LogFormat> log_format_from(std::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return std::nullopt;
}

struct Log::Impl {
  // How often a message was written in the second that began at `since`.
  struct Window {
    Instant since;
    uint32_t written = 0;
    uint64_t suppressed = 0;  // since the last one written
  };

  Impl(const LogOptions& the_options, Clock the_clock, Sink sink)
      : options(the_options),
        clock(std::move(the_clock)),
        logger("sluice", std::make_shared<FunctionSink>(std::move(sink))) {
    const char* pattern = options.format == LogFormat::kJson
                              ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                              : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
    logger.set_formatter(
        std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc, "\n"));
    logger.set_level(spdlog::level::debug);
  }

  // Whether `message` may be written now; if so, `suppressed` is how many were not before it.
  bool admit(std::string_view message, uint64_t& suppressed) {
    const Instant now = clock();
    const std::lock_guard lock(mutex);
    auto found = windows.find(std::string(message));
    if (found == windows.end()) {
      if (windows.size() >= kMessagesMax) windows.clear();
      found = windows.emplace(message, Window{now}).first;
    }
    Window& window = found->second;
    if (now - window.since >= seconds(1)) {
      window.since = now;
      window.written = 0;
    }
    if (window.written >= options.same_per_second_max) {
      ++window.suppressed;
      return false;
    }
    ++window.written;
    suppressed = std::exchange(window.suppressed, 0);
    return true;
  }

  void write(LogLevel level, std::string_view message, LogFields fields, uint64_t suppressed) {
    std::string line;
    line.reserve(256);
    if (options.format == LogFormat::kJson) {
      line += "\"message\":";
      append_json_string(line, message);
    } else {
      line += message;
    }
    append_fields(line, options.format, fields);
    if (suppressed > 0) append_fields(line, options.format, {{"suppressed", suppressed}});
    logger.log(level_of(level), spdlog::string_view_t(line.data(), line.size()));
  }

  const LogOptions options;
  const Clock clock;
  spdlog::logger logger;

  std::mutex mutex;  // guards `windows`
  std::unordered_map<std::string, Window> windows;
};

Log::Log(const LogOptions& options, Clock clock)
    : Log(options, std::move(clock),
          [](std::string_view line) { std::fwrite(line.data(), 1, line.size(), stderr); }) {}

Log::Log(const LogOptions& options, Clock clock, Sink sink)
    : impl_(std::make_unique<Impl>(options, std::move(clock), std::move(sink))) {}

Log::~Log() = default;

bool Log::enabled(LogLevel level) const { return level >= impl_->options.level; }

void Log::write(LogLevel level, std::string_view message, LogFields fields) {
  uint64_t suppressed = 0;
  if (!enabled(level) || !impl_->admit(message, suppressed)) return;
  impl_->write(level, message, fields, suppressed);
}

void Log::debug(std::string_view message, LogFields fields) {
  write(LogLevel::kDebug, message, fields);
}
void Log::info(std::string_view message, LogFields fields) {
  write(LogLevel::kInfo, message, fields);
}
void Log::warn(std::string_view message, LogFields fields) {
  write(LogLevel::kWarn, message, fields);
}
void Log::error(std::string_view message, LogFields fields) {
  write(LogLevel::kError, message, fields);
}

bool Log::access_enabled() const { return impl_->options.access; }

void Log::access(const AccessLine& line) {
  if (!access_enabled()) return;
  impl_->write(LogLevel::kInfo, "request",
               {{"peer", line.peer},
                {"method", line.method},
                {"target", line.target},
                {"status", line.status},
                {"bytes_received", line.bytes_received},
                {"bytes_sent", line.bytes_sent},
                {"took_ms", static_cast<double>(line.took.ns) * 1e-6},
                {"request_id", line.request_id}},
               0);
}

}  // namespace sluice
