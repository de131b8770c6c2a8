//! Proof by strides: watches the operators of a step and reports where the format is lost.

use torch_ext::Result;
use torch_ext::probe::{OperatorCount, Probe};

/// Watches every operator of this thread, and of the backward passes it starts.
#[derive(Debug)]
pub struct Watch(Probe);

/// What a [`Watch`] saw. It looks at 4-D outputs whose strides determine the format, which
/// have more than one channel and more than one pixel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatReport {
    /// Number of outputs examined.
    pub num_images: u64,
    /// Operators with outputs that were not channels-last, and the number of such outputs.
    pub offenders: Vec<(String, u64)>,
}

impl Watch {
    /// Starts watching.
    ///
    /// # Errors
    /// If this process already has a probe.
    pub fn begin() -> Result<Self> {
        Probe::begin().map(Self)
    }

    /// Stops and reports.
    ///
    /// # Errors
    /// If libtorch refuses to remove the callback.
    pub fn finish(self) -> Result<FormatReport> {
        Ok(FormatReport::from_counts(self.0.finish()?))
    }
}

/// Operators that allocate or view memory for another operator to fill. That operator settles
/// the strides, and is examined as well.
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

    /// Whether there were outputs and all of them were channels-last.
    pub fn all_channels_last(&self) -> bool {
        self.num_images > 0 && self.offenders.is_empty()
    }
}
