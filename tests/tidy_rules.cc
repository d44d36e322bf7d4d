// SPDX-License-Identifier: Apache-2.0
#include "tests/tidy_rules.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>

namespace sluice::tidy {
namespace {

using Paths = std::set<std::string, std::less<>>;

constexpr size_t kColumnsMax = 100;
constexpr size_t kLinesMax = 400;

// The folder of a path; a second level counts only for tests, where nothing depends on it.
std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }
bool ends_with(std::string_view text, std::string_view end) { return text.ends_with(end); }

// Characters, not bytes: a letter with an accent is one column.
size_t columns(std::string_view line) {
  return static_cast<size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// What each folder may include besides itself. gpu/ may use one header of backends/ only.
const std::map<std::string, Paths> kMayInclude = {
    {"base", {}},
    {"batcher", {"base"}},
    {"backends", {"base", "batcher"}},
    {"gpu", {"base", "backends/engine.h"}},
    {"gateway", {"base", "batcher", "backends", "gpu"}},
};

struct Home {
  std::regex include;  // what stands between the brackets
  std::string file;
  std::string test = {};  // the one of tests that may, if any
};
// Third-party libraries are swapped, mocked and understood in one place each.
const std::vector<Home> kHomes = {
    {std::regex(R"(uv\.h|uv/.*)"), "gateway/uv_loop.cc"},
    {std::regex(R"((.*/)?llhttp\.h)"), "base/http1.cc"},
    {std::regex(R"(openssl/.*)"), "base/tls.cc", "tests/tls_peer.cc"},
    {std::regex(R"(cuda\.h)"), "gpu/cuda_api.h"},
    {std::regex(R"(simdjson\.h|simdjson/.*)"), "base/json.cc"},
    {std::regex(R"((.*/)?(blocking)?concurrentqueue\.h)"), "base/mailbox.h"},
    {std::regex(R"((spdlog|fmt)/.*)"), "base/log.cc"},
    {std::regex(R"(prometheus/.*)"), "base/metrics.cc"},
    {std::regex(R"(yaml-cpp/.*|yaml\.h)"), "gateway/config_yaml.cc"},
    {std::regex(R"(CLI/.*)"), "gateway/cli.cc"},
    {std::regex(R"((.*/)?dnnl\w*\.hp*)"), "backends/gemm_dnnl.cc"},
};

struct Door {
  std::regex pattern;
  Paths open_to;
  bool in_tests;  // whether tests may not use it either
  std::string why;
};
const std::vector<Door> kDoors = {
    {std::regex(R"(\b(steady|system|high_resolution)_clock\b|\bclock_gettime\b|\bgettimeofday\b)"
                R"(|\buv_(hrtime|now)\b|\bstd::time\b|\btime\((nullptr|NULL|0)\)|\bstd::clock\b)"
                R"(|\brdtsc)"),
     {"gateway/uv_loop.cc", "gpu/check/bench_device.h"},
     true,
     "reads a clock: time is told to code, by the loop"},
    {std::regex(R"(\bsleep_(for|until)\b|\b(u|nano)?sleep\(|\bclock_nanosleep\b)"),
     {},
     true,
     "sleeps: wait for an event"},
    {std::regex(R"(\b(secure_)?getenv\b|\benviron\b)"),
     {"gateway/main.cc"},
     true,
     "reads the environment: main reads it and passes it on"},
    {std::regex(R"(\brandom_device\b|\bs?rand\(|\bgetrandom\b|\barc4random)"),
     {"gateway/main.cc"},
     true,
     "draws a random number that no seed repeats: use base/prng.h"},
    {std::regex(R"(\bthrow\b)"), {"gateway/main.cc"}, false, "throws: return a Result"},
};

bool is_one_of(const File& file, std::initializer_list<std::string_view> folders) {
  return std::any_of(folders.begin(), folders.end(), [&](std::string_view folder) {
    return file.path.starts_with(std::string(folder) + "/");
  });
}

bool is_layer(const File& file) { return kMayInclude.contains(folder_of(file.path)); }

struct Include {
  bool found = false;
  bool ours = false;  // in quotes
  std::string path;
};

Include include_of(const std::string& line) {
  static const std::regex include(R"re(^\s*#\s*include\s*(["<])([^">]+)[">])re");
  std::smatch match;
  if (!std::regex_search(line, match, include)) return {};
  return {true, match[1] == "\"", match[2]};
}

void check_layer(const File& file, size_t line, const std::string& path, Findings& findings) {
  const std::string from = folder_of(file.path);
  const std::string to = folder_of(path);
  if (path.find('/') == std::string::npos) {
    if (!ends_with(path, ".inc")) {
      findings.push_back({file.path, line, "include \"" + path + "\" by its path from the root"});
    }
    return;
  }
  if (!is_layer(file) || to == from) return;
  const Paths& allowed = kMayInclude.at(from);
  if (allowed.contains(to) || allowed.contains(path)) return;
  findings.push_back({file.path, line, from + "/ may not include \"" + path + "\""});
}

}  // namespace

