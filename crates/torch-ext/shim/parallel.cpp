// Work for libtorch's own threads. `at::parallel_for` is a template that needs the compiler's OpenMP; the runtime that
// libtorch has loaded is called directly, so that there is one pool of threads whatever compiled this file.
#include "error.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>

namespace {

using Region = void (*)(void*);

struct Runtime {
  void (*parallel)(Region, void*, unsigned, unsigned);
  int (*thread)(void);
  int (*num_threads)(void);

  static const Runtime& get() {
    static const Runtime runtime = [] {
      Runtime found{};
      const auto look = [](auto& symbol, const char* name) {
        symbol = reinterpret_cast<std::decay_t<decltype(symbol)>>(dlsym(RTLD_DEFAULT, name));
        return symbol != nullptr;
      };
      const bool all = look(found.parallel, "GOMP_parallel") &&
                       look(found.thread, "omp_get_thread_num") &&
                       look(found.num_threads, "omp_get_num_threads");
      if (!all) found.parallel = nullptr;
      return found;
    }();
    return runtime;
  }
};

struct Work {
  size_t num_tasks;
  SnugTask task;
  void* context;
};

// The tasks of this thread: as many as of the others, in order.
void run_share(void* data) {
  const auto& work = *static_cast<const Work*>(data);
  const auto& runtime = Runtime::get();
  const auto thread = static_cast<size_t>(runtime.thread());
  const auto num_threads = static_cast<size_t>(runtime.num_threads());
  const size_t end = (thread + 1) * work.num_tasks / num_threads;
  for (size_t i = thread * work.num_tasks / num_threads; i < end; ++i) work.task(work.context, i);
}

}  // namespace

extern "C" void snug_parallel(size_t num_tasks, SnugTask task, void* context) {
  Work work{num_tasks, task, context};
  const bool is_worth_it = num_tasks > 1 && at::get_num_threads() > 1;
  if (is_worth_it && Runtime::get().parallel != nullptr && !at::in_parallel_region()) {
    // All threads, since GOMP ends those that a smaller team leaves out (PyTorch issue 32008).
    Runtime::get().parallel(run_share, &work, 0, 0);
    return;
  }
  for (size_t i = 0; i < num_tasks; ++i) task(context, i);
}
