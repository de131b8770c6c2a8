#include "error.h"

#include <c10/util/Exception.h>

namespace snug {
namespace {

struct LastError {
  int32_t kind = SNUG_FAILURE_OTHER;
  int64_t requested_bytes = -1;
  int64_t free_bytes = -1;
  void* payload = nullptr;
  std::string message;
};

thread_local LastError last_error;

void set(int32_t kind, const char* message, void* payload = nullptr) {
  last_error.kind = kind;
  last_error.payload = payload;
  last_error.message = message;
  last_error.requested_bytes = -1;
  last_error.free_bytes = -1;
}

}  // namespace

int32_t record_current_exception() noexcept {
  try {
    throw;
  } catch (const ClosureFailure& e) {
    set(SNUG_FAILURE_CLOSURE, e.what(), e.take());
  } catch (const Mismatch& e) {
    set(SNUG_FAILURE_MISMATCH, e.what());
  } catch (const c10::OutOfMemoryError& e) {
    set(SNUG_FAILURE_OUT_OF_MEMORY, e.what_without_backtrace());
    uint64_t requested = 0;
    uint64_t free = 0;
    if (snug_meter_take_refusal(&requested, &free) != 0) {
      last_error.requested_bytes = static_cast<int64_t>(requested);
      last_error.free_bytes = static_cast<int64_t>(free);
    }
  } catch (const c10::Error& e) {
    set(SNUG_FAILURE_OTHER, e.what_without_backtrace());
  } catch (const std::bad_alloc& e) {
    set(SNUG_FAILURE_OUT_OF_MEMORY, e.what());
  } catch (const std::exception& e) {
    set(SNUG_FAILURE_OTHER, e.what());
  } catch (...) {
    set(SNUG_FAILURE_OTHER, "unknown C++ exception");
  }
  return SNUG_ERROR;
}

}  // namespace snug

extern "C" void snug_last_error(SnugFailure* out) {
  auto& e = snug::last_error;
  out->kind = e.kind;
  out->requested_bytes = e.requested_bytes;
  out->free_bytes = e.free_bytes;
  out->payload = std::exchange(e.payload, nullptr);
  out->message = e.message.c_str();
}
