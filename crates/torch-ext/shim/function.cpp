// One graph node whose backward is a Rust closure that runs once: like `torch.autograd.Function`,
// but the closure itself keeps the tensors that it needs.
#include "error.h"
#include "segment.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

namespace snug {
namespace {

class Once final : public torch::autograd::Node {
 public:
  explicit Once(std::shared_ptr<Closure> closure) : closure_(std::move(closure)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    std::shared_ptr<Closure> closure;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closure = std::move(closure_);
    }
    TORCH_CHECK(closure,
                "cannot run backward a second time through a node that frees its saved tensors as "
                "it goes: such a graph cannot be retained; graphs of the checkpoint policies "
                "`off`, `block` and `stage` can");
    // The closure's own graph, if it builds any, saves its tensors as usual.
    const ClosedFrames closed;
    c10::NoGradGuard no_grad;
    // From here on only the closure holds the gradient, so it may free it.
    Tensors inputs = std::move(gradients);
    std::vector<at::Tensor> nothing;
    void* failure = closure->run(std::move(inputs), /*recompute=*/true, &nothing);
    if (failure != nullptr) closure->fail(failure);
    return {};
  }

  std::string name() const override { return "SnugOnceBackward"; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    closure_.reset();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Closure> closure_;
};

}  // namespace
}  // namespace snug

extern "C" int32_t snug_attach_backward(const SnugSegment* segment, SnugTensor* tensor,
                                        SnugTensor** out) {
  return snug::guarded([&] {
    auto closure = snug::own(*segment);
    auto result = reinterpret_cast<at::Tensor*>(tensor)->detach();
    if (!c10::GradMode::is_enabled()) {
      *out = reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(result)));
      return;
    }
    const std::shared_ptr<snug::Once> node(new snug::Once(std::move(closure)),
                                           torch::autograd::deleteNode);
    torch::autograd::set_history(result, node);
    *out = reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(result)));
  });
}
