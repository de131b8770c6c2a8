//! Measures end to end: epochs over real files (decode, resize, augment, train, validate), in turns.

use std::path::Path;

use config::{CheckpointPolicy, MemoryFormat};

use crate::case::{Case, Implementation, loss_tolerance};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::protocol::{Answer, Epoch, Spec, WorkerRequest};
use crate::results::{EpochRow, Status};
use crate::session::Session;
use crate::statistics::Ratio;
use crate::worker::{Failure, Worker};

/// The number of epochs that are compared, after a first one with cold caches.
const EPOCHS: usize = 3;

/// An implementation that trains epochs, and whether it may keep decoded images between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochCase {
    case: Case,
    keep_decoded: bool,
}

/// The cases for each precision: Snug with and without its cache of decoded images, the script, and
/// tuned PyTorch. The script keeps its memory format, since channels-last is one of the guide's
/// switches.
pub(crate) fn cases(matrix: &Matrix) -> Vec<Vec<EpochCase>> {
    let of = |precision| {
        let snug = matrix.case(precision, CheckpointPolicy::Off);
        let kept = |keep_decoded| EpochCase {
            case: snug,
            keep_decoded,
        };
        let mut cases = vec![kept(true), kept(false)];
        for (implementation, memory_format) in [
            (Implementation::PytorchScript, MemoryFormat::ChannelsFirst),
            (Implementation::PytorchEager, MemoryFormat::ChannelsLast),
        ] {
            if matrix.variants.contains(&implementation) {
                cases.push(EpochCase {
                    case: Case {
                        implementation,
                        memory_format,
                        ..snug
                    },
                    keep_decoded: false,
                });
            }
        }
        cases
    };
    let precisions = [Some(matrix.full()), matrix.half()];
    precisions.into_iter().flatten().map(of).collect()
}

/// A case that is being measured.
struct EpochTimes {
    case: EpochCase,
    row: EpochRow,
    worker: Option<Worker>,
    /// The mean validation loss of the initial weights.
    val_loss: Option<f64>,
}

