// SPDX-License-Identifier: Apache-2.0
// The program: reads its orders, builds the pipeline, serves, drains.

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "gateway/cli.h"
#include "gateway/pipeline.h"
#include "gateway/uv_loop.h"

namespace sluice {
namespace {

std::optional<std::string> environment(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::optional<std::string>() : std::string(value);
}

std::string url(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return "http://" + (v6 ? "[" + address.host + "]" : address.host) + ":" +
         std::to_string(address.port);
}

int serve(const Config& config) {
  Log log(config.log, [] { return UvLoop::clock(); });
  // Models are loaded and listeners opened before anything is promised on stdout.
  const uint64_t id_seed = std::random_device{}();
  Result<std::unique_ptr<Pipeline>> started = Pipeline::start(config, id_seed, log);
  if (!started.ok()) {
    std::fprintf(stderr, "sluice: %s\n", started.error().message.c_str());
    return 1;
  }
  Pipeline& pipeline = *started.value();
  std::printf("listening on %s\n", url(pipeline.main_address()).c_str());
  if (const auto admin = pipeline.admin_address())
    std::printf("admin on %s\n", url(*admin).c_str());
  std::fflush(stdout);
  // Serves until told to stop, then finishes what was accepted. What was not finished in time is
  // not waited for.
  if (!pipeline.run()) std::_Exit(0);
  return 0;
}

int examine(const DoctorOptions& options) {
  Log log(LogOptions{}, [] { return UvLoop::clock(); });
  UvLoop loop(log);
  Doctor doctor(loop, [&loop] { loop.run(); }, [&loop] { loop.stop(); });
  const DoctorReport report = doctor.examine(options);
  std::fputs(report.text.c_str(), report.asked_wrongly ? stderr : stdout);
  if (report.asked_wrongly) return 2;
  return report.safe ? 0 : 1;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  using namespace sluice;
  // Any mistake in arguments or configuration ends the program here, before a socket is open.
  const Command command = parse_command_line({argv + 1, argv + argc}, environment);
  if (command.kind == Command::Kind::kServe) return serve(command.config);
  if (command.kind == Command::Kind::kDoctor) return examine(command.doctor);
  std::fputs(command.output.c_str(), command.exit_code == 0 ? stdout : stderr);
  return command.exit_code;
}
