//! Our own CUDA kernels on a CPU, compiled of the source that a GPU's images are made of.
#![expect(unsafe_code, reason = "the kernels are C++, and take pointers")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;

use kernels::cuda::{Launch, Pass};

unsafe extern "C" {
    fn snug_emulated_launch(
        name: *const c_char,
        grid: *const c_uint,
        threads: *const c_uint,
        pass: *const c_void,
    ) -> c_int;
}

/// Runs the kernel of this name. Returns false if there is no such kernel.
///
/// # Safety
/// Those pointers of `pass` that the kernel uses are to memory of as many elements as it takes.
pub unsafe fn launch(name: &CStr, launch: Launch, pass: &Pass) -> bool {
    let (grid, threads) = (launch.grid.as_ptr(), launch.block.as_ptr());
    // SAFETY: three numbers each, and the argument that the kernels take, whose pointers are the caller's.
    let found =
        unsafe { snug_emulated_launch(name.as_ptr(), grid, threads, ptr::from_ref(pass).cast()) };
    found != 0
}
