//! The end of a run: what is saved, and what is said.

use std::path::{Path, PathBuf};

use engine::Error as Engine;
use engine::device;
use engine::team::Team;
use engine::trainer::{Cause, Ending, Trainer};
use serde_json::json;

use super::super::remember::remember;
use super::super::report::{last_words, report};
use super::super::{answers, story};
use super::{BEST, LAST, NUM_SAMPLES, Recorder, SAMPLES, milliseconds};
use crate::command::console;
use crate::error::{Error, Result};
use crate::run::limit::Limit;
use crate::run::outputs::{
    Artifacts, DeviceInfo, Memory, Status, Summary, Throughput, Validation, samples,
    save_to_models_dir, tensorboard,
};
use crate::run::run_data::RunData;
use crate::run::weights::WeightsFile;

impl Recorder {
    /// Writes the summary, whatever the outcome, and returns the report for the user.
    pub(in crate::command::fit) fn finish(
        mut self,
        trainer: &Trainer,
        outcome: Result<Ending>,
        data: &RunData,
        models: Option<(&Path, &str)>,
    ) -> Result<String> {
        self.progress.close();
        let step = trainer.steps();
        let mut outcome = outcome.map_err(|e| e.during_run(step));
        if let Err(error @ Error::Engine(Engine::Interrupted { step: 0 })) = outcome {
            return self.leave_nothing(error);
        }
        let is_worth_it = match &outcome {
            Ok(_) | Err(Error::Engine(Engine::Interrupted { .. } | Engine::MemoryPressure(_))) => {
                true
            }
            // Continuing from here would be pointless.
            Err(Error::Engine(Engine::NonFiniteLoss {
                cause: Cause::Weights,
                ..
            })) => false,
            // A run that has not started has nothing to lose.
            Err(_) => step > 0 && !trainer.is_poisoned(),
        };
        if is_worth_it {
            let saved = self.save_last(trainer, outcome.is_err());
            let saved = saved.map_err(|e| e.during_run(step));
            outcome = match outcome {
                // This stop promises a state to continue from; without one, it has failed.
                Ok(_)
                | Err(Error::Engine(Engine::Interrupted { .. } | Engine::MemoryPressure(_))) => {
                    saved.and(outcome)
                }
                failed => failed,
            };
        }
        // It describes the training, not what comes after it.
        let limit = self.story.limit(trainer);
        // Samples and the published copy use the best weights, which the reported scores describe.
        let (mut samples, mut model) = (None, None);
        if outcome.is_ok() && self.best.is_some() {
            match self.publish(trainer, data, models) {
                Ok(published) => (samples, model) = published,
                Err(error) => outcome = Err(error.during_run(step)),
            }
        }
        let artifacts = Artifacts {
            samples,
            model,
            ..self.artifacts()
        };
        let status = match &outcome {
            Ok(Ending::Completed) => Status::Completed,
            Ok(Ending::EarlyStopped) => Status::EarlyStopped,
            Ok(Ending::Asked) => Status::Stopped,
            Err(Error::Engine(Engine::Interrupted { .. })) => Status::Interrupted,
            Err(Error::Engine(Engine::MemoryPressure(_))) => Status::EmergencyStop,
            Err(_) => Status::Failed,
        };
        let error = outcome.as_ref().err().map(Error::message);
        let event = json!({"event": "finished", "status": status, "step": step, "error": error});
        let summary = self.summary(trainer, status, error, artifacts);
        let written = self
            .dir
            .log_event(&event)
            .and_then(|()| self.write_summary(&summary));
        let uses = self.uses(&summary);
        let written = written.and(self.end_story(trainer, &summary, limit.as_ref(), &uses));
        let mut report = report(&summary, self.best.as_ref(), self.dir.path());
        report.push_str(&last_words(limit.as_ref(), &uses));
        // The ledger is about what one process takes.
        if trainer.team().is_alone() {
            remember(&summary, self.device, self.predicted, self.largest_batch);
        }
        match outcome {
            Ok(_) => written.map_err(|e| e.during_run(step)).map(|()| report),
            // The error that ended the run matters more than a summary that did not fit on a full disk.
            Err(error) => {
                console::note(&report);
                Err(error)
            }
        }
    }

    /// Ends a run that was stopped before its first step.
    fn leave_nothing<T>(mut self, error: Error) -> Result<T> {
        let event = json!({
            "event": "finished", "status": Status::Interrupted, "step": 0, "error": error.message(),
        });
        let logged = self.dir.log_event(&event);
        self.warn_unwritten(logged);
        let path = self.dir.path().display().to_string();
        if self.dir.remove_unless_worth_keeping() {
            console::note(&format!(
                "nothing was trained, so `{path}` was removed; the same command starts again"
            ));
        }
        Err(error)
    }

    /// Writes the last state of a run that can be continued, and everything not written before.
    fn save_last(&mut self, trainer: &Trainer, interrupted: bool) -> Result<()> {
        // This comes first, because it refuses non-finite weights.
        self.keeper.write(trainer, self.record())?;
        if interrupted {
            self.dir
                .write(LAST, self.keeper.weights(trainer, self.threshold)?)?;
        }
        self.dir.write_what_is_left()
    }

    fn write_summary(&mut self, summary: &Summary) -> Result<()> {
        let text = serde_json::to_string_pretty(summary)
            .map_err(|e| Error::io("write", self.dir.file("summary.json"), e.into()))?;
        self.dir.write("summary.json", text + "\n")
    }

