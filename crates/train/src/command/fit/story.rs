//! `report.json`: what the report of a run tells that none of its other files holds.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::cli::program;
use engine::device;
use engine::metrics::{Counter, Details, ImageScore, PixelCurve};
use engine::trainer::{Spent, Trainer};
use machine::load::Moment;
use machine::{Cpu, ram};
use serde_json::{Value, json};
use tch::Device;
use torch_ext::library;

use super::settings::{self, Setting};
use crate::error::Result;
use crate::run::limit::{Known, Limit};
use crate::run::outputs::{Fallback, RunDir, samples};
use crate::run::proposal::{self, Images};
use crate::run::run_data::RunData;
use crate::run::snapshot::Store;
use data::Source;

/// The file in a run's folder.
const FILE: &str = "report.json";
/// The folder of its pictures.
const PICTURES: &str = "report";
/// Bins of the calibration curve.
const BINS: usize = 10;

/// What is known of a run for its report.
#[derive(Debug)]
pub(super) struct Story {
    settings: Vec<Setting>,
    data: Value,
    environment: Value,
    images: Images,
    workers: usize,
    /// The folder of the data, and images that were not trained on.
    folder: Option<PathBuf>,
    images_to_try: Option<PathBuf>,
    size: String,
    spent: Spent,
    saving: Duration,
    begun: Option<Moment>,
    started: Instant,
    validation: Value,
}

/// How a run came out.
pub(super) struct Outcome<'a> {
    pub(super) fallbacks: &'a [Fallback],
    pub(super) peak_allocated_bytes: u64,
    pub(super) peak_reserved_bytes: Option<u64>,
    /// Commands that go on from it, each with what it is for.
    pub(super) uses: &'a [(&'static str, String)],
}

impl Story {
    /// The story of a run on `data`, of which `asked` says who set what.
    pub(super) fn new(
        settings: Vec<Setting>,
        data: &RunData,
        folder: Option<&Path>,
        name: &str,
    ) -> Self {
        let train = data.train.source();
        let images = Images {
            training: train.len(),
            validation: data.val.source().len(),
        };
        let classes: Vec<String> = match &data.reading {
            Some(reading) => (0..reading.mask.num_classes.max(2))
                .map(|class| reading.mask.name_of(class).trim_matches('`').to_owned())
                .collect(),
            None => ["background", "balloon"].map(str::to_owned).to_vec(),
        };
        let (height, width) = train.size();
        Self {
            settings,
            data: json!({
                "title": name,
                "description": data.notes.join("; "),
                "train_images": images.training,
                "val_images": images.validation,
                "channels": train.channels(),
                "height": height,
                "width": width,
                "class_names": classes,
            }),
            environment: Value::Null,
            images,
            workers: data.train.config().workers,
            folder: folder.map(Path::to_owned),
            images_to_try: data.images_to_try.clone(),
            size: format!("{height}x{width}"),
            spent: Spent::default(),
            saving: Duration::ZERO,
            begun: None,
            started: Instant::now(),
            validation: Value::Null,
        }
    }

    /// Training begins. A resumed run has its earlier settings from the report of the part before.
    pub(super) fn begin(&mut self, dir: &mut RunDir, trainer: &Trainer) -> Result<()> {
        self.begun = Moment::now();
        self.started = Instant::now();
        self.environment = environment(trainer.learner.device());
        let earlier = std::fs::read(dir.file(FILE)).ok();
        let earlier = earlier.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let earlier: Vec<Setting> = earlier
            .and_then(|it| serde_json::from_value(it["settings"].clone()).ok())
            .unwrap_or_default();
        settings::remember(&mut self.settings, &earlier);
        let so_far = json!({
            "schema_version": 1,
            "title": self.data["title"],
            "data": self.data,
            "settings": self.settings,
            "environment": self.environment,
        });
        write(dir, &so_far)
    }

    /// An epoch took this.
    pub(super) fn add(&mut self, spent: Spent) {
        self.spent += spent;
    }

    /// Runs what saves something.
    pub(super) fn saved_since(&mut self, begun: Instant) {
        self.saving += begun.elapsed();
    }

    /// What limited the run up to now.
    pub(super) fn limit(&self, trainer: &Trainer) -> Option<Limit> {
        let device = trainer.learner.device();
        Limit::of(&Known {
            spent: self.spent,
            workers: self.workers,
            others: self.begun.and_then(|it| it.others_since()),
            is_gpu: device.is_cuda(),
            policy: proposal::policy_cost(&trainer.config, device, self.images),
        })
    }

