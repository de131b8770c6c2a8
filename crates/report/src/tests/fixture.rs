//! Small runs, written to temporary folders.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The smallest file that is taken for a PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The folder of a run, which is gone when it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    _parent: TempDir,
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(name);
        fs::create_dir_all(path.join("last")).unwrap();
        Self {
            _parent: parent,
            path,
        }
    }

    pub(super) fn with(self, file: &str, text: &(impl ToString + ?Sized)) -> Self {
        fs::create_dir_all(self.path.join(file).parent().unwrap()).unwrap();
        fs::write(self.path.join(file), text.to_string()).unwrap();
        self
    }

    pub(super) fn with_lines(self, file: &str, rows: &[Value]) -> Self {
        let lines = rows.iter().map(|row| format!("{row}\n"));
        self.with(file, &lines.collect::<String>())
    }

    pub(super) fn with_pictures(self) -> Self {
        fs::create_dir_all(self.path.join("report")).unwrap();
        for part in ["image", "truth", "answer"] {
            let file = self.path.join(format!("report/worst-1-{part}.png"));
            fs::write(file, PNG).unwrap();
        }
        self
    }
}

pub(super) fn rows(epochs: u32) -> Vec<Value> {
    let row = |epoch: u32| {
        let share = f64::from(epoch) / f64::from(epochs);
        let iou = 0.2 + 0.6 * share;
        json!({
            "epoch": epoch, "steps": 16 * epoch, "lr": 0.001 * (1.0 - 0.9 * share),
            "train_loss": 0.7 - 0.5 * share, "val_loss": if epoch == 2 { None } else { Some(0.8 - 0.5 * share) },
            "val_iou": iou, "val_dice": 2.0 * iou / (1.0 + iou), "step_ms_median": 171.8,
            "peak_allocated_bytes": 143_100_033,
        })
    };
    (1..=epochs).map(row).collect()
}

pub(super) fn summary(status: &str, classes: usize) -> Value {
    let scores = |class: usize| json!({"class": class, "iou": 0.9 - 0.1 * class as f64, "dice": 0.9, "num_images": 20});
    let first = usize::from(classes == 1);
    let scores: Vec<Value> = (first..first + classes).map(scores).collect();
    json!({
        "schema_version": 1, "status": status, "error": null, "unknown": "ignored",
        "device": {"kind": "cuda", "name": "NVIDIA T4", "total_bytes": 16_u64 << 30},
        "config": {"class_names": null}, "precision": "bf16", "epochs": 4, "steps": 64, "seconds": 150.0,
        "throughput": {"images_per_second": 69.8, "step_ms_median": 171.8},
        "memory": {"predicted_peak_bytes": 143_000_000, "peak_allocated_bytes": 146_000_000},
        "validation": {"best_iou": 0.8, "best_dice": 0.889, "best_epoch": 4, "per_class": scores},
    })
}

pub(super) fn config(classes: usize) -> String {
    format!(
        "schema_version = 1\nimg_size = [64, 96]\nbatch = 4\nwidth = 16\nclasses = {classes}\namp_dtype = \"auto\"\n"
    )
}

pub(super) fn events() -> Vec<Value> {
    let fallback = json!({"step": 12, "failure": "out of memory", "from": "checkpointing off", "to": "checkpointing selective"});
    vec![
        json!({"event": "started", "precision": "bf16", "step": 0}),
        json!({"event": "changed", "change": {"what": "batch", "from": "8", "to": "4", "why": "predicted to take 9.3 GiB before all changes, and 8.0 GiB are there"}}),
        json!({"event": "amp-check", "holds": true, "precision": "bf16", "mean_difference": 0.0012,
               "largest_difference": 0.0125}),
        json!({"event": "algorithm-search", "peak_allocated_bytes": 8_496_640}),
        json!({"event": "cuda-graph", "step": 3, "on": true, "host_share": 0.23}),
        json!({"event": "threads", "step": 7, "threads": 1, "all": 2, "others": 1.3}),
        json!({"event": "overlap", "step": 12, "on": true, "step_ms_after": 116.4, "step_ms_during": 99.8}),
        json!({"event": "fallback", "fallback": fallback, "bit_exact": true}),
        json!({"event": "loss-explodes", "step": 20, "times": 40.0}),
        json!({"event": "limit", "what": "the disk: training waited for data for 40 % of its time, and reading takes 9.0 ms an image",
               "advice": "copy the images to a local disk, or store them smaller: up to 512 MiB of decoded images stay in memory"}),
        json!({"event": "limit", "what": "the GPU: 97 % of the training time went into steps", "advice": null}),
        json!({"event": "from-the-future", "step": 21, "what": "unknown"}),
        json!({"event": "finished", "status": "completed", "step": 64, "error": null}),
    ]
}

