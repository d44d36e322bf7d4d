// SPDX-License-Identifier: Apache-2.0
#pragma once
// Upstreams' answers: outputs in their places, what is said beside them, and shares of usage.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dialect.h"
#include "backends/json_cursor.h"
#include "base/chunk.h"
#include "base/result.h"
#include "batcher/row.h"

namespace sluice::codec {

// What an upstream said beside its items, for Output::envelope: the members of its answer as they
// came, marked with the codec that can read them.
class Envelope {
 public:
  // Adds a member, "model" in front of the others; false if there was one of that name.
  bool add(std::string_view name, const Slice& raw);
  // An empty slice if nothing was added.
  Slice write(const Codec& codec) const;
  // The members `"name":raw,…` of an envelope that `codec` has written; empty for others.
  static std::string_view read(std::span<const Output> outputs, const Codec& codec);

 private:
  std::string members_;
  std::vector<std::string> names_;
};

// Shares `total` tokens out over the outputs of `rows` by the bytes of their wire forms: the shares
// of all outputs sum up to it, and those of each request to at least 1 if `total` is enough for
// that. REQUIRES: as many outputs as rows
void share_tokens(uint64_t total, std::span<const CallRow> rows, std::span<Output> outputs);

// Puts `bytes`, a JSON value, into the output at `index`; `at` fails if there is no such place, or
// it is taken.
void place(JsonCursor& at, std::span<Output> outputs, uint64_t index, Slice bytes);
// The outputs as outcomes, all of them in place; or kUpstream if one is missing.
Result<std::vector<Outcome>> outcomes_of(std::vector<Output> outputs);

// Reads an answer that is an object with a list of items, usage and things beside them.
class AnswerReader {
 public:
  // `body` outlives it.
  explicit AnswerReader(const Slice& body);
  // To read values with.
  JsonCursor& at() { return at_; }
  // Steps to the next member but "usage"; false at the end of the object.
  bool next(std::string_view& key);
  // Steps into the list of items; it may come only once.
  void items_begin();
  // Keeps the member `key`, whose value comes next, for the envelope; a "model" that is no string
  // is dropped.
  void beside(std::string_view key);
  // What read_call() returns: usage shared out, the envelope of `codec` with each output.
  Result<std::vector<Outcome>> finish(const Codec& codec, std::span<const CallRow> rows,
                                      std::vector<Output> outputs);

 private:
  JsonCursor at_;
  Envelope envelope_;
  uint64_t tokens_ = 0;
  bool has_usage_ = false;
  bool has_items_ = false;
};

}  // namespace sluice::codec