    /// Takes the validation of the best weights, with pictures of some of its images.
    pub(super) fn validated(
        &mut self,
        counter: &Counter,
        trainer: &Trainer,
        val: &dyn Source,
        dir: &RunDir,
    ) -> Result<()> {
        let details = counter.details();
        let curve = counter.scores().curve;
        let folder = dir.file(PICTURES);
        std::fs::create_dir_all(&folder).map_err(|e| crate::Error::io("create", &folder, e))?;
        let (height, width) = val.size();
        let mut shown = Vec::new();
        for (what, index) in exemplary(&details.images) {
            let number = shown.len() + 1;
            let stem = folder.join(format!("{number}-{what}"));
            let paths = samples::write_apart(trainer.learner.evaluator(), val, index, &stem)?;
            let [image, truth, answer, errors] =
                paths.map(|path| path.strip_prefix(dir.path()).unwrap_or(&path).to_owned());
            let score = details.images[index];
            shown.push(json!({
                "what": what, "name": val.name(index), "iou": score.iou, "dice": score.dice,
                "width": width, "height": height,
                "image": image, "truth": truth, "answer": answer, "errors": errors,
            }));
        }
        let score = |(index, it): (usize, &ImageScore)| json!({"name": val.name(index), "iou": it.iou, "dice": it.dice});
        let scores: Vec<_> = details.images.iter().enumerate().map(score).collect();
        self.validation = json!({
            "curve": curve.as_ref().map(curve_json),
            "calibration": curve.as_ref().map(calibration),
            "thresholds": thresholds(&details),
            "confusion": {"counts": details.confusion},
            "images": {"scores": scores, "shown": shown},
        });
        Ok(())
    }

    /// Writes the file.
    pub(super) fn end(
        &self,
        dir: &mut RunDir,
        trainer: &Trainer,
        outcome: &Outcome<'_>,
        limit: Option<&Limit>,
    ) -> Result<()> {
        let device = trainer.learner.device();
        let rungs = outcome.fallbacks.iter().filter(|it| it.step > 0);
        let settings: Vec<_> = self
            .settings
            .iter()
            .cloned()
            .chain(rungs.map(settings::of_ladder))
            .collect();
        let uses = outcome.uses.iter();
        let uses: Vec<_> = uses
            .map(|(what, command)| json!({"what": what, "command": command}))
            .collect();
        let mut all = json!({
            "schema_version": 1,
            "title": self.data["title"],
            "data": self.data,
            "memory": {
                "unit": "allocated",
                "device_total_bytes": device::total_bytes(device),
                "predicted": proposal::memory_of_step(&trainer.config, device, self.images),
                "measured": {
                    "peak_allocated_bytes": outcome.peak_allocated_bytes,
                    "peak_reserved_bytes": outcome.peak_reserved_bytes,
                },
            },
            "time": self.time(limit),
            "settings": settings,
            "environment": self.environment,
            "use": uses,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, self.validation.clone()) {
            all.extend(more);
        }
        write(dir, &all)
    }

    fn time(&self, limit: Option<&Limit>) -> Value {
        let all = self.started.elapsed().as_secs_f64();
        let Spent {
            training,
            waiting,
            validation,
            ..
        } = self.spent;
        let parts = [
            ("training steps", training.saturating_sub(waiting)),
            ("waiting for data", waiting),
            ("validation", validation),
            ("saving", self.saving),
        ];
        let known: f64 = parts.iter().map(|(_, time)| time.as_secs_f64()).sum();
        let part = |(what, seconds): (&str, f64)| json!({"what": what, "seconds": seconds});
        let mut parts: Vec<_> = parts
            .map(|(what, time)| part((what, time.as_secs_f64())))
            .into();
        parts.push(part(("other", (all - known).max(0.0))));
        json!({
            "seconds": all,
            "parts": parts,
            "verdict": limit.map(|it| format!("this run was limited by {it}")),
            "advice": limit.and_then(Limit::advice),
        })
    }

    /// Commands that go on from a run, each with what it is for: the first is the next one.
    pub(super) fn uses(
        &self,
        run: &Path,
        best: Option<&Path>,
        is_done: bool,
    ) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let (folder, masks) = (text(run), text(&run.join("masks")));
        let mut uses = Vec::new();
        let mut put =
            |what, words: &[&str]| uses.push((what, program::line(words.iter().copied())));
        if !is_done && Store::of_run(run).path().exists() {
            put(
                "continue this run",
                &[program::training(), "--resume", &folder],
            );
        }
        let Some(best) = best.map(text) else {
            return uses;
        };
        let images = if let Some(images) = &self.images_to_try {
            text(images)
        } else {
            let pages = run.join("pages");
            let words = ["synth", "--img-size", &self.size, "--out", &text(&pages)];
            put(
                "draw pages that it has not seen",
                &[&words[..], &["--seed", "1"]].concat(),
            );
            text(&pages.join("val/images"))
        };
        let words = [
            "predict",
            "--weights",
            &best,
            "--input",
            &images,
            "--out",
            &masks,
        ];
        put("write the masks that it predicts", &words);
        if let Some(data) = &self.folder {
            let words = ["evaluate", "--weights", &best, "--data", &text(data)];
            put("score it on a folder of images and masks", &words);
        }
        uses
    }
}

fn write(dir: &mut RunDir, report: &Value) -> Result<()> {
    dir.write(FILE, format!("{report:#}\n"))
}

