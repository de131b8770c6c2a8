// The two halves of a convolution's backward, one at a time: the gradient of the weight needs the
// input, the gradient of the input does not, so the input may be freed in between. Also a
// transposed convolution that computes the gradient of its bias faster.
#include "error.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/native/ConvUtils.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <vector>

namespace {

at::Tensor& tensor(SnugTensor* t) { return *reinterpret_cast<at::Tensor*>(t); }

SnugTensor* owned(at::Tensor t) {
  return reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(t)));
}

// A tensor of the given shape, in the memory format of the gradient, whose bytes are never touched and so
// take no memory. libtorch asks for the input even where it only needs its shape: the gradient of the
// input of a convolution that keeps the size.
at::Tensor shape_only(at::IntArrayRef sizes, const at::Tensor& grad, const at::Tensor& weight,
                      int64_t padding) {
  const auto options = grad.options();
  const auto strides =
      grad.is_contiguous()
          ? std::vector<int64_t>{sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1}
          : c10::get_channels_last_strides_2d(sizes);
  if (grad.is_cuda()) {
    // cuDNN is told the sizes and no address (`cudnn_convolution_backward_input`): any will do. Others may read it.
    const auto input = at::for_blob(grad.data_ptr(), sizes)
                           .strides(strides)
                           .options(options)
                           .target_device(grad.device())
                           .make_tensor();
    const std::vector<c10::SymInt> ones(2, 1), zeros(2, 0), paddings(2, padding);
    const auto backend = at::native::select_conv_backend(input, weight, std::nullopt, ones, paddings, ones,
                                                         /*transposed=*/false, zeros, /*groups=*/1, std::nullopt);
    if (backend == at::native::ConvBackend::Cudnn) return input;
    return at::empty_strided(sizes, strides, options);
  }
  // On the CPU its pages are reserved but never committed; reading them anyway yields zeros.
  size_t bytes = options.dtype().itemsize();
  for (const auto size : sizes) bytes *= static_cast<size_t>(size);
  void* pages = mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(pages != MAP_FAILED, "cannot reserve ", bytes, " bytes of address space");
  return at::from_blob(
      pages, sizes, strides, [bytes](void* p) { munmap(p, std::max<size_t>(bytes, 1)); }, options);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const SnugConv* conv,
                                                        const at::Tensor& grad,
                                                        const at::Tensor& input,
                                                        const at::Tensor& weight,
                                                        std::array<bool, 3> mask) {
  const std::vector<int64_t> stride(2, conv->stride);
  const std::vector<int64_t> padding(2, conv->padding);
  const int64_t outputs = weight.size(conv->transposed != 0 ? 1 : 0);
  return at::convolution_backward(grad, input, weight, at::IntArrayRef(outputs), stride, padding,
                                  /*dilation=*/{1, 1}, conv->transposed != 0,
                                  /*output_padding=*/{0, 0}, /*groups=*/1, mask);
}

// The gradient of a bias: the sum of the gradient over images and pixels. oneDNN computes it slowly
// inside of a transposed convolution's backward, which takes 88 ms with the bias and 28 ms without
// (64 channels of 512x512 in bf16; 102 and 72 ms in fp32; two cores of an AMD EPYC). cuDNN does not
// compute it, so on a GPU libtorch takes this sum as well.
at::Tensor bias_gradient(const at::Tensor& grad) { return grad.sum({0, 2, 3}); }

// The gradient in the layout that the kernels need. Otherwise each of them would make its own copy.
at::Tensor dense(const at::Tensor& grad) {
  return grad.contiguous(grad.suggest_memory_format());
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class ConvTranspose final : public torch::autograd::Function<ConvTranspose> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input,
                            const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                            int64_t padding) {
    ctx->save_for_backward({input, weight});
    ctx->saved_data["stride"] = stride;
    ctx->saved_data["padding"] = padding;
    return at::conv_transpose2d(input, weight, bias, stride, padding);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const SnugConv conv{ctx->saved_data["stride"].toInt(), ctx->saved_data["padding"].toInt(), 1};
    const auto grad = dense(gradients[0]);
    gradients.clear();
    at::Tensor dx, dw, db;
    const bool for_input = ctx->needs_input_grad(0), for_weight = ctx->needs_input_grad(1);
    if (for_input || for_weight) {
      std::tie(dx, dw, std::ignore) =
          ::backward(&conv, grad, saved[0], saved[1], {for_input, for_weight, false});
    }
    if (ctx->needs_input_grad(2)) db = bias_gradient(grad);
    return {dx, dw, db, {}, {}};
  }
};

// Casts as autocast does for `conv_transpose2d`, and before autograd, which must see the cast.
at::Tensor cast(const at::Tensor& t) {
  const auto device = t.device().type();
  if (!at::autocast::is_autocast_enabled(device)) return t;
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), t, device);
}

}  // namespace

extern "C" {

int32_t snug_conv_transpose(const SnugConv* conv, SnugTensor* input, SnugTensor* weight,
                            SnugTensor* bias, SnugTensor** out) {
  return snug::guarded([&] {
    *out = owned(ConvTranspose::apply(cast(tensor(input)), cast(tensor(weight)),
                                      cast(tensor(bias)), conv->stride, conv->padding));
  });
}

int32_t snug_conv_backward_weight(const SnugConv* conv, SnugTensor* grad, SnugTensor* input,
                                  SnugTensor* weight, SnugTensor** grad_weight,
                                  SnugTensor** grad_bias) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    const bool transposed = conv->transposed != 0;
    const auto g = transposed ? dense(tensor(grad)) : tensor(grad);
    const bool has_bias = grad_bias != nullptr;
    auto [unused, dw, db] =
        backward(conv, g, tensor(input), tensor(weight), {false, true, has_bias && !transposed});
    if (has_bias && transposed) db = bias_gradient(g);
    *grad_weight = owned(std::move(dw));
    if (has_bias) *grad_bias = owned(std::move(db));
  });
}

int32_t snug_conv_backward_input(const SnugConv* conv, SnugTensor* grad, SnugTensor* input,
                                 SnugTensor* weight, SnugTensor** grad_input) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    const auto& g = tensor(grad);
    const auto& w = tensor(weight);
    at::Tensor shape;
    if (input != nullptr) {
      shape = tensor(input);
    } else {
      TORCH_CHECK(conv->transposed == 0 && conv->stride == 1 && w.size(2) == 2 * conv->padding + 1 &&
                      w.size(3) == 2 * conv->padding + 1,
                  "the gradient of an input can be computed without the input only for a "
                  "convolution that keeps the size");
      shape = shape_only({g.size(0), w.size(1), g.size(2), g.size(3)}, g, w, conv->padding);
    }
    *grad_input = owned(std::get<0>(backward(conv, g, shape, w, {true, false, false})));
  });
}

uint64_t snug_version(SnugTensor* t) {
  try {
    return static_cast<uint64_t>(tensor(t)._version());
  } catch (...) {
    return 0;
  }
}

int32_t snug_accumulate_grad(SnugTensor* param, SnugTensor* grad) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    auto& sum = tensor(param).mutable_grad();
    if (sum.defined()) {
      sum.add_(tensor(grad));
    } else {
      sum = tensor(grad).detach();
    }
    const auto& hook = torch::autograd::impl::post_acc_grad_hooks(tensor(param));
    if (hook != nullptr) (*hook)(tensor(param));
  });
}

}  // extern "C"
