#include "segment.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <atomic>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

namespace snug {
namespace {

std::atomic<uint64_t> num_recomputes{0};
std::atomic<uint64_t> num_early_stops{0};

// Ends a recompute that has recorded all it needs. It derives from std::exception
// because tch's C layer catches nothing else.
class EarlyStop : public std::exception {
 public:
  const char* what() const noexcept override { return "snug: early stop of a recompute"; }
};

constexpr const char* kModified =
    "a parameter or input of a segment was modified in place between forward and backward";

struct Open {
  std::shared_ptr<Frame> frame;  // NULL: tensors are saved as usual
  bool recompute;
};
thread_local std::vector<Open> open_frames;
thread_local uint64_t recompute_depth = 0;

// Takes the place of a saved tensor in an autograd node.
class Dropped final : public torch::autograd::SavedVariableHooks {
 public:
  Dropped(std::shared_ptr<Frame> frame, bool recompute)
      : frame_(std::move(frame)), recompute_(recompute) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    if (recompute_) {
      // The graph of a recompute is thrown away, so it must not hold the frame.
      auto frame = std::move(frame_);
      frame->record(tensor);
      return;
    }
    auto packed = frame_->note(tensor);
    number_ = packed.number;
    if (packed.kept.defined()) {
      kept_ = std::move(packed.kept);
      version_ = kept_._version();
      frame_.reset();
    }
  }

  at::Tensor call_unpack_hook() override {
    if (kept_.defined()) {
      // libtorch does not check versions of tensors saved through hooks.
      if (kept_._version() != version_) throw Mismatch(kModified);
      return kept_;
    }
    if (!frame_) throw Mismatch("backward reached the discarded graph of a recompute");
    return frame_->take(number_);
  }

 private:
  std::shared_ptr<Frame> frame_;
  const bool recompute_;
  size_t number_ = 0;
  at::Tensor kept_;
  int64_t version_ = 0;
};

class HookedEngine final : public torch::autograd::Engine {
 public:
  HookedEngine() = default;
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks()
      override {
    if (open_frames.empty()) return nullptr;
    const auto& top = open_frames.back();
    if (!top.frame) return nullptr;
    return std::make_unique<Dropped>(top.frame, top.recompute);
  }
};

torch::autograd::Engine& hooked_engine() {
  // Never deleted: engine threads may outlive every static object.
  static auto* engine = new HookedEngine();
  return *engine;
}

}  // namespace

void install_engine() {
  static std::once_flag once;
  std::call_once(once, [] { torch::autograd::set_default_engine_stub(&hooked_engine); });
}

void count_recompute() { num_recomputes.fetch_add(1, std::memory_order_relaxed); }
void count_early_stop() { num_early_stops.fetch_add(1, std::memory_order_relaxed); }

OpenFrame::OpenFrame(std::shared_ptr<Frame> frame, bool recompute) {
  open_frames.push_back({std::move(frame), recompute});
}
OpenFrame::~OpenFrame() { open_frames.pop_back(); }

ClosedFrames::ClosedFrames() { open_frames.push_back({nullptr, false}); }
ClosedFrames::~ClosedFrames() { open_frames.pop_back(); }

std::vector<at::Tensor>& outputs_of(void* outputs) {
  return *static_cast<std::vector<at::Tensor>*>(outputs);
}

void* Closure::run(Tensors inputs, bool recompute, void* outputs) const {
  std::vector<SnugTensor*> handles;
  handles.reserve(inputs.size());
  for (auto& t : inputs)
    handles.push_back(reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(t))));
  return segment_.run(segment_.closure, handles.data(), handles.size(), recompute ? 1 : 0, outputs);
}

std::shared_ptr<Closure> own(const SnugSegment& segment) {
  try {
    return std::make_shared<Closure>(segment);
  } catch (...) {
    segment.drop_closure(segment.closure);
    throw;
  }
}

RngState RngState::capture(const Tensors& inputs) {
  RngState state;
  const auto keep = [&](at::Generator generator) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    state.states_.emplace_back(generator, generator.get_state());
  };
  keep(at::detail::getDefaultCPUGenerator());
  std::vector<at::Device> seen;
  for (const auto& t : inputs) {
    const auto device = t.device();
    if (device.is_cpu() || std::find(seen.begin(), seen.end(), device) != seen.end()) continue;
    seen.push_back(device);
    keep(at::globalContext().defaultGenerator(device));
  }
  return state;
}

