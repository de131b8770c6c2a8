// The functions of the CUDA runtime that have to answer. `build.rs` writes the others, which return
// success. Offsets are those of `cuda_runtime_api.h` 13.0.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "standin.h"

using namespace standin;

namespace {

thread_local int device = 0;
thread_local int last_error = kSuccess;
std::atomic<bool> is_broken{false};

// Fills and copies are carried out up to this size. Larger ones would only touch pages that are never read.
constexpr size_t kMoved = 4 << 20;
// From the host only numbers are copied, unless a test asks for values. The rest of device memory stays zero, so that
// what the host reads back of a kernel's result is zero and not what was there before.
size_t uploaded() { return settings().has_values ? kMoved : 64; }

int result(int status) {
  if (is_broken) status = kIllegalAddress;
  if (status != kSuccess) last_error = status;
  return status;
}

template <typename T>
void put(void* base, size_t offset, T value) {
  std::memcpy(static_cast<char*>(base) + offset, &value, sizeof value);
}

size_t num_devices() { return settings().visible.size(); }

int card_of(int device) { return settings().visible.at(device); }

struct Dim3 {
  unsigned x, y, z;
};

struct Configuration {
  Dim3 grid, block;
  size_t shared_bytes;
  void* stream;
};
thread_local std::vector<Configuration> configurations;

int launch(const void* function, void** arguments, const void* stream) {
  if (is_recorded(stream)) return kSuccess;
  if (count_launch()) launched(function, arguments);
  // As on a GPU, an error of a kernel is reported by a later call.
  return kSuccess;
}

void copy(void* to, const void* from, size_t bytes) {
  if (settings().has_reads && is_after_replay() && room_at(from) && !room_at(to)) {
    if (bytes == sizeof(float)) return put(to, 0, settings().number_read);
    if (bytes == 2 * sizeof(int64_t)) return put(to, 0, std::array{settings().pair_read, settings().pair_read});
  }
  const bool is_upload = room_at(to) && !room_at(from);
  if (bytes <= (is_upload ? uploaded() : kMoved)) {
    std::memmove(to, from, bytes);
  } else if (!room_at(to)) {
    std::memset(to, 0, bytes);
  }
}

void handle(void** out) { *out = std::calloc(1, 64); }

}  // namespace

namespace standin {

bool count_launch() {
  static std::atomic<uint64_t> launches{0};
  if (++launches == settings().break_at_launch) {
    journal("broken at launch %lu", settings().break_at_launch);
    is_broken = true;
  }
  return !is_broken;
}

int current_card() { return card_of(device); }
}  // namespace standin

extern "C" {

// Devices.

int cudaGetDeviceCount(int* count) {
  *count = 0;
  if (settings().driver < 13000) return result(kInsufficientDriver);
  if (num_devices() == 0) return result(kNoDevice);
  *count = static_cast<int>(num_devices());
  return result(kSuccess);
}

// These two do not report an earlier error of the device: libtorch calls them in destructors.
int cudaGetDevice(int* out) {
  *out = device;
  return kSuccess;
}

int cudaSetDevice(int index) {
  if (index < 0 || static_cast<size_t>(index) >= num_devices()) return result(kInvalidDevice);
  device = index;
  return kSuccess;
}

int cudaDriverGetVersion(int* version) {
  *version = settings().driver;
  return kSuccess;
}

int cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}

int cudaGetDeviceProperties(void* out, int index) {
  if (static_cast<size_t>(index) >= num_devices()) return result(kInvalidDevice);
  const Card& card = settings().cards.at(card_of(index));
  std::memset(out, 0, 1008);
  std::strncpy(static_cast<char*>(out), card.name.c_str(), 255);
  put(out, 256, 0x5453'4755'4e53ull + (static_cast<uint64_t>(card_of(index)) << 56));
  put(out, 288, card.total_bytes);
  put(out, 296, size_t{48 << 10});         // sharedMemPerBlock
  put(out, 304, 65536);                    // regsPerBlock
  put(out, 308, 32);                       // warpSize
  put(out, 312, size_t{0x7fffffff});       // memPitch
  put(out, 320, 1024);                     // maxThreadsPerBlock
  for (int axis = 0; axis < 3; ++axis) {
    put(out, 324 + 4 * axis, axis < 2 ? 1024 : 64);
    put(out, 336 + 4 * axis, axis ? 65535 : 0x7fffffff);
  }
  put(out, 352, size_t{64 << 10});         // totalConstMem
  put(out, 360, card.major);
  put(out, 364, card.minor);
  put(out, 368, size_t{512});              // textureAlignment
  put(out, 384, 28);                       // multiProcessorCount
  put(out, 560, 1);                        // concurrentKernels
  put(out, 568, card_of(index) + 1);       // pciBusID
  put(out, 584, 2);                        // asyncEngineCount
  put(out, 588, 1);                        // unifiedAddressing
  put(out, 592, 192);                      // memoryBusWidth
  put(out, 596, 3 << 20);                  // l2CacheSize
  put(out, 604, 1536);                     // maxThreadsPerMultiProcessor
  put(out, 624, size_t{100 << 10});        // sharedMemPerMultiprocessor
  put(out, 632, 65536);                    // regsPerMultiprocessor
  put(out, 636, 1);                        // managedMemory
  put(out, 668, 1);                        // cooperativeLaunch
  put(out, 672, size_t{99 << 10});         // sharedMemPerBlockOptin
  put(out, 688, 16);                       // maxBlocksPerMultiProcessor
  return result(kSuccess);
}

