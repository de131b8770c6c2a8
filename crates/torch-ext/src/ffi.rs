//! The declarations of `shim/snug.h`, and nothing else. `abi.rs` checks the structs.

use std::ffi::{c_char, c_void};

/// An `at::Tensor`; the same object as `torch_sys::C_tensor`.
pub(crate) type RawTensor = torch_sys::C_tensor;

pub(crate) const OK: i32 = 0;
pub(crate) const FAILURE_OUT_OF_MEMORY: i32 = 1;
pub(crate) const FAILURE_CLOSURE: i32 = 2;
pub(crate) const FAILURE_MISMATCH: i32 = 3;

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: i32,
    pub(crate) requested_bytes: i64,
    pub(crate) free_bytes: i64,
    pub(crate) payload: *mut c_void,
    pub(crate) message: *const c_char,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Meter {
    pub(crate) allocated_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) num_allocations: u64,
    pub(crate) num_live: u64,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) bytes: u64,
    pub(crate) nanoseconds: u64,
    pub(crate) released: u32,
    pub(crate) operator_name: u32,
    pub(crate) label: u32,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct DeviceMemory {
    pub(crate) allocated_bytes: u64,
    pub(crate) peak_allocated_bytes: u64,
    pub(crate) reserved_bytes: u64,
    pub(crate) peak_reserved_bytes: u64,
    pub(crate) requested_bytes: u64,
    pub(crate) peak_requested_bytes: u64,
    pub(crate) num_alloc_retries: u64,
    pub(crate) num_ooms: u64,
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CudnnChoice {
    pub(crate) deterministic: i32,
    pub(crate) benchmark: i32,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Autocast {
    pub(crate) device: i32,
    pub(crate) enabled: i32,
    pub(crate) dtype: i32,
    pub(crate) cache_enabled: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamW {
    pub(crate) lr: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) weight_decay: f64,
    pub(crate) eps: f64,
}

pub(crate) type Run = unsafe extern "C" fn(
    closure: *mut c_void,
    inputs: *const *mut RawTensor,
    num_inputs: usize,
    recompute: i32,
    outputs: *mut c_void,
) -> *mut c_void;
pub(crate) type Drop = unsafe extern "C" fn(*mut c_void);

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) closure: *mut c_void,
    pub(crate) run: Run,
    pub(crate) drop_closure: Drop,
    pub(crate) drop_payload: Drop,
    pub(crate) use_reentrant: i32,
    pub(crate) preserve_rng_state: i32,
    pub(crate) early_stop: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) stride: i64,
    pub(crate) padding: i64,
    pub(crate) transposed: i32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) weight: *mut RawTensor,
    pub(crate) bias: *mut RawTensor,
    pub(crate) running_mean: *mut RawTensor,
    pub(crate) running_var: *mut RawTensor,
    pub(crate) momentum: f64,
    pub(crate) eps: f64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormSaved {
    pub(crate) mean: *mut RawTensor,
    pub(crate) invstd: *mut RawTensor,
    pub(crate) reserve: *mut RawTensor,
    pub(crate) implementation: i64,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SegmentStats {
    pub(crate) num_recomputes: u64,
    pub(crate) num_early_stops: u64,
    pub(crate) recompute_depth: u64,
    pub(crate) depth: u64,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct ProbeRow {
    pub(crate) name: *const c_char,
    pub(crate) num_calls: u64,
    pub(crate) num_images: u64,
    pub(crate) num_not_channels_last: u64,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawProbe {
    _private: [u8; 0],
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawStore {
    _private: [u8; 0],
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawGroup {
    _private: [u8; 0],
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawWork {
    _private: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn snug_last_error(out: *mut Failure);

    pub(crate) fn snug_runtime_version(out: *mut u32);
    pub(crate) fn snug_header_version(out: *mut u32);
    pub(crate) fn snug_library_path() -> *const c_char;
    pub(crate) fn snug_exit_now(code: i32);
    pub(crate) fn snug_cpu_capability() -> *const c_char;

    pub(crate) fn snug_meter_install() -> i32;
    pub(crate) fn snug_meter_read(out: *mut Meter);
    pub(crate) fn snug_meter_reset_peak();
    pub(crate) fn snug_meter_give_back();
    pub(crate) fn snug_meter_set_limit(bytes: u64);
    pub(crate) fn snug_meter_fail_after(countdown: i64);
    pub(crate) fn snug_meter_take_refusal(requested: *mut u64, free: *mut u64) -> i32;

    pub(crate) fn snug_record_begin() -> i32;
    pub(crate) fn snug_record_end() -> i32;
    pub(crate) fn snug_record_release();
    pub(crate) fn snug_record_is_open() -> i32;
    pub(crate) fn snug_record_label(label: *const c_char, len: usize);
    pub(crate) fn snug_record_len() -> usize;
    pub(crate) fn snug_record_event(index: usize, out: *mut Event) -> i32;
    pub(crate) fn snug_record_name(index: u32) -> *const c_char;

    pub(crate) fn snug_cuda_memory(device: i32, out: *mut DeviceMemory) -> i32;
    pub(crate) fn snug_cuda_reset_peak(device: i32) -> i32;
    pub(crate) fn snug_cuda_empty_cache() -> i32;
    pub(crate) fn snug_cuda_stream(device: i32, out: *mut *mut c_void) -> i32;
    pub(crate) fn snug_cuda_add_settings(settings: *const c_char) -> i32;
    pub(crate) fn snug_allow_tf32(allow: i32) -> i32;

    pub(crate) fn snug_install_engine();

    pub(crate) fn snug_cudnn_set_choice(wanted: CudnnChoice, previous: *mut CudnnChoice) -> i32;

    pub(crate) fn snug_autocast_enter(state: *const Autocast, previous: *mut Autocast) -> i32;
    pub(crate) fn snug_autocast_exit(previous: *const Autocast) -> i32;
    pub(crate) fn snug_autocast_read(device: i32, out: *mut Autocast) -> i32;

    pub(crate) fn snug_amp_non_finite_check_and_unscale(
        grads: *const *mut RawTensor,
        num: usize,
        found_inf: *mut RawTensor,
        inv_scale: *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_fused_adamw(
        params: *const *mut RawTensor,
        grads: *const *mut RawTensor,
        exp_avgs: *const *mut RawTensor,
        exp_avg_sqs: *const *mut RawTensor,
        steps: *const *mut RawTensor,
        num: usize,
        hyper: *const AdamW,
        grad_scale: *mut RawTensor,
        found_inf: *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_clear_grad(tensor: *mut RawTensor) -> i32;
    pub(crate) fn snug_scalar_op(
        tensor: *mut RawTensor,
        op: i32,
        value: f64,
        out: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_is_contiguous_in(tensor: *mut RawTensor, format: i32) -> i32;
    pub(crate) fn snug_pinned(tensor: *mut RawTensor, out: *mut *mut RawTensor) -> i32;
    pub(crate) fn snug_to_memory_format(
        tensor: *mut RawTensor,
        format: i32,
        out: *mut *mut RawTensor,
    ) -> i32;

    pub(crate) fn snug_backward(
        root: *mut RawTensor,
        gradient: *mut RawTensor,
        retain_graph: i32,
    ) -> i32;
    pub(crate) fn snug_drain() -> i32;

    pub(crate) fn snug_outputs_new() -> *mut c_void;
    pub(crate) fn snug_outputs_delete(outputs: *mut c_void);
    pub(crate) fn snug_outputs_push(outputs: *mut c_void, owned: *mut RawTensor);
    pub(crate) fn snug_outputs_len(outputs: *const c_void) -> usize;
    pub(crate) fn snug_outputs_take(outputs: *mut c_void, index: usize) -> *mut RawTensor;
    pub(crate) fn snug_segment_forward(
        segment: *const Segment,
        inputs: *const *mut RawTensor,
        num_inputs: usize,
        received: *const *mut RawTensor,
        num_received: usize,
        outputs: *mut c_void,
    ) -> i32;
    pub(crate) fn snug_segment_stats(out: *mut SegmentStats);

    pub(crate) fn snug_attach_backward(
        segment: *const Segment,
        tensor: *mut RawTensor,
        out: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_on_gradient(segment: *const Segment, parameter: *mut RawTensor) -> i32;
    pub(crate) fn snug_attach_saving(
        segment: *const Segment,
        tensor: *mut RawTensor,
        inputs: *const *mut RawTensor,
        num_inputs: usize,
        saved: *const *mut RawTensor,
        num_saved: usize,
        out: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_grad_is_enabled() -> i32;
    pub(crate) fn snug_is_exclusive(tensor: *mut RawTensor) -> i32;
    pub(crate) fn snug_parallel(
        num_tasks: usize,
        task: unsafe extern "C" fn(*mut c_void, usize),
        context: *mut c_void,
    );
    pub(crate) fn snug_version(tensor: *mut RawTensor) -> u64;
    pub(crate) fn snug_accumulate_grad(param: *mut RawTensor, grad: *mut RawTensor) -> i32;

    pub(crate) fn snug_conv_transpose(
        conv: *const Conv,
        input: *mut RawTensor,
        weight: *mut RawTensor,
        bias: *mut RawTensor,
        out: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_conv_backward_weight(
        conv: *const Conv,
        grad: *mut RawTensor,
        input: *mut RawTensor,
        weight: *mut RawTensor,
        grad_weight: *mut *mut RawTensor,
        grad_bias: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_conv_backward_input(
        conv: *const Conv,
        grad: *mut RawTensor,
        input: *mut RawTensor,
        weight: *mut RawTensor,
        grad_input: *mut *mut RawTensor,
    ) -> i32;

    pub(crate) fn snug_norm_has_kernels() -> i32;
    pub(crate) fn snug_norm_forward(
        input: *mut RawTensor,
        norm: *const Norm,
        in_place: i32,
        out: *mut *mut RawTensor,
        saved: *mut NormSaved,
    ) -> i32;
    pub(crate) fn snug_norm_can_slice(input: *mut RawTensor, saved: *const NormSaved) -> i32;
    pub(crate) fn snug_norm_rebuild(
        input: *mut RawTensor,
        norm: *const Norm,
        saved: *const NormSaved,
        into: *mut RawTensor,
        out: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_norm_backward(
        grad: *mut RawTensor,
        input: *mut RawTensor,
        norm: *const Norm,
        saved: *const NormSaved,
        grad_input: *mut *mut RawTensor,
        grad_weight: *mut *mut RawTensor,
        grad_bias: *mut *mut RawTensor,
    ) -> i32;
    pub(crate) fn snug_relu_to(input: *mut RawTensor, out: *mut RawTensor) -> i32;
    pub(crate) fn snug_relu_backward_(grad: *mut RawTensor, result: *mut RawTensor) -> i32;

    pub(crate) fn snug_probe_begin(out: *mut *mut RawProbe) -> i32;
    pub(crate) fn snug_probe_end(probe: *mut RawProbe) -> i32;
    pub(crate) fn snug_probe_len(probe: *const RawProbe) -> usize;
    pub(crate) fn snug_probe_row(probe: *const RawProbe, index: usize, out: *mut ProbeRow);
    pub(crate) fn snug_probe_delete(probe: *mut RawProbe);

    pub(crate) fn snug_graph_enter_stream(
        device: i32,
        before: *mut i64,
        stream: *mut *mut c_void,
    ) -> i32;
    pub(crate) fn snug_graph_leave_stream(device: i32, before: i64) -> i32;
    pub(crate) fn snug_graph_begin_pool(device: i32, pool: u64, stream: *mut c_void) -> i32;
    pub(crate) fn snug_graph_end_pool(device: i32, pool: u64) -> i32;
    pub(crate) fn snug_graph_release_pool(device: i32, pool: u64) -> i32;

    pub(crate) fn snug_busy_begin() -> i32;
    pub(crate) fn snug_busy_end(nanoseconds: *mut u64) -> i32;

    pub(crate) fn snug_store_tcp(
        host: *const c_char,
        port: u16,
        serve: i32,
        timeout_ms: i64,
        out: *mut *mut RawStore,
        bound: *mut u16,
    ) -> i32;
    pub(crate) fn snug_store_in_process(timeout_ms: i64, out: *mut *mut RawStore) -> i32;
    pub(crate) fn snug_store_prefix(
        store: *mut RawStore,
        prefix: *const c_char,
        out: *mut *mut RawStore,
    ) -> i32;
    pub(crate) fn snug_store_delete(store: *mut RawStore);
    pub(crate) fn snug_store_set(
        store: *mut RawStore,
        key: *const c_char,
        value: *const u8,
        len: usize,
    ) -> i32;
    pub(crate) fn snug_store_get(
        store: *mut RawStore,
        key: *const c_char,
        timeout_ms: i64,
        value: *mut *const u8,
        len: *mut usize,
    ) -> i32;
    pub(crate) fn snug_store_check(
        store: *mut RawStore,
        key: *const c_char,
        found: *mut i32,
    ) -> i32;
    pub(crate) fn snug_store_add(
        store: *mut RawStore,
        key: *const c_char,
        delta: i64,
        sum: *mut i64,
    ) -> i32;
    pub(crate) fn snug_store_remove(
        store: *mut RawStore,
        key: *const c_char,
        found: *mut i32,
    ) -> i32;

    pub(crate) fn snug_group_gloo(
        store: *mut RawStore,
        rank: i32,
        size: i32,
        timeout_ms: i64,
        interface: *const c_char,
        out: *mut *mut RawGroup,
    ) -> i32;
    pub(crate) fn snug_group_nccl(
        store: *mut RawStore,
        rank: i32,
        size: i32,
        timeout_ms: i64,
        device: i32,
        out: *mut *mut RawGroup,
    ) -> i32;
    pub(crate) fn snug_group_abort(group: *mut RawGroup) -> i32;
    pub(crate) fn snug_group_delete(group: *mut RawGroup);
    pub(crate) fn snug_group_all_reduce_sum(
        group: *mut RawGroup,
        tensor: *mut RawTensor,
        out: *mut *mut RawWork,
    ) -> i32;
    pub(crate) fn snug_group_all_gather(
        group: *mut RawGroup,
        input: *mut RawTensor,
        output: *mut RawTensor,
        out: *mut *mut RawWork,
    ) -> i32;
    pub(crate) fn snug_group_broadcast(
        group: *mut RawGroup,
        tensor: *mut RawTensor,
        root: i32,
        out: *mut *mut RawWork,
    ) -> i32;
    pub(crate) fn snug_group_barrier(group: *mut RawGroup, out: *mut *mut RawWork) -> i32;
    pub(crate) fn snug_work_wait(work: *mut RawWork, timeout_ms: i64) -> i32;
    pub(crate) fn snug_work_is_completed(work: *mut RawWork, completed: *mut i32) -> i32;
    pub(crate) fn snug_work_delete(work: *mut RawWork);
    pub(crate) fn snug_flat_view(tensor: *mut RawTensor, out: *mut *mut RawTensor) -> i32;
}