void RngState::apply() const {
  for (const auto& [generator, state] : states_) {
    auto g = generator;
    const std::lock_guard<std::mutex> lock(g.mutex());
    g.set_state(state);
  }
}

Replay::Replay(std::shared_ptr<Closure> closure, const Tensors& inputs, bool preserve_rng_state)
    : closure_(std::move(closure)), autocast_(AutocastState::capture()) {
  for (const auto& t : inputs) {
    requires_grad_.push_back(t.requires_grad());
    inputs_.push_back(t.detach());
    versions_.push_back(t._version());
  }
  if (preserve_rng_state) rng_ = RngState::capture(inputs);
}

Tensors Replay::leaves() const {
  Tensors out;
  out.reserve(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    auto leaf = inputs_[i].detach();
    leaf.set_requires_grad(requires_grad_[i]);
    out.push_back(std::move(leaf));
  }
  return out;
}

void* Replay::run(const Tensors& leaves, void* outputs) const {
  check_versions();
  at::AutoGradMode grad(true);
  const AutocastScope autocast(autocast_);
  struct RestoreRng {
    std::optional<RngState> before;
    ~RestoreRng() {
      if (before) before->apply();
    }
  } restore;
  if (rng_) {
    restore.before = RngState::capture(inputs_);
    rng_->apply();
  }
  count_recompute();
  struct Depth {
    Depth() { ++recompute_depth; }
    ~Depth() { --recompute_depth; }
  } const depth;
  return closure_->run(leaves, /*recompute=*/true, outputs);
}

std::optional<size_t> Replay::index_of(const at::Tensor& t) const {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const auto& kept = inputs_[i];
    if (kept.has_storage() && t.has_storage() && kept.is_alias_of(t) &&
        kept.dtype() == t.dtype() && kept.sizes() == t.sizes() &&
        kept.strides() == t.strides() && kept.storage_offset() == t.storage_offset())
      return i;
  }
  return std::nullopt;
}

void Replay::check_versions() const {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i]._version() != versions_[i])
      throw Mismatch(
          c10::str("input ", i, " was modified in place between forward and backward"));
  }
}

Frame::Packed Frame::note(const at::Tensor& t) {
  const size_t number = slots_.size();
  // A leaf (a parameter) and an input of the segment stay alive anyway.
  const bool parameter = t.is_leaf() && t.requires_grad();
  at::Tensor kept;
  if (parameter) {
    kept = t.detach();
  } else if (const auto i = replay_.index_of(t)) {
    kept = replay_.inputs()[*i];
  }
  const bool dropped = !kept.defined();
  slots_.push_back({t.sizes().vec(), t.scalar_type(), t.device(), dropped, {},
                    parameter ? kept : at::Tensor(), t._version()});
  if (dropped) num_to_record_ = number + 1;
  return {number, std::move(kept)};
}

void Frame::refuse(std::string message) {
  mismatch_ = Mismatch(std::move(message));
  throw *mismatch_;
}

void Frame::record(const at::Tensor& t) {
  const size_t number = next_++;
  // Without early stop a recompute may save more than its forward asked to drop.
  if (number >= slots_.size()) {
    if (stopped_) return;
    refuse(c10::str("the recompute saves more tensors than the forward, which saved ",
                    slots_.size()));
  }
  auto& slot = slots_[number];
  if (c10::IntArrayRef(slot.sizes) != t.sizes() || slot.dtype != t.scalar_type() ||
      slot.device != t.device())
    refuse(c10::str("saved tensor ", number, " was ", c10::IntArrayRef(slot.sizes), " ", slot.dtype,
                    " on ", slot.device, " in forward and is ", t.sizes(), " ", t.scalar_type(),
                    " on ", t.device(), " in the recompute"));
  if (slot.dropped) slot.value = t.detach();
  if (early_stop_ && number + 1 == num_to_record_) {
    stopped_ = true;
    throw EarlyStop();
  }
}

