// The reentrant form of a segment: one node that re-runs the closure, recording a
// graph, and then runs backward through that graph.
#include "segment.h"

#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

namespace snug {
namespace {

class Reentrant final : public torch::autograd::Node {
 public:
  explicit Reentrant(Replay replay) : replay_(std::move(replay)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(replay_.has_value(),
                "cannot run backward through a checkpointed segment a second time: its inputs "
                "were released; pass retain_graph = true to the first backward");
    const auto leaves = replay_->leaves();
    std::vector<at::Tensor> outputs;
    {
      const ClosedFrames closed;
      void* failure = replay_->run(leaves, &outputs);
      if (failure != nullptr) replay_->closure().fail(failure);
    }
    if (outputs.size() != gradients.size())
      throw Mismatch(c10::str("the forward returned ", gradients.size(), " tensors, the recompute ",
                              outputs.size()));
    std::vector<at::Tensor> roots;
    std::vector<at::Tensor> root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(std::move(outputs[i]));
      root_gradients.push_back(std::move(gradients[i]));
    }
    outputs.clear();
    gradients.clear();
    torch::autograd::variable_list result(leaves.size());
    if (roots.empty()) return result;
    torch::autograd::backward(roots, root_gradients);
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (leaves[i].requires_grad()) result[i] = leaves[i].grad();
    }
    return result;
  }

  std::string name() const override { return "SnugReentrantSegment"; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    replay_.reset();
  }

 private:
  std::mutex mutex_;
  std::optional<Replay> replay_;
};

}  // namespace

void run_reentrant(Replay replay, const Tensors& inputs, void* outputs) {
  // The outputs get this node even if no input requires a gradient: in PyTorch, the parameters of
  // such a segment would get no gradient.
  auto edges = torch::autograd::collect_next_edges(inputs);
  const std::shared_ptr<Reentrant> node(
      new Reentrant(std::move(replay)), torch::autograd::deleteNode);
  node->set_next_edges(std::move(edges));
  for (auto& out : outputs_of(outputs)) {
    TORCH_CHECK(out.defined() && torch::autograd::isDifferentiableType(out.scalar_type()),
                "a reentrant segment returns floating-point tensors only");
    // An output that is an input gets an identity of its own.
    out = out.detach();
    torch::autograd::set_history(out, node);
  }
}

}  // namespace snug
