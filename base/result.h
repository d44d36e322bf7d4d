// SPDX-License-Identifier: Apache-2.0
#pragma once
// Result<T>: a value, or the Error that says why there is none. std::expected would do, but the
// oldest compiler we build with does not have it; this is the part we use.

#include <utility>
#include <variant>

#include "base/assert.h"
#include "base/error.h"

namespace sluice {

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Error error) : state_(std::move(error)) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  // REQUIRES: ok()
  T& value() & {
    ASSERT(ok());
    return *std::get_if<T>(&state_);
  }
  // REQUIRES: ok()
  const T& value() const& {
    ASSERT(ok());
    return *std::get_if<T>(&state_);
  }
  // REQUIRES: ok()
  T&& value() && {
    ASSERT(ok());
    return std::move(*std::get_if<T>(&state_));
  }
  // REQUIRES: !ok()
  const Error& error() const {
    ASSERT(!ok());
    return *std::get_if<Error>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

// For functions that only succeed or fail: `return Done{};`.
struct Done {};

}  // namespace sluice