    /// Writes what the report tells, whatever became of the run.
    fn end_story(
        &mut self,
        trainer: &Trainer,
        summary: &Summary,
        limit: Option<&Limit>,
        uses: &[(&'static str, String)],
    ) -> Result<()> {
        if let Some(limit) = limit {
            let event =
                json!({"event": "limit", "what": limit.to_string(), "advice": limit.advice()});
            let logged = self.dir.log_event(&event);
            self.warn_unwritten(logged);
        }
        let outcome = story::Outcome {
            peak_allocated_bytes: summary.memory.peak_allocated_bytes.unwrap_or(0),
            peak_reserved_bytes: summary.memory.peak_reserved_bytes,
            step: self.measured.to_json(),
            uses,
        };
        self.story.end(&mut self.dir, trainer, &outcome, limit)?;
        // A page can be made again: the run has not failed without it.
        if let Err(error) = report::write(self.dir.path()) {
            let error = Error::from(error);
            console::warn(&format!(
                "{}; `train report RUN` makes the page again",
                error.message()
            ));
        }
        Ok(())
    }

    fn uses(&self, summary: &Summary) -> Vec<(&'static str, String)> {
        let is_done = matches!(summary.status, Status::Completed | Status::EarlyStopped);
        let best = summary.artifacts.best.as_ref().map(|_| self.dir.file(BEST));
        self.story.uses(self.dir.path(), best.as_deref(), is_done)
    }

    /// Draws the samples and copies the weights; returns both paths, as in [`Artifacts`].
    fn publish(
        &mut self,
        trainer: &Trainer,
        data: &RunData,
        models: Option<(&Path, &str)>,
    ) -> Result<(Option<PathBuf>, Option<PathBuf>)> {
        let best = self.dir.file(BEST);
        WeightsFile::open(&best)?.load_into(&trainer.learner.model)?;
        let folder = self.dir.file(SAMPLES);
        let val = data.val.source().as_ref();
        let evaluator = trainer.learner.evaluator();
        let pictures = samples::write(evaluator, val, NUM_SAMPLES, &folder)?;
        self.show_in_tensorboard(|| tensorboard::samples(trainer.steps(), &pictures));
        let copy = models.map(|(dir, dataset)| save_to_models_dir(dir, dataset, &best));
        let copy = copy
            .transpose()?
            .map(|path| path.canonicalize().unwrap_or(path));
        if let Err(error) = self.tell_answers(trainer, data) {
            console::warn(&format!("the report lacks its scores: {}", error.message()));
        }
        Ok((Some(PathBuf::from(SAMPLES)), copy))
    }

    /// Scores the best weights once more, image by image, unless the user has had enough.
    fn tell_answers(&mut self, trainer: &Trainer, data: &RunData) -> Result<()> {
        let evaluator = trainer.learner.evaluator();
        let mut at_a_time = trainer.config.batch as usize;
        let counted = evaluator.count(
            &data.val,
            &mut at_a_time,
            &mut Team::alone(),
            &self.wishes.interrupt,
        )?;
        if let Some((counter, _loss)) = counted {
            let val = data.val.source().as_ref();
            let answers = answers::told(&counter, trainer, val, &self.dir)?;
            self.story.validated(answers);
        }
        Ok(())
    }

    fn artifacts(&self) -> Artifacts {
        let there = |name: &str| self.dir.file(name).exists().then(|| PathBuf::from(name));
        Artifacts {
            config: there("config.toml"),
            best: there(BEST),
            last: there(LAST),
            metrics: there("metrics.jsonl"),
            events: there("events.jsonl"),
            samples: None,
            model: None,
        }
    }

    fn summary(
        &self,
        trainer: &Trainer,
        status: Status,
        error: Option<String>,
        artifacts: Artifacts,
    ) -> Summary {
        let step_time = trainer.step_time_median();
        let record = self.record();
        let best = self.best.as_ref();
        let threshold = best.and_then(|b| b.scores.best_threshold);
        Summary {
            schema_version: 1,
            status,
            error,
            device: DeviceInfo {
                kind: device::kind(self.device),
                name: device::name(self.device),
                total_bytes: device::total_bytes(self.device),
            },
            config: trainer.config.clone(),
            precision: trainer.learner.precision,
            ranks: trainer.team().shard().size(),
            epochs: self.epochs,
            steps: trainer.steps(),
            skipped_updates: trainer.skipped_updates().unwrap_or(self.skipped_updates),
            seconds: record.seconds,
            throughput: Throughput {
                images_per_second: trainer.images_per_second_median(),
                step_ms_median: step_time.map(milliseconds),
            },
            memory: Memory {
                predicted_peak_bytes: self.predicted.allocated_bytes,
                peak_allocated_bytes: Some(record.peak_allocated_bytes),
                peak_reserved_bytes: record.peak_reserved_bytes,
            },
            validation: Validation {
                best_iou: best.map(|b| b.scores.iou),
                best_dice: best.map(|b| b.scores.dice),
                best_threshold: threshold.map(|t| t.threshold),
                best_threshold_iou: threshold.map(|t| t.iou),
                best_epoch: best.map(|b| b.epoch + 1),
                per_class: best.map(|b| b.scores.per_class.clone()).unwrap_or_default(),
            },
            fallbacks: self.fallbacks.clone(),
            artifacts,
        }
    }
}
