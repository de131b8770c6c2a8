// Which libtorch this is, whose kernels it takes, and device memory.
#include "error.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Allocator.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <unistd.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <string>
#include <torch/headeronly/version.h>

namespace {

c10::DeviceAllocator& cuda_allocator() {
  return *c10::getDeviceAllocator(c10::DeviceType::CUDA);
}

uint64_t bytes(int64_t value) { return value < 0 ? 0 : static_cast<uint64_t>(value); }

}  // namespace

extern "C" {

void snug_runtime_version(uint32_t out[3]) {
  const uint64_t v = aoti_torch_abi_version();
  out[0] = static_cast<uint32_t>(v >> 56) & 0xff;
  out[1] = static_cast<uint32_t>(v >> 48) & 0xff;
  out[2] = static_cast<uint32_t>(v >> 40) & 0xff;
}

void snug_header_version(uint32_t out[3]) {
  out[0] = TORCH_VERSION_MAJOR;
  out[1] = TORCH_VERSION_MINOR;
  out[2] = TORCH_VERSION_PATCH;
}

const char* snug_library_path(void) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&aoti_torch_abi_version), &info) == 0) return nullptr;
  return info.dli_fname;
}

void snug_exit_now(int32_t code) { _exit(code); }

const char* snug_cpu_capability(void) {
  static const std::string name = [] {
    try {
      return at::get_cpu_capability();
    } catch (...) {
      return std::string("unknown");
    }
  }();
  return name.c_str();
}

int32_t snug_cuda_memory(int32_t device, SnugDeviceMemory* out) {
  return snug::guarded([&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    auto& allocator = cuda_allocator();
    // Statistics exist from the first tensor on; until then they are zero, as in Python.
    const auto stats =
        allocator.initialized() ? allocator.getDeviceStats(index) : c10::CachingDeviceAllocator::DeviceStats{};
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    out->allocated_bytes = bytes(stats.allocated_bytes[all].current);
    out->peak_allocated_bytes = bytes(stats.allocated_bytes[all].peak);
    out->reserved_bytes = bytes(stats.reserved_bytes[all].current);
    out->peak_reserved_bytes = bytes(stats.reserved_bytes[all].peak);
    out->requested_bytes = bytes(stats.requested_bytes[all].current);
    out->peak_requested_bytes = bytes(stats.requested_bytes[all].peak);
    out->num_alloc_retries = bytes(stats.num_alloc_retries);
    out->num_ooms = bytes(stats.num_ooms);
    const auto [free, total] = allocator.getMemoryInfo(index);
    out->free_bytes = free;
    out->total_bytes = total;
  });
}

int32_t snug_cuda_reset_peak(int32_t device) {
  return snug::guarded([&] {
    auto& allocator = cuda_allocator();
    if (allocator.initialized()) allocator.resetPeakStats(static_cast<c10::DeviceIndex>(device));
  });
}

int32_t snug_cuda_empty_cache(void) {
  return snug::guarded([] { cuda_allocator().emptyCache(); });
}

int32_t snug_cuda_stream(int32_t device, void** out) {
  return snug::guarded([&] {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    const c10::Device of(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
    *out = guard.getStream(of).native_handle();
  });
}

int32_t snug_cuda_add_settings(const char* added) {
  return snug::guarded([&] {
    // Settings of the environment stay: if a key appears twice, the last one counts.
    auto settings = c10::CachingAllocator::getAllocatorSettings();
    if (!settings.empty()) settings += ',';
    settings += added;
    c10::CachingAllocator::setAllocatorSettings(settings);
  });
}

int32_t snug_allow_tf32(int32_t allow) {
  return snug::guarded([&] {
    at::globalContext().setAllowTF32CuDNN(allow != 0);
    at::globalContext().setAllowTF32CuBLAS(allow != 0);
  });
}

}  // extern "C"
