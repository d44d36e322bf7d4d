// SPDX-License-Identifier: Apache-2.0
// Reads any bytes as an embeddings body; what is accepted must be usable and within the limits,
// what is refused must give an error body that is JSON.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backends/dialect_openai.h"
#include "backends/embedded_model.h"
#include "base/assert.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Slice body = Slice::copy_of(std::string_view(reinterpret_cast<const char*>(data), size));
  const Result<openai::EmbeddingsRequest> request = openai::read_embeddings(body);
  if (!request.ok()) {
    ASSERT(request.error().code == Code::kInvalid);
    ASSERT(parse_json(Slice::copy_of(openai::write_error(request.error()))).ok());
    return 0;
  }
  const auto& inputs = request.value().inputs;
  ASSERT(!inputs.empty() && inputs.size() <= openai::kInputsMax);
  const EmbeddedEcho echo;
  const Result<PreparedRows> prepared = echo.prepare(inputs);
  if (prepared.ok()) ASSERT(prepared.value().rows.size() == inputs.size());
  return 0;
}
