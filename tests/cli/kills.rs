//! `kill -9` again and again, each time followed by `--resume auto`. `SNUG_TEST_KILLS` sets how
//! often; the default of fifteen covers every point.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use train::lab::fault::POINTS;
use train::run::snapshot::{PREVIOUS, SNAPSHOT, Snapshot};
use train::run::weights::WeightsFile;

use super::resume::{EVERY_STEP, assert_same};
use super::{Run, Sandbox, small};
use crate::ladder::faults::Chance;

const FLAGS: [&str; 4] = ["--batch", "2", "--epochs", "4"];
/// Number of snapshots that a complete run writes: one for each of 4 x 4 steps. (The one at an
/// epoch's end counts separately, because it is validated.)
const NUM_SNAPSHOTS: u64 = 20;

/// Checks that every file under its final name is complete.
fn assert_whole(run: &Path, what: &str) -> u32 {
    let mut num = 0;
    for file in ["best.safetensors", "last/weights.safetensors"] {
        let path = run.join(file);
        if path.exists() {
            WeightsFile::open(&path).unwrap_or_else(|e| panic!("{what}: {e}"));
            num += 1;
        }
    }
    for file in [SNAPSHOT, PREVIOUS] {
        let path = run.join("last").join(file);
        if path.exists() {
            Snapshot::open(&path).unwrap_or_else(|e| panic!("{what}: {e}"));
            num += 1;
        }
    }
    for file in ["metrics.jsonl", "events.jsonl"] {
        for line in fs::read_to_string(run.join(file))
            .unwrap_or_default()
            .lines()
        {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|e| panic!("{what}: {file}: {e}"));
        }
    }
    num
}

#[test]
fn nothing_is_lost_to_kill_9() {
    let kills = std::env::var("SNUG_TEST_KILLS").ok();
    let kills: u64 = kills.map_or(15, |text| text.parse().unwrap());
    let sandbox = Sandbox::with_pages();
    let args = |dir: &'static str| {
        let more = ["--data", "data", "--run-dir", dir, "--resume", "auto"];
        small(&[&FLAGS[..], &EVERY_STEP, &more].concat())
    };
    let begun = Instant::now();
    sandbox.train(&args("whole")).ok();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let (mut chance, mut by_point) = (Chance(1), vec![0; POINTS.len()]);
    let (mut by_clock, mut files, mut too_late, mut points) = (0, 0, 0, 0);
    for i in 0..kills {
        // Most kills happen at points inside of a write, the others at random times.
        let point = (i % 5 < 3).then_some(points % POINTS.len());
        points += usize::from(point.is_some());
        let name = point.map_or("by the clock", |p| POINTS[p]);
        let what = format!("kill {i}, {name}");
        let run = sandbox.path("run");
        if let Some(point) = point {
            let times = if name.starts_with("epoch") {
                3
            } else {
                NUM_SNAPSHOTS
            };
            // The best weights are certainly saved once.
            let nth = if name == "epoch:best-saved" {
                1
            } else {
                1 + chance.below(times)
            };
            let mut command = sandbox.command();
            command
                .args(args("run"))
                .env("SNUG_FAULT", format!("{name}@{nth}"));
            let died = Run::of(&mut command);
            assert_eq!(died.code, None, "{what}: {died:?}");
            by_point[point] += 1;
        } else {
            while !killed_after(&sandbox, &args("run"), chance.below(whole)) {
                fs::remove_dir_all(&run).unwrap();
                too_late += 1;
            }
            by_clock += 1;
        }
        files += assert_whole(&run, &what);
        let resumed = sandbox.train(&args("run"));
        assert_eq!(resumed.code, Some(0), "{what}: {resumed:?}");
        assert_whole(&run, &what);
        assert_same(&sandbox, "whole", "run");
        let left = fs::read_dir(&run)
            .unwrap()
            .chain(fs::read_dir(run.join("last")).unwrap());
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<_> = left.filter(|name| name.starts_with('.')).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        fs::remove_dir_all(run).unwrap();
    }
    println!(
        "{by_clock} kills by the clock ({too_late} more runs were over before); {files} files found \
         whole after kills"
    );
    for (point, count) in POINTS.iter().zip(by_point) {
        println!("{count} kills at {point}");
    }
}

/// Whether a run was killed before it ended.
fn killed_after(sandbox: &Sandbox, args: &[&str], micros: u64) -> bool {
    let mut command = sandbox.command();
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_micros(micros));
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}
