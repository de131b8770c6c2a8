// The C interface of the shim. Every function is noexcept, catches everything and
// returns SNUG_OK or SNUG_ERROR; after SNUG_ERROR `snug_last_error` describes
// the failure on the calling thread. A `SnugTensor` is an `at::Tensor`, which tch
// holds as `C_tensor`; each function says who owns the tensors that it takes and
// returns. `abi.cpp` and `src/abi.rs` check the layout of every struct.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct SnugTensor SnugTensor;
typedef struct SnugProbe SnugProbe;

enum { SNUG_OK = 0, SNUG_ERROR = 1 };

// The kind of a failure, so that callers need not parse its message.
enum {
  SNUG_FAILURE_OTHER = 0,
  SNUG_FAILURE_OUT_OF_MEMORY = 1,
  // A closure failed: `payload` is what the closure's trampoline returned and
  // belongs to the caller of `snug_last_error`.
  SNUG_FAILURE_CLOSURE = 2,
  // A recompute did not repeat its forward.
  SNUG_FAILURE_MISMATCH = 3,
};

typedef struct SnugFailure {
  int32_t kind;
  // -1 if unknown.
  int64_t requested_bytes;
  int64_t free_bytes;
  void* payload;
  // Valid until the next call into the shim on this thread.
  const char* message;
} SnugFailure;

void snug_last_error(SnugFailure* out);

// ---- library ---------------------------------------------------------------
// Version of the libtorch found at run time: major, minor, patch.
void snug_runtime_version(uint32_t out[3]);
// Version of the headers that the shim was compiled against.
void snug_header_version(uint32_t out[3]);
// Path of the loaded libtorch_cpu, or NULL. Static lifetime.
const char* snug_library_path(void);
// Exits at once: no destructor runs while threads still compute.
void snug_exit_now(int32_t code);
// Name of the instruction set that libtorch's own kernels use ("AVX512", ...).
const char* snug_cpu_capability(void);

// ---- the counting CPU allocator ------------------------------------------------
typedef struct SnugMeter {
  uint64_t allocated_bytes;
  uint64_t peak_bytes;
  uint64_t num_allocations;
  uint64_t num_live;
} SnugMeter;

// Installs the counting allocator for the process. Idempotent.
int32_t snug_meter_install(void);
void snug_meter_read(SnugMeter* out);
void snug_meter_reset_peak(void);
// Returns the pages that are kept for the next step to the system.
void snug_meter_give_back(void);
// 0 lifts the limit.
void snug_meter_set_limit(uint64_t bytes);
// Fails one allocation, after `countdown` more have succeeded; never if negative.
void snug_meter_fail_after(int64_t countdown);
// Takes the last refusal of the counting allocator on this thread: returns 1 and
// writes both numbers, or returns 0.
int32_t snug_meter_take_refusal(uint64_t* requested_bytes, uint64_t* free_bytes);

// ---- a record of allocations -------------------------------------------------------
// One allocation or release of the counting allocator while a record is open.
typedef struct SnugEvent {
  // Id of the allocation: unique in the process, increasing.
  uint64_t id;
  uint64_t bytes;
  uint64_t nanoseconds;  // since the record was opened
  uint32_t released;     // 1 for a release
  uint32_t operator_name;
  uint32_t label;
} SnugEvent;
// Opens a record of all threads; operators are named on this thread and on those of its backward. A
// process has one record at a time, until it is released.
int32_t snug_record_begin(void);
// Closes the record, on the thread that opened it: from here on its events and names are stable.
int32_t snug_record_end(void);
// Closes the record if it is open, and lets others begin one.
void snug_record_release(void);
// 1 while a record is open.
int32_t snug_record_is_open(void);
// Labels what happens on this thread from here on, in the open record; "" removes the label.
void snug_record_label(const char* label, size_t len);
// Events so far.
size_t snug_record_len(void);
int32_t snug_record_event(size_t index, SnugEvent* out);
// The name with this number, or NULL past the last. After the end it is valid until the release.
const char* snug_record_name(uint32_t index);

