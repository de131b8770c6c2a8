//! Proof by strides: watches the operators of a step and says where the format is lost.

use torch_ext::Result;
use torch_ext::probe::{OperatorCount, Probe};

/// Watches every operator of this thread, and of the backward passes it starts.
#[derive(Debug)]
pub struct Watch(Probe);

/// What a [`Watch`] saw of 4-D outputs whose strides tell the format (more than one
/// channel, more than one pixel).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatReport {
    /// Outputs looked at.
    pub num_images: u64,
    /// Operators with outputs that were not channels-last, and how many of them.
    pub offenders: Vec<(String, u64)>,
}

impl Watch {
    /// Starts watching.
    ///
    /// # Errors
    /// Where another probe is at work in this process.
    pub fn begin() -> Result<Self> {
        Probe::begin().map(Self)
    }

    /// Stops and reports.
    ///
    /// # Errors
    /// Where libtorch refuses to remove the callback.
    pub fn finish(self) -> Result<FormatReport> {
        Ok(FormatReport::from_counts(self.0.finish()?))
    }
}

/// Operators that hand out or relabel bytes for another to fill: the strides are settled by
/// the one that fills them, which is looked at as well.
const ALLOCATION: [&str; 4] = [
    "aten::empty",
    "aten::resize_",
    "aten::as_strided_",
    "aten::set_",
];

impl FormatReport {
    fn from_counts(counts: Vec<OperatorCount>) -> Self {
        let mut report = Self::default();
        for count in counts
            .into_iter()
            .filter(|c| !ALLOCATION.contains(&c.name.as_str()))
        {
            report.num_images += count.num_images;
            if count.num_not_channels_last > 0 {
                report
                    .offenders
                    .push((count.name, count.num_not_channels_last));
            }
        }
        report
    }

    /// Whether something was seen and all of it was channels-last.
    pub fn all_channels_last(&self) -> bool {
        self.num_images > 0 && self.offenders.is_empty()
    }
}
