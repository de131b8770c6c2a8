// Batch norm with ReLU and pooling on an NVIDIA GPU: what the Rust kernels of this crate compute on a CPU, in as few
// passes over memory as there. Tensors are channels-last, and all arithmetic is fp32 but for the merging of sums.
//
// One source for two compilers. NVRTC makes the images of `images/` of it (`compile.py`); a C++ compiler makes a
// library of it that runs on a CPU (`crates/standin/emulated`). Both are meant to give the same bits, but for those of what
// is not a number: each fused multiply-add is written out and no other is allowed, and the order of a sum depends on shapes
// alone.
#ifdef __CUDACC_RTC__
#define KERNEL extern "C" __global__ void __launch_bounds__(256)
#define INLINE __device__ __forceinline__
#define SHARED __shared__
#else
#include "emulated.h"
#endif

namespace {

// `kernels::cuda::Pass`, field by field. What a kernel does not use may be null.
struct Pass {
  // Batch norm's input.
  const void* x;
  // What is written, in place or not; of a backward the gradient, in place.
  void* y;
  // The gradient of pooling's output.
  const void* pooled;
  // What is known per channel (`Row`). Null for ReLU alone.
  float* table;
  // Sums of parts of the rows.
  float* parts;
  const float* weight;
  const float* bias;
  // What the convolution before has not added to `x`; may be null.
  const float* input_bias;
  float* running_mean;
  float* running_variance;
  float* weight_gradient;
  float* bias_gradient;
  double eps;
  double momentum;
  // Pixels of `x`.
  unsigned rows;
  unsigned channels;
  // Elements from a row of `y` to the next.
  unsigned stride;
  // Pixels of a line of `x`.
  unsigned width;
  unsigned num_parts;
  // Whether the running statistics advance; whether the gradient is that of ReLU's input.
  unsigned update;
  unsigned is_masked;
};

static_assert(sizeof(Pass) == 144, "as in Rust");

// Rows of the table, of one number per channel each.
enum Row { kMean, kInverseDeviation, kScale, kShift, kGradient, kSlope };

struct Half {
  unsigned short bits;
};
struct BFloat {
  unsigned short bits;
};

INLINE float widen(unsigned bits, BFloat) { return __uint_as_float(bits << 16); }

INLINE BFloat narrow(float value, BFloat) {
  const unsigned bits = __float_as_uint(value);
  const unsigned rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const unsigned quiet = (bits >> 16) | 0x40;
  return {static_cast<unsigned short>(value != value ? quiet : rounded)};
}

#ifdef __CUDACC_RTC__
INLINE float widen(unsigned bits, Half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<unsigned short>(bits)));
  return value;
}

INLINE Half narrow(float value, Half) {
  Half out;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
}
#else
INLINE float widen(unsigned bits, Half) { return emulated::half_to_float(bits); }
INLINE Half narrow(float value, Half) { return {emulated::float_to_half(value)}; }
#endif

INLINE float widen(unsigned bits, float) { return __uint_as_float(bits); }
INLINE float narrow(float value, float) { return value; }

// What a thread reads and writes at once: 16 bytes.
template <typename T>
struct Wide {
  static constexpr unsigned kLen = 16 / sizeof(T);
};

template <typename T, unsigned V = Wide<T>::kLen>
INLINE void load(const T* from, float (&out)[V]) {
  const uint4 all = *reinterpret_cast<const uint4*>(from);
  const unsigned words[4] = {all.x, all.y, all.z, all.w};
#pragma unroll
  for (unsigned i = 0; i < V; ++i) {
    if (sizeof(T) == 4) {
      out[i] = widen(words[i * 4 / V], T());
    } else {
      out[i] = widen((words[i / 2] >> (16 * (i % 2))) & 0xffff, T());
    }
  }
}

INLINE unsigned word(float value) { return __float_as_uint(value); }
INLINE unsigned word(Half value) { return value.bits; }
INLINE unsigned word(BFloat value) { return value.bits; }

template <typename T, unsigned V = Wide<T>::kLen>
INLINE void store(T* into, const float (&values)[V]) {
  unsigned words[4] = {0, 0, 0, 0};
#pragma unroll
  for (unsigned i = 0; i < V; ++i) {
    const unsigned bits = word(narrow(values[i], T()));
    words[i * 4 / V] |= sizeof(T) == 4 ? bits : bits << (16 * (i % 2));
  }
  *reinterpret_cast<uint4*>(into) = make_uint4(words[0], words[1], words[2], words[3]);
}