// ---- device memory -----------------------------------------------------------
typedef struct SnugDeviceMemory {
  uint64_t allocated_bytes, peak_allocated_bytes;
  uint64_t reserved_bytes, peak_reserved_bytes;
  uint64_t requested_bytes, peak_requested_bytes;
  uint64_t num_alloc_retries, num_ooms;
  uint64_t free_bytes, total_bytes;
} SnugDeviceMemory;

int32_t snug_cuda_memory(int32_t device, SnugDeviceMemory* out);
int32_t snug_cuda_reset_peak(int32_t device);
int32_t snug_cuda_empty_cache(void);
// The current stream of a device, a `cudaStream_t`.
int32_t snug_cuda_stream(int32_t device, void** out);
// Adds settings to those of the allocator, as `PYTORCH_ALLOC_CONF` has them; a memory fraction applies to
// devices not used yet.
int32_t snug_cuda_add_settings(const char* settings);
// Sets whether fp32 convolutions and matrix products may use TF32, in cuDNN and cuBLAS.
int32_t snug_allow_tf32(int32_t allow);

// ---- autograd ----------------------------------------------------------------
// Makes autograd's engine the one whose saved-tensor hooks segments use. Before any backward.
void snug_install_engine(void);

// ---- cuDNN -------------------------------------------------------------------
typedef struct SnugCudnnChoice {
  int32_t deterministic;  // 1: only algorithms that give the same bits each time
  int32_t benchmark;      // 1: try several algorithms and take the fastest
} SnugCudnnChoice;

// Changes the settings of the process. Writes the earlier ones to `previous`.
int32_t snug_cudnn_set_choice(SnugCudnnChoice wanted, SnugCudnnChoice* previous);

// ---- autocast ----------------------------------------------------------------
// `device`: 0 CPU, 1 CUDA. `dtype`: a c10::ScalarType.
typedef struct SnugAutocast {
  int32_t device;
  int32_t enabled;
  int32_t dtype;
  int32_t cache_enabled;
} SnugAutocast;

// Enters a scope and writes the earlier state to `previous`.
int32_t snug_autocast_enter(const SnugAutocast* state, SnugAutocast* previous);
// Leaves the scope: restores `previous`, and clears the cast cache if this was the outermost scope.
int32_t snug_autocast_exit(const SnugAutocast* previous);
int32_t snug_autocast_read(int32_t device, SnugAutocast* out);

// ---- operators that tch does not bind --------------------------------------
// Tensors are borrowed. `found_inf`, `inv_scale`: one-element fp32 tensors.
int32_t snug_amp_non_finite_check_and_unscale(
    SnugTensor* const* grads, size_t num, SnugTensor* found_inf, SnugTensor* inv_scale);

typedef struct SnugAdamW {
  double lr, beta1, beta2, weight_decay, eps;
} SnugAdamW;

// One fused AdamW step over `num` parameters with gradients. `steps[i]`
// advances by one, or stays unchanged if `found_inf` is 1. `grad_scale` and
// `found_inf` may be NULL.
int32_t snug_fused_adamw(
    SnugTensor* const* params, SnugTensor* const* grads, SnugTensor* const* exp_avgs,
    SnugTensor* const* exp_avg_sqs, SnugTensor* const* steps, size_t num,
    const SnugAdamW* hyper, SnugTensor* grad_scale, SnugTensor* found_inf);

// Sets the tensor's gradient to undefined and releases its bytes.
int32_t snug_clear_grad(SnugTensor* tensor);
// `tensor` times (0) or plus (1) `value`: in place if `out` is NULL, else into a new tensor that
// the caller owns. tch's own operators with a scalar panic when libtorch throws, because its
// destructor of scalars finds the pending error first.
int32_t snug_scalar_op(SnugTensor* tensor, int32_t op, double value, SnugTensor** out);
// 1 if `tensor` is contiguous in the given format: 0 contiguous, 1 channels-last.
int32_t snug_is_contiguous_in(SnugTensor* tensor, int32_t format);
// A copy (owned by the caller) in pinned host memory.
int32_t snug_pinned(SnugTensor* tensor, SnugTensor** out);
// A new tensor (owned by the caller) in the given format. It shares storage with
// `tensor` if that already has the format.
int32_t snug_to_memory_format(SnugTensor* tensor, int32_t format, SnugTensor** out);

