// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load_stats.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <numeric>
#include <sstream>

namespace sluice::load {
namespace {

constexpr double kUs = 1e-3;  // nanoseconds to microseconds

[[gnu::format(printf, 2, 3)]] void append(std::string& out, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  out += text;
}

std::optional<Usage> read_one(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = stat.rfind(')');  // the name in brackets may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 1));
  const std::vector<std::string> field{std::istream_iterator<std::string>(fields), {}};
  if (field.size() < 22) return std::nullopt;
  const double ticks =
      std::strtod(field[11].c_str(), nullptr) + std::strtod(field[12].c_str(), nullptr);
  const auto pages = std::strtoull(field[21].c_str(), nullptr, 10);
  return Usage{from_seconds(ticks / static_cast<double>(sysconf(_SC_CLK_TCK))),
               pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE))};
}

double rate(const Report& report) {
  return report.window.ns > 0
             ? static_cast<double>(report.answered_in_window) / report.window.seconds()
             : 0.0;
}

// Server CPU microseconds per answer; negative where it is not known.
double cpu_us_per_request(const Report& report) {
  if (!report.before || !report.after || report.answered_in_window == 0) return -1.0;
  return (report.after->cpu - report.before->cpu).seconds() * 1e6 /
         static_cast<double>(report.answered_in_window);
}

// Memory that each idle connection added; negative where it is not known.
double bytes_per_connection(const Report& report) {
  if (!report.before || !report.after || report.idle_connections == 0) return -1.0;
  return (static_cast<double>(report.after->rss_bytes) -
          static_cast<double>(report.before->rss_bytes)) /
         static_cast<double>(report.idle_connections);
}

template <typename Map>
std::string json_map(const Map& map) {
  std::string out = "{";
  for (const auto& [key, count] : map) {
    std::ostringstream entry;
    entry << (out.size() > 1 ? "," : "") << '"' << key << "\":" << count;
    out += entry.str();
  }
  return out + "}";
}

double mean(const std::vector<int64_t>& samples) {
  if (samples.empty()) return 0.0;
  return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

}  // namespace

std::optional<Usage> read_usage(const std::vector<pid_t>& pids) {
  if (pids.empty()) return std::nullopt;
  Usage sum;
  for (const pid_t pid : pids) {
    const std::optional<Usage> one = read_one(pid);
    if (!one) return std::nullopt;
    sum.cpu = sum.cpu + one->cpu;
    sum.rss_bytes += one->rss_bytes;
  }
  return sum;
}

uint64_t Report::failed() const {
  uint64_t sum = 0;
  for (const auto& [cause, count] : failures) sum += count;
  return sum;
}

int64_t percentile(const std::vector<int64_t>& sorted, double q) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(q * static_cast<double>(sorted.size()));
  const auto index = static_cast<size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

std::string to_text(Report& report) {
  std::vector<int64_t>& samples = report.latencies_ns;
  std::ranges::sort(samples);
  std::string out;
  append(out, "requests  %zu answered, %llu failed, %.1f/s over %.2f s, %.1f MB of bodies\n",
         samples.size(), static_cast<unsigned long long>(report.failed()), rate(report),
         report.window.seconds(), static_cast<double>(report.body_bytes) / 1e6);
  for (const auto& [status, count] : report.by_status) {
    append(out, "status    %d: %llu\n", status, static_cast<unsigned long long>(count));
  }
  for (const auto& [cause, count] : report.failures) {
    append(out, "failed    %s: %llu\n", cause.c_str(), static_cast<unsigned long long>(count));
  }
  const auto us = [&](double q) { return static_cast<double>(percentile(samples, q)) * kUs; };
  append(out, "latency   p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f  mean %.1f us\n",
         us(0.5), us(0.9), us(0.99), us(0.999), us(1.0), mean(samples) * kUs);
  if (report.before && report.after) {
    append(out, "server    %.2f CPU us per request, %.1f MB resident\n", cpu_us_per_request(report),
           static_cast<double>(report.after->rss_bytes) / 1e6);
  }
  if (report.idle_connections > 0) {
    append(out, "idle      %llu connections, %.0f bytes each\n",
           static_cast<unsigned long long>(report.idle_connections), bytes_per_connection(report));
  }
  return out;
}

std::string to_json(Report& report) {
  std::vector<int64_t>& samples = report.latencies_ns;
  std::ranges::sort(samples);
  const auto us = [&](double q) { return static_cast<double>(percentile(samples, q)) * kUs; };
  std::string out;
  append(out, "{\"answered\":%zu,\"failed\":%llu,\"rate\":%.3f,\"window_s\":%.6f,", samples.size(),
         static_cast<unsigned long long>(report.failed()), rate(report), report.window.seconds());
  out +=
      "\"by_status\":" + json_map(report.by_status) + ",\"failures\":" + json_map(report.failures);
  append(out, ",\"body_bytes\":%llu", static_cast<unsigned long long>(report.body_bytes));
  append(out,
         ",\"latency_us\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p99.9\":%.3f,\"max\":%.3f,"
         "\"mean\":%.3f}",
         us(0.5), us(0.9), us(0.99), us(0.999), us(1.0), mean(samples) * kUs);
  if (report.before && report.after) {
    append(out, ",\"cpu_us_per_request\":%.4f,\"rss_before_bytes\":%llu,\"rss_after_bytes\":%llu",
           cpu_us_per_request(report), static_cast<unsigned long long>(report.before->rss_bytes),
           static_cast<unsigned long long>(report.after->rss_bytes));
  }
  if (report.idle_connections > 0) {
    append(out, ",\"idle_connections\":%llu,\"bytes_per_connection\":%.1f",
           static_cast<unsigned long long>(report.idle_connections), bytes_per_connection(report));
  }
  return out + "}\n";
}

}  // namespace sluice::load
