// SPDX-License-Identifier: Apache-2.0
#include "gateway/gpu.h"

#ifdef SLUICE_HAS_GPU

#include <algorithm>
#include <utility>

#include "gpu/engine_gpu.h"

namespace sluice {

Result<std::unique_ptr<DeviceEngine>> make_gpu(const ModelFolder& folder, const BatchLimits& batch,
                                               uint32_t index, std::function<Instant()> now,
                                               EngineSink done) {
  const Result<int> gpus = count_gpus();
  if (!gpus.ok()) return Error{Code::kNotFound, gpus.error().message};
  const GpuModel model =
      gpu_model_of(folder, folder.pooling == Pooling::kCls,
                   [](const TensorView& tensor) { return tensor_type_name(tensor.type); });
  GpuRunnerOptions options;
  options.device = static_cast<int>(index);
  options.now = std::move(now);
  // A batch's memory is taken at the start, so it is for what the core may send.
  const uint64_t tokens = batch.tokens_max != 0 ? batch.tokens_max : kGraphTokensMax;
  options.tokens_max = static_cast<uint32_t>(
      std::clamp<uint64_t>(tokens, std::min(folder.tokens_max, kGraphTokensMax), kGraphTokensMax));
  options.texts_max = static_cast<uint32_t>(std::clamp<uint64_t>(batch.items_max, 1, 65'536));
  return make_gpu_engine(model, std::move(options), std::move(done));
}

}  // namespace sluice

#else

namespace sluice {

Result<std::unique_ptr<DeviceEngine>> make_gpu(const ModelFolder&, const BatchLimits&, uint32_t,
                                               std::function<Instant()>, EngineSink) {
  return Error{Code::kNotFound, "this program was built without the CUDA engine"};
}

}  // namespace sluice

#endif
