// Device memory: address space without pages behind it, and an account of it for each device.
#include <sys/mman.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>

#include "standin.h"

namespace standin {
namespace {

struct Block {
  size_t bytes, asked;
  int device;
};

struct Memory {
  std::mutex lock;
  std::map<uintptr_t, Block> blocks;
  std::map<uintptr_t, size_t> pinned;
  std::map<int, size_t> held;
  uint64_t allocations = 0;
};

Memory& memory() {
  static Memory& memory = *new Memory;
  return memory;
}

// What `cudaMalloc` hands out comes in pieces of this size.
constexpr size_t kGranularity = 2 << 20;

size_t others() {
  size_t bytes = is_after_replay() ? settings().crowd_bytes : 0;
  size_t written = 0;
  if (!settings().others.empty()) std::ifstream(settings().others) >> written;
  return bytes + written;
}

size_t free_bytes(int device, size_t held) {
  const size_t taken = held + settings().context_bytes + (device == 0 ? others() : 0);
  const size_t total = settings().cards.at(device).total_bytes;
  return taken < total ? total - taken : 0;
}

template <typename Blocks>
auto containing(Blocks& blocks, const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto it = blocks.upper_bound(address);
  return it == blocks.begin() ? blocks.end() : std::prev(it);
}

// Counts memory of a device as held, unless it is refused.
bool take(Memory& all, int device, size_t bytes, size_t asked) {
  const uint64_t number = ++all.allocations;
  const bool planted = settings().fail_first && number >= settings().fail_first &&
                       number < settings().fail_first + settings().fail_count;
  size_t& held = all.held[device];
  if (planted || bytes > free_bytes(device, held)) {
    journal("refuse %zu device %d held %zu", bytes, device, held);
    return false;
  }
  held += bytes;
  journal("allocate %zu device %d held %zu asked %zu", bytes, device, held, asked);
  return true;
}

void give_back(Memory& all, int device, size_t bytes, size_t asked) {
  all.held[device] -= bytes;
  journal("free %zu device %d held %zu asked %zu", bytes, device, all.held[device], asked);
}

}  // namespace

Status device_malloc(void** out, size_t bytes) {
  if (bytes == 0) {
    *out = nullptr;
    return kSuccess;
  }
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  const int device = current_card();
  const size_t size = (bytes + kGranularity - 1) / kGranularity * kGranularity;
  if (!take(all, device, size, bytes)) return kOutOfMemory;
  void* pointer = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pointer == MAP_FAILED) {
    give_back(all, device, size, bytes);
    return kOutOfMemory;
  }
  all.blocks[reinterpret_cast<uintptr_t>(pointer)] = {size, bytes, device};
  *out = pointer;
  return kSuccess;
}

Status device_free(void* pointer) {
  if (!pointer) return kSuccess;
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  const auto it = all.blocks.find(reinterpret_cast<uintptr_t>(pointer));
  if (it == all.blocks.end()) return kInvalidValue;
  const Block block = it->second;
  munmap(pointer, block.bytes);
  all.blocks.erase(it);
  give_back(all, block.device, block.bytes, block.asked);
  return kSuccess;
}

Status reserve_addresses(void** out, size_t bytes) {
  void* pointer = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pointer == MAP_FAILED) return kOutOfMemory;
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  all.blocks[reinterpret_cast<uintptr_t>(pointer)] = {bytes, bytes, current_card()};
  *out = pointer;
  return kSuccess;
}

Status free_addresses(void* pointer, size_t bytes) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  if (all.blocks.erase(reinterpret_cast<uintptr_t>(pointer)) == 0) return kInvalidValue;
  munmap(pointer, bytes);
  return kSuccess;
}

Status take_pages(int device, size_t bytes) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  return take(all, device, bytes, bytes) ? kSuccess : kOutOfMemory;
}

void return_pages(int device, size_t bytes) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  give_back(all, device, bytes, bytes);
}

Status host_malloc(void** out, size_t bytes) {
  void* pointer = std::calloc(1, bytes ? bytes : 1);
  if (!pointer) return kOutOfMemory;
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  all.pinned[reinterpret_cast<uintptr_t>(pointer)] = bytes;
  *out = pointer;
  return kSuccess;
}

Status host_free(void* pointer) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  if (all.pinned.erase(reinterpret_cast<uintptr_t>(pointer))) std::free(pointer);
  return kSuccess;
}

void memory_info(int device, size_t* free_out, size_t* total_out) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  *free_out = free_bytes(device, all.held[device]);
  *total_out = settings().cards.at(device).total_bytes;
}

size_t held_bytes(int device) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  return all.held[device];
}

size_t room_at(const void* pointer, int* device) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  const auto it = containing(all.blocks, pointer);
  if (it == all.blocks.end()) return 0;
  const uintptr_t end = it->first + it->second.bytes, address = reinterpret_cast<uintptr_t>(pointer);
  if (address >= end) return 0;
  if (device) *device = it->second.device;
  return end - address;
}

bool is_pinned(const void* pointer) {
  auto& all = memory();
  const std::lock_guard<std::mutex> guard(all.lock);
  const auto it = containing(all.pinned, pointer);
  return it != all.pinned.end() && reinterpret_cast<uintptr_t>(pointer) < it->first + it->second;
}

}  // namespace standin
