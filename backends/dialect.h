// SPDX-License-Identifier: Apache-2.0
#pragma once
// Codec and Dialect: how a protocol spells an operation, on the client's side and on the
// upstream's. Codecs are pure and stateless, know neither sockets nor queues, and may be used by
// all threads at once.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/operation.h"
#include "base/chunk.h"
#include "base/http1.h"
#include "base/result.h"
#include "batcher/row.h"

namespace sluice {

// What one request asked, and how its answer has to look. `rows` have only wire forms; a model that
// runs in this process adds its own.
struct Asked {
  CallKey key;                // without headers: those are not a codec's business
  std::vector<Row> rows;      // 1 …, in order; slices of the body where the dialect allows
  bool pass_through = false;  // valid, but not to be merged; has no rows then
  // For write_response(): what the codec wants to remember. Which members mean something is the
  // codec's own affair.
  struct Shape {
    std::string id;                      // given back to the caller (OIP)
    bool single = false;                 // one item was given bare, and is answered bare
    bool base64 = false;                 // OpenAI: encoding_format
    bool return_text = false;            // rerank: documents come back
    std::optional<uint32_t> top_n;       // rerank
    std::optional<uint32_t> dimensions;  // cut here if the backend did not (engines)
    std::vector<Slice> texts;            // rerank: the documents, raw JSON, if return_text
    std::string model;                   // as named in the answer
  } shape;
};

// A body as parts, so that slices of requests go out without being copied together.
struct Body {
  std::vector<Slice> parts;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};  // e.g. of binary tensors
  // Bytes of all parts.
  size_t size() const {
    size_t bytes = 0;
    for (const Slice& part : parts) bytes += part.size();
    return bytes;
  }
};

// A call as a codec writes it: everything but host, credentials and framing.
struct CallRequest {
  std::string method = "POST";
  std::string target;  // origin-form
  Body body;
};

// An upstream's answer of status 200, whole.
struct CallAnswer {
  std::span<const Header> headers;
  Slice body;
};

// What an answer is written from.
struct Answer {
  std::span<const Output> outputs;      // one per row of Asked, in order
  uint64_t tokens = 0;                  // usage: the sum over the outputs, or what a model counted
  std::span<const std::string> labels;  // of an engine's classes, for kFloats of kClassify
};

// One operation as one protocol spells it.
class Codec {
 public:
  virtual ~Codec() = default;
  virtual Operation operation() const = 0;
  // Unique among codecs, e.g. "openai.embeddings"; for metrics, messages and CallKey::codec.
  virtual std::string_view name() const = 0;

  // A client's request, its body whole. kInvalid names the field at fault in Error::param; nothing
  // of the body is believed before the whole of it was validated. `body` stays alive through rows.
  virtual Result<Asked> read_request(const RequestHead& head, const Slice& body) const = 0;
  // The body of a 200 answer to that request. kUpstream if an output is not what the operation
  // says, e.g. a vector that is no array of numbers.
  virtual Result<Body> write_response(const Asked& asked, const Answer& answer) const = 0;

  // The call that asks an upstream for `rows`, which share `key`. kInvalid, with the parameter in
  // Error::param, if this protocol cannot say what the key asks.
  virtual Result<CallRequest> write_call(const CallKey& key,
                                         std::span<const CallRow> rows) const = 0;
  // One outcome per row from the upstream's answer to that call. kUpstream for a wrong count, order
  // or shape: an error, never a guess. Tokens of usage are in the outputs: as told per item, or
  // shared out over the requests of `rows` so that the shares sum exactly and each is at least 1.
  virtual Result<std::vector<Outcome>> read_call(const CallKey& key, std::span<const CallRow> rows,
                                                 const CallAnswer& answer) const = 0;
};

// Where requests of a codec come in.
struct CodecRoute {
  std::string_view method;  // "POST"
  // A path, with at most one "{}" per segment that stands for any non-empty text without '/':
  // "/v2/models/{}/infer", "/v1/models/{}:predict".
  std::string_view pattern;
  const Codec* codec = nullptr;
};

// A protocol: its codecs, where they listen, and the shape of its errors.
class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string_view name() const = 0;  // "openai", as in settings
  virtual std::span<const CodecRoute> routes() const = 0;
  // The codec that asks an upstream of this dialect for `operation`, if it knows that.
  virtual const Codec* upstream_codec(Operation operation) const = 0;
  // The body of an error answer; its type is application/json. `request_id` may be empty.
  virtual std::string write_error(const Error& error, std::string_view request_id) const = 0;
};

// Whether `path` (without query) fits `pattern`; then `captures`, if given, holds what stood for
// each "{}", percent-decoded.
bool match_path(std::string_view pattern, std::string_view path,
                std::vector<std::string>* captures = nullptr);

// The dialect called `name`; null if there is none. "json" needs settings and is made by
// make_json_dialect() (dialect_json.h).
const Dialect* find_dialect(std::string_view name);
// All dialects that find_dialect() knows, for messages: "openai, tei, …".
std::string dialect_names();

}  // namespace sluice