// ---- backward ----------------------------------------------------------------
int32_t snug_backward(SnugTensor* root, SnugTensor* gradient, int32_t retain_graph);
// Runs an empty backward, which releases what a failed one left in this thread's queue.
int32_t snug_drain(void);

// ---- segments ------------------------------------------------------------------
// `inputs` are new tensors that the callee owns. It writes outputs by
// `snug_outputs_push`, and returns NULL or a payload that describes the failure.
typedef void* (*SnugRun)(
    void* closure, SnugTensor* const* inputs, size_t num_inputs, int32_t recompute,
    void* outputs);
// Drops a closure, or a payload.
typedef void (*SnugDrop)(void*);

typedef struct SnugSegment {
  void* closure;  // owned by the segment from the call on, even if the call fails
  SnugRun run;
  SnugDrop drop_closure;
  SnugDrop drop_payload;
  int32_t use_reentrant;
  int32_t preserve_rng_state;
  int32_t early_stop;
} SnugSegment;

void snug_outputs_push(void* outputs, SnugTensor* owned);
size_t snug_outputs_len(const void* outputs);
// The caller owns the tensor at `index` after the call. Take each index once.
SnugTensor* snug_outputs_take(void* outputs, size_t index);
void* snug_outputs_new(void);
void snug_outputs_delete(void* outputs);

// Runs `segment` on `inputs` followed by `received` (borrowed) and leaves the
// outputs in `outputs`. `received` is given to the forward pass only and is not
// kept; `inputs` is kept for the recompute, which gets nothing else.
int32_t snug_segment_forward(
    const SnugSegment* segment, SnugTensor* const* inputs, size_t num_inputs,
    SnugTensor* const* received, size_t num_received, void* outputs);

typedef struct SnugSegmentStats {
  uint64_t num_recomputes;
  uint64_t num_early_stops;
  // Recomputes under way on this thread.
  uint64_t recompute_depth;
  // Segments open on this thread: 0 outside of every segment.
  uint64_t depth;
} SnugSegmentStats;
// Reads the counters: the first two count for the process, both depths for this thread.
void snug_segment_stats(SnugSegmentStats* out);

// ---- work for libtorch's threads --------------------------------------------------
// Must not throw.
typedef void (*SnugTask)(void* context, size_t index);
// Calls `task` with each number below `num_tasks`, on the threads of libtorch's operators, and waits for all.
void snug_parallel(size_t num_tasks, SnugTask task, void* context);

// ---- a custom graph node ------------------------------------------------------- `out` is
// `tensor` (borrowed) without its history, as the result of a node whose backward runs
// `segment->closure` once with the gradient. The closure itself gives parameters their gradients.
// It is dropped after it has run or with the graph, and at once without grad mode.
int32_t snug_attach_backward(const SnugSegment* segment, SnugTensor* tensor, SnugTensor** out);
// `out` is `tensor` (borrowed) without its history, as the result of a node with the history of `inputs`. Backward runs
// `segment->closure` with the gradient and the tensors of `saved`, as they were; it returns a gradient for each of
// `inputs`. Without grad mode, or if no input requires a gradient, there is no node.
int32_t snug_attach_saving(
    const SnugSegment* segment, SnugTensor* tensor, SnugTensor* const* inputs, size_t num_inputs,
    SnugTensor* const* saved, size_t num_saved, SnugTensor** out);
// `segment->closure` runs, without inputs, each time a gradient has been added to `parameter` (borrowed), by autograd or
// by `snug_accumulate_grad`. It replaces an earlier one.
int32_t snug_on_gradient(const SnugSegment* segment, SnugTensor* parameter);
// Whether grad mode is on in this thread.
int32_t snug_grad_is_enabled(void);
// 1 if no other handle and no view reads the bytes of this tensor.
int32_t snug_is_exclusive(SnugTensor* tensor);
// Adds to the gradient of a parameter, or makes `grad` its gradient.
int32_t snug_accumulate_grad(SnugTensor* param, SnugTensor* grad);
// How often the tensor was written to in place, as counted by autograd.
uint64_t snug_version(SnugTensor* tensor);

