// Counts operators through libtorch's own operator callbacks. The callbacks are
// thread-local and travel with backward to the device threads.
#include "error.h"

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>
#include <atomic>
#include <map>
#include <mutex>
#include <vector>

struct SnugProbe {
  struct Row {
    uint64_t num_calls = 0;
    uint64_t num_images = 0;
    uint64_t num_not_channels_last = 0;
  };
  std::mutex mutex;
  std::map<std::string, Row> rows;
  at::CallbackHandle handle = 0;
  std::vector<const std::pair<const std::string, Row>*> order;
};

namespace {

// A process has at most one probe at a time; a second one is refused.
std::atomic<SnugProbe*> active{nullptr};

void look_at(const at::Tensor& t, SnugProbe::Row& row) {
  // With one channel, or 1x1 in space, the strides fit both formats and prove nothing.
  if (!t.defined() || t.dim() != 4 || t.size(1) == 1 || (t.size(2) == 1 && t.size(3) == 1)) return;
  if (!t.is_non_overlapping_and_dense()) return;
  ++row.num_images;
  if (!t.is_contiguous(at::MemoryFormat::ChannelsLast)) ++row.num_not_channels_last;
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction&) { return nullptr; }

void on_end(const at::RecordFunction& fn, at::ObserverContext*) {
  auto* probe = active.load(std::memory_order_acquire);
  if (probe == nullptr) return;
  const std::lock_guard<std::mutex> lock(probe->mutex);
  auto& row = probe->rows[fn.name()];
  ++row.num_calls;
  for (const auto& value : fn.outputs()) {
    if (value.isTensor()) look_at(value.toTensor(), row);
  }
}

}  // namespace

extern "C" {

int32_t snug_probe_begin(SnugProbe** out) {
  return snug::guarded([&] {
    auto probe = std::make_unique<SnugProbe>();
    SnugProbe* expected = nullptr;
    TORCH_CHECK(
        active.compare_exchange_strong(expected, probe.get()), "a probe is already counting");
    probe->handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(on_start, on_end)
            .needsInputs(false)
            .needsOutputs(true)
            .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
    *out = probe.release();
  });
}

int32_t snug_probe_end(SnugProbe* probe) {
  return snug::guarded([&] {
    SnugProbe* expected = probe;
    if (!active.compare_exchange_strong(expected, nullptr)) return;
    at::removeCallback(probe->handle);
    const std::lock_guard<std::mutex> lock(probe->mutex);
    for (const auto& row : probe->rows) probe->order.push_back(&row);
  });
}

size_t snug_probe_len(const SnugProbe* probe) { return probe->order.size(); }

void snug_probe_row(const SnugProbe* probe, size_t index, SnugProbeRow* out) {
  const auto& [name, row] = *probe->order[index];
  *out = {name.c_str(), row.num_calls, row.num_images, row.num_not_channels_last};
}

void snug_probe_delete(SnugProbe* probe) {
  snug_probe_end(probe);
  delete probe;
}

}  // extern "C"
