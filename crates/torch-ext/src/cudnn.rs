//! Which algorithms cuDNN may choose from. These are settings of the process.

use crate::{Result, error::check, ffi};

/// Which algorithms cuDNN chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Whether to use only algorithms that give the same bits each time.
    pub deterministic: bool,
    /// Whether to try several algorithms for each new shape and take the fastest.
    pub benchmark: bool,
}

impl Choice {
    /// The same bits each time.
    pub const REPRODUCIBLE: Self = Self {
        deterministic: true,
        benchmark: false,
    };
}

/// Sets the choice for the process and returns the earlier one. This also works without CUDA.
///
/// # Errors
/// Never in practice.
#[doc(alias = "torch.backends.cudnn.deterministic")]
pub fn set(choice: Choice) -> Result<Choice> {
    let wanted = ffi::CudnnChoice {
        deterministic: i32::from(choice.deterministic),
        benchmark: i32::from(choice.benchmark),
    };
    let mut previous = ffi::CudnnChoice::default();
    // SAFETY: a plain value, and a struct that is valid for writes.
    check(unsafe { ffi::snug_cudnn_set_choice(wanted, &raw mut previous) })?;
    Ok(Choice {
        deterministic: previous.deterministic != 0,
        benchmark: previous.benchmark != 0,
    })
}

/// A choice that holds until this is dropped, for all threads of the process.
#[derive(Debug)]
#[must_use = "the choice ends when this is dropped"]
pub struct Scope {
    previous: Choice,
}

impl Scope {
    /// Sets the choice.
    ///
    /// # Errors
    /// As [`set`].
    pub fn enter(choice: Choice) -> Result<Self> {
        Ok(Self {
            previous: set(choice)?,
        })
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Writing two flags cannot fail, and a destructor could not report it.
        drop(set(self.previous));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_restores_the_earlier_choice() {
        let before = Choice {
            deterministic: false,
            benchmark: true,
        };
        let first = set(before).unwrap();
        let scope = Scope::enter(Choice::REPRODUCIBLE).unwrap();
        assert_eq!(set(Choice::REPRODUCIBLE).unwrap(), Choice::REPRODUCIBLE);
        drop(scope);
        assert_eq!(set(first).unwrap(), before);
    }
}
