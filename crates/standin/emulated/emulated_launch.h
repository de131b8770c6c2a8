// Our CUDA kernels on a CPU. `crates/kernels/cuda/kernels.cu` describes their only argument.
#pragma once

#include <cstddef>

extern "C" {

struct SnugRange {
  const void* start;
  size_t bytes;
};

// Whether there is such a kernel.
int snug_emulated_has(const char* name);

// Runs a kernel. `grid` and `threads`, those of a block, are three numbers each. 0 if there is no such kernel.
int snug_emulated_launch(const char* name, const unsigned* grid, const unsigned* threads, const void* pass);

// The memory that a launch reads or writes, at most 8 ranges. Returns how many.
int snug_emulated_ranges(const char* name, const void* pass, SnugRange* out);

}  // extern "C"
