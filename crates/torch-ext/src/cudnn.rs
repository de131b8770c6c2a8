//! Which algorithms cuDNN may choose from: settings of the process.

use crate::{Result, error::check, ffi};

/// What cuDNN chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Only algorithms that give the same bits each time.
    pub deterministic: bool,
    /// The fastest of those tried, tried anew for each shape.
    pub benchmark: bool,
}

impl Choice {
    /// The same bits each time.
    pub const REPRODUCIBLE: Self = Self {
        deterministic: true,
        benchmark: false,
    };
}

/// Chooses for the process and returns what was before. Without CUDA it is noted all the same.
///
/// # Errors
/// None that is known.
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

/// Another choice until this is dropped, for all threads of the process.
#[derive(Debug)]
#[must_use = "the choice ends when this is dropped"]
pub struct Scope {
    previous: Choice,
}

impl Scope {
    /// Chooses.
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
        // Two flags: writing them cannot fail, and a destructor could not say so.
        drop(set(self.previous));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_puts_back_what_was() {
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