// Batch norm's output as it would be stored: a mask must not tell apart what rounding makes equal.
template <typename T>
INLINE float normalised(float x, float scale, float shift) {
  return widen(word(narrow(__fmaf_rn(x, scale, shift), T())), T());
}

// What is not a number stays so.
INLINE float relu(float value) { return value < 0 ? 0 : value; }

// The gradient that ReLU passes on, given its input. It passes what is not a number, as libtorch does.
INLINE float passed(float gradient, float input) { return input <= 0 ? 0 : gradient; }

// Whether a later value takes the place of the largest so far: as in libtorch, what is not a number does.
INLINE bool wins(float later, float largest) { return later > largest || later != later; }

// The place of a thread: some channels of some rows.
template <typename T>
struct Place {
  static constexpr unsigned kLen = Wide<T>::kLen;
  const unsigned channels;
  // Its first channel, and its first row.
  const unsigned from, first;
  // Rows to its next.
  const unsigned step;

  INLINE explicit Place(const Pass& pass)
      : channels(pass.channels),
        from((blockIdx.y * blockDim.x + threadIdx.x) * kLen),
        first(blockIdx.x * blockDim.y + threadIdx.y),
        step(gridDim.x * blockDim.y) {}

  INLINE bool has_channels() const { return from < channels; }

  INLINE unsigned long long at(unsigned row, unsigned stride) const {
    return static_cast<unsigned long long>(row) * stride + from;
  }

  // These channels of a row of the table; those of the identity without one.
  INLINE void of_table(const Pass& pass, Row row, float (&out)[kLen]) const {
#pragma unroll
    for (unsigned i = 0; i < kLen; ++i) {
      out[i] = pass.table ? pass.table[row * channels + from + i] : row == kScale ? 1 : 0;
    }
  }
};

// Mean and sum of squared deviations of some values.
template <unsigned V>
struct Moments {
  float count = 0, mean[V] = {}, deviation[V] = {};

  INLINE void merge(float more, const float (&means)[V], const float (&deviations)[V]) {
    if (more == 0) return;
    if (count == 0) {
      // Between no mean and a huge one lies infinity.
      count = more;
#pragma unroll
      for (unsigned i = 0; i < V; ++i) {
        mean[i] = means[i];
        deviation[i] = deviations[i];
      }
      return;
    }
    const float share = more / (count + more);
    const float weight = count * share;
    count += more;
#pragma unroll
    for (unsigned i = 0; i < V; ++i) {
      const float between = means[i] - mean[i];
      mean[i] = __fmaf_rn(between, share, mean[i]);
      deviation[i] += __fmaf_rn(between * between, weight, deviations[i]);
    }
  }

  // `N` values, a power of two.
  template <unsigned N>
  INLINE void add(const float (&x)[N][V]) {
    float means[V], deviations[V];
#pragma unroll
    for (unsigned i = 0; i < V; ++i) {
      float sum = x[0][i];
#pragma unroll
      for (unsigned n = 1; n < N; ++n) sum += x[n][i];
      means[i] = sum * (1.0f / N);
      deviations[i] = 0;
#pragma unroll
      for (unsigned n = 0; n < N; ++n) {
        const float difference = x[n][i] - means[i];
        deviations[i] = __fmaf_rn(difference, difference, deviations[i]);
      }
    }
    merge(N, means, deviations);
  }
};

// The moments of a block's rows, to `parts`: count, mean and deviation of each part.
template <typename T>
INLINE void moments(const Pass& pass) {
  constexpr unsigned V = Wide<T>::kLen, kAtOnce = 4;
  SHARED float means[256 * V], deviations[256 * V], counts[256];
  const Place<T> place(pass);
  const T* x = static_cast<const T*>(pass.x);
  Moments<V> sum;
  if (place.has_channels()) {
    unsigned row = place.first;
    for (; row + (kAtOnce - 1) * place.step < pass.rows; row += kAtOnce * place.step) {
      float values[kAtOnce][V];
#pragma unroll
      for (unsigned n = 0; n < kAtOnce; ++n) load(x + place.at(row + n * place.step, pass.channels), values[n]);
      sum.add(values);
    }
    for (; row < pass.rows; row += place.step) {
      float values[1][V];
      load(x + place.at(row, pass.channels), values[0]);
      sum.add(values);
    }
  }
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  for (unsigned lines = blockDim.y; lines > 1;) {
    const unsigned half = (lines + 1) / 2;
    if (threadIdx.y >= half && threadIdx.y < lines) {
      counts[thread] = sum.count;
#pragma unroll
      for (unsigned i = 0; i < V; ++i) {
        means[thread * V + i] = sum.mean[i];
        deviations[thread * V + i] = sum.deviation[i];
      }
    }
    __syncthreads();
    if (threadIdx.y + half < lines) {
      const unsigned other = thread + half * blockDim.x;
      float mean[V], deviation[V];
#pragma unroll
      for (unsigned i = 0; i < V; ++i) {
        mean[i] = means[other * V + i];
        deviation[i] = deviations[other * V + i];
      }
      sum.merge(counts[other], mean, deviation);
    }
    lines = half;
  }
  if (threadIdx.y != 0 || !place.has_channels()) return;
  float* out = pass.parts + 3ull * blockIdx.x * pass.channels + place.from;
#pragma unroll
  for (unsigned i = 0; i < V; ++i) {
    out[i] = sum.count;
    out[pass.channels + i] = sum.mean[i];
    out[2 * pass.channels + i] = sum.deviation[i];
  }
}