// ---- parts of a convolution's backward ------------------------------------------
typedef struct SnugConv {
  int64_t stride, padding;
  int32_t transposed;
} SnugConv;
// A new tensor, owned by the caller: the transposed convolution with a bias, with its graph.
int32_t snug_conv_transpose(
    const SnugConv* conv, SnugTensor* input, SnugTensor* weight, SnugTensor* bias,
    SnugTensor** out);
// New tensors, owned by the caller: gradients of the weight and, unless it is NULL, of the bias.
int32_t snug_conv_backward_weight(
    const SnugConv* conv, SnugTensor* grad, SnugTensor* input, SnugTensor* weight,
    SnugTensor** grad_weight, SnugTensor** grad_bias);
// The gradient of the input. Only the shape of `input` is used; it may be NULL for a
// convolution of stride 1 that keeps the size.
int32_t snug_conv_backward_input(
    const SnugConv* conv, SnugTensor* grad, SnugTensor* input, SnugTensor* weight,
    SnugTensor** grad_input);

// ---- parts of batch norm ---------------------------------------------------------
// The tensors are borrowed.
typedef struct SnugNorm {
  SnugTensor *weight, *bias, *running_mean, *running_var;
  double momentum, eps;
} SnugNorm;
// Statistics of one forward. The caller owns the tensors; `reserve` may be undefined.
typedef struct SnugNormSaved {
  SnugTensor *mean, *invstd, *reserve;
  int64_t implementation;
} SnugNormSaved;
// 1 if the functions below work in place on dense CPU tensors.
int32_t snug_norm_has_kernels(void);
// The forward in training mode, which updates the running statistics. With `in_place`, and kernels
// that support it, `out` is another handle on `input`, which is overwritten.
int32_t snug_norm_forward(
    SnugTensor* input, const SnugNorm* norm, int32_t in_place, SnugTensor** out,
    SnugNormSaved* saved);
// 1 if `snug_norm_rebuild` may be called on a part of the batch.
int32_t snug_norm_can_slice(SnugTensor* input, const SnugNormSaved* saved);
// Rebuilds the output of the forward and changes nothing else. If it can slice, it writes to
// `into`, which has the input's shape and strides; `into` may be `input`, or NULL for a new tensor.
// Otherwise it makes a new tensor. The caller owns `out`.
int32_t snug_norm_rebuild(
    SnugTensor* input, const SnugNorm* norm, const SnugNormSaved* saved, SnugTensor* into,
    SnugTensor** out);
// The gradients. With kernels that work in place, `grad` is overwritten and `grad_input` is another
// handle on it.
int32_t snug_norm_backward(
    SnugTensor* grad, SnugTensor* input, const SnugNorm* norm, const SnugNormSaved* saved,
    SnugTensor** grad_input, SnugTensor** grad_weight, SnugTensor** grad_bias);
// Writes ReLU of `input` to `out`, which has the same shape; strides may differ.
int32_t snug_relu_to(SnugTensor* input, SnugTensor* out);
// Sets elements of `grad` to zero where `result` is not positive.
int32_t snug_relu_backward_(SnugTensor* grad, SnugTensor* result);

// ---- operator probe ------------------------------------------------------------
// Starts to count operators on this thread and on the threads of its backward.
int32_t snug_probe_begin(SnugProbe** out);
// Stops counting. From here on the rows are stable.
int32_t snug_probe_end(SnugProbe* probe);
typedef struct SnugProbeRow {
  const char* name;
  uint64_t num_calls;
  // Its 4-D outputs with unambiguous strides: all of them, and those not channels-last.
  uint64_t num_images;
  uint64_t num_not_channels_last;
} SnugProbeRow;
size_t snug_probe_len(const SnugProbe* probe);
void snug_probe_row(const SnugProbe* probe, size_t index, SnugProbeRow* out);
void snug_probe_delete(SnugProbe* probe);

