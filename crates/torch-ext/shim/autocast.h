// The thread's autocast state as a value, so that a recompute on another thread
// can run in the state of its forward.
#pragma once

#include "snug.h"

#include <ATen/autocast_mode.h>

namespace snug {

c10::DeviceType device_type(int32_t device);

// The state of both devices and of the cast cache.
struct AutocastState {
  bool enabled[2];
  at::ScalarType dtype[2];
  bool cache_enabled;

  static AutocastState capture();
  void apply() const;
};

// Applies a state for a scope with the cast cache off: a cast made inside a
// recompute must neither outlive it nor be reused by another graph.
class AutocastScope {
 public:
  explicit AutocastScope(const AutocastState& state);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  AutocastState previous_;
};

}  // namespace snug
