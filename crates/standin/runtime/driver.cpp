// The functions of the driver that libtorch and Snug look up by name.
#include <dlfcn.h>

#include <cstring>

#include "emulated_launch.h"
#include "standin.h"

using namespace standin;

extern "C" {

int cuGetErrorString(int, const char** text) {
  *text = "an error of the stand-in driver";
  return 0;
}

int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  *flags = 0;
  *active = held_bytes(settings().visible.at(device)) > 0;
  return 0;
}

int cuCtxGetCurrent(void** context) {
  static int current = 0;
  *context = &current;
  return 0;
}

// The virtual memory of expandable segments. Address space is readable as soon as it is reserved, so that
// mapping has only to keep account.
int cuDeviceGetAttribute(int* value, int, int) {
  // Only asked for `CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED` and the handles that it needs.
  *value = settings().maps_memory;
  return 0;
}

int cuMemGetAllocationGranularity(size_t* bytes, const void*, int) {
  *bytes = 2 << 20;
  return 0;
}

int cuMemAddressReserve(unsigned long long* pointer, size_t bytes, size_t, unsigned long long, unsigned long long) {
  void* reserved = nullptr;
  const Status status = reserve_addresses(&reserved, bytes);
  *pointer = reinterpret_cast<unsigned long long>(reserved);
  return status;
}

int cuMemAddressFree(unsigned long long pointer, size_t bytes) {
  return free_addresses(reinterpret_cast<void*>(pointer), bytes);
}

// `CUmemAllocationProp` of `cuda.h`: the type, the kind of handle, then the location's type and number.
struct Property {
  int type, handle, location_type, location;
};
struct Pages {
  int device;
  size_t bytes;
};

int cuMemCreate(Pages** handle, size_t bytes, const Property* property, unsigned long long) {
  if (!settings().maps_memory) return kNotSupported;
  const int device = settings().visible.at(property->location);
  const Status status = take_pages(device, bytes);
  if (status == kSuccess) *handle = new Pages{device, bytes};
  return status;
}

int cuMemRelease(Pages* handle) {
  return_pages(handle->device, handle->bytes);
  delete handle;
  return 0;
}

int cuMemMap(unsigned long long, size_t, size_t, Pages*, unsigned long long) { return 0; }
int cuMemUnmap(unsigned long long, size_t) { return 0; }
int cuMemSetAccess(unsigned long long, size_t, const void*, size_t) { return 0; }

// Our own kernels. Their memory is checked, and small ones run if a test asks for values.
int cuDeviceGet(int* device, int number) {
  *device = number;
  return 0;
}

int cuDevicePrimaryCtxRetain(void** context, int) { return cuCtxGetCurrent(context); }
int cuCtxSetCurrent(void*) { return 0; }
int cuCtxSynchronize() { return 0; }

int cuModuleLoadData(const Card** module, const void* image) {
  const auto* bytes = static_cast<const unsigned char*>(image);
  const Card& card = settings().cards.at(current_card());
  if (std::memcmp(bytes, "\x7f" "ELF", 4) == 0) {
    // `e_flags` of the header has the compute capability in its second byte.
    const int of = bytes[49];
    if (of / 10 != card.major || of % 10 > card.minor) return kNoBinary;
  } else if (std::memcmp(bytes, "//", 2) != 0) {
    return kInvalidImage;
  }
  *module = &card;
  return 0;
}

// A function is its name.
int cuModuleGetFunction(const char** function, const Card*, const char* name) {
  if (!snug_emulated_has(name)) return kNotFound;
  *function = strdup(name);
  return 0;
}

int cuLaunchKernel(const char* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned, const void* stream, void** arguments, void**) {
  // An emulated step of a network would take minutes.
  constexpr size_t kRun = 1 << 20;
  if (is_recorded(stream)) return kSuccess;
  journal("launch %s grid %ux%u block %ux%u stream %p", function, grid_x, grid_y, block_x, block_y, stream);
  if (!count_launch()) return kSuccess;
  SnugRange ranges[8];
  const int num = snug_emulated_ranges(function, arguments[0], ranges);
  size_t bytes = 0;
  for (int i = 0; i < num; ++i) {
    if (room_at(ranges[i].start) < ranges[i].bytes) {
      journal("launch %s reads or writes beyond a block", function);
      return kIllegalAddress;
    }
    bytes += ranges[i].bytes;
  }
  const unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
  if (settings().runs_kernels && bytes <= kRun) snug_emulated_launch(function, grid, block, arguments[0]);
  return kSuccess;
}

// Everything else.
int snug_standin_unsupported() { return kNotSupported; }

int cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long, int* found) {
  void* known = dlsym(RTLD_DEFAULT, name);
  *function = known ? known : reinterpret_cast<void*>(&snug_standin_unsupported);
  if (found) *found = 0;
  return kSuccess;
}

}  // extern "C"
