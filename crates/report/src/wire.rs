//! The files of a run as they are on disk. Unknown fields are ignored and missing ones have defaults, so that
//! files of other versions open.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Declares a part of a file: everything in it may be missing.
macro_rules! wire {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name { $(pub(crate) $field: $kind),* }
    )*};
}

wire! {
    /// `summary.json`.
    Summary {
        status: String, error: Option<String>, device: Device,
        config: BTreeMap<String, Value>, precision: String, ranks: u32, epochs: u32, steps: u64,
        seconds: f64, throughput: Throughput, memory: PeakMemory, validation: Validation,
    }
    Device { name: String }
    Throughput { images_per_second: Option<f64>, step_ms_median: Option<f64> }
    #[expect(clippy::struct_field_names, reason = "the names in the file")]
    PeakMemory {
        predicted_peak_bytes: Option<u64>, peak_allocated_bytes: Option<u64>, peak_reserved_bytes: Option<u64>,
    }
    Validation {
        best_iou: Option<f64>, best_dice: Option<f64>, best_threshold: Option<f64>,
        best_threshold_iou: Option<f64>, best_epoch: Option<u32>, per_class: Vec<ClassScore>,
    }
    ClassScore { class: usize, iou: Option<f64>, dice: Option<f64>, num_images: Option<u64> }
    /// A row of `metrics.jsonl`.
    Row {
        epoch: u32, lr: Option<f64>, train_loss: Option<f64>, val_loss: Option<f64>,
        val_iou: Option<f64>, val_dice: Option<f64>,
        step_ms_median: Option<f64>, peak_allocated_bytes: Option<u64>,
    }
    /// `report.json`.
    Report {
        schema_version: u32, title: Option<String>, data: Data, curve: Option<Curve>,
        thresholds: Vec<Threshold>, calibration: Vec<Bin>, confusion: Option<Confusion>, images: Images,
        memory: Option<Memory>, time: Option<Time>, settings: Vec<Setting>, environment: Vec<Fact>,
        r#use: Vec<Usage>,
    }
    Data {
        description: Option<String>, train_images: Option<u64>, val_images: Option<u64>,
        channels: Option<u64>, class_names: Vec<String>,
    }
    /// Counts of pixels at the thresholds k / 100.
    Curve { foreground: u64, points: Vec<CurvePoint> }
    CurvePoint { hits: u64, answered: u64 }
    /// Means over images at the thresholds k / 100.
    Threshold { iou: Option<f64>, dice: Option<f64> }
    /// A bin of predicted probability.
    Bin { mean_probability: Option<f64>, foreground_share: Option<f64>, pixels: u64 }
    /// Pixels by the mask's class (rows) and the predicted one (columns).
    Confusion { counts: Vec<Vec<u64>> }
    Images { scores: Vec<ImageScore>, shown: Vec<Shown>, colors: Vec<ClassColor> }
    ImageScore { iou: Option<f64> }
    /// The colour of a class in pictures, RGB; of pixels that do not count, if no class is named.
    ClassColor { class: Option<usize>, color: [u8; 3] }
    /// A validation image with the paths of its pictures, relative to the run's folder.
    Shown {
        what: String, name: String, iou: Option<f64>, dice: Option<f64>, width: u32, height: u32,
        image: String, truth: String, answer: String, errors: String,
    }
    Memory {
        device_total_bytes: Option<u64>, budget_bytes: Option<u64>,
        predicted: Option<Predicted>, measured: Option<Measured>,
    }
    Predicted { peak_bytes: u64, peak_at: String, kinds: Vec<Kind>, timeline: Vec<Moment> }
    Kind { kind: String, bytes: u64 }
    Moment { at: String, phase: String, bytes: u64 }
    Measured {
        peak_allocated_bytes: Option<u64>, peak_reserved_bytes: Option<u64>,
        kinds: Vec<Kind>, timeline: Vec<Held>,
    }
    Held { phase: String, bytes: u64 }
    Time { seconds: f64, parts: Vec<Part>, verdict: Option<String>, advice: Option<String> }
    Part { what: String, seconds: f64 }
    Setting { key: String, value: String, by: String, from: Option<String>, why: Option<String> }
    Fact { what: String, is: String }
    Usage { what: String, command: String }
}

/// Removes `null`, so that it reads like a missing field.
pub(crate) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, it| !it.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
