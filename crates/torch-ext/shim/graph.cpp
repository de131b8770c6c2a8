// What a CUDA graph asks of libtorch: a stream of its own, and memory that stays where it was.
#include "error.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/cuda/CUDACachingAllocator.h>

namespace {

using c10::cuda::CUDACachingAllocator::CUDAAllocator;

CUDAAllocator& allocator() {
  return static_cast<CUDAAllocator&>(*c10::getDeviceAllocator(c10::DeviceType::CUDA));
}

c10::Device cuda_device(int32_t index) {
  return {c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)};
}

c10::MempoolId_t pool_id(uint64_t pool) { return {0, pool}; }

}  // namespace

extern "C" {

int32_t snug_graph_enter_stream(int32_t device, int64_t* before, void** stream) {
  return snug::guarded([&] {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    const auto own = guard.getStreamFromGlobalPool(cuda_device(device), false);
    *stream = own.native_handle();
    *before = guard.exchangeStream(own).id();
  });
}

int32_t snug_graph_leave_stream(int32_t device, int64_t before) {
  return snug::guarded([&] {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    guard.exchangeStream(c10::Stream(c10::Stream::UNSAFE, cuda_device(device), before));
  });
}

int32_t snug_graph_begin_pool(int32_t device, uint64_t pool, void* stream) {
  return snug::guarded([&] {
    const auto is_own = [stream](cudaStream_t other) { return other == stream; };
    allocator().beginAllocateToPool(static_cast<c10::DeviceIndex>(device), pool_id(pool), is_own);
  });
}

int32_t snug_graph_end_pool(int32_t device, uint64_t pool) {
  return snug::guarded(
      [&] { allocator().endAllocateToPool(static_cast<c10::DeviceIndex>(device), pool_id(pool)); });
}

int32_t snug_graph_release_pool(int32_t device, uint64_t pool) {
  return snug::guarded(
      [&] { allocator().releasePool(static_cast<c10::DeviceIndex>(device), pool_id(pool)); });
}

}  // extern "C"
