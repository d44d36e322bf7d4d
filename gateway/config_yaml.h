// SPDX-License-Identifier: Apache-2.0
#pragma once
// The configuration file: YAML text into a Config, and every mistake in it with its place. Values
// may hold ${NAME}, which stands for an environment variable; "$${" is a plain "${".

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gateway/config.h"

namespace sluice {

// Where something stands in a file, both from 1.
struct ConfigPlace {
  int line = 0;
  int column = 0;
};

// What a file came to.
struct LoadedConfig {
  Config config;                              // the defaults where the file says nothing
  std::vector<ConfigProblem> problems;        // in the order of the file; empty: `config` is usable
  std::map<std::string, ConfigPlace> places;  // by path, e.g. "models[0].name"
};

// A larger file is refused unread.
inline constexpr size_t kConfigBytesMax = 1024 * 1024;

// A file that is wrong from end to end is told so this many times.
inline constexpr size_t kConfigProblemsMax = 100;

// Reads YAML. Problems are those of single values; finish_config() and check_config() come after,
// because flags may still add what is missing. Messages never hold a value from `environment`.
LoadedConfig load_config(std::string_view text, const Environment& environment);

// The bytes of a file of at most kConfigBytesMax. kNotFound or kTooLarge; the message names `path`.
Result<std::string> read_config_file(const std::string& path);

// Gives each problem the place of its path, or of the nearest thing around it that the file holds.
void place_problems(const LoadedConfig& loaded, std::vector<ConfigProblem>& problems);

}  // namespace sluice
