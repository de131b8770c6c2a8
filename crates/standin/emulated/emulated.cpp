// Our CUDA kernels on a CPU, by name.
#include "emulated_launch.h"
#include "kernels.cu"

#include <ucontext.h>

#include <cstdlib>
#include <memory>
#include <vector>

namespace emulated {
namespace {

struct Kernel {
  const char* name;
  void (*run)(Pass);
  bool has_barriers;
};

#define NAMED(name, has_barriers) {#name, name, has_barriers}
#define NAMED_OF_ELEMENTS(name, has_barriers) \
  NAMED(name##_f32, has_barriers), NAMED(name##_f16, has_barriers), NAMED(name##_bf16, has_barriers)

constexpr Kernel kKernels[] = {
    NAMED_OF_ELEMENTS(moments, true),
    NAMED_OF_ELEMENTS(activate, false),
    NAMED_OF_ELEMENTS(activate_pooled, false),
    NAMED_OF_ELEMENTS(unpool, false),
    NAMED_OF_ELEMENTS(sums, true),
    NAMED_OF_ELEMENTS(differentiate, false),
    NAMED(statistics_of, true),
    NAMED(gradients_of, true),
};

// A thread of a block that has barriers.
struct Fiber {
  ucontext_t context;
  dim3 index;
  bool has_ended;
  std::vector<char> stack = std::vector<char>(64 << 10);
};

struct Block {
  std::vector<std::unique_ptr<Fiber>> fibers;
  Fiber* running = nullptr;
  ucontext_t caller;
  const Kernel* kernel = nullptr;
  Pass pass;
};

thread_local Block block;

const Kernel* find(const char* name) {
  for (const Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

bool starts_with(const char* text, const char* start) { return std::strncmp(text, start, std::strlen(start)) == 0; }

void run_fiber() {
  block.kernel->run(block.pass);
  block.running->has_ended = true;
}

template <typename Body>
void each_thread(Body body) {
  for (unsigned y = 0; y < blockDim.y; ++y) {
    for (unsigned x = 0; x < blockDim.x; ++x) body({x, y, 0}, y * blockDim.x + x);
  }
}

void run_with_barriers() {
  while (block.fibers.size() < blockDim.x * blockDim.y) block.fibers.push_back(std::make_unique<Fiber>());
  each_thread([](dim3 index, unsigned number) {
    Fiber& fiber = *block.fibers[number];
    fiber.index = index;
    fiber.has_ended = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &block.caller;
    makecontext(&fiber.context, run_fiber, 0);
  });
  const unsigned num = blockDim.x * blockDim.y;
  for (unsigned round = 0, num_ended = 0; num_ended < num; ++round) {
    num_ended = 0;
    for (unsigned i = 0; i < num; ++i) {
      // In turns from the first and from the last: nothing may depend on the order.
      Fiber& fiber = *block.fibers[round % 2 ? num - 1 - i : i];
      threadIdx = fiber.index;
      block.running = &fiber;
      swapcontext(&block.caller, &fiber.context);
      num_ended += fiber.has_ended;
    }
    // On a GPU a barrier that some threads do not reach waits for ever.
    if (num_ended != 0 && num_ended != num) std::abort();
  }
}

}  // namespace

void wait() { swapcontext(&block.running->context, &block.caller); }

}  // namespace emulated

extern "C" {

int snug_emulated_has(const char* name) { return emulated::find(name) != nullptr; }

int snug_emulated_launch(const char* name, const unsigned* grid, const unsigned* threads, const void* pass) {
  using namespace emulated;
  block.kernel = find(name);
  if (!block.kernel) return 0;
  std::memcpy(&block.pass, pass, sizeof block.pass);
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {threads[0], threads[1], threads[2]};
  for (unsigned y = 0; y < gridDim.y; ++y) {
    for (unsigned x = 0; x < gridDim.x; ++x) {
      blockIdx = {x, y, 0};
      if (block.kernel->has_barriers) {
        run_with_barriers();
        continue;
      }
      each_thread([](dim3 index, unsigned) {
        threadIdx = index;
        block.kernel->run(block.pass);
      });
    }
  }
  return 1;
}

int snug_emulated_ranges(const char* name, const void* argument, SnugRange* out) {
  using emulated::starts_with;
  Pass pass;
  std::memcpy(&pass, argument, sizeof pass);
  const size_t bytes = std::strstr(name, "f32") ? 4 : 2;
  const size_t dense = bytes * pass.rows * pass.channels;
  const size_t numbers = sizeof(float) * pass.channels;
  int num = 0;
  const auto add = [&](const void* pointer, size_t len) { out[num++] = {pointer, len}; };
  const bool is_pooled = starts_with(name, "activate_pooled"), unpools = starts_with(name, "unpool");
  const bool sums = starts_with(name, "moments") || starts_with(name, "sums");
  if (starts_with(name, "statistics") || starts_with(name, "gradients")) {
    const bool is_forward = starts_with(name, "statistics");
    add(pass.table, (is_forward ? 4 : 6) * numbers);
    if (pass.num_parts > 0) add(pass.parts, (is_forward ? 3 : 2) * pass.num_parts * numbers);
    add(is_forward ? pass.weight : pass.weight_gradient, numbers);
    add(is_forward ? pass.bias : pass.bias_gradient, numbers);
    if (is_forward && pass.input_bias) add(pass.input_bias, numbers);
    if (is_forward) add(pass.running_mean, numbers);
    if (is_forward) add(pass.running_variance, numbers);
    return num;
  }
  add(pass.x, dense);
  if (pass.table) add(pass.table, (starts_with(name, "differentiate") ? 6 : 4) * numbers);
  if (sums) add(pass.parts, (starts_with(name, "moments") ? 3 : 2) * pass.num_parts * numbers);
  if (starts_with(name, "moments")) return num;
  add(pass.y, is_pooled ? dense / 4 : bytes * (size_t{pass.rows - 1} * pass.stride + pass.channels));
  if (unpools) add(pass.pooled, dense / 4);
  return num;
}

}  // extern "C"