/// A complete `report.json`.
pub(super) fn report(classes: usize) -> Value {
    let is_binary = classes == 1;
    let names = ["background", "cell", "wall", "nucleus", "debris"];
    let num = classes.max(2);
    let counts: Vec<Vec<u64>> = (0..num)
        .map(|row| {
            (0..num)
                .map(|it| if it == row { 900 } else { 40 + 10 * it as u64 })
                .collect()
        })
        .collect();
    let points = (0..=100_u64).map(|k| json!({"hits": 1000 - 9 * k, "answered": 1500 - 14 * k}));
    let means = (0..=100).map(|k| {
        let iou = 0.8 - (f64::from(k) / 100.0 - 0.6).powi(2);
        json!({"iou": iou, "dice": 2.0 * iou / (1.0 + iou)})
    });
    let bins = (0..10).map(|k| {
        let at = 0.05 + 0.1 * f64::from(k);
        json!({"mean_probability": at, "foreground_share": at * at, "pixels": if k == 4 { 0 } else { 100 }})
    });
    let timeline = [
        ("forward", "first conv of stage 1", 50),
        (
            "forward",
            "norm and ReLU after the second conv of stage 9",
            110,
        ),
        ("backward", "gradient of the head's input", 130),
        ("update", "optimizer step", 60),
    ];
    let held = [
        ("forward", 40),
        ("forward", 90),
        ("backward", 133),
        ("update", 60),
    ]
    .map(|(phase, mib)| json!({"phase": phase, "bytes": mib << 20}));
    let timeline =
        timeline.map(|(phase, at, mib)| json!({"at": at, "phase": phase, "bytes": mib << 20}));
    let colors = [
        [0; 3],
        [255; 3],
        [230, 80, 60],
        [60, 160, 230],
        [90, 190, 90],
    ]
    .iter();
    let colors = colors
        .zip(0..num)
        .map(|(color, class)| json!({"class": class, "color": color}));
    let ignored = (!is_binary).then(|| json!({"class": null, "color": [128, 128, 128]}));
    let colors: Vec<Value> = colors.chain(ignored).collect();
    let curve = json!({"pixels": 9000, "foreground": 1000, "points": points.collect::<Vec<_>>()});
    json!({
        "schema_version": 1, "title": "nuclei",
        "data": {"description": "layout: images in `a; b`, masks in `c`; masks: binary, foreground 255", "train_images": 80, "val_images": 20, "channels": 3,
                 "class_names": &names[..num]},
        "curve": is_binary.then_some(curve),
        "thresholds": is_binary.then(|| means.collect::<Vec<_>>()),
        "calibration": is_binary.then(|| bins.collect::<Vec<_>>()),
        "confusion": {"counts": counts},
        "images": {
            "scores": [{"name": "a", "iou": 0.3}, {"name": "b", "iou": null}, {"name": "c", "iou": 0.9}],
            "colors": colors,
            "shown": [{"what": "worst", "name": "a.png", "iou": 0.3, "dice": 0.46, "width": 64, "height": 96,
                       "image": "report/worst-1-image.png", "truth": "report/worst-1-truth.png",
                       "answer": "report/worst-1-answer.png", "errors": "report/gone.png"}],
        },
        "memory": {
            "unit": "allocated", "device_total_bytes": 16_u64 << 30, "budget_bytes": 150 << 20,
            "predicted": {"peak_bytes": 130 << 20, "peak_at": "gradient of the head's input", "timeline": timeline,
                          "kinds": [{"kind": "activations", "bytes": 100 << 20}, {"kind": "gradients", "bytes": 30 << 20}]},
            "measured": {"peak_allocated_bytes": 133 << 20, "peak_reserved_bytes": 160 << 20, "timeline": held,
                         "kinds": [{"kind": "activations", "bytes": 103 << 20}, {"kind": "gradients", "bytes": 30 << 20}]},
        },
        "time": {"seconds": 150.0, "verdict": "this run was limited by the GPU: 93 % of the training time went into steps",
                 "advice": "`--workers 4` loads on more threads",
                 "parts": [{"what": "training steps", "seconds": 140.0}, {"what": "saving", "seconds": 10.0}]},
        "settings": [
            {"key": "batch", "value": "4", "by": "advisor", "from": "8", "why": "there is room for it"},
            {"key": "width", "value": "16", "by": "default", "from": null, "why": null},
            {"key": "img_size", "value": "[64, 96]", "by": "earlier", "from": null, "why": null},
            {"key": "accumulation", "value": "unset", "by": "advisor", "from": "2", "why": null},
        ],
        "environment": [{"what": "GPU", "is": "NVIDIA T4"}],
        "use": [{"what": "write the masks that it predicts", "command": "snug predict --weights best.safetensors"}],
    })
}

/// A complete run.
pub(super) fn complete(classes: usize) -> Folder {
    Folder::new("nuclei-001")
        .with("summary.json", &summary("completed", classes))
        .with("config.toml", &config(classes))
        .with("report.json", &report(classes))
        .with("last/snapshot.safetensors", &"")
        .with_lines("metrics.jsonl", &rows(4))
        .with_lines("events.jsonl", &events())
        .with_pictures()
}

/// A run that was interrupted before its first validation.
pub(super) fn interrupted() -> Folder {
    let mut summary = summary("interrupted", 1);
    (summary["epochs"], summary["steps"]) = (json!(0), json!(5));
    summary["validation"] = json!({"best_iou": null, "best_epoch": null, "per_class": []});
    Folder::new("nuclei-002")
        .with("summary.json", &summary)
        .with("config.toml", &config(1))
        .with("last/snapshot.safetensors", &"")
        .with("metrics.jsonl", &"")
        .with_lines("events.jsonl", &events()[..1])
}
