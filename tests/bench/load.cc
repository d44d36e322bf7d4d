// SPDX-License-Identifier: Apache-2.0
// sluice_load: a load generator for HTTP/1.1 servers. See --help, and load_run.h for what it
// measures.

#include <cstdio>
#include <string>
#include <vector>

#include "tests/bench/load_options.h"
#include "tests/bench/load_run.h"

int main(int argc, char** argv) {
  using namespace sluice;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    std::fputs(std::string(load::usage_text()).c_str(), stdout);
    return arguments.empty() ? 2 : 0;
  }
  const Result<load::Options> options = load::parse_options(arguments);
  if (!options.ok()) {
    std::fprintf(stderr, "sluice_load: %s\n", options.error().message.c_str());
    return 2;
  }
  Result<load::Report> report = options.value().keep_idle > 0 ? load::run_keep_idle(options.value())
                                                              : load::run_load(options.value());
  if (!report.ok()) {
    std::fprintf(stderr, "sluice_load: %s\n", report.error().message.c_str());
    return 1;
  }
  const std::string text =
      options.value().json ? load::to_json(report.value()) : load::to_text(report.value());
  std::fputs(text.c_str(), stdout);
  return report.value().failed() == 0 ? 0 : 3;
}
