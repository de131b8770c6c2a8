// c10d: a store that processes share, a group of them, and an operation under way. c10d's headers take long to compile,
// so no other file includes them.
#define USE_C10D_GLOO

#include "error.h"

#include <c10/util/Logging.h>
#include <dlfcn.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

struct SnugStore {
  c10::intrusive_ptr<c10d::Store> store;
};

struct SnugGroup {
  c10::intrusive_ptr<c10d::Backend> backend;
  // NULL for NCCL.
  c10d::ProcessGroupGloo* gloo;
  // The GPU of a group of NCCL, for operations without a tensor.
  std::vector<int64_t> devices;
  bool aborted;
};

struct SnugWork {
  c10::intrusive_ptr<c10d::Work> work;
};

namespace {

using std::chrono::milliseconds;

at::Tensor& tensor(SnugTensor* t) { return *reinterpret_cast<at::Tensor*>(t); }

// c10d logs each failure with the C++ stack, beside the exception. The environment can ask for that.
void quiet() {
  [[maybe_unused]] static const bool once = [] {
    c10::initLogging();
    if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) {
      FLAGS_caffe2_log_level = c10::GLOG_FATAL;
      c10::UpdateLoggingLevelsFromFlags();
    }
    return true;
  }();
}

SnugStore* owned(c10::intrusive_ptr<c10d::Store> store) { return new SnugStore{std::move(store)}; }

// c10d has no abort for Gloo. This closes all connections, as Gloo does after a timeout: what waits on them fails at
// once. Only a derived class may name the contexts.
struct Connections : c10d::ProcessGroupGloo {
  static void close(c10d::ProcessGroupGloo& group) {
    for (const auto& context : group.*(&Connections::contexts_)) {
      for (int rank = 0; rank < group.getSize(); ++rank) {
        auto* pair = dynamic_cast<gloo::transport::tcp::Pair*>(context->getPair(rank).get());
        if (pair != nullptr) pair->signalExceptionExternal("aborted by this process");
      }
    }
  }
};

// NCCL's group is a class of libtorch_cuda that nothing but Python makes. The linker must not need that library, so
// both constructors are found by their names; all that follows are virtual functions of `Backend`.
namespace nccl {

constexpr auto make_options = "_ZN4c10d16ProcessGroupNCCL7OptionsC1Eb";
constexpr auto make_group =
    "_ZN4c10d16ProcessGroupNCCLC1EN3c1013intrusive_ptrINS_5StoreENS1_6detail34intrusive_target_default_null_"
    "typeIS3_EEEEiiNS2_INS0_7OptionsENS5_IS8_EEEE";
// `Backend::Options` is the base at offset 0 of the options, and a pointer to either is passed alike.
using Options = c10::intrusive_ptr<c10d::Backend::Options>;
using MakeOptions = void (*)(void* self, bool high_priority_stream);
using MakeGroup = void (*)(void* self, c10::intrusive_ptr<c10d::Store>, int rank, int size, Options);

template <typename Function>
Function find(const char* name) {
  auto* symbol = dlsym(RTLD_DEFAULT, name);
  TORCH_CHECK(symbol != nullptr, "libtorch_cuda has no NCCL: ", name, " is missing");
  return reinterpret_cast<Function>(symbol);
}

// Far more than either class takes: 1112 bytes for the group of libtorch 2.11.
constexpr size_t bytes = 64 << 10;

template <typename Base, typename Construct>
c10::intrusive_ptr<Base> make(Construct construct) {
  void* self = ::operator new(bytes);
  std::memset(self, 0, bytes);
  try {
    construct(self);
  } catch (...) {
    ::operator delete(self);
    throw;
  }
  return c10::intrusive_ptr<Base>::unsafe_steal_from_new(static_cast<Base*>(self));
}

c10::intrusive_ptr<c10d::Backend> group(
    const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, milliseconds timeout) {
  const auto construct_options = find<MakeOptions>(make_options);
  const auto construct = find<MakeGroup>(make_group);
  const auto options =
      make<c10d::Backend::Options>([&](void* self) { construct_options(self, false); });
  options->timeout = timeout;
  return make<c10d::Backend>([&](void* self) { construct(self, store, rank, size, options); });
}

}  // namespace nccl

c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_group(
    const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, milliseconds timeout,
    const char* interface) {
  using Gloo = c10d::ProcessGroupGloo;
  auto options = interface == nullptr ? Gloo::Options::create_default(timeout)
                                      : Gloo::Options::create(timeout);
  if (interface != nullptr) options->devices.push_back(Gloo::createDeviceForInterface(interface));
  return c10::make_intrusive<Gloo>(store, rank, size, std::move(options));
}

// With the first operation of a group of Gloo, libtorch's flight recorder writes to a map of the process without a lock:
// two threads that start operations at once could crash. Starting one takes microseconds.
std::mutex recorder;

// Starts an operation.
template <typename Start>
int32_t started(const SnugGroup* group, SnugWork** out, Start&& start) {
  return snug::guarded([&] {
    std::unique_lock<std::mutex> lock(recorder, std::defer_lock);
    if (group->gloo != nullptr) lock.lock();
    *out = new SnugWork{start()};
  });
}

}  // namespace