Findings check_layout(const File& file) {
  Findings findings;
  if (file.lines.empty() || file.lines[0].find("SPDX-License-Identifier: Apache-2.0") > 3) {
    const bool script = file.lines.size() > 1 && file.lines[0].starts_with("#!") &&
                        file.lines[1] == "# SPDX-License-Identifier: Apache-2.0";
    if (!script) findings.push_back({file.path, 1, "the first line names the licence"});
  }
  if (ends_with(file.path, ".h") &&
      std::find(file.lines.begin(), file.lines.end(), "#pragma once") == file.lines.end()) {
    findings.push_back({file.path, 1, "a header says #pragma once"});
  }
  const bool generated =
      std::any_of(file.lines.begin(),
                  file.lines.begin() + static_cast<long>(std::min<size_t>(3, file.lines.size())),
                  [](const std::string& line) { return line.starts_with("// Generated by "); });
  if (file.lines.size() > kLinesMax && !generated) {
    findings.push_back({file.path, file.lines.size(), "more than 400 lines: two ideas, two files"});
  }
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    if (columns(line) > kColumnsMax) {
      findings.push_back({file.path, i + 1, "more than 100 columns"});
    }
    if (line.find('\t') != std::string::npos) findings.push_back({file.path, i + 1, "a tab"});
    if (line.ends_with(' ')) findings.push_back({file.path, i + 1, "a blank at the end"});
  }
  return findings;
}

Findings check_includes(const File& file) {
  Findings findings;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const Include include = include_of(file.lines[i]);
    if (!include.found) continue;
    if (include.ours) {
      check_layer(file, i + 1, include.path, findings);
      continue;
    }
    for (const Home& home : kHomes) {
      if (std::regex_match(include.path, home.include) && file.path != home.file &&
          file.path != home.test) {
        findings.push_back({file.path, i + 1, "<" + include.path + "> is for " + home.file});
      }
    }
  }
  return findings;
}

Findings check_doors(const File& file) {
  // Benchmarks and tools are programs of their own; they measure the world as it is.
  if (is_one_of(file, {"tests/bench", "tests/tools"})) return {};
  Findings findings;
  for (size_t i = 0; i < file.code.size(); ++i) {
    for (const Door& door : kDoors) {
      if (!door.in_tests && !is_layer(file)) continue;
      if (door.open_to.contains(file.path)) continue;
      if (std::regex_search(file.code[i], door.pattern)) {
        findings.push_back({file.path, i + 1, door.why});
      }
    }
  }
  return findings;
}

Findings check_orphans(const std::vector<File>& files, const std::vector<File>& builds) {
  Paths reachable;
  for (const File& file : files) {
    for (const std::string& line : file.lines) {
      const Include include = include_of(line);
      if (!include.found || !include.ours) continue;
      reachable.insert(include.path);
      reachable.insert(file.path.substr(0, file.path.rfind('/') + 1) + include.path);
    }
  }
  static const std::regex source(R"([\w./-]+\.cc)");
  for (const File& build : builds) {
    const std::string folder = build.path.substr(0, build.path.rfind('/') + 1);
    for (const std::string& line : build.lines) {
      const std::string code = line.substr(0, line.find('#'));
      for (std::sregex_iterator it(code.begin(), code.end(), source), end; it != end; ++it) {
        reachable.insert(folder + it->str());
      }
    }
  }
  Findings findings;
  for (const File& file : files) {
    if (!reachable.contains(file.path)) {
      findings.push_back({file.path, 1, "no CMakeLists.txt builds it and no file includes it"});
    }
  }
  return findings;
}

}  // namespace sluice::tidy
