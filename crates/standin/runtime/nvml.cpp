// NVML, as far as Snug asks it. Handles are indices, from 1. Structures are those of `nvml.h` 13.
#include <cstdio>
#include <cstring>

#include <unistd.h>

#include "standin.h"

using namespace standin;

namespace {

constexpr int kNvmlInvalidArgument = 2, kNvmlNotSupported = 3, kNvmlNotFound = 6, kNvmlInsufficientSize = 7;

struct MemoryInfo {
  unsigned version;
  unsigned long long total, reserved, free, used;
};

struct ProcessInfo {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};

size_t index_of(void* device) { return reinterpret_cast<size_t>(device) - 1; }

int copy(char* out, unsigned length, const std::string& text) {
  if (text.size() >= length) return kNvmlInsufficientSize;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return 0;
}

std::string uuid(size_t index) {
  char text[64];
  std::snprintf(text, sizeof text, "GPU-5354414e-4449-4e00-0000-%012zx", index);
  return text;
}

}  // namespace

extern "C" {

int nvmlInit_v2() { return 0; }
int nvmlInitWithFlags(unsigned) { return 0; }
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int) { return "an error of the stand-in NVML"; }

int nvmlSystemGetDriverVersion(char* out, unsigned length) {
  return copy(out, length, settings().driver < 13000 ? "535.0 (stand-in)" : "580.0 (stand-in)");
}

int nvmlSystemGetNVMLVersion(char* out, unsigned length) { return copy(out, length, "13.580.0"); }

int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = settings().driver;
  return 0;
}

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(settings().cards.size());
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= settings().cards.size()) return kNvmlInvalidArgument;
  *device = reinterpret_cast<void*>(size_t{index} + 1);
  return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** device) {
  const char* colon = std::strchr(id, ':');
  unsigned bus = 0;
  if (!colon || std::sscanf(colon + 1, "%x:", &bus) != 1 || bus == 0 || bus > settings().cards.size()) return kNvmlNotFound;
  *device = reinterpret_cast<void*>(size_t{bus});
  return 0;
}

int nvmlDeviceGetHandleByUUID(const char* id, void** device) {
  for (size_t index = 0; index < settings().cards.size(); ++index) {
    if (uuid(index) == id) {
      *device = reinterpret_cast<void*>(index + 1);
      return 0;
    }
  }
  return kNvmlNotFound;
}

int nvmlDeviceGetName(void* device, char* out, unsigned length) {
  return copy(out, length, settings().cards.at(index_of(device)).name);
}

int nvmlDeviceGetUUID(void* device, char* out, unsigned length) { return copy(out, length, uuid(index_of(device))); }

int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  const Card& card = settings().cards.at(index_of(device));
  *major = card.major;
  *minor = card.minor;
  return 0;
}

int nvmlDeviceGetMemoryInfo_v2(void* device, MemoryInfo* out) {
  size_t free_bytes = 0, total_bytes = 0;
  memory_info(static_cast<int>(index_of(device)), &free_bytes, &total_bytes);
  // The context belongs to a process that has used the device.
  if (held_bytes(static_cast<int>(index_of(device))) == 0) free_bytes += settings().context_bytes;
  out->total = total_bytes;
  out->reserved = 0;
  out->free = free_bytes;
  out->used = total_bytes - free_bytes;
  return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, ProcessInfo* out) {
  const size_t held = held_bytes(static_cast<int>(index_of(device)));
  const unsigned room = *count;
  *count = held > 0;
  if (held == 0) return 0;
  if (room < 1 || !out) return kNvmlInsufficientSize;
  *out = {static_cast<unsigned>(getpid()), held + settings().context_bytes, ~0u, ~0u};
  return 0;
}

// As libtorch asks, to tell who holds the memory when it runs out.
int nvmlDeviceGetComputeRunningProcesses(void* device, unsigned* count, ProcessInfo* out) {
  return nvmlDeviceGetComputeRunningProcesses_v3(device, count, out);
}

int nvmlDeviceGetNvLinkRemoteDeviceType(void*, unsigned, int*) { return kNvmlNotSupported; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void*, unsigned, void*) { return kNvmlNotSupported; }

int nvmlDeviceGetGraphicsRunningProcesses_v3(void*, unsigned* count, ProcessInfo*) {
  *count = 0;
  return 0;
}

int nvmlDeviceGetMigMode(void*, unsigned*, unsigned*) { return kNvmlNotSupported; }

}  // extern "C"