extern "C" {

int32_t snug_store_tcp(
    const char* host, uint16_t port, int32_t serve, int64_t timeout_ms, SnugStore** out,
    uint16_t* bound) {
  return snug::guarded([&] {
    quiet();
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serve != 0;
    options.waitWorkers = false;
    // It tries for this long to resolve and connect, and then once more.
    options.timeout = milliseconds(std::max<int64_t>(timeout_ms / 2, 1));
    const auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    store->setTimeout(milliseconds(timeout_ms));
    *bound = store->getPort();
    *out = owned(store);
  });
}

int32_t snug_store_in_process(int64_t timeout_ms, SnugStore** out) {
  return snug::guarded([&] {
    quiet();
    const auto store = c10::make_intrusive<c10d::HashStore>();
    store->setTimeout(milliseconds(timeout_ms));
    *out = owned(store);
  });
}

int32_t snug_store_prefix(SnugStore* store, const char* prefix, SnugStore** out) {
  return snug::guarded(
      [&] { *out = owned(c10::make_intrusive<c10d::PrefixStore>(prefix, store->store)); });
}

void snug_store_delete(SnugStore* store) { delete store; }

int32_t snug_store_set(SnugStore* store, const char* key, const uint8_t* value, size_t len) {
  return snug::guarded([&] { store->store->set(key, std::vector<uint8_t>(value, value + len)); });
}

int32_t snug_store_get(
    SnugStore* store, const char* key, int64_t timeout_ms, const uint8_t** value, size_t* len) {
  return snug::guarded([&] {
    static thread_local std::vector<uint8_t> last;
    store->store->wait({key}, milliseconds(timeout_ms));
    last = store->store->get(key);
    *value = last.data();
    *len = last.size();
  });
}

int32_t snug_store_check(SnugStore* store, const char* key, int32_t* found) {
  return snug::guarded([&] { *found = store->store->check({key}) ? 1 : 0; });
}

int32_t snug_store_add(SnugStore* store, const char* key, int64_t delta, int64_t* sum) {
  return snug::guarded([&] { *sum = store->store->add(key, delta); });
}

int32_t snug_store_remove(SnugStore* store, const char* key, int32_t* found) {
  return snug::guarded([&] { *found = store->store->deleteKey(key) ? 1 : 0; });
}

int32_t snug_group_gloo(
    SnugStore* store, int32_t rank, int32_t size, int64_t timeout_ms, const char* interface,
    SnugGroup** out) {
  return snug::guarded([&] {
    auto group = gloo_group(store->store, rank, size, milliseconds(timeout_ms), interface);
    auto* gloo = group.get();
    *out = new SnugGroup{std::move(group), gloo, {}, false};
  });
}

int32_t snug_group_nccl(
    SnugStore* store, int32_t rank, int32_t size, int64_t timeout_ms, int32_t device,
    SnugGroup** out) {
  return snug::guarded([&] {
    auto group = nccl::group(store->store, rank, size, milliseconds(timeout_ms));
    *out = new SnugGroup{std::move(group), nullptr, {device}, false};
  });
}

int32_t snug_group_abort(SnugGroup* group) {
  return snug::guarded([&] {
    group->aborted = true;
    group->backend->abort();
    if (group->gloo != nullptr) Connections::close(*group->gloo);
  });
}

void snug_group_delete(SnugGroup* group) {
  // NCCL's own farewell. If it fails, the group goes without.
  if (!group->aborted) snug::guarded([&] { group->backend->shutdown(); });
  delete group;
}

int32_t snug_group_all_reduce_sum(SnugGroup* group, SnugTensor* t, SnugWork** out) {
  return started(group, out, [&] {
    std::vector<at::Tensor> tensors{tensor(t)};
    return group->backend->allreduce(tensors);
  });
}

int32_t snug_group_all_gather(
    SnugGroup* group, SnugTensor* input, SnugTensor* output, SnugWork** out) {
  return started(
      group, out, [&] { return group->backend->_allgather_base(tensor(output), tensor(input)); });
}

int32_t snug_group_broadcast(SnugGroup* group, SnugTensor* t, int32_t root, SnugWork** out) {
  return started(group, out, [&] {
    std::vector<at::Tensor> tensors{tensor(t)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return group->backend->broadcast(tensors, options);
  });
}

int32_t snug_group_barrier(SnugGroup* group, SnugWork** out) {
  return started(group, out, [&] {
    c10d::BarrierOptions options;
    options.device_ids = group->devices;
    return group->backend->barrier(options);
  });
}

int32_t snug_work_wait(SnugWork* work, int64_t timeout_ms) {
  return snug::guarded([&] {
    TORCH_CHECK(work->work->wait(milliseconds(timeout_ms)), "the operation was aborted");
  });
}

int32_t snug_work_is_completed(SnugWork* work, int32_t* completed) {
  return snug::guarded([&] { *completed = work->work->isCompleted() ? 1 : 0; });
}

void snug_work_delete(SnugWork* work) { delete work; }

int32_t snug_flat_view(SnugTensor* t, SnugTensor** out) {
  return snug::guarded([&] {
    const auto& from = tensor(t);
    TORCH_CHECK(
        from.is_non_overlapping_and_dense(),
        "a tensor with gaps between its elements has no flat view");
    auto flat = from.detach().as_strided({from.numel()}, {1});
    *out = reinterpret_cast<SnugTensor*>(new at::Tensor(std::move(flat)));
  });
}

}  // extern "C"
