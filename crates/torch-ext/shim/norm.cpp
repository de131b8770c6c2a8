// BatchNorm in three parts that autograd's own node does not offer one by one: a forward that
// returns its statistics, the output again from those statistics, and a backward in place.
//
// On the CPU the last two call libtorch's own kernels directly. Its operators call the same
// kernels, so the bits are the same. They are reached through the dispatch stubs of the linked
// version (`check_version` refuses any other). Elsewhere operators do the work and take more
// memory.
#if defined(__x86_64__)
// These must match libtorch's own build: they name the parameters of its dispatcher, and a mismatch
// does not link.
#define HAVE_AVX2_CPU_DEFINITION
#define HAVE_AVX512_CPU_DEFINITION
#define SNUG_HAS_NORM_KERNELS 1
#else
#define SNUG_HAS_NORM_KERNELS 0
#endif

#include "error.h"

#include <ATen/core/Tensor.h>
#include <ATen/native/batch_norm.h>
#include <ATen/ops/_batch_norm_impl_index.h>
#include <ATen/ops/_batch_norm_impl_index_backward.h>
#include <ATen/ops/batch_norm_elemt.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/threshold_backward.h>
#include <c10/core/GradMode.h>

namespace {

at::Tensor& tensor(SnugTensor* t) { return *reinterpret_cast<at::Tensor*>(t); }

SnugTensor* owned(at::Tensor t) {
  return reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(t)));
}

// Index of libtorch's own implementation, in the order of `_batch_norm_impl_index`.
constexpr int64_t kNative = 0;

bool dense(const at::Tensor& t) {
  return t.is_contiguous() || t.is_contiguous(at::MemoryFormat::ChannelsLast);
}

bool has_kernels(const at::Tensor& t) {
  return SNUG_HAS_NORM_KERNELS != 0 && t.is_cpu() && dense(t);
}

}  // namespace

extern "C" {

int32_t snug_norm_has_kernels(void) { return SNUG_HAS_NORM_KERNELS; }

int32_t snug_norm_forward(SnugTensor* input, const SnugNorm* norm, int32_t in_place,
                          SnugTensor** out, SnugNormSaved* saved) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    auto& x = tensor(input);
    const auto& weight = tensor(norm->weight);
    if (in_place != 0 && has_kernels(x)) {
      // The kernel reads all of the input for its statistics before it writes.
      auto mean = at::empty({0}, weight.options());
      auto invstd = at::empty({0}, weight.options());
      at::native_batch_norm_out(x, mean, invstd, x, weight, tensor(norm->bias),
                                tensor(norm->running_mean), tensor(norm->running_var),
                                /*training=*/true, norm->momentum, norm->eps);
      *saved = {owned(std::move(mean)), owned(std::move(invstd)), owned(at::Tensor()), kNative};
      *out = owned(x);
      return;
    }
    auto [y, mean, invstd, reserve, implementation] = at::_batch_norm_impl_index(
        x, weight, tensor(norm->bias), tensor(norm->running_mean), tensor(norm->running_var),
        /*training=*/true, norm->momentum, norm->eps, /*cudnn_enabled=*/true);
    *saved = {owned(std::move(mean)), owned(std::move(invstd)), owned(std::move(reserve)),
              implementation};
    *out = owned(std::move(y));
  });
}

int32_t snug_norm_can_slice(SnugTensor* input, const SnugNormSaved* saved) {
  try {
    const auto& x = tensor(input);
    return saved->implementation == kNative && (has_kernels(x) || x.is_cuda()) ? 1 : 0;
  } catch (...) {
    return 0;
  }
}

int32_t snug_norm_rebuild(SnugTensor* input, const SnugNorm* norm, const SnugNormSaved* saved,
                          SnugTensor* into, SnugTensor** out) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    const auto& x = tensor(input);
    const auto& weight = tensor(norm->weight);
    const auto& bias = tensor(norm->bias);
    const auto place = [&] { return into != nullptr ? tensor(into) : at::empty_like(x); };
#if SNUG_HAS_NORM_KERNELS
    if (saved->implementation == kNative && has_kernels(x)) {
      auto y = place();
      TORCH_CHECK(y.strides() == x.strides(), "batch norm is rebuilt in the strides of its input");
      at::native::batch_norm_cpu_stub(c10::DeviceType::CPU, y, x, weight, bias,
                                      tensor(saved->mean), tensor(saved->invstd),
                                      tensor(norm->running_mean), tensor(norm->running_var),
                                      /*train=*/true, norm->eps);
      *out = owned(std::move(y));
      return;
    }
#endif
    if (saved->implementation == kNative && x.is_cuda()) {
      auto y = place();
      at::batch_norm_elemt_out(y, x, weight, bias, tensor(saved->mean), tensor(saved->invstd),
                               norm->eps);
      *out = owned(std::move(y));
      return;
    }
    // Recomputed from the same input, the statistics are the same; the running ones must not
    // change.
    *out = owned(std::get<0>(at::_batch_norm_impl_index(
        x, weight, bias, tensor(norm->running_mean).clone(), tensor(norm->running_var).clone(),
        /*training=*/true, norm->momentum, norm->eps, /*cudnn_enabled=*/true)));
  });
}

int32_t snug_norm_backward(SnugTensor* grad, SnugTensor* input, const SnugNorm* norm,
                           const SnugNormSaved* saved, SnugTensor** grad_input,
                           SnugTensor** grad_weight, SnugTensor** grad_bias) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    auto& dy = tensor(grad);
    const auto& x = tensor(input);
    const auto& weight = tensor(norm->weight);
#if SNUG_HAS_NORM_KERNELS
    // The operator itself takes another path if the memory formats differ.
    if (saved->implementation == kNative && has_kernels(x) && dense(dy) &&
        dy.suggest_memory_format() == x.suggest_memory_format()) {
      // Both kernels finish their sums over a channel before they write to it, and then read
      // each element before they write it.
      auto dx = dy;
      auto dw = at::empty_like(weight);
      auto db = at::empty_like(weight);
      at::native::batch_norm_cpu_backward_stub(
          c10::DeviceType::CPU, dx, dw, db, dy, x, weight, tensor(norm->running_mean),
          tensor(norm->running_var), tensor(saved->mean), tensor(saved->invstd), /*train=*/true,
          norm->eps);
      *grad_input = owned(std::move(dx));
      *grad_weight = owned(std::move(dw));
      *grad_bias = owned(std::move(db));
      return;
    }
#endif
    auto [dx, dw, db] = at::_batch_norm_impl_index_backward(
        saved->implementation, x, dy, weight, tensor(norm->running_mean),
        tensor(norm->running_var), tensor(saved->mean), tensor(saved->invstd), /*train=*/true,
        norm->eps, {true, true, true}, tensor(saved->reserve));
    *grad_input = owned(std::move(dx));
    *grad_weight = owned(std::move(dw));
    *grad_bias = owned(std::move(db));
  });
}

int32_t snug_relu_to(SnugTensor* input, SnugTensor* out) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    at::clamp_min_out(tensor(out), tensor(input), 0);
  });
}

int32_t snug_relu_backward_(SnugTensor* grad, SnugTensor* result) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    auto& dy = tensor(grad);
    at::threshold_backward_out(dy, dy, tensor(result), 0);
  });
}

}  // extern "C"