/// Trains epochs of each case over the files in `data`, or over built-in pages. The cases of one
/// precision take turns; the first of them is Snug's.
pub(crate) fn measure(
    session: &mut Session<'_>,
    groups: &[Vec<EpochCase>],
    data: Option<&Path>,
) -> Result<Vec<EpochRow>> {
    let pages = match (data, groups.first().and_then(|cases| cases.first())) {
        (None, Some(first)) => Some(session.shared.pages(&first.case)?),
        _ => None,
    };
    let Some(data) = data.or(pages.as_deref()) else {
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    for cases in groups {
        let entries = match together(session, cases, data)? {
            Some(entries) => entries,
            None => one_by_one(session, cases, data)?,
        };
        let mut of_group: Vec<EpochRow> = entries.into_iter().map(|entry| entry.row).collect();
        compare(&mut of_group);
        rows.extend(of_group);
    }
    Ok(rows)
}

/// Runs all workers at once. Returns `None` if one of several runs out of memory.
fn together(
    session: &mut Session<'_>,
    cases: &[EpochCase],
    data: &Path,
) -> Result<Option<Vec<EpochTimes>>> {
    let mut entries = Vec::new();
    for case in cases {
        let entry = EpochTimes::start(session, case, data, &entries)?;
        if entry.row.status == Status::Oom && !entries.is_empty() {
            return Ok(None);
        }
        entries.push(entry);
    }
    (session.say)(&format!("epochs: {EPOCHS} of each, in turns"));
    for round in 0..EPOCHS {
        let num = entries.len();
        for turn in 0..num {
            let entry = &mut entries[(turn + round) % num];
            entry.epoch();
            if entry.row.status == Status::Oom {
                return Ok(None);
            }
        }
    }
    Ok(Some(entries))
}

/// Runs the workers one after the other.
fn one_by_one(
    session: &mut Session<'_>,
    cases: &[EpochCase],
    data: &Path,
) -> Result<Vec<EpochTimes>> {
    (session.say)("epochs: one worker at a time");
    let mut entries = Vec::new();
    for case in cases {
        let mut entry = EpochTimes::start(session, case, data, &entries)?;
        for _ in 0..EPOCHS {
            entry.epoch();
        }
        entry.worker = None;
        entries.push(entry);
    }
    Ok(entries)
}

impl EpochTimes {
    /// Builds the worker, compares its work with the work of `others`, and trains the first epoch.
    fn start(
        session: &mut Session<'_>,
        case: &EpochCase,
        data: &Path,
        others: &[Self],
    ) -> Result<Self> {
        let EpochCase {
            case: what,
            keep_decoded,
        } = *case;
        (session.say)(&format!("epochs: {what}"));
        let workers = if what.implementation == Implementation::PytorchScript {
            0
        } else {
            session.threads.saturating_sub(1).clamp(1, 8)
        };
        let spec = Spec {
            weights: Some(session.shared.files(&what)?.weights),
            data: Some(data.to_owned()),
            workers,
            keep_decoded,
            // This is the learning rate of a whole run, not of three steps.
            lr: 1e-4,
            ..Spec::new(&what, session.device, session.threads)
        };
        let mut entry = Self {
            case: *case,
            row: EpochRow {
                implementation: what.implementation,
                workers,
                keeps_decoded: keep_decoded,
                recipe: what.recipe(),
                work: format!("{} x {}, width {}", what.batch, what.img_size, what.width),
                status: Status::Ok,
                message: None,
                prepare_ms: 0,
                first: None,
                epochs: Vec::new(),
                ratio_to_snug: None,
            },
            worker: None,
            val_loss: None,
        };
        match Worker::start(session.programs, &spec)? {
            Ok(worker) => {
                entry.row.prepare_ms = worker.ready().prepare_ms;
                entry.worker = Some(worker);
            }
            Err(failure) => entry.fail(&failure),
        }
        entry.refuse_other_work(others);
        entry.epoch();
        entry.row.first = entry.row.epochs.pop();
        if let Some(message) = &entry.row.message {
            (session.say)(&format!("epochs: {message}"));
        }
        Ok(entry)
    }

    /// The initial weights must have the same validation loss everywhere, or the work differs.
    fn refuse_other_work(&mut self, others: &[Self]) {
        let Some(worker) = &mut self.worker else {
            return;
        };
        let loss = match worker.ask(&WorkerRequest::Validate) {
            Ok(Answer::Losses { losses }) if losses.len() == 1 => losses[0],
            Ok(other) => return self.fail(&Failure::misplaced(&other)),
            Err(failure) => return self.fail(&failure),
        };
        self.val_loss = Some(loss);
        let reference = others.iter().find_map(|other| other.val_loss);
        let tolerance = loss_tolerance(self.case.case.precision);
        let same = |other: f64| (loss - other).abs() <= tolerance * other.abs();
        if let Some(other) = reference.filter(|other| !same(*other)) {
            self.fail(&Failure::Failed(format!(
                "not the same work: the initial weights have a validation loss of {loss:.5}, and \
                 {other:.5} elsewhere (tolerance {tolerance})"
            )));
        }
    }

    fn epoch(&mut self) {
        let Some(worker) = &mut self.worker else {
            return;
        };
        match worker.ask(&WorkerRequest::Epoch) {
            Ok(Answer::Epoch(epoch)) => self.row.epochs.push(epoch),
            Ok(other) => self.fail(&Failure::misplaced(&other)),
            Err(failure) => self.fail(&failure),
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.worker = None;
        self.row.epochs.clear();
        self.row.status = match failure {
            Failure::OutOfMemory(_) => Status::Oom,
            Failure::Failed(_) => Status::Failed,
        };
        self.row.message = Some(failure.message().to_owned());
    }
}

impl Epoch {
    /// Training and validation.
    pub fn total_s(&self) -> f64 {
        self.train_s + self.val_s
    }
}

/// Compares each row with the first, which is Snug with its cache. A row that trained on another
/// number of images is refused.
fn compare(rows: &mut [EpochRow]) {
    let times = |row: &EpochRow| row.epochs.iter().map(Epoch::total_s).collect::<Vec<f64>>();
    let images = |row: &EpochRow| row.first.map(|first| (first.images, first.val_images));
    let Some((base, ours)) = rows.first().map(|row| (times(row), images(row))) else {
        return;
    };
    for row in rows {
        if row.status == Status::Ok && ours.is_some() && images(row) != ours {
            row.status = Status::Failed;
            row.message = Some("not the same work: another number of images".to_owned());
            row.epochs.clear();
        }
        row.ratio_to_snug = Ratio::of(&times(row), &base);
    }
}