// ---- CUDA graphs -----------------------------------------------------------------
// Makes a stream of libtorch's pool the thread's current one. Writes its handle, and the one before.
int32_t snug_graph_enter_stream(int32_t device, int64_t* before, void** stream);
int32_t snug_graph_leave_stream(int32_t device, int64_t before);
// Until `end`, memory for this stream comes from a pool of this number. Released, it is free again.
int32_t snug_graph_begin_pool(int32_t device, uint64_t pool, void* stream);
int32_t snug_graph_end_pool(int32_t device, uint64_t pool);
int32_t snug_graph_release_pool(int32_t device, uint64_t pool);

// ---- time of operators -----------------------------------------------------------
// Starts to add up the time of outermost operators, on this thread and on those of its backward. A
// process has one such count at a time.
int32_t snug_busy_begin(void);
// Stops, on the thread that started. Writes 0 if nothing was started.
int32_t snug_busy_end(uint64_t* nanoseconds);

// ---- processes that train together (c10d) -------------------------------------------
// All handles are owned by the caller and released by their `_delete`. Times are in milliseconds and at least 1.
typedef struct SnugStore SnugStore;
typedef struct SnugGroup SnugGroup;
typedef struct SnugWork SnugWork;
// A store over TCP: the server and a client of it, or a client alone. Port 0 is any free one for a
// server, and `bound` is the port in use. A client's attempts to connect end after `timeout_ms`.
int32_t snug_store_tcp(
    const char* host, uint16_t port, int32_t serve, int64_t timeout_ms, SnugStore** out,
    uint16_t* bound);
// A store for the threads of this process.
int32_t snug_store_in_process(int64_t timeout_ms, SnugStore** out);
// The same store with `prefix/` before every key.
int32_t snug_store_prefix(SnugStore* store, const char* prefix, SnugStore** out);
void snug_store_delete(SnugStore* store);
int32_t snug_store_set(SnugStore* store, const char* key, const uint8_t* value, size_t len);
// Waits for the key. The value is valid until the next call of this function on this thread.
int32_t snug_store_get(
    SnugStore* store, const char* key, int64_t timeout_ms, const uint8_t** value, size_t* len);
int32_t snug_store_check(SnugStore* store, const char* key, int32_t* found);
int32_t snug_store_add(SnugStore* store, const char* key, int64_t delta, int64_t* sum);
int32_t snug_store_remove(SnugStore* store, const char* key, int32_t* found);
// Connects `size` processes, of which this is number `rank`. `interface` is the name of a network
// interface, or NULL for the one of the host's name.
int32_t snug_group_gloo(
    SnugStore* store, int32_t rank, int32_t size, int64_t timeout_ms, const char* interface,
    SnugGroup** out);
// A group of NCCL, which connects with its first operation. Fails unless libtorch_cuda is open.
int32_t snug_group_nccl(
    SnugStore* store, int32_t rank, int32_t size, int64_t timeout_ms, int32_t device,
    SnugGroup** out);
// Ends operations under way, here and in other processes.
int32_t snug_group_abort(SnugGroup* group);
// Waits for operations under way.
void snug_group_delete(SnugGroup* group);
// Starts an operation, which holds the tensors until it ends. They are contiguous and of the same size in every
// process; `output` is one-dimensional, with `size` times the elements of `input`.
int32_t snug_group_all_reduce_sum(SnugGroup* group, SnugTensor* tensor, SnugWork** out);
int32_t snug_group_all_gather(
    SnugGroup* group, SnugTensor* input, SnugTensor* output, SnugWork** out);
int32_t snug_group_broadcast(SnugGroup* group, SnugTensor* tensor, int32_t root, SnugWork** out);
int32_t snug_group_barrier(SnugGroup* group, SnugWork** out);
// Waits for the end of an operation; with `timeout_ms` 0, as long as the group allows.
int32_t snug_work_wait(SnugWork* work, int64_t timeout_ms);
int32_t snug_work_is_completed(SnugWork* work, int32_t* completed);
void snug_work_delete(SnugWork* work);
// A new one-dimensional tensor (owned by the caller) on the elements of `tensor`, in the order of memory.
int32_t snug_flat_view(SnugTensor* tensor, SnugTensor** out);

#ifdef __cplusplus
}
#endif
