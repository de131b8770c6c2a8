// The functions of the driver that libtorch looks up by name.
#include <dlfcn.h>

#include <cstring>

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

// Everything else, such as the virtual memory of expandable segments.
int snug_standin_unsupported() { return kNotSupported; }

int cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long, int* found) {
  void* known = dlsym(RTLD_DEFAULT, name);
  *function = known ? known : reinterpret_cast<void*>(&snug_standin_unsupported);
  if (found) *found = 0;
  return kSuccess;
}

}  // extern "C"
