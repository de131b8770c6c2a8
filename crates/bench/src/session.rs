//! Measures one group: each case's worker is built, its first losses are compared, its memory is
//! measured, and then all cases are timed in turns.

use std::time::Instant;

use config::Bytes;
use figures::numbers::median;
use machine::nvml::{self, InUse};

use crate::case::{Case, Implementation, loss_tolerance};
use crate::error::Result;
use crate::journal::Part;
use crate::matrix::Group;
use crate::prediction;
use crate::protocol::{Answer, Peak, Ready, Spec, WorkerRequest};
use crate::results::{GroupInfo, Row, Status};
use crate::shared::Shared;
use crate::statistics::Ratio;
use crate::worker::{Failure, Programs, Worker};

/// The number of steps whose losses are compared. They also serve as the warm-up, in which
/// libraries choose kernels and allocate.
const LOSSES: u32 = 3;
/// The minimum number of rounds of a group, even after the time budget has run out.
const LEAST_ROUNDS: usize = 3;
/// The share of free memory that workers running at once may take.
const SHARE: f64 = 0.8;
/// The bytes that a process takes besides its tensors: code, CUDA context, workspaces.
const PROCESS_BYTES: u64 = 700 << 20;

/// The state that the groups of a benchmark share.
pub struct Session<'a> {
    /// How workers are started.
    pub programs: &'a Programs,
    /// The files that workers share.
    pub shared: &'a mut Shared,
    /// `cpu` or `cuda:N`.
    pub device: &'a str,
    /// The number of threads of each worker.
    pub threads: usize,
    /// A Snug worker's description of the device.
    pub ready: &'a Ready,
    /// The number of rounds of a group. With 0, only memory is measured.
    pub rounds: usize,
    /// How long a turn should take, in milliseconds.
    pub turn_ms: f64,
    /// When the time budget runs out.
    pub deadline: Option<Instant>,
    /// Receives progress messages.
    pub say: &'a mut dyn FnMut(&str),
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("device", &self.device)
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// A case that is being measured.
struct RunningCase {
    case: Case,
    row: Row,
    /// The number of steps in a turn.
    count: u32,
    worker: Option<Worker>,
    step_ms: Vec<f64>,
}

/// A worker that passed the checks, with its losses, its memory, and its steps per turn.
struct Prepared {
    worker: Worker,
    losses: Vec<f64>,
    peak: Peak,
    device_total_bytes: Option<u64>,
    count: u32,
}

impl RunningCase {
    fn new(group: &str, case: &Case) -> Self {
        Self {
            case: *case,
            row: Row::new(group, case),
            count: 1,
            worker: None,
            step_ms: Vec::new(),
        }
    }
}

