//! `report.json`: what the report of a run tells that none of its other files holds.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::cli::program;
use engine::device;
use engine::trainer::{Spent, Trainer};
use machine::load::Moment;
use machine::{Cpu, ram};
use serde_json::{Value, json};
use tch::Device;
use torch_ext::library;

use super::settings::{self, Setting};
use crate::error::Result;
use crate::run::limit::{Known, Limit};
use crate::run::outputs::{Fallback, RunDir};
use crate::run::proposal::{self, Images};
use crate::run::run_data::RunData;
use crate::run::snapshot::Store;

/// The file in a run's folder.
const FILE: &str = "report.json";

/// What is known of a run for its report.
#[derive(Debug)]
pub(super) struct Story {
    settings: Vec<Setting>,
    data: Value,
    environment: Value,
    images: Images,
    workers: usize,
    places: Places,
    images_to_try: Option<PathBuf>,
    size: String,
    /// Rungs of the ladder that the run took.
    rungs: Vec<Setting>,
    /// Of whole epochs.
    spent: Spent,
    saving: Duration,
    /// The part of it that is inside the training of an epoch.
    saving_in_training: Duration,
    /// When the epoch began that is not over.
    epoch_begun: Option<Instant>,
    begun: Option<Moment>,
    started: Instant,
    validation: Value,
}

/// What commands that go on from a run name.
#[derive(Debug)]
pub(super) struct Places {
    /// The folder of its data.
    pub(super) data: Option<PathBuf>,
    /// The device, if it was given.
    pub(super) device: Option<String>,
    /// The flags that start the other processes.
    pub(super) ranks: Vec<String>,
}

/// How a run came out.
pub(super) struct Outcome<'a> {
    pub(super) peak_allocated_bytes: u64,
    pub(super) peak_reserved_bytes: Option<u64>,
    /// Bytes by kind at the peak of a measured step, and its moments.
    pub(super) step: Option<(Value, Value)>,
    /// Commands that go on from it, each with what it is for.
    pub(super) uses: &'a [(&'static str, String)],
}

impl Story {
    /// The story of a run on `data`, called `name`, of which `settings` says who set what.
    pub(super) fn new(
        settings: Vec<Setting>,
        (data, images): (&RunData, Images),
        places: Places,
        name: &str,
    ) -> Self {
        let train = data.train.source();
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
                "train_images": train.num_images(),
                "val_images": data.val.source().num_images(),
                "channels": train.channels(),
                "height": height,
                "width": width,
                "class_names": classes,
            }),
            environment: Value::Null,
            images,
            workers: data.train.config().workers,
            places,
            images_to_try: data.images_to_try.clone(),
            size: format!("{height}x{width}"),
            rungs: Vec::new(),
            spent: Spent::default(),
            saving: Duration::ZERO,
            saving_in_training: Duration::ZERO,
            epoch_begun: None,
            begun: None,
            started: Instant::now(),
            validation: Value::Null,
        }
    }

    /// Training begins. A resumed run has its earlier settings from the report of the part before.
    pub(super) fn begin(&mut self, dir: &mut RunDir, trainer: &Trainer) -> Result<()> {
        // Other ranks on this machine would count as other programs.
        self.begun = Moment::now().filter(|_| trainer.team().is_alone());
        self.started = Instant::now();
        self.environment = environment(trainer.learner.device());
        let earlier = std::fs::read(dir.file(FILE)).ok();
        let earlier = earlier.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let earlier: Vec<Setting> = earlier
            .and_then(|it| serde_json::from_value(it["settings"].clone()).ok())
            .unwrap_or_default();
        self.rungs = settings::remember(&mut self.settings, earlier);
        let so_far = json!({
            "schema_version": 1,
            "title": self.data["title"],
            "data": self.data,
            "settings": self.settings,
            "environment": self.environment,
        });
        write(dir, &so_far)
    }

    /// An epoch begins.
    pub(super) fn epoch_begins(&mut self) {
        self.epoch_begun = Some(Instant::now());
    }

    /// The epoch is over, and took this.
    pub(super) fn epoch_took(&mut self, spent: Spent) {
        self.epoch_begun = None;
        self.spent += spent;
    }

    /// Something was saved, inside the training of an epoch or after it.
    pub(super) fn saved_since(&mut self, begun: Instant) {
        let took = begun.elapsed();
        self.saving += took;
        if self.epoch_begun.is_some() {
            self.saving_in_training += took;
        }
    }

    /// The ladder changed the recipe.
    pub(super) fn rung_taken(&mut self, fallback: &Fallback) {
        self.rungs.push(settings::of_ladder(fallback));
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

    /// Takes what [`answers::told`] says of the best weights.
    pub(super) fn validated(&mut self, answers: Value) {
        self.validation = answers;
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
        let settings = self.settings.iter().chain(&self.rungs);
        let settings: Vec<_> = settings.collect();
        let uses = outcome.uses.iter();
        let uses: Vec<_> = uses
            .map(|(what, command)| json!({"what": what, "command": command}))
            .collect();
        let (kinds, moments) = outcome.step.clone().unzip();
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
                    "kinds": kinds,
                    "timeline": moments,
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
        // Of an epoch that is not over only its length is known.
        let unfinished = self.epoch_begun.map_or(Duration::ZERO, |it| it.elapsed());
        let training = (training + unfinished).saturating_sub(self.saving_in_training);
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
            let mut words = vec![program::training(), "--resume", &folder];
            words.extend(self.places.device.iter().flat_map(|it| ["--device", it]));
            words.extend(self.places.ranks.iter().map(String::as_str));
            put("continue this run", &words);
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
        if let Some(data) = &self.places.data {
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
    let words = program::words();
    let command = program::line(words.iter().map(String::as_str));
    all.push(is("command", command));
    json!(all)
}
