//! Typed failures of libtorch, of closures and of this library's own checks.

use std::any::Any;
use std::ffi::CStr;

use tch::TchError;

use crate::distributed::Failure;
use crate::{cuda, ffi};

/// The error type of a segment's closure.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation on tensors failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device was full, or a limit on it was reached.
    #[error("out of memory: {message}")]
    OutOfMemory {
        /// Bytes requested, if the allocator reported them.
        requested_bytes: Option<u64>,
        /// Bytes that were free, if the allocator reported them.
        free_bytes: Option<u64>,
        /// libtorch's message.
        message: String,
    },
    /// A recompute did not repeat its forward.
    #[error("a checkpointed segment cannot be recomputed: {0}")]
    RecomputeMismatch(String),
    /// The closure of a segment failed.
    #[error("a checkpointed segment failed: {0}")]
    Segment(#[source] BoxError),
    /// An operand that the operation cannot take.
    #[error("{0}")]
    InvalidArgument(String),
    /// The loaded libtorch is not the version that this program was built for.
    #[error("libtorch {found} is loaded, but this program was built for libtorch {expected}")]
    Version {
        /// Version of the headers.
        expected: String,
        /// Version found at run time.
        found: String,
    },
    /// Processes that train together could not work together.
    #[error(transparent)]
    Distributed(#[from] Failure),
    /// Anything else that libtorch reports.
    #[error("{0}")]
    Torch(String),
}

/// Result of an operation on tensors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the reason was memory, also if a closure has wrapped the error.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::OutOfMemory { .. } => true,
            Self::Segment(source) => source
                .downcast_ref::<Self>()
                .is_some_and(Self::is_out_of_memory),
            _ => false,
        }
    }

    /// The failure that libtorch reported with this text.
    fn from_text(message: &str) -> Self {
        let ran_out = text_is_out_of_memory(message);
        if !(ran_out || lacks_engine(message) && cuda::has_refused()) {
            return Self::Torch(first_lines(message));
        }
        let refusal =
            crate::meter::take_refusal().filter(|_| message.contains("CPU out of memory"));
        let (requested_bytes, free_bytes) = match refusal {
            Some((requested, free)) => (Some(requested), Some(free)),
            None => (
                size_after(message, "Tried to allocate "),
                free_bytes_in(message),
            ),
        };
        Self::OutOfMemory {
            requested_bytes,
            free_bytes,
            message: first_lines(message),
        }
    }
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        match error {
            TchError::Torch(text) => Self::from_text(&text),
            other => Self::from_text(&other.to_string()),
        }
    }
}

/// Phrases by which the libraries below report that memory ran out.
const OUT_OF_MEMORY_TEXTS: [&str; 7] = [
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "can't allocate memory",
    "std::bad_alloc",
];

fn text_is_out_of_memory(text: &str) -> bool {
    OUT_OF_MEMORY_TEXTS.iter().any(|t| text.contains(t))
}

/// Whether no plan of a convolution could run. libtorch skips a plan whose workspace does not fit,
/// so the reason may be memory or a kernel that this GPU does not have.
fn lacks_engine(text: &str) -> bool {
    text.contains("unable to find an engine to execute this computation")
}

/// Drops what libtorch appends to its messages: the C++ stack, and advice for its developers.
fn first_lines(text: &str) -> String {
    const APPENDED: [&str; 3] = [
        "\nException raised from",
        "\nSearch for `cudaError",
        "\nCUDA kernel errors might be asynchronously reported",
    ];
    let ends = APPENDED.iter().filter_map(|it| text.find(it));
    let end = ends.min().unwrap_or(text.len());
    text[..end].trim().to_owned()
}

/// The bytes that an allocation could have had: those that are free on the device, or fewer under a limit
/// on this process, in which case the message says how much is allowed.
fn free_bytes_in(message: &str) -> Option<u64> {
    let free = size_before(message, " is free")?;
    let Some(allowed) = size_before(message, " allowed; ") else {
        return Some(free);
    };
    let markers = [
        " is allocated by PyTorch",
        " is reserved by PyTorch but unallocated",
    ];
    let held = markers
        .iter()
        .filter_map(|it| size_before(message, it))
        .sum();
    Some(free.min(allowed.saturating_sub(held)))
}

/// `2.50 GiB` after `marker`, in bytes.
fn size_after(text: &str, marker: &str) -> Option<u64> {
    let rest = &text[text.find(marker)? + marker.len()..];
    parse_size(
        rest.split_whitespace().next()?,
        rest.split_whitespace().nth(1)?,
    )
}