impl Session<'_> {
    /// Measures `group`.
    ///
    /// # Errors
    /// Fails if a file or a process cannot be created. The failure of a case goes into its row.
    pub fn measure(&mut self, group: &Group) -> Result<Part> {
        let (mut entries, mut together) = self.prepare_all(group)?;
        let num = entries.len();
        let mut round = 0;
        self.say_rounds(group, together);
        while round < self.rounds_of(together) {
            // Each case begins a round as often as the others.
            for turn in 0..num {
                let at = (turn + round) % num;
                if entries[at].row.status != Status::Ok {
                    continue;
                }
                let mut done = self.turn(&mut entries[at], together)?;
                if together && matches!(done, Err(Failure::OutOfMemory(_))) {
                    // The other workers may be the reason, so the case gets another chance alone.
                    together = false;
                    dismiss(&mut entries);
                    self.say_rounds(group, together);
                    done = self.turn(&mut entries[at], together)?;
                }
                if let Err(failure) = done {
                    fail(&mut entries[at].row, &failure);
                }
            }
            round += 1;
            if self.out_of_time() && round >= LEAST_ROUNDS {
                break;
            }
        }
        Ok(Part::Group {
            info: GroupInfo {
                name: group.name.clone(),
                title: group.title.clone(),
                together,
            },
            num_left_out: group.cases.len() - entries.len(),
            rows: finished(entries),
        })
    }

    /// If each turn restarts its worker, the number of rounds is kept to the minimum.
    fn rounds_of(&self, together: bool) -> usize {
        if together {
            self.rounds
        } else {
            self.rounds.min(LEAST_ROUNDS)
        }
    }

    fn say_rounds(&mut self, group: &Group, together: bool) {
        let rounds = self.rounds_of(together);
        if rounds == 0 {
            return;
        }
        let how = if together {
            ""
        } else {
            ", one worker at a time"
        };
        (self.say)(&format!("{}: {rounds} rounds{how}", group.name));
    }

    fn out_of_time(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
    }

    /// Builds every worker in turn until the time budget runs out. Workers stay alive as long as all fit
    /// in memory at once.
    fn prepare_all(&mut self, group: &Group) -> Result<(Vec<RunningCase>, bool)> {
        let mut entries: Vec<RunningCase> = Vec::new();
        let mut together = true;
        let mut used = 0_u64;
        for case in &group.cases {
            if self.out_of_time() && !entries.is_empty() {
                break;
            }
            let mut entry = RunningCase::new(&group.name, case);
            entry.row.predicted_peak_bytes = prediction::peak_bytes(case, self.ready);
            (self.say)(&format!("{}: {case}", group.name));
            // If free memory is unknown, one worker runs at a time.
            let free_bytes = self.ready.free_bytes.unwrap_or(0);
            let room = (free_bytes as f64 * SHARE) - used as f64;
            if together && at_most_bytes(case) as f64 > room && !entries.is_empty() {
                together = false;
                dismiss(&mut entries);
            }
            let mut prepared = self.prepare(case)?;
            if together && matches!(prepared, Err(Failure::OutOfMemory(_))) {
                // The worker may only have failed because of the others.
                together = false;
                dismiss(&mut entries);
                prepared = self.prepare(case)?;
            }
            match prepared {
                Ok(prepared) => {
                    let peak = prepared.peak;
                    used += peak.reserved_bytes.unwrap_or(peak.allocated_bytes) + PROCESS_BYTES;
                    entry.count = prepared.count;
                    entry.row.held_bytes = Some(peak.held_bytes);
                    entry.row.peak_allocated_bytes = Some(peak.allocated_bytes);
                    entry.row.peak_reserved_bytes = peak.reserved_bytes;
                    entry.row.device_total_bytes = prepared.device_total_bytes;
                    entry.row.losses = prepared.losses;
                    match other_work(&entries, case, &entry.row.losses) {
                        None => {
                            entry.row.status = Status::Ok;
                            let is_timed = self.rounds > 0;
                            entry.worker = (together && is_timed).then_some(prepared.worker);
                        }
                        Some(why) => entry.row.message = Some(why),
                    }
                }
                Err(failure) => fail(&mut entry.row, &failure),
            }
            if let Some(message) = &entry.row.message {
                (self.say)(&format!(
                    "{}: {}: {message}",
                    group.name,
                    entry.row.status.name()
                ));
            }
            entries.push(entry);
        }
        Ok((entries, together))
    }

    fn prepare(&mut self, case: &Case) -> Result<Result<Prepared, Failure>> {
        let before = self.in_use(std::process::id()).map(|it| it.device.0);
        Ok(match Worker::start(self.programs, &self.spec(case)?)? {
            Ok(worker) => self.examine(worker, before),
            Err(failure) => Err(failure),
        })
    }

    fn examine(&self, mut worker: Worker, before: Option<u64>) -> Result<Prepared, Failure> {
        let Answer::Losses { losses } = worker.ask(&WorkerRequest::Losses { count: LOSSES })?
        else {
            return Err(off_the_point());
        };
        let Answer::Peak(peak) = worker.ask(&WorkerRequest::Peak)? else {
            return Err(off_the_point());
        };
        // In a container NVML does not know the worker's process id. The figure is then the growth
        // of the device's used memory since the worker was started.
        let device_total_bytes = self.in_use(worker.pid()).and_then(|in_use| {
            let of_device = || in_use.device.0.checked_sub(before?);
            in_use.process.map(|bytes| bytes.0).or_else(of_device)
        });
        let count = if self.rounds == 0 {
            0
        } else {
            count_of(self.turn_ms / time(&mut worker, 2)?.max(1e-3))
        };
        Ok(Prepared {
            worker,
            losses,
            peak,
            device_total_bytes,
            count,
        })
    }

    /// What NVML reports about the device and a process on it.
    fn in_use(&self, pid: u32) -> Option<InUse> {
        nvml::bytes_in_use(self.ready.pci_bus_id.as_deref()?, pid).ok()
    }

    fn spec(&mut self, case: &Case) -> Result<Spec> {
        let files = self.shared.files(case)?;
        Ok(Spec {
            weights: Some(files.weights),
            batches: Some(files.batches),
            ..Spec::new(case, self.device, self.threads)
        })
    }

    /// Runs one turn of a case. After a failure its worker is gone.
    fn turn(&mut self, entry: &mut RunningCase, together: bool) -> Result<Result<(), Failure>> {
        let mut worker = match entry.worker.take() {
            Some(worker) => worker,
            None => match Worker::start(self.programs, &self.spec(&entry.case)?)? {
                Ok(mut worker) => match time(&mut worker, LOSSES) {
                    Ok(_warm_up) => worker,
                    Err(failure) => return Ok(Err(failure)),
                },
                Err(failure) => return Ok(Err(failure)),
            },
        };
        match time(&mut worker, entry.count) {
            Ok(step_ms) => entry.step_ms.push(step_ms),
            Err(failure) => return Ok(Err(failure)),
        }
        entry.worker = together.then_some(worker);
        Ok(Ok(()))
    }
}

