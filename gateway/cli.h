// SPDX-License-Identifier: Apache-2.0
#pragma once
// The command line: arguments in, what to do out. Flags are short forms of keys of the
// configuration and win over the file. Starts nothing and prints nothing, so that main stays a list
// of steps and a test needs no process.

#include <string>
#include <vector>

#include "gateway/config.h"
#include "gateway/doctor.h"

namespace sluice {

// What the arguments ask for.
struct Command {
  // What is left to do.
  enum class Kind {
    kServe,   // serve `config`, which has no problems
    kDoctor,  // examine the endpoint of `doctor`
    kCheck,   // the file was checked and is right: print `output`, end with `exit_code`
    kDone,    // help, version, or a mistake: print `output`, end with `exit_code`
  };
  Kind kind = Kind::kDone;
  Config config;
  DoctorOptions doctor;
  int exit_code = 0;   // 0: fine; 1: the configuration is wrong; 2: the arguments are wrong
  std::string output;  // whole lines; for stdout if exit_code is 0, else for stderr
};

// Reads `args`, without the program's name, and the configuration file they name. `environment` is
// for ${NAME} in that file.
Command parse_command_line(const std::vector<std::string>& args, const Environment& environment);

}  // namespace sluice
