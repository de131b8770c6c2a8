#include "autocast.h"

#include "error.h"

#include <c10/util/Exception.h>

namespace snug {

c10::DeviceType device_type(int32_t device) {
  switch (device) {
    case 0:
      return c10::DeviceType::CPU;
    case 1:
      return c10::DeviceType::CUDA;
    default:
      TORCH_CHECK(false, "unknown device code ", device);
  }
}

AutocastState AutocastState::capture() {
  AutocastState s{};
  for (int32_t d = 0; d < 2; ++d) {
    s.enabled[d] = at::autocast::is_autocast_enabled(device_type(d));
    s.dtype[d] = at::autocast::get_autocast_dtype(device_type(d));
  }
  s.cache_enabled = at::autocast::is_autocast_cache_enabled();
  return s;
}

void AutocastState::apply() const {
  for (int32_t d = 0; d < 2; ++d) {
    at::autocast::set_autocast_enabled(device_type(d), enabled[d]);
    at::autocast::set_autocast_dtype(device_type(d), dtype[d]);
  }
  at::autocast::set_autocast_cache_enabled(cache_enabled);
}

AutocastScope::AutocastScope(const AutocastState& state) : previous_(AutocastState::capture()) {
  AutocastState uncached = state;
  uncached.cache_enabled = false;
  uncached.apply();
}

AutocastScope::~AutocastScope() { previous_.apply(); }

}  // namespace snug

namespace {

SnugAutocast read(int32_t device) {
  const auto type = snug::device_type(device);
  return {device, at::autocast::is_autocast_enabled(type) ? 1 : 0,
          static_cast<int32_t>(at::autocast::get_autocast_dtype(type)),
          at::autocast::is_autocast_cache_enabled() ? 1 : 0};
}

void write(const SnugAutocast& state) {
  const auto type = snug::device_type(state.device);
  at::autocast::set_autocast_enabled(type, state.enabled != 0);
  at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(state.dtype));
  at::autocast::set_autocast_cache_enabled(state.cache_enabled != 0);
}

}  // namespace

extern "C" {

int32_t snug_autocast_enter(const SnugAutocast* state, SnugAutocast* previous) {
  return snug::guarded([&] {
    *previous = read(state->device);
    write(*state);
    at::autocast::increment_nesting();
  });
}

int32_t snug_autocast_exit(const SnugAutocast* previous) {
  return snug::guarded([&] {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    write(*previous);
  });
}

int32_t snug_autocast_read(int32_t device, SnugAutocast* out) {
  return snug::guarded([&] { *out = read(device); });
}

}  // extern "C"
