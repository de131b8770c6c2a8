// The counting CPU allocator: it measures tensor bytes on the CPU, enforces a limit by throwing
// as CUDA does, and fails on request for tests.
#include "error.h"
#include "record.h"

#include <atomic>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/Exception.h>
#include <malloc.h>
#include <mutex>

namespace {

// oneDNN calls `raw_allocate`, which requires context and data to be one pointer: size and id are
// therefore stored in front of the data, in a header that keeps alignment.
constexpr size_t kHeader = 64;
struct Header {
  uint64_t bytes;
  uint64_t id;
};
static_assert(sizeof(Header) <= kHeader);

std::atomic<uint64_t> allocated{0};
std::atomic<uint64_t> peak{0};
std::atomic<uint64_t> num_allocations{0};
std::atomic<uint64_t> num_live{0};
std::atomic<uint64_t> limit{0};
std::atomic<int64_t> countdown{-1};

struct Refusal {
  bool present = false;
  uint64_t requested_bytes = 0;
  uint64_t free_bytes = 0;
};
// tch reduces errors to text, so the numbers travel separately.
thread_local Refusal refusal;

[[noreturn]] void refuse(uint64_t requested, uint64_t free, const char* why) {
  refusal = {true, requested, free};
  C10_THROW_ERROR(
      OutOfMemoryError,
      c10::str("CPU out of memory (", why, "): tried to allocate ", requested,
               " bytes, ", free, " bytes free"));
}

void release(void* data) {
  if (data == nullptr) return;
  void* base = static_cast<char*>(data) - kHeader;
  const Header header = *static_cast<Header*>(base);
  if (snug::recording()) snug::record_release(header.id, header.bytes);
  allocated.fetch_sub(header.bytes, std::memory_order_relaxed);
  num_live.fetch_sub(1, std::memory_order_relaxed);
  c10::free_cpu(base);
}

void raise_peak(uint64_t level) {
  uint64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < level &&
         !peak.compare_exchange_weak(seen, level, std::memory_order_relaxed)) {
  }
}

bool planted_failure_is_due() {
  int64_t seen = countdown.load(std::memory_order_relaxed);
  while (seen >= 0) {
    if (countdown.compare_exchange_weak(seen, seen - 1, std::memory_order_relaxed))
      return seen == 0;
  }
  return false;
}

// A training step asks for the same large blocks again and again. By default glibc returns
// them to the system each time, and the next step pays for zeroed pages: keeping them took
// 18 % off a step (345 to 282 ms; width 16, 256x256, batch 4, fp32, two cores of an AMD EPYC,
// medians of three runs in turns).
void keep_freed_pages() {
#ifdef __GLIBC__
  constexpr int kNever = -1;
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, kNever);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

class MeterAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    const uint64_t cap = limit.load(std::memory_order_relaxed);
    if (planted_failure_is_due()) refuse(bytes, 0, "planted failure");
    const uint64_t level = allocated.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (cap != 0 && level > cap) {
      allocated.fetch_sub(bytes, std::memory_order_relaxed);
      const uint64_t before = level - bytes;
      refuse(bytes, before < cap ? cap - before : 0, "limit");
    }
    void* base = nullptr;
    try {
      base = c10::alloc_cpu(bytes + kHeader);
    } catch (const c10::Error&) {
      allocated.fetch_sub(bytes, std::memory_order_relaxed);
      refuse(bytes, 0, "the system refused");
    }
    const uint64_t id = num_allocations.fetch_add(1, std::memory_order_relaxed);
    *static_cast<Header*>(base) = {bytes, id};
    void* data = static_cast<char*>(base) + kHeader;
    if (snug::recording()) snug::record_allocation(id, bytes);
    num_live.fetch_add(1, std::memory_order_relaxed);
    raise_peak(level);
    return {data, data, &release, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* dest, const void* src, size_t count) const override {
    default_copy_data(dest, src, count);
  }
};

}  // namespace

extern "C" {

int32_t snug_meter_install(void) {
  return snug::guarded([] {
    static std::once_flag once;
    std::call_once(once, [] {
      // Never deleted: tensors may outlive every static object.
      static auto* allocator = new MeterAllocator();
      c10::SetCPUAllocator(allocator, /*priority=*/1);
      keep_freed_pages();
    });
  });
}

void snug_meter_read(SnugMeter* out) {
  out->allocated_bytes = allocated.load(std::memory_order_relaxed);
  out->peak_bytes = peak.load(std::memory_order_relaxed);
  out->num_allocations = num_allocations.load(std::memory_order_relaxed);
  out->num_live = num_live.load(std::memory_order_relaxed);
}

void snug_meter_reset_peak(void) { peak.store(allocated.load()); }

void snug_meter_give_back(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void snug_meter_set_limit(uint64_t bytes) { limit.store(bytes); }

void snug_meter_fail_after(int64_t after) { countdown.store(after); }

int32_t snug_meter_take_refusal(uint64_t* requested_bytes, uint64_t* free_bytes) {
  if (!refusal.present) return 0;
  *requested_bytes = refusal.requested_bytes;
  *free_bytes = refusal.free_bytes;
  refusal = {};
  return 1;
}

}  // extern "C"