/// Ends the workers.
fn dismiss(entries: &mut [RunningCase]) {
    for entry in entries {
        entry.worker = None;
    }
}

fn time(worker: &mut Worker, count: u32) -> Result<f64, Failure> {
    let Answer::Times { step_ms } = worker.ask(&WorkerRequest::Times { count })? else {
        return Err(off_the_point());
    };
    median(&step_ms).ok_or_else(off_the_point)
}

fn off_the_point() -> Failure {
    Failure::Failed("an answer to another request".to_owned())
}

fn fail(row: &mut Row, failure: &Failure) {
    row.status = match failure {
        Failure::OutOfMemory(_) => Status::Oom,
        Failure::Failed(_) => Status::Failed,
    };
    row.message = Some(failure.message().to_owned());
}

/// Explains why `losses` come from different work, if they do. They are compared with Snug's row on
/// the same batches, in the same precision if possible, otherwise in any precision.
fn other_work(entries: &[RunningCase], case: &Case, losses: &[f64]) -> Option<String> {
    if let Some(bad) = losses.iter().find(|loss| !loss.is_finite()) {
        return Some(format!("a loss of {bad}"));
    }
    let of_same_work = |entry: &&RunningCase| {
        entry.case.implementation == Implementation::Snug
            && entry.row.status == Status::Ok
            && entry.case.work() == case.work()
    };
    let candidates: Vec<&RunningCase> = entries.iter().filter(of_same_work).collect();
    let same = |entry: &&&RunningCase| entry.case.precision == case.precision;
    let Some(reference) = candidates.iter().find(same).or(candidates.first()) else {
        // Snug's first row for a workload is the reference.
        let why = "nothing to compare with: Snug has no successful row on the same batches";
        return case.implementation.is_pytorch().then(|| why.to_owned());
    };
    let tolerance = loss_tolerance(case.precision).max(loss_tolerance(reference.case.precision));
    let off = losses
        .iter()
        .zip(&reference.row.losses)
        .map(|(a, b)| (a - b).abs() / b.abs().max(1e-3))
        .fold(0.0, f64::max);
    // Missing losses never match.
    let as_many = losses.len() == reference.row.losses.len();
    (off > tolerance || !as_many).then(|| {
        format!(
            "not the same work: losses {} where {} has {} (tolerance {tolerance})",
            listed(losses),
            reference.case.implementation.name(),
            listed(&reference.row.losses)
        )
    })
}

