// Kernels do not run. What the host reads back of them is set, so that control flow sees numbers.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "standin.h"

namespace standin {
namespace {

std::mutex& lock() {
  static std::mutex& lock = *new std::mutex;
  return lock;
}

std::unordered_map<const void*, const char*>& names() {
  static auto& names = *new std::unordered_map<const void*, const char*>;
  return names;
}

bool has(const char* name, const char* part) { return std::strstr(name, part) != nullptr; }

// Sets the first bytes of what lies at `pointer`, if that is device memory.
void set(void* pointer, size_t bytes, int value) {
  std::memset(pointer, value, std::min(bytes, room_at(pointer)));
}

// The last members of `ReduceOp` (ATen/native/cuda/Reduce.cuh), a reduction's parameters.
struct Reduction {
  void* operand;
  void* results[2];
  void* buffers[3];
  int64_t first;
  bool accumulates;
  bool is_final;
  int num_results;

  bool is_plausible() const {
    unsigned char flags[2];
    std::memcpy(flags, &accumulates, sizeof flags);
    return room_at(operand) && room_at(results[0]) && first >= 0 && first <= int64_t{1} << 40 &&
           flags[0] <= 1 && flags[1] <= 1 && (num_results == 1 || num_results == 2);
  }
};

// They lie after sizes and strides whose unused places hold anything, pointers of earlier launches too.
void reduced(const char* name, void* parameters) {
  constexpr size_t kSearched = 1200;
  char bytes[kSearched];
  std::memcpy(bytes, parameters, sizeof bytes);
  for (size_t at = 0; at + sizeof(Reduction) <= kSearched; at += sizeof(void*)) {
    Reduction found;
    std::memcpy(&found, bytes + at, sizeof found);
    if (found.is_plausible()) {
      const bool is_and = has(name, "and_kernel");
      set(found.results[0], is_and ? 1 : 8, is_and ? 1 : 0);
      return;
    }
  }
}

// The bytes of the element type that a template's parameter names, as mangled.
size_t element_bytes(const char* type) {
  switch (*type) {
    case 'd': case 'l': case 'm': return 8;
    case 'f': case 'i': case 'j': return 4;
    case 'b': case 'h': case 'a': return 1;
    default: return 2;
  }
}

template <typename T>
T argument(void** arguments, int index) {
  T value;
  std::memcpy(&value, arguments[index], sizeof value);
  return value;
}

// `(int count, function, array of pointers, ...)`: the first pointer is the result's. Only single
// numbers are set: their memory is used again, and several could be read as a large one.
void elementwise(const char* name, void** arguments) {
  auto* result = argument<void*>(arguments, 2);
  if (argument<int>(arguments, 0) != 1 || !room_at(result)) return;
  constexpr char kFill[] = "FillFunctorI";
  if (const char* fill = std::strstr(name, kFill)) {
    const size_t bytes = element_bytes(fill + sizeof kFill - 1);
    std::memcpy(result, arguments[1], bytes);
    return;
  }
  const bool is_truth = has(name, "CompareEq") || has(name, "MulFunctorIb");
  set(result, is_truth ? 1 : 4, is_truth ? 1 : 0);
}

// The gradient scaler's own kernel, since runs save and show its scale.
void update_scale(void** arguments) {
  auto* scale = argument<float*>(arguments, 0);
  auto* tracker = argument<int*>(arguments, 1);
  const auto* found_inf = argument<const float*>(arguments, 2);
  if (!room_at(scale) || !room_at(tracker) || !room_at(found_inf)) return;
  if (*found_inf != 0) {
    *scale = static_cast<float>(*scale * argument<double>(arguments, 4));
    *tracker = 0;
  } else if (++*tracker == argument<int>(arguments, 5)) {
    *scale = static_cast<float>(*scale * argument<double>(arguments, 3));
    *tracker = 0;
  }
}

}  // namespace

void register_kernel(const void* function, const char* name) {
  const std::lock_guard<std::mutex> guard(lock());
  names()[function] = name;
}

void launched(const void* function, void** arguments) {
  const char* name = nullptr;
  {
    const std::lock_guard<std::mutex> guard(lock());
    const auto it = names().find(function);
    if (it != names().end()) name = it->second;
  }
  if (!name || !arguments) return;
  if (has(name, "reduce_kernel")) return reduced(name, arguments[0]);
  if (has(name, "amp_update_scale_cuda_kernel")) return update_scale(arguments);
  if (has(name, "vectorized_elementwise_kernel") || has(name, "unrolled_elementwise_kernel")) {
    return elementwise(name, arguments);
  }
}

}  // namespace standin