/// `2.50 GiB` right before `marker`, in bytes.
fn size_before(text: &str, marker: &str) -> Option<u64> {
    let head = &text[..text.find(marker)?];
    let mut words = head.split_whitespace().rev();
    let unit = words.next()?;
    parse_size(words.next()?, unit)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes in messages are positive and far below 2^63"
)]
fn parse_size(number: &str, unit: &str) -> Option<u64> {
    let factor = match unit.trim_end_matches(['.', ',', ';']) {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let value: f64 = number.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some((value * factor) as u64)
}

/// How a closure failed: with an error, or with a panic to resume.
pub(crate) enum Payload {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// Turns a status of the shim into a result. Resumes a panic of a closure.
pub(crate) fn check(status: i32) -> Result<()> {
    if status == ffi::OK {
        return Ok(());
    }
    let mut failure = ffi::Failure {
        kind: 0,
        requested_bytes: -1,
        free_bytes: -1,
        payload: std::ptr::null_mut(),
        message: std::ptr::null(),
    };
    // SAFETY: `failure` is valid for writes for the length of the call.
    unsafe { ffi::snug_last_error(&raw mut failure) };
    let message = if failure.message.is_null() {
        String::new()
    } else {
        // SAFETY: the shim returns a NUL-terminated string that lives until the
        // next call on this thread.
        first_lines(&unsafe { CStr::from_ptr(failure.message) }.to_string_lossy())
    };
    Err(match failure.kind {
        ffi::FAILURE_OUT_OF_MEMORY => Error::OutOfMemory {
            requested_bytes: u64::try_from(failure.requested_bytes)
                .ok()
                .or_else(|| size_after(&message, "Tried to allocate ")),
            free_bytes: u64::try_from(failure.free_bytes)
                .ok()
                .or_else(|| free_bytes_in(&message)),
            message,
        },
        ffi::FAILURE_CLOSURE if !failure.payload.is_null() => {
            // SAFETY: the payload was made by `Box::into_raw` in segment.rs, and the
            // shim hands it out once.
            let payload = unsafe { Box::from_raw(failure.payload.cast::<Payload>()) };
            match *payload {
                Payload::Error(error) => error,
                Payload::Panic(panic) => std::panic::resume_unwind(panic),
            }
        }
        ffi::FAILURE_MISMATCH => Error::RecomputeMismatch(message),
        _ => Error::from_text(&message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_cuda_message_are_read() {
        let text = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity \
                    of 8.00 GiB of which 512.00 MiB is free. Process 1 has 7 GiB";
        let Error::OutOfMemory {
            requested_bytes,
            free_bytes,
            ..
        } = Error::from_text(text)
        else {
            panic!("not recognised")
        };
        assert_eq!(requested_bytes, Some(5 << 29));
        assert_eq!(free_bytes, Some(512 << 20));
    }

    #[test]
    fn under_a_limit_less_than_the_devices_free_bytes_counts() {
        let text = "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 80.00 \
                    GiB of which 70.00 GiB is free. 5.00 GiB allowed; Of the allocated memory 4.00 GiB is \
                    allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated.";
        assert_eq!(free_bytes_in(text), Some(512 << 20));
    }

    #[test]
    fn cudnns_words_for_a_full_device_are_known() {
        for side in ["DEVICE", "HOST"] {
            let text = format!("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_{side}_ALLOCATION_FAILED");
            assert!(Error::from_text(&text).is_out_of_memory());
        }
        // Without a refused allocation it is not memory that was missing.
        let text = "GET was unable to find an engine to execute this computation";
        assert!(!Error::from_text(text).is_out_of_memory());
    }

    #[test]
    fn a_message_is_its_first_sentences() {
        let text = "CUDA error: an illegal memory access was encountered\n\
                    Search for `cudaErrorIllegalAddress' in a page for more information.\n\
                    CUDA kernel errors might be asynchronously reported at some other API call\n\
                    Exception raised from c10_cuda_check_implementation at file:44\nframe #0: f";
        let error = Error::from_text(text);
        let message = "CUDA error: an illegal memory access was encountered";
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn other_messages_stay_unchanged() {
        let error = Error::from_text("mat1 and mat2 shapes cannot be multiplied");
        assert!(!error.is_out_of_memory());
        assert!(matches!(error, Error::Torch(_)));
    }
}
