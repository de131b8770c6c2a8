// Which algorithms cuDNN may choose from.
#include "error.h"

#include <ATen/Context.h>

extern "C" {

int32_t snug_cudnn_set_choice(SnugCudnnChoice wanted, SnugCudnnChoice* previous) {
  return snug::guarded([&] {
    auto& context = at::globalContext();
    *previous = {context.deterministicCuDNN() ? 1 : 0, context.benchmarkCuDNN() ? 1 : 0};
    context.setDeterministicCuDNN(wanted.deterministic != 0);
    context.setBenchmarkCuDNN(wanted.benchmark != 0);
  });
}

}  // extern "C"
