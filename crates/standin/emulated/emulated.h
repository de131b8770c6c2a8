// What CUDA offers to `crates/kernels/cuda/kernels.cu`, on a CPU: blocks run one after another, and the threads of a block
// in turns, from one barrier to the next.
#pragma once

#include <cmath>
#include <cstring>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct uint4 {
  unsigned x, y, z, w;
};

inline thread_local dim3 blockIdx, threadIdx, gridDim, blockDim;

#define KERNEL static void
#define INLINE inline
// Of the one block that runs.
#define SHARED static thread_local

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }

namespace emulated {

// Lets the block's other threads run up to here.
void wait();

// Exact.
inline float half_to_float(unsigned bits) {
  const unsigned sign = (bits & 0x8000) << 16, exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * std::ldexp(static_cast<float>(fraction), -24);
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

// To the nearest, ties to even.
inline unsigned short float_to_half(float value) {
  if (value != value) return 0x7fff;
  const unsigned sign = __float_as_uint(value) >> 16 & 0x8000;
  const float size = std::fabs(value);
  unsigned bits;
  if (size >= 65520) {
    bits = 0x7c00;
  } else if (size < 6.103515625e-5f) {
    bits = static_cast<unsigned>(std::nearbyint(std::ldexp(size, 24)));
  } else {
    const unsigned whole = __float_as_uint(size) - (112u << 23);
    bits = (whole + 0xfff + (whole >> 13 & 1)) >> 13;
  }
  return static_cast<unsigned short>(sign | bits);
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait(); }