at::Tensor Frame::take(size_t number) {
  const std::lock_guard<std::recursive_mutex> lock(mutex_);
  if (!slots_.at(number).value.defined()) recompute();
  return std::move(slots_[number].value);
}

void Frame::recompute() {
  for (const auto& slot : slots_) {
    if (slot.parameter.defined() && slot.parameter._version() != slot.version)
      throw Mismatch(kModified);
  }
  next_ = 0;
  stopped_ = false;
  mismatch_.reset();
  std::vector<at::Tensor> outputs;
  void* failure = nullptr;
  {
    const auto leaves = replay_.leaves();
    const OpenFrame open(shared_from_this(), /*recompute=*/true);
    failure = replay_.run(leaves, &outputs);
  }
  outputs.clear();
  if (stopped_) {
    count_early_stop();
    // The closure reports the early stop as a failure, which it is not.
    if (failure != nullptr) replay_.closure().drop(failure);
    return;
  }
  if (failure == nullptr && next_ >= num_to_record_) return;
  for (auto& slot : slots_) slot.value.reset();
  if (mismatch_) {
    if (failure != nullptr) replay_.closure().drop(failure);
    throw *mismatch_;
  }
  if (failure != nullptr) replay_.closure().fail(failure);
  throw Mismatch(c10::str("the recompute saved ", next_, " tensors, the forward saved at least ",
                          num_to_record_));
}

}  // namespace snug

extern "C" {

void snug_install_engine(void) { snug::install_engine(); }


void* snug_outputs_new(void) { return new std::vector<at::Tensor>(); }
void snug_outputs_delete(void* outputs) { delete static_cast<std::vector<at::Tensor>*>(outputs); }
void snug_outputs_push(void* outputs, SnugTensor* owned) {
  const std::unique_ptr<at::Tensor> t(reinterpret_cast<at::Tensor*>(owned));
  snug::outputs_of(outputs).push_back(std::move(*t));
}
size_t snug_outputs_len(const void* outputs) {
  return static_cast<const std::vector<at::Tensor>*>(outputs)->size();
}
SnugTensor* snug_outputs_take(void* outputs, size_t index) {
  return reinterpret_cast<SnugTensor*>(
      new at::Tensor(std::move(snug::outputs_of(outputs)[index])));
}

void snug_segment_stats(SnugSegmentStats* out) {
  out->num_recomputes = snug::num_recomputes.load();
  out->num_early_stops = snug::num_early_stops.load();
  out->recompute_depth = snug::recompute_depth;
  out->depth = snug::open_frames.size();
}

int32_t snug_segment_forward(
    const SnugSegment* segment, SnugTensor* const* inputs, size_t num_inputs,
    SnugTensor* const* received, size_t num_received, void* outputs) {
  return snug::guarded([&] {
    // This comes first, so that the closure has an owner from here on.
    const auto closure = snug::own(*segment);
    snug::Tensors kept;
    for (size_t i = 0; i < num_inputs; ++i)
      kept.push_back(*reinterpret_cast<at::Tensor*>(inputs[i]));
    snug::Tensors all = kept;
    for (size_t i = 0; i < num_received; ++i)
      all.push_back(*reinterpret_cast<at::Tensor*>(received[i]));

    const auto run = [&] {
      void* failure = closure->run(all, /*recompute=*/false, outputs);
      if (failure != nullptr) closure->fail(failure);
    };
    // Without a graph nothing is saved, so there is nothing to recompute.
    if (!c10::GradMode::is_enabled()) return run();

    snug::Replay replay(closure, kept, segment->preserve_rng_state != 0);
    // The cast cache is off, as in the recompute: a cached cast would outlive the segment.
    const snug::AutocastScope autocast(snug::AutocastState::capture());
    if (segment->use_reentrant != 0) {
      {
        c10::NoGradGuard no_grad;
        run();
      }
      snug::run_reentrant(std::move(replay), kept, outputs);
      return;
    }
    const auto frame =
        std::make_shared<snug::Frame>(std::move(replay), segment->early_stop != 0);
    const snug::OpenFrame open(frame, /*recompute=*/false);
    run();
  });
}

}  // extern "C"