int cudaDeviceGetAttribute(int* value, int attribute, int index) {
  if (static_cast<size_t>(index) >= num_devices()) return result(kInvalidDevice);
  const Card& card = settings().cards.at(card_of(index));
  switch (attribute) {
    case 1: *value = 1024; break;               // MaxThreadsPerBlock
    case 2: case 3: *value = 1024; break;       // MaxBlockDimX, MaxBlockDimY
    case 4: *value = 64; break;                 // MaxBlockDimZ
    case 5: *value = 0x7fffffff; break;         // MaxGridDimX: CUB launches at most this many blocks
    case 6: case 7: *value = 65535; break;      // MaxGridDimY, MaxGridDimZ
    case 8: *value = 48 << 10; break;           // MaxSharedMemoryPerBlock
    case 10: *value = 32; break;                // WarpSize
    case 12: *value = 65536; break;             // MaxRegistersPerBlock
    case 16: *value = 28; break;                // MultiProcessorCount
    case 38: *value = 3 << 20; break;           // L2CacheSize
    case 39: *value = 1536; break;              // MaxThreadsPerMultiProcessor
    case 75: *value = card.major; break;        // ComputeCapabilityMajor
    case 76: *value = card.minor; break;        // ComputeCapabilityMinor
    case 97: *value = 99 << 10; break;          // MaxSharedMemoryPerBlockOptin
    default: *value = 0;
  }
  return result(kSuccess);
}

int cudaDeviceGetPCIBusId(char* out, int length, int index) {
  std::snprintf(out, length, "0000:%02x:00.0", card_of(index) + 1);
  return result(kSuccess);
}

int cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return result(kSuccess);
}

int cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return result(kSuccess);
}

int cudaDeviceSynchronize() {
  if (settings().wait_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(settings().wait_ms));
  return result(may_wait(nullptr, "cudaDeviceSynchronize"));
}

// Errors.

int cudaGetLastError() {
  const int status = is_broken ? kIllegalAddress : last_error;
  last_error = kSuccess;
  return status;
}

int cudaPeekAtLastError() { return is_broken ? kIllegalAddress : last_error; }

const char* cudaGetErrorString(int status) {
  switch (status) {
    case kSuccess: return "no error";
    case kInvalidValue: return "invalid argument";
    case kOutOfMemory: return "out of memory";
    case kInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case kNoDevice: return "no CUDA-capable device is detected";
    case kInvalidDevice: return "invalid device ordinal";
    case kNotReady: return "device not ready";
    case kIllegalAddress: return "an illegal memory access was encountered";
    case kNotSupported: return "operation not supported";
    case kStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "unrecognized error code";
  }
}

const char* cudaGetErrorName(int status) {
  switch (status) {
    case kSuccess: return "cudaSuccess";
    case kOutOfMemory: return "cudaErrorMemoryAllocation";
    case kIllegalAddress: return "cudaErrorIllegalAddress";
    default: return "cudaErrorUnknown";
  }
}

// Memory.

int cudaMalloc(void** out, size_t bytes) {
  const int status = may_wait(nullptr, "cudaMalloc");
  if (status != kSuccess) return result(status);
  return result(is_broken ? kIllegalAddress : device_malloc(out, bytes));
}

int cudaFree(void* pointer) {
  const int status = may_wait(nullptr, "cudaFree");
  return result(status == kSuccess ? device_free(pointer) : status);
}
int cudaHostAlloc(void** out, size_t bytes, unsigned) {
  const int status = may_wait(nullptr, "cudaHostAlloc");
  return result(status == kSuccess ? host_malloc(out, bytes) : status);
}
int cudaFreeHost(void* pointer) { return result(host_free(pointer)); }

int cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  memory_info(current_card(), free_bytes, total_bytes);
  return result(may_wait(nullptr, "cudaMemGetInfo"));
}

int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, void* stream) {
  if (is_recorded(stream)) return kSuccess;
  if (bytes > uploaded() && room_at(to) && !room_at(from)) {
    journal("upload %zu %s", bytes, is_pinned(from) ? "pinned" : "pageable");
  }
  if (!is_broken) copy(to, from, bytes);
  return result(kSuccess);
}

int cudaMemcpy(void* to, const void* from, size_t bytes, int kind) {
  const int status = may_wait(nullptr, "cudaMemcpy");
  return status == kSuccess ? cudaMemcpyAsync(to, from, bytes, kind, nullptr) : result(status);
}

int cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, void* stream) {
  return cudaMemcpyAsync(to, from, bytes, 4, stream);
}

int cudaMemsetAsync(void* to, int value, size_t bytes, void* stream) {
  if (is_recorded(stream)) return kSuccess;
  if (!is_broken && bytes <= kMoved) std::memset(to, value, bytes);
  return result(kSuccess);
}

int cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

int cudaPointerGetAttributes(void* out, const void* pointer) {
  std::memset(out, 0, 88);
  int card = 0;
  if (room_at(pointer, &card)) {
    const auto& visible = settings().visible;
    put(out, 0, 2);
    put(out, 4, static_cast<int>(std::find(visible.begin(), visible.end(), card) - visible.begin()));
    put(out, 8, pointer);
  } else if (is_pinned(pointer)) {
    put(out, 0, 1);
    put(out, 8, pointer);
    put(out, 16, pointer);
  }
  return result(kSuccess);
}

int cudaDeviceGetDefaultMemPool(void** pool, int) {
  handle(pool);
  return result(kSuccess);
}

// Streams, events and graphs.

int cudaStreamCreateWithPriority(void** stream, unsigned, int) {
  handle(stream);
  return result(kSuccess);
}

int cudaStreamQuery(void* stream) { return result(may_wait(stream, "cudaStreamQuery")); }
int cudaStreamSynchronize(void* stream) { return result(may_wait(stream, "cudaStreamSynchronize")); }
int cudaStreamWaitEvent(void* stream, void* event, unsigned) { return result(may_wait_for(event, stream)); }

int cudaStreamAddCallback(void* stream, void (*callback)(void*, int, void*), void* data, unsigned) {
  callback(stream, kSuccess, data);
  return result(kSuccess);
}

int cudaEventCreateWithFlags(void** event, unsigned) {
  handle(event);
  return result(kSuccess);
}

int cudaEventCreate(void** event) { return cudaEventCreateWithFlags(event, 0); }

int cudaEventDestroy(void* event) {
  std::free(event);
  return kSuccess;
}

int cudaEventRecordWithFlags(void* event, void* stream, unsigned) {
  record_event(event, stream);
  return result(kSuccess);
}
int cudaEventRecord(void* event, void* stream) { return cudaEventRecordWithFlags(event, stream, 0); }
int cudaEventQuery(void*) { return result(may_wait(nullptr, "cudaEventQuery")); }
int cudaEventSynchronize(void*) { return result(may_wait(nullptr, "cudaEventSynchronize")); }

int cudaEventElapsedTime(float* milliseconds, void*, void*) {
  *milliseconds = 1;
  return result(kSuccess);
}

// Kernels.

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}

void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, void*, void*, void*, void*, int*) {
  register_kernel(function, name);
}

int __cudaGetKernel(const void** kernel, const void* function) {
  *kernel = function;
  return result(kSuccess);
}

unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t shared_bytes, void* stream) {
  configurations.push_back({grid, block, shared_bytes, stream});
  return kSuccess;
}

int __cudaPopCallConfiguration(Dim3* grid, Dim3* block, size_t* shared_bytes, void** stream) {
  const Configuration top = configurations.back();
  configurations.pop_back();
  *grid = top.grid;
  *block = top.block;
  *shared_bytes = top.shared_bytes;
  *stream = top.stream;
  return kSuccess;
}

int cudaLaunchKernel(const void* function, Dim3, Dim3, void** arguments, size_t, void* stream) {
  return launch(function, arguments, stream);
}

int __cudaLaunchKernel(const void* function, Dim3, Dim3, void** arguments, size_t, void* stream) {
  return launch(function, arguments, stream);
}

int cudaLaunchCooperativeKernel(const void* function, Dim3, Dim3, void** arguments, size_t, void* stream) {
  return launch(function, arguments, stream);
}

int cudaLaunchKernelExC(const void* configuration, const void* function, void** arguments) {
  // `cudaLaunchConfig_t`: grid, block, bytes of shared memory, then the stream.
  return launch(function, arguments, static_cast<void* const*>(configuration)[4]);
}

int cudaFuncGetAttributes(void* out, const void*) {
  const Card& card = settings().cards.at(current_card());
  // libtorch has no kernels for 8.9: such a card runs those for 8.6, and CUB asks which.
  const int version = 10 * card.major + card.minor == 89 ? 86 : 10 * card.major + card.minor;
  std::memset(out, 0, 144);
  put(out, 24, 1024);                            // maxThreadsPerBlock
  put(out, 28, 32);                              // numRegs
  put(out, 32, version);                         // ptxVersion
  put(out, 36, version);                         // binaryVersion
  put(out, 44, 48 << 10);                        // maxDynamicSharedSizeBytes
  return result(kSuccess);
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 2;
  return result(kSuccess);
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t, unsigned) {
  *blocks = 2;
  return result(kSuccess);
}

}  // extern "C"
