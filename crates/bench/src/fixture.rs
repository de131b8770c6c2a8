//! A small benchmark for tests of the reports.

use config::{Bytes, CheckpointPolicy, ImageSize, MemoryFormat, Precision};

use crate::case::{Case, Implementation};
use crate::protocol::Epoch;
use crate::results::{Device, EpochRow, GroupInfo, HostRow, Results, Row, SCHEMA_VERSION, Status};
use crate::statistics::Ratio;

fn row(group: &str, case: Case, step_ms: f64, mib: u64) -> Row {
    let mut row = Row::new(group, &case);
    row.status = Status::Ok;
    row.set_times(vec![step_ms, step_ms * 1.02, step_ms * 0.98]);
    row.peak_allocated_bytes = Some(mib * Bytes::MIB);
    row.predicted_peak_bytes =
        (!case.implementation.is_pytorch()).then_some(mib * Bytes::MIB + Bytes::MIB / 2);
    row
}

/// The guide's four patterns, and rows of PyTorch.
fn rows(width: u32, factor: f64) -> Vec<Row> {
    let plain = Case {
        implementation: Implementation::Snug,
        img_size: ImageSize::new(512, 512),
        width,
        batch: 8,
        precision: Precision::Fp32,
        memory_format: MemoryFormat::ChannelsFirst,
        policy: CheckpointPolicy::Off,
        split_concat: false,
    };
    let last = Case {
        memory_format: MemoryFormat::ChannelsLast,
        ..plain
    };
    let half = Case {
        precision: Precision::Fp16,
        ..plain
    };
    let half_last = Case {
        precision: Precision::Fp16,
        ..last
    };
    let block = Case {
        policy: CheckpointPolicy::Block,
        ..half_last
    };
    let selective = Case {
        policy: CheckpointPolicy::Selective,
        ..half_last
    };
    let of = |implementation, policy| Case {
        implementation,
        policy,
        ..half_last
    };
    let off = CheckpointPolicy::Off;
    let base = u64::from(width) * 180;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand"
    )]
    let scaled = |share: f64| (base as f64 * share * factor) as u64;
    let mut rows = vec![
        row("guide", plain, 100.0, base),
        row("guide", last, 90.0, base * 95 / 100),
        row("guide", half, 60.0, scaled(0.55)),
        row("guide", half_last, 40.0, scaled(0.54)),
        row("guide", block, 52.0, scaled(0.36)),
        row("pytorch-half", half_last, 40.0, scaled(0.54)),
        row("pytorch-half", selective, 41.0, scaled(0.28)),
        row(
            "pytorch-half",
            of(Implementation::PytorchEager, off),
            48.0,
            scaled(0.54),
        ),
        row(
            "pytorch-half",
            of(Implementation::PytorchCheckpoint, CheckpointPolicy::Block),
            60.0,
            scaled(0.36),
        ),
        Row::new("pytorch-half", &of(Implementation::PytorchCompile, off)),
    ];
    for group in ["guide", "pytorch-half"] {
        let first = rows.iter().find(|row| row.group == group);
        let base = first.map(Row::ms_per_image).unwrap_or_default();
        for row in rows.iter_mut().filter(|row| row.group == group) {
            row.ratio_to_baseline = Ratio::of(&row.ms_per_image(), &base);
        }
    }
    if let Some(row) = rows.last_mut() {
        row.status = Status::Oom;
        row.message = Some("CUDA out of memory".to_owned());
    }
    rows
}

/// A benchmark of the guide's four patterns at a width, with rows of PyTorch, an epoch and host
/// work. `factor` scales the memory of every row that is not fp32.
pub(crate) fn results(width: u32, factor: f64) -> Results {
    let group = |name: &str, title: &str, together| GroupInfo {
        name: name.to_owned(),
        title: title.to_owned(),
        together,
    };
    Results {
        schema_version: SCHEMA_VERSION,
        device: Device {
            kind: "cpu".to_owned(),
            name: "A Device".to_owned(),
            total_bytes: Some(16 << 30),
            driver: None,
            cpu_capability: "AVX2".to_owned(),
            threads: 4,
        },
        libtorch: "2.11.0".to_owned(),
        pytorch: Some("2.11.0".to_owned()),
        snug: "0.1.0, dev profile".to_owned(),
        date: "2026-01-02".to_owned(),
        command: "train bench".to_owned(),
        groups: vec![
            group("guide", "The guide's table", true),
            group("pytorch-half", "Beside PyTorch, fp16", false),
        ],
        rows: rows(width, factor),
        epochs: vec![
            epochs(Implementation::Snug, 2.0),
            epochs(Implementation::PytorchScript, 4.0),
        ],
        host: vec![HostRow {
            width,
            img_size: [512, 512],
            batch: 8,
            recipe: "fp16 channels-last".to_owned(),
            step_ms: 40.0,
            host_ms: 0.8,
            smallest_step_ms: 4.0,
        }],
        left_out: vec!["formats: no time left".to_owned()],
    }
}

fn epochs(implementation: Implementation, train_s: f64) -> EpochRow {
    let epoch = Epoch {
        train_s,
        val_s: 0.5,
        data_wait_s: 0.1,
        images: 80,
        val_images: 20,
        train_loss: 0.5,
        val_loss: 0.5,
        iou: 0.5,
    };
    EpochRow {
        implementation,
        workers: 1,
        keeps_decoded: implementation == Implementation::Snug,
        recipe: "fp16 channels-last".to_owned(),
        work: "8 x 512x512, width 64".to_owned(),
        status: Status::Ok,
        message: None,
        prepare_ms: 300,
        first: Some(epoch),
        epochs: vec![epoch; 3],
        ratio_to_snug: Ratio::of(&[train_s + 0.5], &[2.5]),
    }
}
