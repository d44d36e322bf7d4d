// SPDX-License-Identifier: Apache-2.0
#pragma once
// What goes back to a client, before framing, and by which listener it came.

#include <string>

#include "base/http1.h"

namespace sluice {

// A whole HTTP answer.
struct Response {
  int status = 200;
  HeaderLines headers;
  std::string body;
  bool close = false;  // no further request on this connection
};

// Which of the two listeners a connection came in by.
enum class Surface { kMain, kAdmin };

}  // namespace sluice
