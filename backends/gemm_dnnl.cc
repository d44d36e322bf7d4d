// SPDX-License-Identifier: Apache-2.0
#include "backends/gemm_dnnl.h"

#include <algorithm>
#include <cstdint>
#include <dnnl.hpp>
#include <exception>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

// Debian's oneDNN runs its loops on OpenMP threads. The number is a setting of the calling thread,
// so one call before each use keeps every worker to itself.
extern "C" void omp_set_num_threads(int threads);

namespace sluice {
namespace {

using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

Error failed(const std::exception& reason) {
  return Error{Code::kInternal, std::string("oneDNN: ") + reason.what()};
}

dnnl::memory::dim dim(size_t n) { return static_cast<dnnl::memory::dim>(n); }

dnnl::primitive_attr attributes(Finish finish) {
  dnnl::post_ops after;
  if (finish == Finish::kBiasAdd) after.append_sum(1.0F);
  if (finish == Finish::kGelu) {
    after.append_eltwise(1.0F, dnnl::algorithm::eltwise_gelu_erf, 0.0F, 0.0F);
  }
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(after);
  // The library's own scratch memory is not safe when a product is used by several threads.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

}  // namespace

struct GemmPlan::Impl {
  GemmShape shape;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::memory::desc weights;
  dnnl::memory::desc bias;
  size_t scratch_bytes = 0;
  std::vector<dnnl::matmul::primitive_desc> descriptions;  // one per entry of kGemmRows
  std::vector<dnnl::matmul> products;

  // `weights` is the layout to use, or `any` to let the library choose.
  dnnl::matmul::primitive_desc describe(size_t rows, const dnnl::memory::desc& layout) const {
    const Type out = shape.finish == Finish::kBiasAdd ? Type::f32 : Type::bf16;
    const dnnl::memory::desc x({dim(rows), dim(shape.inputs)}, Type::bf16, Tag::ab);
    const dnnl::memory::desc y({dim(rows), dim(shape.outputs)}, out, Tag::ab);
    return {dnnl::matmul::desc(x, layout, bias, y), attributes(shape.finish), engine};
  }
};

GemmPlan::GemmPlan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GemmPlan::~GemmPlan() = default;
const GemmShape& GemmPlan::shape() const { return impl_->shape; }
size_t GemmPlan::packed_bytes() const { return impl_->weights.get_size(); }
size_t GemmPlan::scratch_bytes() const { return impl_->scratch_bytes; }

Result<std::unique_ptr<GemmPlan>> GemmPlan::make(const GemmShape& shape) try {
  omp_set_num_threads(1);
  auto impl = std::make_unique<Impl>();
  impl->shape = shape;
  impl->bias = dnnl::memory::desc({1, dim(shape.outputs)}, Type::f32, Tag::ab);
  const dnnl::memory::desc any({dim(shape.inputs), dim(shape.outputs)}, Type::bf16, Tag::any);
  // The layout that is best for many rows serves all.
  impl->weights = impl->describe(kGemmRows.back(), any).weights_desc();
  for (const size_t rows : kGemmRows) {
    impl->descriptions.push_back(impl->describe(rows, impl->weights));
    impl->products.emplace_back(impl->descriptions.back());
    impl->scratch_bytes = std::max<size_t>(impl->scratch_bytes,
                                           impl->descriptions.back().scratchpad_desc().get_size());
  }
  return std::unique_ptr<GemmPlan>(new GemmPlan(std::move(impl)));
} catch (const std::exception& reason) {
  return failed(reason);
}

Result<Done> GemmPlan::pack(const float* weights, void* packed) const try {
  omp_set_num_threads(1);
  const GemmShape& s = impl_->shape;
  // Row-major [outputs, inputs] is column-major [inputs, outputs].
  const dnnl::memory::desc plain({dim(s.inputs), dim(s.outputs)}, Type::f32, Tag::ba);
  dnnl::memory from(plain, impl_->engine, const_cast<float*>(weights));
  dnnl::memory to(impl_->weights, impl_->engine, packed);
  dnnl::stream stream(impl_->engine);
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return Done{};
} catch (const std::exception& reason) {
  return failed(reason);
}

struct GemmCaller::Impl {
  // The handles of one row count; only the addresses in them change from call to call.
  struct Handles {
    dnnl::memory x, weights, bias, y, scratch;
    std::unordered_map<int, dnnl::memory> arguments;
  };
  const GemmPlan::Impl& plan;
  dnnl::stream stream;
  std::vector<Handles> handles;  // one per entry of kGemmRows

  explicit Impl(const GemmPlan::Impl& p) : plan(p), stream(p.engine) {
    for (const auto& description : plan.descriptions) {
      Handles h;
      h.x = dnnl::memory(description.src_desc(), plan.engine, nullptr);
      h.weights = dnnl::memory(plan.weights, plan.engine, nullptr);
      h.bias = dnnl::memory(plan.bias, plan.engine, nullptr);
      h.y = dnnl::memory(description.dst_desc(), plan.engine, nullptr);
      h.scratch = dnnl::memory(description.scratchpad_desc(), plan.engine, nullptr);
      h.arguments = {{DNNL_ARG_SRC, h.x},
                     {DNNL_ARG_WEIGHTS, h.weights},
                     {DNNL_ARG_BIAS, h.bias},
                     {DNNL_ARG_DST, h.y},
                     {DNNL_ARG_SCRATCHPAD, h.scratch}};
      handles.push_back(std::move(h));
    }
  }
};

GemmCaller::GemmCaller(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GemmCaller::~GemmCaller() = default;

Result<std::unique_ptr<GemmCaller>> GemmCaller::make(const GemmPlan& plan) try {
  return std::unique_ptr<GemmCaller>(new GemmCaller(std::make_unique<Impl>(*plan.impl_)));
} catch (const std::exception& reason) {
  return failed(reason);
}

Result<Done> GemmCaller::run(size_t rows, const void* x, const void* packed, const float* bias,
                             void* y, void* scratch) try {
  omp_set_num_threads(1);
  const GemmPlan::Impl& plan = impl_->plan;
  const size_t x_row = plan.shape.inputs * sizeof(uint16_t);
  const size_t y_row = plan.descriptions[0].dst_desc().get_size() / kGemmRows[0];
  const auto* from = static_cast<const char*>(x);
  auto* to = static_cast<char*>(y);
  for (size_t left = gemm_padded_rows(rows); left > 0;) {
    const auto after = std::upper_bound(kGemmRows.begin(), kGemmRows.end(), left);
    const auto index = static_cast<size_t>(after - kGemmRows.begin() - 1);
    Impl::Handles& h = impl_->handles[index];
    h.x.set_data_handle(const_cast<char*>(from));
    h.weights.set_data_handle(const_cast<void*>(packed));
    h.bias.set_data_handle(const_cast<float*>(bias));
    h.y.set_data_handle(to);
    h.scratch.set_data_handle(scratch);
    plan.products[index].execute(impl_->stream, h.arguments);
    const size_t done = kGemmRows[index];
    from += done * x_row;
    to += done * y_row;
    left -= done;
  }
  return Done{};
} catch (const std::exception& reason) {
  return failed(reason);
}

}  // namespace sluice
