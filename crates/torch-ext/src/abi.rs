//! The layout of every struct that `ffi.rs` mirrors from `shim/snug.h`, as `shim/abi.cpp` states it
//! for the C++ side. A field that is added, resized or moved on one side alone fails the build there.

use std::mem::{offset_of, size_of};

use crate::ffi;

macro_rules! layout {
    ($($name:ident, $bytes:literal: $($field:ident $at:literal),+;)+) => {$(
        const _: () = {
            assert!(size_of::<ffi::$name>() == $bytes, concat!("size of ", stringify!($name)));
            $(assert!(
                offset_of!(ffi::$name, $field) == $at,
                concat!("offset of ", stringify!($name), "::", stringify!($field)),
            );)+
        };
    )+};
}

layout! {
    Failure, 40: kind 0, requested_bytes 8, free_bytes 16, payload 24, message 32;
    Meter, 32: allocated_bytes 0, peak_bytes 8, num_allocations 16, num_live 24;
    Event, 40: id 0, bytes 8, nanoseconds 16, released 24, operator_name 28, label 32;
    DeviceMemory, 80: allocated_bytes 0, peak_allocated_bytes 8, reserved_bytes 16,
        peak_reserved_bytes 24, requested_bytes 32, peak_requested_bytes 40, num_alloc_retries 48,
        num_ooms 56, free_bytes 64, total_bytes 72;
    CudnnChoice, 8: deterministic 0, benchmark 4;
    Autocast, 16: device 0, enabled 4, dtype 8, cache_enabled 12;
    AdamW, 40: lr 0, beta1 8, beta2 16, weight_decay 24, eps 32;
    Segment, 48: closure 0, run 8, drop_closure 16, drop_payload 24, use_reentrant 32,
        preserve_rng_state 36, early_stop 40;
    SegmentStats, 32: num_recomputes 0, num_early_stops 8, recompute_depth 16, depth 24;
    Conv, 24: stride 0, padding 8, transposed 16;
    Norm, 48: weight 0, bias 8, running_mean 16, running_var 24, momentum 32, eps 40;
    NormSaved, 32: mean 0, invstd 8, reserve 16, implementation 24;
    ProbeRow, 32: name 0, num_calls 8, num_images 16, num_not_channels_last 24;
}
