// SPDX-License-Identifier: Apache-2.0
#pragma once
// Log: one line per thing worth telling, as text or as JSON, with key=value fields. It is passed to
// whoever logs and is never global. The same message is written at most so many times a second, so
// that a flood of failures cannot fill a disk; what was left out is counted in the next line.
// Thread-safe. The .cc is the only user of spdlog, which stamps the time.

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>

#include "base/time.h"

namespace sluice {

// How much a line matters, rising.
enum class LogLevel { kDebug, kInfo, kWarn, kError };
// How lines look.
enum class LogFormat { kText, kJson };

// "debug", "info", "warn" or "error" as a level, "text" or "json" as a format; else nothing.
std::optional<LogLevel> log_level_from(std::string_view name);
std::optional<LogFormat> log_format_from(std::string_view name);

// What a log writes, and how.
struct LogOptions {
  LogLevel level = LogLevel::kInfo;  // what is below it is dropped
  LogFormat format = LogFormat::kText;
  bool access = false;                // whether access() writes anything
  uint32_t same_per_second_max = 10;  // lines with the same message
};

// One field of a line. It borrows its key and its text: it lives only within the call.
struct LogField {
  std::string_view key;
  std::variant<std::string_view, int64_t, uint64_t, double, bool> value;

  // Under `k`, the value `v`: a truth, a number, or anything that is text.
  template <typename T>
  LogField(std::string_view k, const T& v) : key(k) {
    if constexpr (std::same_as<T, bool>) {
      value = v;
    } else if constexpr (std::floating_point<T>) {
      value = static_cast<double>(v);
    } else if constexpr (std::signed_integral<T>) {
      value = static_cast<int64_t>(v);
    } else if constexpr (std::unsigned_integral<T>) {
      value = static_cast<uint64_t>(v);
    } else {
      value = std::string_view(v);
    }
  }
};
// The fields of a line, as a call writes them: {{"port", 80}, {"host", "::1"}}.
using LogFields = std::initializer_list<LogField>;

// What the access log says about one request.
struct AccessLine {
  std::string_view peer;    // "127.0.0.1:5123"
  std::string_view method;  // "POST"
  std::string_view target;  // "/v1/embeddings"
  std::string_view request_id;
  int status = 0;
  uint64_t bytes_received = 0;  // of the request's body
  uint64_t bytes_sent = 0;      // of the response's body
  Duration took = {};           // from the first byte of the request to the last of the response
};

class Log {
 public:
  // Tells the time for the limit on equal messages; called on the thread that logs.
  using Clock = std::function<Instant()>;
  // Takes one whole line with its line feed; never called by two threads at once.
  using Sink = std::function<void(std::string_view line)>;

  // Writes to stderr.
  Log(const LogOptions& options, Clock clock);
  // Writes to `sink`.
  Log(const LogOptions& options, Clock clock, Sink sink);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Whether a line of `level` would be written, for callers whose fields cost something to make.
  bool enabled(LogLevel level) const;
  // Writes a line. `message` is what the limit counts by, so it should be a constant and what
  // varies should be a field. Keys are ours: lower case, without blanks or quotes.
  void write(LogLevel level, std::string_view message, LogFields fields = {});
  // The same, each with its level.
  void debug(std::string_view message, LogFields fields = {});
  void info(std::string_view message, LogFields fields = {});
  void warn(std::string_view message, LogFields fields = {});
  void error(std::string_view message, LogFields fields = {});

  // Whether access() writes anything.
  bool access_enabled() const;
  // Writes the access log's line for one request, whatever the level and without a limit.
  void access(const AccessLine& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