// The sum over the lines of a block, per column; all its threads must ask.
INLINE double sum_of_lines(double value) {
  SHARED double sums[256];
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  __syncthreads();
  sums[thread] = value;
  __syncthreads();
  double sum = 0;
  for (unsigned line = 0; line < blockDim.y; ++line) sum += sums[line * blockDim.x + threadIdx.x];
  return sum;
}

// The table of a forward: from `parts`, or without any from the running statistics.
INLINE void statistics(const Pass& pass) {
  const unsigned channel = blockIdx.x * blockDim.x + threadIdx.x;
  const bool has_channel = channel < pass.channels;
  // Batch norm takes away what it adds to the mean of a batch.
  const double input_bias = has_channel && pass.input_bias ? pass.input_bias[channel] : 0;
  double mean = 0, variance = 0;
  if (pass.num_parts > 0) {
    const float* parts = pass.parts + channel;
    const unsigned long long len = 3ull * pass.channels;
    double sum = 0, deviation = 0;
    for (unsigned part = threadIdx.y; has_channel && part < pass.num_parts; part += blockDim.y) {
      sum += static_cast<double>(parts[part * len]) * parts[part * len + pass.channels];
    }
    mean = sum_of_lines(sum) / pass.rows;
    for (unsigned part = threadIdx.y; has_channel && part < pass.num_parts; part += blockDim.y) {
      const double between = parts[part * len + pass.channels] - mean;
      deviation += parts[part * len + 2 * pass.channels] + parts[part * len] * between * between;
    }
    deviation = sum_of_lines(deviation);
    variance = deviation / pass.rows;
    if (pass.update && has_channel && threadIdx.y == 0) {
      const double unbiased = deviation / (pass.rows - 1.0);
      const double kept = 1 - pass.momentum;
      pass.running_mean[channel] = kept * pass.running_mean[channel] + pass.momentum * (mean + input_bias);
      pass.running_variance[channel] = kept * pass.running_variance[channel] + pass.momentum * unbiased;
    }
  } else if (has_channel) {
    mean = pass.running_mean[channel] - input_bias;
    variance = pass.running_variance[channel];
  }
  if (!has_channel || threadIdx.y != 0) return;
  const double inverse = 1 / sqrt(variance + pass.eps);
  const double scale = inverse * pass.weight[channel];
  float* table = pass.table + channel;
  table[kMean * pass.channels] = mean;
  table[kInverseDeviation * pass.channels] = inverse;
  table[kScale * pass.channels] = scale;
  table[kShift * pass.channels] = pass.bias[channel] - mean * scale;
}

// Batch norm's output and ReLU.
template <typename T>
INLINE void activate(const Pass& pass) {
  constexpr unsigned V = Wide<T>::kLen;
  const Place<T> place(pass);
  if (!place.has_channels()) return;
  const T* x = static_cast<const T*>(pass.x);
  T* y = static_cast<T*>(pass.y);
  float scale[V], shift[V];
  place.of_table(pass, kScale, scale);
  place.of_table(pass, kShift, shift);
#pragma unroll 2
  for (unsigned row = place.first; row < pass.rows; row += place.step) {
    float values[V];
    load(x + place.at(row, pass.channels), values);
#pragma unroll
    for (unsigned i = 0; i < V; ++i) values[i] = relu(normalised<T>(values[i], scale[i], shift[i]));
    store(y + place.at(row, pass.stride), values);
  }
}

