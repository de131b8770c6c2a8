//! A line of the ledger with the rates of a device, fitted to a benchmark. `advisor calibrate --write`
//! adds it.

use serde::{Deserialize, Serialize};

use super::entry::Device;

/// The source of a line that is not a training run. The line of a run has no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `train bench`.
    Bench,
}

/// The rates of a device in one precision and memory format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// [`super::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// [`Source::Bench`].
    pub source: Source,
    /// The day of the newest measurement.
    pub date: String,
    /// The device.
    pub device: Device,
    /// `fp32`, `tf32`, `fp16` or `bf16`.
    pub precision: String,
    /// `channels-last` or `channels-first`.
    pub memory_format: String,
    /// FLOP/s within convolutions.
    pub conv_flops: f64,
    /// Bytes per second outside of convolutions.
    pub memory_bytes_per_second: f64,
    /// The number of measured recipes that the rates are fitted to.
    pub num_measurements: usize,
}

impl Fitted {
    /// Whether both rates are above 0; otherwise they are unusable.
    pub(super) fn is_usable(&self) -> bool {
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        is_rate(self.conv_flops) && is_rate(self.memory_bytes_per_second)
    }

    /// Whether the rates are of the same device, precision and memory format.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.device.is_like(&other.device)
            && (&self.precision, &self.memory_format) == (&other.precision, &other.memory_format)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ledger::SCHEMA_VERSION;

    pub(crate) fn rates(device: Device, precision: &str, conv_flops: f64) -> Fitted {
        Fitted {
            schema_version: SCHEMA_VERSION,
            source: Source::Bench,
            date: "2026-01-02".to_owned(),
            device,
            precision: precision.to_owned(),
            memory_format: "channels-last".to_owned(),
            conv_flops,
            memory_bytes_per_second: 1e10,
            num_measurements: 7,
        }
    }
}
