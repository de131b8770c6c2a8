// Graphs: what a stream records is counted and not run. A call that would wait for it is refused and spoils it, as CUDA
// does. Work on another stream meanwhile, which CUDA would just run, spoils it too: a replay would lack it.
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "standin.h"

using namespace standin;

namespace {

constexpr int kRelaxed = 2;
enum State : int { kNone = 0, kActive = 1, kSpoilt = 2 };

struct Graph {
  size_t num_nodes = 0;
};

struct Capture {
  const void* stream = nullptr;
  std::thread::id thread;
  State state = kNone;
  uint64_t id = 0;
  Graph graph;
  // Recorded meanwhile.
  std::set<const void*> events;
};

std::mutex mutex;
Capture capture;
thread_local int mode = 0;
std::atomic<uint64_t> num_replays{0};
std::atomic<bool> is_dropped{true};

State state_of(const void* stream) { return stream == capture.stream ? capture.state : kNone; }

Status spoilt(const char* call) {
  journal("graph spoilt by %s", call);
  capture.state = kSpoilt;
  return kStreamCaptureUnsupported;
}

}  // namespace

namespace standin {

bool is_after_replay() {
  const uint64_t first = settings().replay_first, number = num_replays;
  return !is_dropped && number >= first && number < first + settings().replay_count;
}

bool is_recorded(const void* stream) {
  const std::lock_guard lock(mutex);
  if (state_of(stream) != kNone) {
    ++capture.graph.num_nodes;
    return true;
  }
  if (capture.state == kActive) spoilt("work on another stream");
  return false;
}

void record_event(const void* event, const void* stream) {
  const std::lock_guard lock(mutex);
  if (state_of(stream) == kNone) {
    capture.events.erase(event);
  } else {
    capture.events.insert(event);
  }
}

Status may_wait_for(const void* event, const void* stream) {
  const std::lock_guard lock(mutex);
  if (capture.state == kNone) return kSuccess;
  const bool is_inside = capture.events.count(event) > 0;
  return is_inside == (state_of(stream) != kNone) ? kSuccess : spoilt("an event between two streams");
}

Status may_wait(const void* stream, const char* call) {
  const std::lock_guard lock(mutex);
  if (capture.state == kNone) return kSuccess;
  const bool is_of_thread = capture.thread == std::this_thread::get_id() && mode != kRelaxed;
  if (stream != capture.stream && !is_of_thread) return kSuccess;
  return spoilt(call);
}

}  // namespace standin

extern "C" {

int cudaThreadExchangeStreamCaptureMode(int* other) {
  std::swap(mode, *other);
  return kSuccess;
}

int cudaStreamIsCapturing(const void* stream, int* state) {
  const std::lock_guard lock(mutex);
  *state = state_of(stream);
  return kSuccess;
}

int cudaStreamGetCaptureInfo(const void* stream, int* state, uint64_t* id, void**, const void***, const void***, size_t*) {
  const std::lock_guard lock(mutex);
  *state = state_of(stream);
  if (id) *id = *state == kNone ? 0 : capture.id;
  return kSuccess;
}

int cuStreamBeginCapture(const void* stream, unsigned) {
  const std::lock_guard lock(mutex);
  if (!settings().records_graphs) return kNotSupported;
  // The default stream cannot be recorded.
  if (stream == nullptr || capture.state != kNone) return kStreamCaptureUnsupported;
  capture = {stream, std::this_thread::get_id(), kActive, capture.id + 1, {}, {}};
  return kSuccess;
}

int cuStreamEndCapture(const void* stream, Graph** graph) {
  const std::lock_guard lock(mutex);
  const State state = state_of(stream);
  if (state == kActive) *graph = new Graph(capture.graph);
  if (state != kNone) capture.state = kNone;
  return state == kActive ? kSuccess : kStreamCaptureInvalidated;
}

int cuGraphInstantiateWithFlags(Graph** exec, const Graph* graph, unsigned long long) {
  journal("graph of %zu", graph->num_nodes);
  *exec = new Graph(*graph);
  return kSuccess;
}

int cuGraphDestroy(Graph* graph) {
  delete graph;
  return kSuccess;
}

int cuGraphExecDestroy(Graph* exec) {
  journal("graph dropped");
  is_dropped = true;
  return cuGraphDestroy(exec);
}

int cuGraphLaunch(const Graph* exec, const void*) {
  journal("graph launched, of %zu", exec->num_nodes);
  ++num_replays;
  is_dropped = false;
  count_launch();
  return kSuccess;
}

}  // extern "C"