// The rows of `x` that the window of a pooled pixel has, in the order in which libtorch looks at them.
INLINE void window(const Pass& pass, unsigned pixel, unsigned (&rows)[4]) {
  const unsigned half = pass.width / 2;
  const unsigned line = pixel / half;
  rows[0] = 2 * line * pass.width + 2 * (pixel - line * half);
  rows[1] = rows[0] + 1;
  rows[2] = rows[0] + pass.width;
  rows[3] = rows[2] + 1;
}

// `activate` of the largest of each 2x2 pixels.
template <typename T>
INLINE void activate_pooled(const Pass& pass) {
  constexpr unsigned V = Wide<T>::kLen;
  const Place<T> place(pass);
  if (!place.has_channels()) return;
  const T* x = static_cast<const T*>(pass.x);
  T* y = static_cast<T*>(pass.y);
  float scale[V], shift[V];
  place.of_table(pass, kScale, scale);
  place.of_table(pass, kShift, shift);
  for (unsigned pixel = place.first; pixel < pass.rows / 4; pixel += place.step) {
    unsigned rows[4];
    window(pass, pixel, rows);
    float values[4][V], largest[V];
#pragma unroll
    for (unsigned n = 0; n < 4; ++n) load(x + place.at(rows[n], pass.channels), values[n]);
#pragma unroll
    for (unsigned i = 0; i < V; ++i) {
      largest[i] = normalised<T>(values[0][i], scale[i], shift[i]);
#pragma unroll
      for (unsigned n = 1; n < 4; ++n) {
        const float value = normalised<T>(values[n][i], scale[i], shift[i]);
        largest[i] = wins(value, largest[i]) ? value : largest[i];
      }
      largest[i] = relu(largest[i]);
    }
    store(y + place.at(pixel, pass.channels), largest);
  }
}

// Adds the gradient of `activate_pooled` to that of another reader of the same activation, and applies ReLU's mask to
// the sum.
template <typename T>
INLINE void unpool(const Pass& pass) {
  constexpr unsigned V = Wide<T>::kLen;
  const Place<T> place(pass);
  if (!place.has_channels()) return;
  const T* x = static_cast<const T*>(pass.x);
  const T* pooled = static_cast<const T*>(pass.pooled);
  T* y = static_cast<T*>(pass.y);
  float scale[V], shift[V];
  place.of_table(pass, kScale, scale);
  place.of_table(pass, kShift, shift);
  for (unsigned pixel = place.first; pixel < pass.rows / 4; pixel += place.step) {
    unsigned rows[4];
    window(pass, pixel, rows);
    float values[4][V], gradients[4][V], more[V];
#pragma unroll
    for (unsigned n = 0; n < 4; ++n) {
      load(x + place.at(rows[n], pass.channels), values[n]);
      load(y + place.at(rows[n], pass.channels), gradients[n]);
    }
    load(pooled + place.at(pixel, pass.channels), more);
#pragma unroll
    for (unsigned i = 0; i < V; ++i) {
      unsigned taken = 0;
      float largest = 0;
#pragma unroll
      for (unsigned n = 0; n < 4; ++n) {
        values[n][i] = normalised<T>(values[n][i], scale[i], shift[i]);
        if (n == 0 || wins(values[n][i], largest)) {
          largest = values[n][i];
          taken = n;
        }
      }
#pragma unroll
      for (unsigned n = 0; n < 4; ++n) {
        gradients[n][i] = passed(gradients[n][i] + (n == taken ? more[i] : 0), values[n][i]);
      }
    }
#pragma unroll
    for (unsigned n = 0; n < 4; ++n) store(y + place.at(rows[n], pass.channels), gradients[n]);
  }
}

// The gradient of batch norm's output: that of ReLU's, unless it is masked already.
template <typename T, unsigned V>
INLINE void mask(const Pass& pass, const float (&x)[V], const float (&scale)[V], const float (&shift)[V],
                 float (&gradient)[V]) {
  if (pass.is_masked) return;
#pragma unroll
  for (unsigned i = 0; i < V; ++i) gradient[i] = passed(gradient[i], normalised<T>(x[i], scale[i], shift[i]));
}

