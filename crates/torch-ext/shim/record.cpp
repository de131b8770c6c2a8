#include "record.h"

#include "error.h"

#include <ATen/record_function.h>
#include <c10/util/Exception.h>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace snug {

std::atomic<bool> record_open{false};

namespace {

// Whether a record exists, open or closed; until it is released no other can begin.
std::atomic<bool> taken{false};

using Clock = std::chrono::steady_clock;

struct Record {
  std::mutex mutex;
  std::vector<SnugEvent> events;
  std::vector<std::string> names;
  std::unordered_map<std::string, uint32_t> numbers;
  Clock::time_point opened;
  at::CallbackHandle handle = 0;

  uint32_t number_of(const std::string& name) {
    const auto [it, is_new] = numbers.try_emplace(name, static_cast<uint32_t>(names.size()));
    if (is_new) names.push_back(name);
    return it->second;
  }
};

Record& record() {
  // Never deleted: tensors may outlive every static object.
  static auto* it = new Record();
  return *it;
}

// What this thread is doing: the outermost operator, or the backward node if no operator runs.
struct Doing {
  int depth = 0;
  int backward_depth = 0;
  uint32_t op = 0;
  uint32_t node = 0;
  uint32_t label = 0;
};
thread_local Doing doing;

bool is_backward(const at::RecordFunction& fn) {
  return fn.scope() == at::RecordScope::BACKWARD_FUNCTION;
}

// The engine reports itself as a function around every node; it is not an operator.
bool is_engine(const at::RecordFunction& fn) {
  return std::string_view(fn.name()).substr(0, 18) == "autograd::engine::";
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& fn) {
  if (is_engine(fn)) return nullptr;
  int& depth = is_backward(fn) ? doing.backward_depth : doing.depth;
  if (depth++ == 0) {
    const std::lock_guard<std::mutex> lock(record().mutex);
    (is_backward(fn) ? doing.node : doing.op) = record().number_of(fn.name());
  }
  return nullptr;
}

void on_end(const at::RecordFunction& fn, at::ObserverContext*) {
  if (is_engine(fn)) return;
  int& depth = is_backward(fn) ? doing.backward_depth : doing.depth;
  if (depth > 0) --depth;
}

void add(uint64_t id, uint64_t bytes, bool released) noexcept {
  try {
    auto& r = record();
    const std::lock_guard<std::mutex> lock(r.mutex);
    const auto elapsed = Clock::now() - r.opened;
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count();
    const uint32_t op = doing.depth > 0 ? doing.op : doing.backward_depth > 0 ? doing.node : 0;
    r.events.push_back({id, bytes, static_cast<uint64_t>(ns), released ? 1u : 0u, op, doing.label});
  } catch (...) {
    // An allocation must not fail because its event could not be recorded.
  }
}

}  // namespace

void record_allocation(uint64_t id, uint64_t bytes) noexcept { add(id, bytes, false); }
void record_release(uint64_t id, uint64_t bytes) noexcept { add(id, bytes, true); }

}  // namespace snug

extern "C" {

int32_t snug_record_begin(void) {
  return snug::guarded([] {
    bool is_taken = false;
    TORCH_CHECK(snug::taken.compare_exchange_strong(is_taken, true),
                "allocations are already being recorded");
    try {
      auto& r = snug::record();
      const std::lock_guard<std::mutex> lock(r.mutex);
      r.events.clear();
      r.names.assign(1, "");
      r.numbers = {{"", 0}};
      r.opened = snug::Clock::now();
      snug::doing = {};
      r.handle = at::addThreadLocalCallback(
          at::RecordFunctionCallback(snug::on_start, snug::on_end)
              .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
      snug::record_open.store(true);
    } catch (...) {
      snug::taken.store(false);
      throw;
    }
  });
}

int32_t snug_record_end(void) {
  return snug::guarded([] {
    bool open = true;
    if (!snug::record_open.compare_exchange_strong(open, false)) return;
    at::removeCallback(snug::record().handle);
  });
}

void snug_record_release(void) {
  snug_record_end();
  snug::taken.store(false);
}

int32_t snug_record_is_open(void) { return snug::recording() ? 1 : 0; }

void snug_record_label(const char* label, size_t len) {
  try {
    auto& r = snug::record();
    const std::lock_guard<std::mutex> lock(r.mutex);
    if (snug::recording()) snug::doing.label = r.number_of(std::string(label, len));
  } catch (...) {
    snug::doing.label = 0;
  }
}

size_t snug_record_len(void) {
  try {
    const std::lock_guard<std::mutex> lock(snug::record().mutex);
    return snug::record().events.size();
  } catch (...) {
    return 0;
  }
}

int32_t snug_record_event(size_t index, SnugEvent* out) {
  return snug::guarded([&] {
    const std::lock_guard<std::mutex> lock(snug::record().mutex);
    *out = snug::record().events.at(index);
  });
}

const char* snug_record_name(uint32_t index) {
  try {
    const std::lock_guard<std::mutex> lock(snug::record().mutex);
    const auto& names = snug::record().names;
    return index < names.size() ? names[index].c_str() : nullptr;
  } catch (...) {
    return nullptr;
  }
}

}  // extern "C"
