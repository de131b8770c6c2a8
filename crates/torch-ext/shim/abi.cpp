// The layout of every struct in `snug.h`, as `src/abi.rs` states it for the Rust side. A field that
// is added, resized or moved on one side alone fails the build there.
#include "snug.h"

namespace {

// `__VA_ARGS__`: the offset of every field.
#define SNUG_LAYOUT(type, bytes, ...)                              \
  namespace type##_layout {                                        \
    using S = type;                                                \
    static_assert(sizeof(S) == (bytes), "size of " #type);         \
    static_assert(__VA_ARGS__, "offset of a field of " #type);     \
  }
#define AT(field, offset) (offsetof(S, field) == (offset))

SNUG_LAYOUT(
    SnugFailure, 40,
    AT(kind, 0) && AT(requested_bytes, 8) && AT(free_bytes, 16) && AT(payload, 24) &&
        AT(message, 32))
SNUG_LAYOUT(
    SnugMeter, 32,
    AT(allocated_bytes, 0) && AT(peak_bytes, 8) && AT(num_allocations, 16) && AT(num_live, 24))
SNUG_LAYOUT(
    SnugEvent, 40,
    AT(id, 0) && AT(bytes, 8) && AT(nanoseconds, 16) && AT(released, 24) &&
        AT(operator_name, 28) && AT(label, 32))
SNUG_LAYOUT(
    SnugDeviceMemory, 80,
    AT(allocated_bytes, 0) && AT(peak_allocated_bytes, 8) && AT(reserved_bytes, 16) &&
        AT(peak_reserved_bytes, 24) && AT(requested_bytes, 32) && AT(peak_requested_bytes, 40) &&
        AT(num_alloc_retries, 48) && AT(num_ooms, 56) && AT(free_bytes, 64) && AT(total_bytes, 72))
SNUG_LAYOUT(SnugCudnnChoice, 8, AT(deterministic, 0) && AT(benchmark, 4))
SNUG_LAYOUT(
    SnugAutocast, 16, AT(device, 0) && AT(enabled, 4) && AT(dtype, 8) && AT(cache_enabled, 12))
SNUG_LAYOUT(
    SnugAdamW, 40,
    AT(lr, 0) && AT(beta1, 8) && AT(beta2, 16) && AT(weight_decay, 24) && AT(eps, 32))
SNUG_LAYOUT(
    SnugSegment, 48,
    AT(closure, 0) && AT(run, 8) && AT(drop_closure, 16) && AT(drop_payload, 24) &&
        AT(use_reentrant, 32) && AT(preserve_rng_state, 36) && AT(early_stop, 40))
SNUG_LAYOUT(
    SnugSegmentStats, 32,
    AT(num_recomputes, 0) && AT(num_early_stops, 8) && AT(recompute_depth, 16) && AT(depth, 24))
SNUG_LAYOUT(SnugConv, 24, AT(stride, 0) && AT(padding, 8) && AT(transposed, 16))
SNUG_LAYOUT(
    SnugNorm, 48,
    AT(weight, 0) && AT(bias, 8) && AT(running_mean, 16) && AT(running_var, 24) &&
        AT(momentum, 32) && AT(eps, 40))
SNUG_LAYOUT(
    SnugNormSaved, 32, AT(mean, 0) && AT(invstd, 8) && AT(reserve, 16) && AT(implementation, 24))
SNUG_LAYOUT(
    SnugProbeRow, 32,
    AT(name, 0) && AT(num_calls, 8) && AT(num_images, 16) && AT(num_not_channels_last, 24))

}  // namespace