fn listed(losses: &[f64]) -> String {
    let texts: Vec<String> = losses.iter().map(|loss| format!("{loss:.5}")).collect();
    texts.join(", ")
}

fn finished(entries: Vec<RunningCase>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for mut entry in entries {
        if entry.row.status == Status::Ok {
            entry.row.set_times(entry.step_ms);
        }
        rows.push(entry.row);
    }
    let base = rows
        .first()
        .filter(|row| row.status == Status::Ok)
        .map(Row::ms_per_image);
    if let Some(base) = base {
        for row in rows.iter_mut().filter(|row| row.status == Status::Ok) {
            row.ratio_to_baseline = Ratio::of(&row.ms_per_image(), &base);
        }
    }
    rows
}

/// The number of steps in a turn.
fn count_of(steps: f64) -> u32 {
    const MOST: f64 = 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range"
    )]
    let count = steps.clamp(1.0, MOST) as u32;
    count
}

/// An upper bound of the memory of a case, to decide which workers run at once. It scales a plain
/// fp32 step at width 64 (355 MiB, and 1,438 MiB for each image of 512x512, by PyTorch's memory
/// tracker) in proportion.
fn at_most_bytes(case: &Case) -> u64 {
    let width = f64::from(case.width) / 64.0;
    let pixels = f64::from(case.img_size.height) * f64::from(case.img_size.width) / (512.0 * 512.0);
    let half = if case.precision.is_half() { 0.6 } else { 1.0 };
    let activations = 1450.0 * width * pixels * f64::from(case.batch) * half;
    let bytes = (355.0 * width * width + activations) * Bytes::MIB as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive; an absurd size saturates"
    )]
    let bytes = bytes as u64;
    bytes.saturating_add(PROCESS_BYTES)
}

#[cfg(test)]
mod tests {
    use config::{CheckpointPolicy, ImageSize, MemoryFormat, Precision};

    use super::*;

    fn entry(precision: Precision, losses: &[f64]) -> RunningCase {
        let case = Case {
            implementation: Implementation::Snug,
            img_size: ImageSize::new(32, 48),
            width: 4,
            batch: 2,
            precision,
            memory_format: MemoryFormat::ChannelsLast,
            policy: CheckpointPolicy::Off,
            split_concat: false,
        };
        let mut row = Row::new("group", &case);
        row.status = Status::Ok;
        row.losses = losses.to_vec();
        RunningCase {
            row,
            ..RunningCase::new("group", &case)
        }
    }

    #[test]
    fn other_work_is_refused_and_rounding_is_not() {
        let entries = [
            entry(Precision::Bf16, &[0.70, 0.69]),
            entry(Precision::Fp32, &[0.7000, 0.6900]),
        ];
        let fp32 = entries[1].case;
        assert_eq!(other_work(&entries, &fp32, &[0.7001, 0.6901]), None);
        let refused = other_work(&entries, &fp32, &[0.72, 0.69]).unwrap();
        assert!(refused.contains("not the same work"), "{refused}");
        // Two half-precision rows are compared with the tolerance of half precision.
        let bf16 = entries[0].case;
        assert_eq!(other_work(&entries, &bf16, &[0.71, 0.70]), None);
        assert!(other_work(&entries, &bf16, &[0.9, 0.9]).is_some());
        assert!(other_work(&entries, &bf16, &[f64::NAN, 0.7]).is_some());
        assert!(other_work(&entries, &bf16, &[]).is_some());
        // Without a row of the same work, there is nothing to compare with.
        let larger = Case { batch: 3, ..fp32 };
        assert_eq!(other_work(&entries, &larger, &[5.0]), None);
        let theirs = Case {
            implementation: Implementation::PytorchEager,
            ..larger
        };
        assert!(other_work(&entries, &theirs, &[5.0]).is_some());
    }

