// SPDX-License-Identifier: Apache-2.0
// Apart from cuda_api.cc, so that a program that brings another driver has nothing of that file.

#include "gpu/cuda_api.h"

namespace sluice {

Result<Done> cuda_result(CudaApi& api, CUresult code, const char* what) {
  if (code == CUDA_SUCCESS) return Done{};
  const Code kind = code == CUDA_ERROR_OUT_OF_MEMORY ? Code::kUnavailable : Code::kInternal;
  return Error{kind, std::string("GPU: ") + what + ": " + api.error_name(code)};
}

}  // namespace sluice
