// Exceptions end here: `guarded` turns whatever a body throws into a status and
// this thread's last error.
#pragma once

#include "snug.h"

#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace snug {

// A closure failed. Holds the payload that its trampoline returned until `take` hands it over.
class ClosureFailure : public std::exception {
 public:
  ClosureFailure(void* payload, SnugDrop drop)
      : payload_(std::make_shared<Payload>(payload, drop)) {}
  const char* what() const noexcept override { return "a segment's closure failed"; }
  void* take() const noexcept { return std::exchange(payload_->value, nullptr); }

 private:
  struct Payload {
    Payload(void* v, SnugDrop d) : value(v), drop(d) {}
    Payload(const Payload&) = delete;
    Payload& operator=(const Payload&) = delete;
    ~Payload() {
      if (value != nullptr) drop(value);
    }
    void* value;
    SnugDrop drop;
  };
  // Shared, because exceptions are copied on their way through the engine.
  std::shared_ptr<Payload> payload_;
};

// A recompute that did not repeat its forward.
class Mismatch : public std::exception {
 public:
  explicit Mismatch(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Records the exception in flight. Call from a catch block only.
int32_t record_current_exception() noexcept;

template <typename Body>
int32_t guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return SNUG_OK;
  } catch (...) {
    return record_current_exception();
  }
}

}  // namespace snug
