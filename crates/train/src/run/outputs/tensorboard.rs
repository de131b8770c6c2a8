//! TensorBoard's event files: records of protocol buffers, each with checksums. The messages are those parts of
//! TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`, and of the plugins' own, that are written here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Bytes;
use engine::device::Peak;
use engine::metrics::PixelCurve;
use engine::trainer::EpochReport;
use prost::Message;

/// What begins the name of an event file.
pub(super) const PREFIX: &str = "events.out.tfevents.";

/// TensorFlow's numbers for these.
const SESSION_START: i32 = 1;
const DT_FLOAT: i32 = 1;
const RGB: i32 = 3;
const CHECKSUM_MASK: u32 = 0xa282_ead8;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    Session(Session),
}

#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Content", tags = "2, 4, 8")]
    content: Option<Content>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Picture(Picture),
    #[prost(message, tag = "8")]
    Tensor(Floats),
}

#[derive(Clone, PartialEq, Message)]
struct Picture {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    png: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Floats {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(float, repeated, tag = "5")]
    values: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dims: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<Plugin>,
}

#[derive(Clone, PartialEq, Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct CurvePlugin {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(uint32, tag = "2")]
    num_thresholds: u32,
}

#[derive(Clone, PartialEq, Message)]
struct HyperparametersPlugin {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(message, optional, tag = "3")]
    start: Option<SessionStart>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    settings: BTreeMap<String, Setting>,
    #[prost(double, tag = "5")]
    start_seconds: f64,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct Setting {
    #[prost(oneof = "SettingKind", tags = "2, 3, 4")]
    kind: Option<SettingKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum SettingKind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Switch(bool),
}

/// The name of an event file that begins now.
pub fn file_name() -> String {
    let seconds = now().as_secs();
    format!("{PREFIX}{seconds}.snug.{}.0", std::process::id())
}

/// The first records of a file, with the settings of the run. What other files of the run say of `step` and later is
/// void.
pub fn beginning(step: u64, settings: &toml::Table) -> Vec<u8> {
    let mut records = record(0, What::FileVersion("brain.Event:2".to_owned()));
    if step > 0 {
        let status = SESSION_START;
        records.extend(record(step, What::Session(Session { status })));
    }
    records.extend(hyperparameters(settings));
    records
}

/// What an epoch ended with. `peak` is that of the process.
pub fn epoch(report: &EpochReport, step_ms: Option<f64>, peak: Peak) -> Vec<u8> {
    let mib = |bytes: u64| Bytes(bytes).as_mib();
    let scores = &report.scores;
    let numbers = [
        ("loss/train", Some(report.train_loss)),
        ("loss/validation", Some(report.val_loss)),
        ("validation/IoU", Some(scores.iou)),
        ("validation/Dice", Some(scores.dice)),
        ("learning rate", Some(report.lr)),
        ("loss scale", report.scale),
        ("step ms", step_ms),
        ("waiting for data", Some(report.data_wait)),
        ("memory/allocated MiB", Some(mib(peak.allocated_bytes))),
        ("memory/reserved MiB", peak.reserved_bytes.map(mib)),
    ];
    let mut records = scalars(report.steps, numbers);
    if let [_, _, ..] = scores.per_class[..] {
        for class in &scores.per_class {
            let tag = format!("validation/IoU of class {}", class.class);
            records.extend(scalars(report.steps, [(tag.as_str(), class.iou)]));
        }
    }
    if let Some(pixels) = &scores.curve {
        records.extend(curve(report.steps, "validation/pixels", pixels));
    }
    records
}

/// The pictures that a run has just written.
pub fn samples(step: u64, pictures: &[PathBuf]) -> Vec<u8> {
    let record = |path: &PathBuf| {
        let png = std::fs::read(path).ok()?;
        let number = |at: usize| Some(u32::from_be_bytes(*png.get(at..)?.first_chunk()?));
        let (width, height) = (number(16)?, number(20)?);
        let tag = format!("samples/{}", path.file_stem()?.to_string_lossy());
        Some(picture(step, &tag, (height, width), png))
    };
    pictures.iter().filter_map(record).flatten().collect()
}

/// The settings of a run.
fn hyperparameters(settings: &toml::Table) -> Vec<u8> {
    let setting = |value: &toml::Value| {
        let kind = match value {
            toml::Value::Integer(number) => SettingKind::Number(*number as f64),
            toml::Value::Float(number) => SettingKind::Number(*number),
            toml::Value::Boolean(switch) => SettingKind::Switch(*switch),
            toml::Value::String(text) => SettingKind::Text(text.clone()),
            other => SettingKind::Text(other.to_string()),
        };
        Setting { kind: Some(kind) }
    };
    let settings = settings.iter();
    let start = SessionStart {
        settings: settings
            .map(|(key, it)| (key.clone(), setting(it)))
            .collect(),
        start_seconds: now().as_secs_f64(),
    };
    let content = HyperparametersPlugin {
        version: 0,
        start: Some(start),
    };
    summary(
        0,
        vec![Value {
            tag: "_hparams_/session_start_info".to_owned(),
            content: None,
            metadata: Some(metadata("hparams", &content)),
        }],
    )
}

