// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the flags of `sluice doctor` mean; cli.cc reads them.

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

// What they ask for, or what is wrong with them.
Command read_doctor(const DoctorFlags& flags);

}  // namespace sluice