// Sums over a block's rows, to `parts`: of the gradient, and of its product with `x - mean`.
template <typename T>
INLINE void sums(const Pass& pass) {
  constexpr unsigned V = Wide<T>::kLen;
  SHARED float lines[256 * 2 * V];
  const Place<T> place(pass);
  const T* x = static_cast<const T*>(pass.x);
  const T* y = static_cast<const T*>(pass.y);
  float sum[2][V] = {};
  if (place.has_channels()) {
    float mean[V], scale[V], shift[V];
    place.of_table(pass, kMean, mean);
    place.of_table(pass, kScale, scale);
    place.of_table(pass, kShift, shift);
#pragma unroll 2
    for (unsigned row = place.first; row < pass.rows; row += place.step) {
      float values[V], gradient[V];
      load(x + place.at(row, pass.channels), values);
      load(y + place.at(row, pass.channels), gradient);
      mask<T>(pass, values, scale, shift, gradient);
#pragma unroll
      for (unsigned i = 0; i < V; ++i) {
        sum[0][i] += gradient[i];
        sum[1][i] = __fmaf_rn(gradient[i], values[i] - mean[i], sum[1][i]);
      }
    }
  }
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  for (unsigned num = blockDim.y; num > 1;) {
    const unsigned half = (num + 1) / 2;
    if (threadIdx.y >= half && threadIdx.y < num) {
#pragma unroll
      for (unsigned i = 0; i < 2 * V; ++i) lines[thread * 2 * V + i] = sum[i / V][i % V];
    }
    __syncthreads();
    if (threadIdx.y + half < num) {
      const unsigned other = thread + half * blockDim.x;
#pragma unroll
      for (unsigned i = 0; i < 2 * V; ++i) sum[i / V][i % V] += lines[other * 2 * V + i];
    }
    num = half;
  }
  if (threadIdx.y != 0 || !place.has_channels()) return;
  float* out = pass.parts + 2ull * blockIdx.x * pass.channels + place.from;
#pragma unroll
  for (unsigned i = 0; i < 2 * V; ++i) out[i / V * pass.channels + i % V] = sum[i / V][i % V];
}

// Gradients of weight and bias, and the table of `differentiate`.
INLINE void gradients(const Pass& pass) {
  const unsigned channel = blockIdx.x * blockDim.x + threadIdx.x;
  const bool has_channel = channel < pass.channels;
  const float* parts = pass.parts + channel;
  double gradient = 0, product = 0;
  for (unsigned part = threadIdx.y; has_channel && part < pass.num_parts; part += blockDim.y) {
    gradient += parts[2ull * part * pass.channels];
    product += parts[(2ull * part + 1) * pass.channels];
  }
  gradient = sum_of_lines(gradient);
  product = sum_of_lines(product);
  if (!has_channel || threadIdx.y != 0) return;
  float* table = pass.table + channel;
  const double inverse = table[kInverseDeviation * pass.channels];
  pass.weight_gradient[channel] = product * inverse;
  pass.bias_gradient[channel] = gradient;
  table[kGradient * pass.channels] = gradient / pass.rows;
  table[kSlope * pass.channels] = product / pass.rows * inverse * inverse;
}

// The gradient of batch norm's input, over that of its output.
template <typename T>
INLINE void differentiate(const Pass& pass) {
  constexpr unsigned V = Wide<T>::kLen;
  const Place<T> place(pass);
  if (!place.has_channels()) return;
  const T* x = static_cast<const T*>(pass.x);
  T* y = static_cast<T*>(pass.y);
  float mean[V], scale[V], shift[V], gradient[V], slope[V];
  place.of_table(pass, kMean, mean);
  place.of_table(pass, kScale, scale);
  place.of_table(pass, kShift, shift);
  place.of_table(pass, kGradient, gradient);
  place.of_table(pass, kSlope, slope);
#pragma unroll 2
  for (unsigned row = place.first; row < pass.rows; row += place.step) {
    float values[V], out[V];
    load(x + place.at(row, pass.channels), values);
    load(y + place.at(row, pass.channels), out);
    mask<T>(pass, values, scale, shift, out);
#pragma unroll
    for (unsigned i = 0; i < V; ++i) {
      out[i] = __fmaf_rn(mean[i] - values[i], slope[i], out[i] - gradient[i]) * scale[i];
    }
    store(y + place.at(row, pass.channels), out);
  }
}

}  // namespace

#define OF_ELEMENTS(name)                                       \
  KERNEL name##_f32(Pass pass) { name<float>(pass); }           \
  KERNEL name##_f16(Pass pass) { name<Half>(pass); }            \
  KERNEL name##_bf16(Pass pass) { name<BFloat>(pass); }

OF_ELEMENTS(moments)
OF_ELEMENTS(activate)
OF_ELEMENTS(activate_pooled)
OF_ELEMENTS(unpool)
OF_ELEMENTS(sums)
OF_ELEMENTS(differentiate)
KERNEL statistics_of(Pass pass) { statistics(pass); }
KERNEL gradients_of(Pass pass) { gradients(pass); }