/// Numbers by their tags; those that do not exist are left out.
fn scalars<'a>(step: u64, numbers: impl IntoIterator<Item = (&'a str, Option<f64>)>) -> Vec<u8> {
    let value = |(tag, number): (&str, Option<f64>)| {
        Some(Value {
            tag: tag.to_owned(),
            content: Some(Content::Scalar(single(number?))),
            metadata: None,
        })
    };
    summary(step, numbers.into_iter().filter_map(value).collect())
}

/// Precision and recall by threshold.
fn curve(step: u64, tag: &str, curve: &PixelCurve) -> Vec<u8> {
    let num = curve.points.len();
    // Of each kind a row: true and false positives, true and false negatives, precision, recall.
    let mut rows: [Vec<f32>; 6] = Default::default();
    for point in &curve.points {
        let (hits, answered) = (point.hits as f64, point.answered as f64);
        let foreground = curve.foreground as f64;
        let false_alarms = answered - hits;
        let misses = foreground - hits;
        let rest = curve.pixels as f64 - answered - misses;
        let share = |part: f64, whole: f64| part / whole.max(1.0);
        let numbers = [
            hits,
            false_alarms,
            rest,
            misses,
            share(hits, answered),
            share(hits, foreground),
        ];
        for (row, number) in rows.iter_mut().zip(numbers) {
            row.push(single(number));
        }
    }
    let size = |size: usize| Dim {
        size: size.cast_signed() as i64,
    };
    let shape = Shape {
        dims: vec![size(rows.len()), size(num)],
    };
    let content = CurvePlugin {
        version: 0,
        num_thresholds: u32::try_from(num).unwrap_or(u32::MAX),
    };
    summary(
        step,
        vec![Value {
            tag: tag.to_owned(),
            content: Some(Content::Tensor(Floats {
                dtype: DT_FLOAT,
                shape: Some(shape),
                values: rows.concat(),
            })),
            metadata: Some(metadata("pr_curves", &content)),
        }],
    )
}

/// A picture in PNG, of this height and width.
fn picture(step: u64, tag: &str, (height, width): (u32, u32), png: Vec<u8>) -> Vec<u8> {
    let of = |size: u32| i32::try_from(size).unwrap_or(i32::MAX);
    summary(
        step,
        vec![Value {
            tag: tag.to_owned(),
            content: Some(Content::Picture(Picture {
                height: of(height),
                width: of(width),
                colorspace: RGB,
                png,
            })),
            metadata: None,
        }],
    )
}

fn metadata(name: &str, content: &impl Message) -> Metadata {
    Metadata {
        plugin: Some(Plugin {
            name: name.to_owned(),
            content: content.encode_to_vec(),
        }),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "TensorBoard's numbers are single"
)]
const fn single(number: f64) -> f32 {
    number as f32
}

fn summary(step: u64, values: Vec<Value>) -> Vec<u8> {
    record(step, What::Summary(Summary { values }))
}

/// An event with its length and the checksums of both.
fn record(step: u64, what: What) -> Vec<u8> {
    let event = Event {
        wall_time: now().as_secs_f64(),
        step: step.cast_signed(),
        what: Some(what),
    };
    let event = event.encode_to_vec();
    let length = (event.len() as u64).to_le_bytes();
    let parts = [&length[..], &checksum(&length), &event, &checksum(&event)];
    parts.concat()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes);
    sum.rotate_right(15)
        .wrapping_add(CHECKSUM_MASK)
        .to_le_bytes()
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As TensorBoard's reader checks them.
    #[test]
    fn records_have_their_lengths_and_checksums() {
        let mut bytes = &scalars(7, [("loss", Some(0.5)), ("none", None)])[..];
        let (length, rest) = bytes.split_first_chunk().unwrap();
        assert_eq!(rest[..4], checksum(length));
        let event = &rest[4..][..usize::try_from(u64::from_le_bytes(*length)).unwrap()];
        bytes = &rest[4 + event.len()..];
        assert_eq!(*bytes, checksum(event));
        let event = Event::decode(event).unwrap();
        assert_eq!(event.step, 7);
        let Some(What::Summary(summary)) = event.what else {
            panic!("{event:?}");
        };
        assert_eq!(summary.values.len(), 1);
        assert_eq!(summary.values[0].content, Some(Content::Scalar(0.5)));
        // The checksum of nine digits is in the standard of CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
