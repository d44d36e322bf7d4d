// SPDX-License-Identifier: Apache-2.0
#pragma once
// ASSERT(x): a bug in this program if false. It stays on in release builds, prints where, and
// aborts. It is never used on what a peer sent: that is an Error.

#include <cstdio>
#include <cstdlib>

#define ASSERT(condition)                                                                     \
  ((condition)                                                                                \
       ? static_cast<void>(0)                                                                 \
       : (std::fprintf(stderr, "%s:%d: ASSERT failed: %s\n", __FILE__, __LINE__, #condition), \
          std::abort()))
