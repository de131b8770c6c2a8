// Operators that tch does not bind, and backward with typed failures.
#include "error.h"

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/autograd/variable.h>
#include <vector>

namespace {

at::Tensor& tensor(SnugTensor* t) { return *reinterpret_cast<at::Tensor*>(t); }

std::vector<at::Tensor> list(SnugTensor* const* tensors, size_t num) {
  std::vector<at::Tensor> out;
  out.reserve(num);
  for (size_t i = 0; i < num; ++i) out.push_back(tensor(tensors[i]));
  return out;
}

std::optional<at::Tensor> maybe(SnugTensor* t) {
  if (t == nullptr) return std::nullopt;
  return tensor(t);
}

// A node that does nothing and runs last. A thread's queue hands out high sequence numbers first,
// so nodes that a failed backward left there are reached, and thrown away, before this one.
class Last final : public torch::autograd::Node {
 public:
  Last() : Node(/*sequence_nr=*/0) {}
  torch::autograd::variable_list apply(torch::autograd::variable_list&&) override { return {}; }
};

at::MemoryFormat memory_format(int32_t format) {
  return format == 1 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

}  // namespace

extern "C" {

int32_t snug_amp_non_finite_check_and_unscale(
    SnugTensor* const* grads, size_t num, SnugTensor* found_inf, SnugTensor* inv_scale) {
  return snug::guarded([&] {
    c10::NoGradGuard no_grad;
    const auto tensors = list(grads, num);
    at::_amp_foreach_non_finite_check_and_unscale_(
        tensors, tensor(found_inf), tensor(inv_scale));
  });
}

int32_t snug_fused_adamw(
    SnugTensor* const* params, SnugTensor* const* grads, SnugTensor* const* exp_avgs,
    SnugTensor* const* exp_avg_sqs, SnugTensor* const* steps, size_t num,
    const SnugAdamW* hyper, SnugTensor* grad_scale, SnugTensor* found_inf) {
  return snug::guarded([&] {
    if (num == 0) return;
    c10::NoGradGuard no_grad;
    const auto step_list = list(steps, num);
    const auto inf = maybe(found_inf);
    // As in torch.optim: count the step first, then take the count back if the step is skipped.
    at::_foreach_add_(step_list, 1);
    at::_fused_adamw_(
        list(params, num), list(grads, num), list(exp_avgs, num), list(exp_avg_sqs, num),
        /*max_exp_avg_sqs=*/{}, step_list, hyper->lr, hyper->beta1, hyper->beta2,
        hyper->weight_decay, hyper->eps, /*amsgrad=*/false, /*maximize=*/false,
        maybe(grad_scale), inf);
    if (inf.has_value()) {
      at::_foreach_sub_(step_list, std::vector<at::Tensor>(num, *inf));
    }
  });
}

int32_t snug_clear_grad(SnugTensor* t) {
  return snug::guarded([&] { tensor(t).mutable_grad() = at::Tensor(); });
}

int32_t snug_scalar_op(SnugTensor* t, int32_t op, double value, SnugTensor** out) {
  return snug::guarded([&] {
    auto& self = tensor(t);
    TORCH_CHECK(self.is_floating_point() || value == static_cast<double>(static_cast<int64_t>(value)),
                "cannot combine a fraction with a tensor of integers");
    const at::Scalar scalar = self.is_floating_point() ? at::Scalar(value)
                                                       : at::Scalar(static_cast<int64_t>(value));
    if (out == nullptr) {
      op == 0 ? self.mul_(scalar) : self.add_(scalar);
      return;
    }
    *out = reinterpret_cast<SnugTensor*>(
        new at::Tensor(op == 0 ? self.mul(scalar) : self.add(scalar)));
  });
}

int32_t snug_is_contiguous_in(SnugTensor* t, int32_t format) {
  try {
    return tensor(t).is_contiguous(memory_format(format)) ? 1 : 0;
  } catch (...) {
    return 0;
  }
}

int32_t snug_pinned(SnugTensor* t, SnugTensor** out) {
  return snug::guarded([&] {
    *out = reinterpret_cast<SnugTensor*>(new at::Tensor(tensor(t).pin_memory()));
  });
}

int32_t snug_to_memory_format(SnugTensor* t, int32_t format, SnugTensor** out) {
  return snug::guarded([&] {
    *out = reinterpret_cast<SnugTensor*>(
        new at::Tensor(tensor(t).contiguous(memory_format(format))));
  });
}

int32_t snug_backward(SnugTensor* root, SnugTensor* gradient, int32_t retain_graph) {
  return snug::guarded([&] {
    std::vector<at::Tensor> gradients;
    if (gradient != nullptr) gradients.push_back(tensor(gradient));
    torch::autograd::backward({tensor(root)}, gradients, retain_graph != 0);
  });
}

int32_t snug_drain(void) {
  return snug::guarded([] {
    at::AutoGradMode grad(true);
    auto root = at::zeros({1});
    const std::shared_ptr<Last> node(new Last(), torch::autograd::deleteNode);
    torch::autograd::set_history(root, node);
    torch::autograd::backward({root});
  });
}

}  // extern "C"
