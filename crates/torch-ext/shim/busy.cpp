// The total time of operators. Only the outermost ones are timed, so that nothing is counted twice.
// The callbacks are thread-local and travel with backward to the device threads.
#include "error.h"

#include <ATen/record_function.h>
#include <atomic>
#include <chrono>
#include <cstring>

namespace {

using Clock = std::chrono::steady_clock;

std::atomic<uint64_t> total{0};
std::atomic<bool> counting{false};
at::CallbackHandle handle = 0;
thread_local int depth = 0;
thread_local Clock::time_point began;

// Autograd's engine wraps each node in a record of its own, which is not an operator: time it
// spends outside of operators belongs to the host.
bool is_operator(const at::RecordFunction& fn) { return std::strncmp(fn.name(), "aten::", 6) == 0; }

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& fn) {
  if (is_operator(fn) && depth++ == 0) began = Clock::now();
  return nullptr;
}

void on_end(const at::RecordFunction& fn, at::ObserverContext*) {
  if (!is_operator(fn) || --depth != 0) return;
  const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - began);
  total.fetch_add(static_cast<uint64_t>(took.count()), std::memory_order_relaxed);
}

}  // namespace

extern "C" {

int32_t snug_busy_begin(void) {
  return snug::guarded([] {
    TORCH_CHECK(!counting.exchange(true), "operators are already being timed");
    total = 0;
    depth = 0;
    handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(on_start, on_end).scopes({at::RecordScope::FUNCTION}));
  });
}

int32_t snug_busy_end(uint64_t* nanoseconds) {
  return snug::guarded([&] {
    *nanoseconds = 0;
    if (!counting.load()) return;
    at::removeCallback(handle);
    *nanoseconds = total.load();
    counting = false;
  });
}

}  // extern "C"
