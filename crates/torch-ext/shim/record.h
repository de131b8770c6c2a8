// A record of allocations and releases, each with the operator that made it.
#pragma once

#include <atomic>
#include <cstdint>

namespace snug {

extern std::atomic<bool> record_open;
inline bool recording() { return record_open.load(std::memory_order_relaxed); }
void record_allocation(uint64_t id, uint64_t bytes) noexcept;
void record_release(uint64_t id, uint64_t bytes) noexcept;

}  // namespace snug
