// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON of anybody's own make, told apart by settings: where in a request the list of items is, and
// where in an answer the list of answers, one for each item in order. Without settings the body is
// the list: `["a","b"]` is answered by `[[…],[…]]`.
//
// What a request holds beside its items is in the key verbatim, and stands around the joined items
// in the call; what an answer holds beside its answers goes to each caller as it came (if a request
// was answered in several calls: what came with its first row). An empty list and one of more than
// codec::kItemsMax items are not merged (Asked::pass_through). As an upstream it is also asked for
// vectors and classes; it has no parameters for these.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/dialect.h"

namespace sluice {

// How a service of this kind spells things. Pointers are of RFC 6901; "" is the whole body.
struct JsonDialectOptions {
  // Paths at which requests come in, at least one. Requests that came in by another dialect are
  // sent to the first.
  std::vector<std::string> paths = {"/"};
  std::string items = "";    // in a request: the array of items
  std::string answers = "";  // in an answer: the array of answers
  // A client's request is one item (what `items` points to, whatever it is), and answered by one
  // answer, where `answers` points to. Calls to upstreams are lists in either case.
  bool single = false;
};

// Why these options are wrong, `param` being "paths", "items" or "answers"; nothing if they are
// right.
std::optional<Error> check_json_options(const JsonDialectOptions& options);

// "json". Any number of these may be made; its codecs live as long as it. REQUIRES: options that
// check_json_options() finds nothing in
std::unique_ptr<Dialect> make_json_dialect(JsonDialectOptions options);

}  // namespace sluice