    #[test]
    fn ratios_are_per_image_and_of_the_same_round() {
        let mut base = entry(Precision::Fp32, &[0.7]);
        base.step_ms = vec![10.0, 20.0, 10.0];
        let mut larger = entry(Precision::Fp32, &[0.7]);
        larger.row.batch = 4;
        larger.step_ms = vec![10.0, 20.0, 10.0];
        let mut failed = entry(Precision::Fp32, &[]);
        fail(&mut failed.row, &Failure::OutOfMemory("full".to_owned()));
        let rows = finished(vec![base, larger, failed]);
        assert_eq!(rows[0].ratio_to_baseline.map(|r| r.median), Some(1.0));
        assert_eq!(rows[1].ratio_to_baseline.map(|r| r.median), Some(0.5));
        assert_eq!(rows[1].images_per_second, Some(400.0));
        assert_eq!(rows[2].status, Status::Oom);
        assert_eq!(rows[2].ratio_to_baseline, None);
    }

    /// A worker that speaks the protocol and computes nothing.
    const WORKER: &str = r#"read -r spec
        echo '{"is":"ready","libtorch":"2.11.0","threads":1,"cpu_capability":"none"}'
        while read -r line; do case $line in
            *losses*) echo '{"is":"losses","losses":[0.7,0.6,0.5]}';;
            *peak*) echo '{"is":"peak","held_bytes":1,"allocated_bytes":2,"reserved_bytes":null}';;
            *times*) echo '{"is":"times","step_ms":[1.0]}';;
            *) echo '{"is":"done"}';;
        esac; done"#;

    fn measured(deadline: Option<Instant>, rounds: usize) -> Part {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs {
            snug: ("sh".into(), vec!["-c".into(), WORKER.into()]),
            python: None,
            own_libraries: None,
            logs: folder.path().to_owned(),
        };
        let case = entry(Precision::Fp32, &[]).case;
        let group = Group {
            name: "group".to_owned(),
            title: "a title".to_owned(),
            cases: vec![case, Case { width: 8, ..case }, Case { width: 16, ..case }],
        };
        let mut session = Session {
            programs: &programs,
            shared: &mut Shared::new(folder.path(), &programs, 1),
            device: "cpu",
            threads: 1,
            ready: &Ready::default(),
            rounds,
            turn_ms: 1.0,
            deadline,
            say: &mut |_| {},
        };
        session.measure(&group).unwrap()
    }

    fn rows_of(part: &Part) -> &[Row] {
        match part {
            Part::Group { rows, .. } => rows,
            _ => panic!("{part:?}"),
        }
    }

    /// Cases left out are not failures: the benchmark counts them, and the same command measures them later.
    #[test]
    fn rows_that_are_not_reached_are_left_out() {
        let late = measured(Some(Instant::now()), 9);
        let [row] = rows_of(&late) else {
            panic!("{late:?}");
        };
        // The first case is measured in the minimum number of rounds.
        assert_eq!((row.status, row.step_ms.len()), (Status::Ok, LEAST_ROUNDS));
        assert_eq!(late.num_left_out(), 2);
        let whole = measured(None, 9);
        assert_eq!((rows_of(&whole).len(), whole.num_left_out()), (3, 0));
    }

    #[test]
    fn without_rounds_memory_alone_is_measured() {
        let part = measured(None, 0);
        for row in rows_of(&part) {
            assert_eq!(
                (row.status, row.peak_allocated_bytes),
                (Status::Ok, Some(2))
            );
            assert_eq!((row.step_ms_median, row.ratio_to_baseline), (None, None));
        }
    }

    #[test]
    fn absurd_sizes_do_not_wrap() {
        let mut case = entry(Precision::Fp32, &[]).case;
        case.img_size = ImageSize::new(u32::MAX, u32::MAX);
        case.batch = u32::MAX;
        assert!(at_most_bytes(&case) > 1 << 60);
        assert_eq!((count_of(0.1), count_of(1e9)), (1, 100));
    }
}
