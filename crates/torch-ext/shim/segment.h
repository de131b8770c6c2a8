// A segment of the forward pass that backward can run again.
//
// `Replay` runs the closure a second time exactly as the first: with the same
// inputs, autocast state and random numbers. Two forms use it: `Frame`
// (non-reentrant: saved tensors are dropped in forward and recorded anew when
// backward first asks for one) and the node in reentrant.cpp.
#pragma once

#include "autocast.h"
#include "error.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace snug {

using Tensors = std::vector<at::Tensor>;

// The Rust closure, dropped with its last owner.
class Closure {
 public:
  explicit Closure(const SnugSegment& segment) : segment_(segment) {}
  ~Closure() { segment_.drop_closure(segment_.closure); }
  Closure(const Closure&) = delete;
  Closure& operator=(const Closure&) = delete;

  // Runs it. Returns NULL or the payload of a failure. The closure owns the inputs.
  void* run(Tensors inputs, bool recompute, void* outputs) const;
  void drop(void* payload) const { segment_.drop_payload(payload); }
  [[noreturn]] void fail(void* payload) const {
    throw ClosureFailure(payload, segment_.drop_payload);
  }

 private:
  SnugSegment segment_;
};

// Makes the owner of a segment's closure. If that fails, the closure is dropped.
std::shared_ptr<Closure> own(const SnugSegment& segment);

// The states of the generators that the inputs' devices use.
class RngState {
 public:
  static RngState capture(const Tensors& inputs);
  void apply() const;

 private:
  std::vector<std::pair<at::Generator, at::Tensor>> states_;
};

class Replay {
 public:
  Replay(std::shared_ptr<Closure> closure, const Tensors& inputs, bool preserve_rng_state);

  // The kept inputs as fresh leaves that require grad where the originals did.
  Tensors leaves() const;
  // Runs the closure on `leaves` in the state of the forward, with grad mode on.
  void* run(const Tensors& leaves, void* outputs) const;

  const Closure& closure() const { return *closure_; }
  const Tensors& inputs() const { return inputs_; }
  // Index of the kept input that `t` is, if it is one.
  std::optional<size_t> index_of(const at::Tensor& t) const;
  // Throws if a kept input was written to since the forward.
  void check_versions() const;

 private:
  std::shared_ptr<Closure> closure_;
  Tensors inputs_;  // detached: they hold bytes, not graphs
  std::vector<bool> requires_grad_;
  std::vector<int64_t> versions_;
  AutocastState autocast_;
  std::optional<RngState> rng_;
};

// The saved tensors of one non-reentrant segment.
class Frame : public std::enable_shared_from_this<Frame> {
 public:
  Frame(Replay replay, bool early_stop)
      : replay_(std::move(replay)), early_stop_(early_stop) {}

  // Forward: notes a tensor that autograd wants to save. Returns its number, and
  // the tensor itself if dropping it would free nothing.
  struct Packed {
    size_t number;
    at::Tensor kept;
  };
  Packed note(const at::Tensor& t);
  // Recompute: receives the tensor with the next number.
  void record(const at::Tensor& t);
  // Backward: hands out a dropped tensor, running the recompute if needed.
  at::Tensor take(size_t number);

  const Replay& replay() const { return replay_; }

 private:
  void recompute();
  // Throws a mismatch and remembers it, because Rust turns the exception into text on its way.
  [[noreturn]] void refuse(std::string message);

  struct Slot {
    std::vector<int64_t> sizes;
    at::ScalarType dtype;
    at::Device device;
    bool dropped;
    at::Tensor value;
    at::Tensor parameter;  // a handle on the parameter, for its version
    int64_t version;
  };
  Replay replay_;
  const bool early_stop_;
  std::recursive_mutex mutex_;
  std::vector<Slot> slots_;
  size_t num_to_record_ = 0;  // one past the last dropped slot
  size_t next_ = 0;           // number of the next tensor of a recompute
  bool stopped_ = false;
  std::optional<Mismatch> mismatch_;
};

// Puts a frame on this thread's stack of open segments.
class OpenFrame {
 public:
  OpenFrame(std::shared_ptr<Frame> frame, bool recompute);
  ~OpenFrame();
  OpenFrame(const OpenFrame&) = delete;
  OpenFrame& operator=(const OpenFrame&) = delete;
};

// Hides every open frame: code that runs inside saves its tensors as usual.
class ClosedFrames {
 public:
  ClosedFrames();
  ~ClosedFrames();
  ClosedFrames(const ClosedFrames&) = delete;
  ClosedFrames& operator=(const ClosedFrames&) = delete;
};

// Makes libtorch ask the shim for saved-tensor hooks. Idempotent.
void install_engine();

void count_recompute();
void count_early_stop();

// The reentrant form: `outputs` become results of one node that re-runs the closure.
void run_reentrant(Replay replay, const Tensors& inputs, void* outputs);

std::vector<at::Tensor>& outputs_of(void* outputs);

}  // namespace snug
