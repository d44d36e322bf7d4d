// SPDX-License-Identifier: Apache-2.0
#pragma once
// What protocols have in common that take a list of any items and answer a list of as many: KServe
// v1 and configurable JSON. A place in the body, by a JSON pointer, holds the list; all around it
// belongs to the request, or to the answer, as a whole.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/codec_common.h"
#include "backends/dialect.h"
#include "backends/json_pointer.h"
#include "base/result.h"

namespace sluice::codec {

// One outcome per row from an answer that holds the list of them at `place`. What an item must be
// for it: kEmbed, an array of numbers; kClassify, a {"label","score"} or an array of such, which
// is put in order; kPredict, anything, and then the rest of the answer becomes the envelope, marked
// with `codec_name`. Answers of this kind tell no usage: tokens are 0. kUpstream for anything else.
Result<std::vector<Outcome>> read_items(Operation operation, std::string_view codec_name,
                                        const JsonPointer& place, size_t rows, const Slice& body);

// Writes the outputs of kPredict at `place`: into the answer that the first envelope of
// `codec_name` has kept, or into nothing but objects. `single`: the only output stands bare there.
// kUpstream if an output is none of kPredict.
Result<Body> write_items(std::string_view codec_name, const JsonPointer& place, bool single,
                         std::span<const Output> outputs);

// The parameters of `operation` that an upstream need not be told: their defaults.
std::span<const Implied> defaults(Operation operation);

// The items of the array `list`, part of `body`, as rows.
std::vector<Row> rows_of(const Slice& body, JsonView list);

// {"error":"…"}.
std::string error_text(const Error& error);

}  // namespace sluice::codec
