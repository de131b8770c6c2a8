//! End to end: epochs over real files (decode, resize, augment, train, validate), in turns.

use std::path::Path;

use config::CheckpointPolicy;

use crate::case::{Case, Implementation, MemoryFormat};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::protocol::{Answer, Epoch, Request, Spec};
use crate::results::{EpochRow, Status};
use crate::session::Session;
use crate::statistics::Ratio;
use crate::worker::{Failure, Worker};

/// Epochs that are compared, after a first one in which caches are cold.
const EPOCHS: usize = 3;

/// Snug beside the script and beside tuned PyTorch, without and with mixed precision. The script
/// keeps its memory format: channels-last is one of the guide's switches.
pub(crate) fn cases(matrix: &Matrix) -> Vec<Case> {
    let mut cases = Vec::new();
    for precision in [Some(matrix.full()), matrix.half()].into_iter().flatten() {
        let snug = Case {
            implementation: Implementation::Snug,
            img_size: matrix.work.img_size,
            width: matrix.work.width,
            batch: matrix.work.batch,
            precision,
            memory_format: MemoryFormat::ChannelsLast,
            policy: CheckpointPolicy::Off,
            split_concat: false,
        };
        cases.push(snug);
        for (implementation, memory_format) in [
            (Implementation::PytorchScript, MemoryFormat::ChannelsFirst),
            (Implementation::PytorchEager, MemoryFormat::ChannelsLast),
        ] {
            if matrix.variants.contains(&implementation) {
                cases.push(Case {
                    implementation,
                    memory_format,
                    ..snug
                });
            }
        }
    }
    cases
}

struct Entry {
    row: EpochRow,
    worker: Option<Worker>,
}

/// Trains epochs of each case over the files in `data`. The first case is Snug's.
pub(crate) fn measure(
    session: &mut Session<'_>,
    cases: &[Case],
    data: &Path,
) -> Result<Vec<EpochRow>> {
    let readers = session.threads.saturating_sub(1).clamp(1, 8);
    let mut entries = Vec::new();
    for case in cases {
        (session.say)(&format!("epochs: {case}"));
        let workers = if case.implementation == Implementation::PytorchScript {
            0
        } else {
            readers
        };
        let spec = Spec {
            weights: Some(session.shared.files(case)?.weights),
            data: Some(data.to_owned()),
            workers,
            ..Spec::new(case, session.device, session.threads)
        };
        let mut entry = Entry {
            row: EpochRow {
                implementation: case.implementation,
                workers,
                recipe: case.recipe(),
                work: format!("{} x {}, width {}", case.batch, case.img_size, case.width),
                status: Status::Ok,
                message: None,
                prepare_ms: 0,
                first: None,
                epochs: Vec::new(),
                ratio_to_snug: None,
            },
            worker: None,
        };
        match Worker::start(session.programs, &spec)? {
            Ok(mut worker) => {
                entry.row.prepare_ms = worker.ready().prepare_ms;
                match epoch(&mut worker) {
                    Ok(first) => {
                        entry.row.first = Some(first);
                        entry.worker = Some(worker);
                    }
                    Err(failure) => entry.fail(&failure),
                }
            }
            Err(failure) => entry.fail(&failure),
        }
        if let Some(message) = &entry.row.message {
            (session.say)(&format!("epochs: {message}"));
        }
        entries.push(entry);
    }
    (session.say)(&format!("epochs: {EPOCHS} of each, in turns"));
    for round in 0..EPOCHS {
        let num = entries.len();
        for turn in 0..num {
            let entry = &mut entries[(turn + round) % num];
            let Some(worker) = &mut entry.worker else {
                continue;
            };
            match epoch(worker) {
                Ok(epoch) => entry.row.epochs.push(epoch),
                Err(failure) => entry.fail(&failure),
            }
        }
    }
    let mut rows: Vec<EpochRow> = entries.into_iter().map(|entry| entry.row).collect();
    compare(&mut rows);
    Ok(rows)
}

impl Entry {
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

fn epoch(worker: &mut Worker) -> Result<Epoch, Failure> {
    match worker.ask(&Request::Epoch)? {
        Answer::Epoch(epoch) => Ok(epoch),
        other => Err(Failure::misplaced(&other)),
    }
}

impl Epoch {
    /// Training and validation.
    pub fn total_s(&self) -> f64 {
        self.train_s + self.val_s
    }
}

/// Each against Snug's row of the same precision, the first word of a recipe.
fn compare(rows: &mut [EpochRow]) {
    let precision = |row: &EpochRow| row.recipe.split(' ').next().unwrap_or_default().to_owned();
    let times = |row: &EpochRow| row.epochs.iter().map(Epoch::total_s).collect::<Vec<f64>>();
    let snug: Vec<(String, Vec<f64>)> = rows
        .iter()
        .filter(|row| row.implementation == Implementation::Snug)
        .map(|row| (precision(row), times(row)))
        .collect();
    for row in rows {
        let base = snug.iter().find(|(p, _)| *p == precision(row));
        row.ratio_to_snug = base.and_then(|(_, base)| Ratio::of(&times(row), base));
    }
}
