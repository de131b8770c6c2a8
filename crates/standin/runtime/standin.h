// A stand-in for the CUDA runtime, cuDNN and NVML, for tests on machines without a GPU. It accepts
// what libtorch asks of them, keeps account of device memory, and computes nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace standin {

// Values of `cudaError_t`.
enum Status : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInsufficientDriver = 35,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kNoBinary = 209,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kNotSupported = 801,
  kStreamCaptureUnsupported = 900,
  kStreamCaptureInvalidated = 901,
};

struct Card {
  std::string name;
  int major = 8, minor = 6;
  size_t total_bytes = 0;
};

// What a test asks for, from the environment variable `SNUG_STANDIN`: `key=value` pairs, separated
// by `;`. `crates/standin/src/lib.rs` lists the keys.
struct Settings {
  std::vector<Card> cards;
  // The cards that CUDA shows, in its order, as `CUDA_VISIBLE_DEVICES` names them; NVML shows all.
  std::vector<int> visible;
  size_t context_bytes = 0;
  int driver = 13000;
  // Whether the driver maps memory into ranges of addresses.
  bool maps_memory = true;
  // How long a wait for the device takes.
  unsigned wait_ms = 0;
  // Whether what a stream does can be recorded.
  bool records_graphs = true;
  // A file with the bytes that other programs hold, read at each question.
  std::string others;
  std::string journal;
  // The numbers of device allocations to refuse, from 1: `first` and the `count - 1` after it.
  uint64_t fail_first = 0, fail_count = 0;
  // The kernel launch from which the device is broken; 0 for never.
  uint64_t break_at_launch = 0;
  // Replays of graphs, by number from 1: after each, until its graph is dropped, other programs hold `crowd_bytes` more, and
  // the host reads `number_read` for one float and `pair_read` for two integers, if they are set.
  uint64_t replay_first = 0, replay_count = 0;
  size_t crowd_bytes = 0;
  bool has_reads = false;
  float number_read = 0;
  int64_t pair_read = 0;
  // Whether uploads arrive, and whether our own kernels run.
  bool has_values = false, runs_kernels = false;
  // Lines of `operation precision format ... = bytes`, see `cudnn.cpp`.
  std::string workspaces;
};

const Settings& settings();
// The card of the thread's current device. Everything but the CUDA runtime counts all cards.
int current_card();

// Memory of the current device.
Status device_malloc(void** out, size_t bytes);
Status device_free(void* pointer);
// Address space, and pages to map into it.
Status reserve_addresses(void** out, size_t bytes);
Status free_addresses(void* pointer, size_t bytes);
Status take_pages(int device, size_t bytes);
void return_pages(int device, size_t bytes);
Status host_malloc(void** out, size_t bytes);
Status host_free(void* pointer);
void memory_info(int device, size_t* free_bytes, size_t* total_bytes);
size_t held_bytes(int device);

// Bytes from `pointer` to the end of the block that it lies in; 0 outside of device memory.
size_t room_at(const void* pointer, int* device = nullptr);
bool is_pinned(const void* pointer);

void journal(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Graphs.
// Whether the last replay is one that the settings name, and its graph is there.
bool is_after_replay();
// Whether the stream is being recorded, which then counts one more of its works.
bool is_recorded(const void* stream);
void record_event(const void* event, const void* stream);
// Refuses to let a stream wait for an event if one of the two is being recorded and the other is not.
Status may_wait_for(const void* event, const void* stream);
// Refuses a call that waits for a stream being recorded, or one that its thread may not make meanwhile.
Status may_wait(const void* stream, const char* call);

// Kernels.
// Counts a launch. False if the device is broken.
bool count_launch();
void register_kernel(const void* function, const char* name);
void launched(const void* function, void** arguments);

}  // namespace standin
