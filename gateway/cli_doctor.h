// SPDX-License-Identifier: Apache-2.0
#pragma once
// The flags of `sluice doctor`. Part of cli.cc, which alone reports CLI11's errors.

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "gateway/cli.h"

namespace sluice {

// What CLI11 writes its texts to.
struct DoctorFlags {
  std::string upstream;
  std::string dialect = "openai";
  std::string model;
  std::string path;
  std::string ca_file;
  std::vector<std::string> sample_files;
  std::vector<std::string> headers;
  double tolerance = 1e-4;
  uint64_t rounds = 3;
};

// Adds the command to `app`; `flags` outlives its parsing.
void describe_doctor(CLI::App& app, DoctorFlags& flags);
// What they ask for, or what is wrong with them.
Command read_doctor(const DoctorFlags& flags);

}  // namespace sluice
