// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/load_options.h"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>

namespace sluice::load {
namespace {

using Complaint = std::optional<std::string>;  // nothing where all is well
using Setter = std::function<Complaint(Options&, const std::string&)>;

Complaint set_url(Options& options, const std::string& text) {
  const std::string scheme = "http://";
  if (!text.starts_with(scheme)) return "--url must start with http://";
  const size_t path = text.find('/', scheme.size());
  const std::string authority = text.substr(scheme.size(), path - scheme.size());
  const size_t colon = authority.find(':');
  options.host = authority.substr(0, colon);
  if (options.host == "localhost") options.host = "127.0.0.1";
  if (path != std::string::npos) options.path = text.substr(path);
  if (colon == std::string::npos) return {};
  const long port = std::strtol(authority.c_str() + colon + 1, nullptr, 10);
  if (port < 1 || port > 65535) return "--url has no valid port";
  options.port = static_cast<uint16_t>(port);
  return {};
}

Complaint set_body_file(Options& options, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "cannot read " + path;
  options.bodies.emplace_back(std::istreambuf_iterator<char>(file),
                              std::istreambuf_iterator<char>());
  return {};
}

Complaint set_bodies_file(Options& options, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "cannot read " + path;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) options.bodies.push_back(std::move(line));
  }
  if (options.bodies.empty()) return path + " holds no line";
  return {};
}

// A number within bounds goes through `store`.
template <typename Store>
Setter number(double min, double max, Store store) {
  return [=](Options& options, const std::string& text) -> Complaint {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value >= min && value <= max)) {
      return "not a number in range: " + text;
    }
    store(options, value);
    return {};
  };
}

Complaint set_pids(Options& options, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find(',', at);
    if (end == std::string::npos) end = text.size();
    const long pid = std::strtol(text.substr(at, end - at).c_str(), nullptr, 10);
    if (pid <= 0) return "--pid takes process ids separated by commas";
    options.pids.push_back(static_cast<pid_t>(pid));
    at = end + 1;
  }
  return {};
}

Complaint set_spacing(Options& options, const std::string& text) {
  if (text != "poisson" && text != "uniform") return "--spacing is poisson or uniform";
  options.poisson = text == "poisson";
  return {};
}

std::map<std::string, Setter> setters() {
  std::map<std::string, Setter> table;
  table["--url"] = set_url;
  table["--body"] = set_body_file;
  table["--bodies"] = set_bodies_file;
  table["-d"] = [](Options& o, const std::string& text) {
    o.bodies.push_back(text);
    return Complaint{};
  };
  table["--method"] = [](Options& o, const std::string& text) {
    o.method = text;
    return Complaint{};
  };
  table["--header"] = [](Options& o, const std::string& text) {
    o.headers.push_back(text);
    return Complaint{};
  };
  table["--spacing"] = set_spacing;
  table["--pid"] = set_pids;
  table["--connections"] = number(1, 1e5, [](Options& o, double n) { o.connections = size_t(n); });
  table["--rate"] = number(0, 1e7, [](Options& o, double n) { o.rate = n; });
  table["--requests"] = number(1, 1e9, [](Options& o, double n) { o.requests = uint64_t(n); });
  table["--seed"] = number(0, 1e15, [](Options& o, double n) { o.seed = uint64_t(n); });
  table["--keep-idle"] = number(0, 1e6, [](Options& o, double n) { o.keep_idle = size_t(n); });
  table["--duration"] = number(0, 1e6, [](Options& o, double n) { o.duration = from_seconds(n); });
  table["--warmup"] = number(0, 1e6, [](Options& o, double n) { o.warmup = from_seconds(n); });
  table["--timeout"] = number(1e-3, 1e6, [](Options& o, double n) { o.timeout = from_seconds(n); });
  return table;
}

Error invalid(std::string message) { return Error{Code::kInvalid, std::move(message)}; }

// What the options mean together.
Result<Options> complete(Options options) {
  if (options.host.empty()) return invalid("--url is missing");
  if (options.duration.ns > 0 && options.requests > 0) {
    return invalid("--duration and --requests exclude each other");
  }
  if (options.duration.ns == 0 && options.requests == 0) options.duration = seconds(5);
  const bool has_body = !options.bodies.empty();
  if (!has_body) options.bodies.emplace_back();
  if (options.method.empty()) options.method = has_body ? "POST" : "GET";
  return options;
}

}  // namespace

std::string_view usage_text() {
  return R"(sluice_load --url http://127.0.0.1:PORT/path [options]
  --body FILE | --bodies FILE | -d TEXT   the body; FILE of JSON lines is sent line by line, in turn
  --method M  --header "name: value"      default POST with a body, GET without; JSON content type
  --connections N                         default 1
  --rate R  --spacing poisson|uniform     open loop, R requests per second; without it, closed loop
  --seed N                                of the Poisson spacing
  --duration S | --requests N             default 5 seconds
  --warmup S                              load that is not measured
  --timeout S                             default 60
  --keep-idle N                           one request on each of N connections, then hold them open
  --pid P[,P...]                          server processes: CPU time per request, resident memory
  --json                                  one JSON object instead of text
In the open loop a latency counts from the moment the request should have been sent.
)";
}

Result<Options> parse_options(const std::vector<std::string>& arguments) {
  const std::map<std::string, Setter> table = setters();
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--json") {
      options.json = true;
      continue;
    }
    const auto found = table.find(arguments[i]);
    if (found == table.end()) return invalid("unknown option " + arguments[i]);
    if (i + 1 == arguments.size()) return invalid(arguments[i] + " needs a value");
    if (Complaint complaint = found->second(options, arguments[++i])) {
      return invalid(found->first + ": " + *complaint);
    }
  }
  return complete(std::move(options));
}

std::vector<std::string> write_requests(const Options& options) {
  std::vector<std::string> requests;
  const bool has_body = options.method != "GET" && options.method != "HEAD";
  for (const std::string& body : options.bodies) {
    std::ostringstream request;
    request << options.method << ' ' << options.path << " HTTP/1.1\r\nhost: " << options.host << ':'
            << options.port << "\r\n";
    for (const std::string& header : options.headers) request << header << "\r\n";
    if (has_body) {
      request << "content-type: application/json\r\ncontent-length: " << body.size() << "\r\n";
    }
    request << "\r\n" << body;
    requests.push_back(request.str());
  }
  return requests;
}

}  // namespace sluice::load
