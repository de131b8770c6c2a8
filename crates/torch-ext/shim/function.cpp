// Graph nodes whose backward is a Rust closure. `Once` runs once, and the closure itself keeps the tensors that it
// needs; `Saving` is like `torch.autograd.Function`. `Accumulated` hears of a parameter's gradients.
#include "error.h"
#include "segment.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
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
                "`block` and `stage` can");
    // The closure's own graph, if it builds any, saves its tensors as usual.
    const ClosedFrames closed;
    c10::NoGradGuard no_grad;
    // From here on only the closure holds the gradient, so it may free it.
    Tensors inputs = std::move(gradients);
    std::vector<at::Tensor> nothing;
    void* failure = closure->run(std::move(inputs), /*recompute=*/false, &nothing);
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

class Saving final : public torch::autograd::Node {
 public:
  Saving(std::shared_ptr<Closure> closure, const Tensors& saved) : closure_(std::move(closure)) {
    for (const auto& tensor : saved) saved_.emplace_back(tensor, /*is_output=*/false);
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    std::shared_ptr<Closure> closure;
    Tensors inputs = std::move(gradients);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closure = closure_;
      TORCH_CHECK(closure, torch::autograd::ERR_BACKWARD_TWICE);
      for (const auto& tensor : saved_) inputs.push_back(tensor.unpack());
    }
    TORCH_CHECK(!c10::GradMode::is_enabled(), "a backward in Rust has no second derivative");
    if (!inputs.front().defined()) return torch::autograd::variable_list(next_edges().size());
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> results;
    void* failure = closure->run(std::move(inputs), /*recompute=*/false, &results);
    if (failure != nullptr) closure->fail(failure);
    return results;
  }

  std::string name() const override { return "SnugSavingBackward"; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& tensor : saved_) tensor.reset_data();
    closure_.reset();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Closure> closure_;
  std::vector<torch::autograd::SavedVariable> saved_;
};

class Accumulated final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Accumulated(std::shared_ptr<Closure> closure) : closure_(std::move(closure)) {}

  void operator()(const torch::autograd::Variable& /*parameter*/) override {
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> nothing;
    void* failure = closure_->run({}, /*recompute=*/false, &nothing);
    if (failure != nullptr) closure_->fail(failure);
  }

 private:
  std::shared_ptr<Closure> closure_;
};

Tensors borrowed(SnugTensor* const* tensors, size_t num) {
  Tensors all;
  for (size_t i = 0; i < num; ++i) all.push_back(*reinterpret_cast<at::Tensor*>(tensors[i]));
  return all;
}

}  // namespace
}  // namespace snug

extern "C" int32_t snug_attach_saving(const SnugSegment* segment, SnugTensor* tensor,
                                      SnugTensor* const* inputs, size_t num_inputs,
                                      SnugTensor* const* saved, size_t num_saved,
                                      SnugTensor** out) {
  return snug::guarded([&] {
    auto closure = snug::own(*segment);
    auto result = reinterpret_cast<at::Tensor*>(tensor)->detach();
    const auto all = snug::borrowed(inputs, num_inputs);
    if (torch::autograd::compute_requires_grad(all)) {
      const std::shared_ptr<snug::Saving> node(
          new snug::Saving(std::move(closure), snug::borrowed(saved, num_saved)),
          torch::autograd::deleteNode);
      node->set_next_edges(torch::autograd::collect_next_edges(all));
      torch::autograd::set_history(result, node);
    }
    *out = reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(result)));
  });
}

extern "C" int32_t snug_on_gradient(const SnugSegment* segment, SnugTensor* parameter) {
  return snug::guarded([&] {
    auto closure = snug::own(*segment);
    torch::autograd::impl::set_post_acc_grad_hooks(
        *reinterpret_cast<at::Tensor*>(parameter),
        std::make_unique<snug::Accumulated>(std::move(closure)));
  });
}

extern "C" int32_t snug_grad_is_enabled(void) { return c10::GradMode::is_enabled() ? 1 : 0; }

extern "C" int32_t snug_is_exclusive(SnugTensor* tensor) {
  const auto& t = *reinterpret_cast<at::Tensor*>(tensor);
  return t.use_count() == 1 && t.has_storage() && t.storage().use_count() == 1 ? 1 : 0;
}

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