fn environment(device: Device) -> Value {
    let is = |what: &str, it: String| json!({"what": what, "is": it});
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = Cpu::name().unwrap_or_else(|| "unknown".to_owned());
    let mut all = vec![
        is("Snug", env!("CARGO_PKG_VERSION").to_owned()),
        is("libtorch", library::runtime_version()),
        is(
            "device",
            format!("{} ({})", device::name(device), device::kind(device)),
        ),
        is(
            "CPU",
            format!("{cpu}, {cores} cores, {} threads", tch::get_num_threads()),
        ),
    ];
    if let Some(ram) = ram::read() {
        all.push(is("memory", ram.total.to_string()));
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    all.push(is(
        "command",
        program::line(words.iter().map(String::as_str)),
    ));
    json!(all)
}

fn curve_json(curve: &PixelCurve) -> Value {
    let points = curve.points.iter();
    let points: Vec<_> = points
        .map(|it| json!({"hits": it.hits, "answered": it.answered}))
        .collect();
    json!({"pixels": curve.pixels, "foreground": curve.foreground, "points": points})
}

/// The share of foreground by predicted probability. Probabilities are known to a hundredth: the middle of the hundredth
/// stands for it.
fn calibration(curve: &PixelCurve) -> Value {
    // Bin k holds probabilities above threshold k - 1 and up to threshold k.
    let above = |k: usize| (curve.points[k].answered, curve.points[k].hits);
    let hundredths: Vec<(f64, u64, u64)> = (1..curve.points.len())
        .map(|k| {
            let ((answered, hits), (answered_next, hits_next)) = (above(k - 1), above(k));
            let middle = (k as f64 - 0.5) / (curve.points.len() - 1) as f64;
            (middle, answered - answered_next, hits - hits_next)
        })
        .collect();
    let bins = hundredths.chunks(hundredths.len().div_ceil(BINS).max(1));
    let bins: Vec<_> = bins
        .map(|bin| {
            let pixels: u64 = bin.iter().map(|it| it.1).sum();
            let hits: u64 = bin.iter().map(|it| it.2).sum();
            let mean: f64 = bin.iter().map(|it| it.0 * it.1 as f64).sum();
            let of_all = |sum: f64| (pixels > 0).then(|| sum / pixels as f64);
            json!({
                "mean_probability": of_all(mean),
                "foreground_share": of_all(hits as f64),
                "pixels": pixels,
            })
        })
        .collect();
    json!(bins)
}

fn thresholds(details: &Details) -> Value {
    let of = |it: &ImageScore| json!({"iou": it.iou, "dice": it.dice});
    let all: Vec<_> = details.thresholds.iter().map(of).collect();
    if all.is_empty() {
        Value::Null
    } else {
        json!(all)
    }
}

/// Images that show what the answers are like: the best, the median and the two worst of those that count.
fn exemplary(scores: &[ImageScore]) -> Vec<(&'static str, usize)> {
    let counted = scores.iter().enumerate();
    let mut counted: Vec<_> = counted
        .filter_map(|(index, it)| Some((it.iou?, index)))
        .collect();
    counted.sort_by(|one, other| other.0.total_cmp(&one.0));
    let last = counted.len().saturating_sub(1);
    let places = [
        ("best", 0),
        ("median", last / 2),
        ("worst", last.saturating_sub(1)),
        ("worst", last),
    ];
    let mut chosen: Vec<(&str, usize)> = Vec::new();
    for (what, place) in places {
        let Some(&(_, index)) = counted.get(place) else {
            break;
        };
        if chosen.iter().all(|(_, other)| *other != index) {
            chosen.push((what, index));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use engine::metrics::CurvePoint;

    use super::*;

    #[test]
    fn exemplary_images_differ() {
        let scores = |all: &[f64]| -> Vec<ImageScore> {
            all.iter()
                .map(|&iou| ImageScore {
                    iou: (iou >= 0.0).then_some(iou),
                    dice: None,
                })
                .collect()
        };
        let chosen = exemplary(&scores(&[0.2, 0.9, -1.0, 0.5, 0.7, 0.1]));
        assert_eq!(
            chosen,
            [("best", 1), ("median", 3), ("worst", 0), ("worst", 5)]
        );
        assert_eq!(exemplary(&scores(&[0.3])), [("best", 0)]);
        assert_eq!(exemplary(&scores(&[-1.0])), []);
    }

    #[test]
    fn calibration_adds_up() {
        // 20 pixels at probability 0.05, of which 1 is foreground, and 10 at 1, all foreground.
        let at = |k: usize| match k {
            0..=4 => CurvePoint {
                hits: 11,
                answered: 30,
            },
            5..=99 => CurvePoint {
                hits: 10,
                answered: 10,
            },
            _ => CurvePoint::default(),
        };
        let curve = PixelCurve {
            pixels: 30,
            foreground: 11,
            points: (0..=100).map(at).collect(),
        };
        let bins = calibration(&curve);
        assert_eq!(bins.as_array().map(Vec::len), Some(BINS));
        assert_eq!(bins[0]["pixels"], 20);
        assert_eq!(bins[0]["foreground_share"], 0.05);
        assert!((bins[0]["mean_probability"].as_f64().unwrap() - 0.045).abs() < 1e-12);
        assert_eq!(bins[9]["pixels"], 10);
        assert_eq!(bins[9]["foreground_share"], 1.0);
        assert_eq!(bins[5]["foreground_share"], Value::Null);
    }
}
