// SPDX-License-Identifier: Apache-2.0
#pragma once
// Doctor: proof that merging is safe at an endpoint. It asks the endpoint for some requests one by
// one and then for all of them in one call, and compares what each caller would get.

#include <cstdint>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/loop.h"
#include "gateway/config.h"

namespace sluice {

// What is to be examined.
struct DoctorOptions {
  BackendConfig backend;  // kind http
  std::string model;      // named in the built-in samples
  std::string path;       // asked instead of the dialect's first; for samples of one's own
  std::vector<std::string> samples;  // request bodies; empty: built-in ones, where there are any
  std::vector<std::string> headers;  // "Name: value", sent with each request
  double tolerance = 1e-4;           // how far numbers may lie apart, absolute or relative
  uint64_t rounds = 3;               // merged calls, each in another order
};

// What was found out.
struct DoctorReport {
  bool safe = false;
  bool asked_wrongly = false;  // the options allow no examination; nothing was sent
  std::string text;            // for people, whole lines
};

// Examines; runs `loop` until it is through. `run` and `stop` are those of that loop.
class Doctor {
 public:
  Doctor(Loop& loop, std::function<void()> run, std::function<void()> stop);
  // Asks and compares. Of an endpoint that does not answer a request alone nothing is found out;
  // the report is not safe then, with the reason.
  DoctorReport examine(const DoctorOptions& options);

 private:
  Loop& loop_;
  const std::function<void()> run_;
  const std::function<void()> stop_;
};

// The largest distance between numbers at the same places of two JSON texts, absolute or relative,
// whichever is smaller; nothing if the texts differ in anything else. Members named "id",
// "created", "usage" and "meta" may differ: they belong to a call, not to an item.
// REQUIRES: both are valid
std::optional<double> json_distance(std::string_view a, std::string_view b);

}  // namespace sluice
