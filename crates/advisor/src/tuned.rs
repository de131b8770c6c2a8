//! What measurements on a device change about predictions for it.

use estimator::{Bytes, Speed};

use crate::calibration::{Calibration, Fitted};
use crate::ledger::{Corrections, Device};
use crate::target::Prediction;

/// By default nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tuned {
    /// Of the device.
    fits: Vec<Fitted>,
    pub(crate) corrections: Corrections,
}

impl Tuned {
    pub(crate) fn take(&mut self, calibration: &Calibration, device: &Device) {
        let fits = calibration.fits.iter();
        self.fits = fits
            .filter(|it| it.device.is_like(device))
            .cloned()
            .collect();
    }

    fn fit(&self, precision: &str, channels_last: bool) -> Option<&Fitted> {
        let format = if channels_last {
            "channels-last"
        } else {
            "channels-first"
        };
        self.fits
            .iter()
            .find(|it| it.precision == precision && it.memory_format == format)
    }

    /// The speed that was fitted, else the one given.
    pub(crate) fn speed(&self, precision: &str, channels_last: bool, speed: Speed) -> Speed {
        self.fit(precision, channels_last)
            .map_or(speed, |fit| Speed {
                conv_flops: fit.conv_flops,
                memory_bytes_per_second: fit.memory_bytes_per_second,
                ..speed
            })
    }

    /// Corrects a prediction. A time that is of fitted rates stays: the ledger's factor is for the
    /// rates that come without.
    pub(crate) fn corrected(
        &self,
        prediction: Prediction,
        precision: &str,
        channels_last: bool,
    ) -> Prediction {
        let corrections = &self.corrections;
        let factor = match self.fit(precision, channels_last) {
            Some(_) => 1.0,
            None => corrections.time_factor.unwrap_or(1.0),
        };
        let reserved = |bytes| corrections.reserved(Bytes(bytes)).0;
        Prediction {
            reserved_bytes: prediction.reserved_bytes.map(reserved),
            total_bytes: corrections.total(Bytes(prediction.total_bytes)).0,
            step_seconds: prediction.step_seconds * factor,
            images_per_second: prediction.images_per_second / factor,
            ..prediction
        }
    }

    /// In one line each, what is not as it comes.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let count: usize = self.fits.iter().map(|it| it.num_measurements).sum();
        if count > 0 {
            let precisions: Vec<_> = self
                .fits
                .iter()
                .map(|it| format!("{} {}", it.precision, it.memory_format))
                .collect();
            notes.push(format!(
                "times calibrated from {count} measurements ({})",
                precisions.join(", ")
            ));
        }
        let mut corrected = Vec::new();
        if let Some(factor) = self.corrections.time_factor {
            let but = if count > 0 {
                " where they are not calibrated"
            } else {
                ""
            };
            corrected.push(format!("times by {factor:.2}{but}"));
        }
        if self.corrections.total_bytes > 0 {
            let bytes = Bytes(self.corrections.total_bytes);
            corrected.push(format!("{bytes} more memory"));
        }
        if !corrected.is_empty() {
            let what = corrected.join(", ");
            notes.push(format!(
                "corrected by runs on this device: {what} (`advisor ledger`)"
            ));
        }
        notes
    }
}
