//! Adjusts predictions for a device by measurements on it.

use config::{Bytes, MemoryFormat, Precision};
use estimator::{Forecast, Speed};

use crate::ledger::{Corrections, Device, Fitted};

/// The adjustments; the default changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tuned {
    /// The fitted rates of the device.
    rates: Vec<Fitted>,
    pub(crate) corrections: Corrections,
}

impl Tuned {
    pub(crate) fn take(&mut self, rates: &[Fitted], device: &Device) {
        self.rates = rates
            .iter()
            .filter(|it| it.device.is_like(device))
            .cloned()
            .collect();
    }

    fn fit(&self, precision: Precision, format: MemoryFormat) -> Option<&Fitted> {
        self.rates
            .iter()
            .find(|it| it.precision == precision.as_str() && it.memory_format == format.as_str())
    }

    /// Whether any prediction for the device was compared with a measurement on it.
    pub(crate) const fn is_compared(&self) -> bool {
        !self.rates.is_empty() || self.corrections.num_compared > 0
    }

    /// The fitted speed, or else the given one.
    pub(crate) fn speed(&self, precision: Precision, format: MemoryFormat, speed: Speed) -> Speed {
        self.fit(precision, format).map_or(speed, |fit| Speed {
            conv_flops: fit.conv_flops,
            memory_bytes_per_second: fit.memory_bytes_per_second,
            ..speed
        })
    }

    /// Corrects a prediction. A time from fitted rates stays unchanged, since the ledger's factor
    /// corrects the default rates.
    pub(crate) fn corrected(
        &self,
        prediction: &Forecast,
        precision: Precision,
        format: MemoryFormat,
    ) -> Forecast {
        let corrections = &self.corrections;
        let factor = match self.fit(precision, format) {
            Some(_) => 1.0,
            None => corrections.time_factor.unwrap_or(1.0),
        };
        let reserved = |bytes| corrections.reserved(Bytes(bytes)).0;
        Forecast {
            reserved_bytes: prediction.reserved_bytes.map(reserved),
            total_bytes: corrections.total(Bytes(prediction.total_bytes)).0,
            step_seconds: prediction.step_seconds * factor,
            images_per_second: prediction.images_per_second / factor,
            ..*prediction
        }
    }

    /// What differs from the defaults, one line per difference.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let count: usize = self.rates.iter().map(|it| it.num_measurements).sum();
        if count > 0 {
            let precisions: Vec<_> = self
                .rates
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

#[cfg(test)]
mod tests {
    use config::RunConfig;
    use machine::Processor;

    use super::*;
    use crate::ledger::tests::rates;

    fn forecast() -> Forecast {
        let card = Processor::gpu(None, None);
        Forecast {
            allocated_bytes: 100,
            reserved_bytes: Some(200),
            total_bytes: 300,
            step_seconds: 1.0,
            images_per_second: 8.0,
            ..Forecast::of(&RunConfig::default(), &card).unwrap()
        }
    }

    fn tuned() -> Tuned {
        let gpu = Device::gpu("card");
        let rates = [
            rates(gpu.clone(), "fp16", 1e13),
            rates(Device::gpu("other"), "tf32", 1e13),
        ];
        let mut tuned = Tuned::default();
        tuned.take(&rates, &gpu);
        tuned.corrections = Corrections {
            time_factor: Some(2.0),
            reserved_bytes: 10,
            total_bytes: 30,
            num_compared: 3,
        };
        tuned
    }

    #[test]
    fn by_default_nothing_changes() {
        let tuned = Tuned::default();
        let fp16 = tuned.corrected(&forecast(), Precision::Fp16, MemoryFormat::ChannelsLast);
        assert_eq!(fp16, forecast());
        assert!(tuned.notes().is_empty() && !tuned.is_compared());
    }

    /// Fitted rates and the ledger's factor describe the same steps, so time is corrected only once.
    #[test]
    fn the_ledgers_factor_is_for_what_is_not_calibrated() {
        let of = |precision, format| {
            let it = tuned().corrected(&forecast(), precision, format);
            assert_eq!(
                (it.allocated_bytes, it.reserved_bytes, it.total_bytes),
                (100, Some(210), 330)
            );
            (it.step_seconds, it.images_per_second)
        };
        assert!(of(Precision::Fp16, MemoryFormat::ChannelsLast) == (1.0, 8.0));
        assert!(of(Precision::Fp16, MemoryFormat::ChannelsFirst) == (2.0, 4.0));
        assert!(of(Precision::Tf32, MemoryFormat::ChannelsLast) == (2.0, 4.0));
        assert_eq!(tuned().notes().len(), 2);
    }
}
