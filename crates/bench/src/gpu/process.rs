//! Runs a part as a process, within its time limit.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ending, Part, PartPlan, Session};
use crate::error::{Error, Result};

/// The most lines of output and of events that are kept.
const MOST_LINES: usize = 400;
const LEDGER: &str = "ledger.jsonl";

impl PartPlan {
    /// The part, if it is not started.
    pub(super) fn not_started(self, why: &str) -> Part {
        Part {
            command: self.command(),
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            expected: self.expected,
            ending: Ending::NotStarted(why.to_owned()),
            seconds: 0.0,
            output: String::new(),
            summary: None,
            ledger: None,
            events: Vec::new(),
        }
    }

    /// Its command line, without folders of the machine.
    fn command(&self) -> String {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let words = self.words.iter().map(|word| {
            let name = Path::new(word).file_name();
            let is_absolute = Path::new(word).is_absolute();
            name.filter(|_| is_absolute)
                .map_or_else(|| word.clone(), |it| it.to_string_lossy().into_owned())
        });
        let program = self.program.unwrap_or("train").to_owned();
        let all: Vec<String> = variables.chain([program]).chain(words).collect();
        all.join(" ")
    }

    /// Runs it for at most `left`.
    ///
    /// # Errors
    /// [`Error::Io`] if the files for its output cannot be written.
    pub(super) fn run(self, session: &Session, left: Duration) -> Result<Part> {
        let out = &session.out;
        let logs = out.join("output");
        std::fs::create_dir_all(&logs).map_err(Error::io("make", &logs))?;
        let files = ["out", "err"].map(|it| logs.join(format!("{}.{it}", self.name)));
        let [stdout, stderr] = files
            .each_ref()
            .map(|path| File::create(path).map_err(Error::io("write", path)));
        let program = self.program.map_or(session.train.as_path(), Path::new);
        let mut command = Command::new(program);
        command
            .args(&self.words)
            .current_dir(out)
            .env("SNUG_LEDGER", LEDGER)
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(stdout?)
            .stderr(stderr?);
        let num_lines = json_lines(&out.join(LEDGER)).len();
        let begun = Instant::now();
        let ending = match command.spawn() {
            Ok(child) => wait(child, self.limit.min(left)),
            Err(error) => return Ok(self.not_started(&error.to_string())),
        };
        let seconds = begun.elapsed().as_secs_f64();
        let dir = out.join("runs").join(self.name);
        let mut part = Part {
            ending,
            seconds,
            output: files.each_ref().map(|path| end_of(path)).concat(),
            ..self.clone().not_started("")
        };
        if self.is_run {
            let summary = std::fs::read_to_string(dir.join("summary.json")).ok();
            part.summary = summary.and_then(|text| serde_json::from_str(&text).ok());
            part.ledger = json_lines(&out.join(LEDGER)).into_iter().nth(num_lines);
            part.events = json_lines(&dir.join("events.jsonl"));
        }
        Ok(part)
    }
}

fn wait(mut child: Child, limit: Duration) -> Ending {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return ending(status),
            Ok(None) if begun.elapsed() < limit => thread::sleep(Duration::from_millis(20)),
            _ => break,
        }
    }
    drop(child.kill());
    drop(child.wait());
    Ending::TimedOut
}

fn ending(status: ExitStatus) -> Ending {
    status.code().map_or(Ending::Signal, Ending::Exit)
}

/// Shortens each absolute path to its last component: an archive is published.
fn without_folders(text: &str) -> String {
    let words = text.split_inclusive(|c: char| c.is_whitespace() || "`'\"=:,;()[]".contains(c));
    let short = words.map(|word| match word.trim_end_matches('/').rsplit_once('/') {
        Some((_, name)) if word.starts_with('/') => name,
        _ => word,
    });
    short.collect()
}

/// The last lines of a file.
fn end_of(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = without_folders(&String::from_utf8_lossy(&text));
    let lines: Vec<&str> = text.lines().collect();
    let kept = &lines[lines.len().saturating_sub(MOST_LINES)..];
    if kept.is_empty() {
        return String::new();
    }
    kept.join("\n") + "\n"
}

/// The first lines of a file of JSON lines that are whole.
fn json_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let values = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    values.take(MOST_LINES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(script: &str) -> PartPlan {
        PartPlan {
            name: "part",
            title: "a part",
            program: Some("sh"),
            words: vec!["-c".to_owned(), script.to_owned()],
            variables: vec![("SNUG_FAULT", "none")],
            expected: Some(3),
            limit: Duration::from_secs(20),
            is_run: true,
        }
    }

    fn run(plan: PartPlan, left: Duration) -> Part {
        let dir = tempfile::tempdir().unwrap();
        let session = Session {
            train: "train".into(),
            device_flag: "cuda:0".to_owned(),
            python: None,
            out: dir.path().to_path_buf(),
            budget: left,
            only: Vec::new(),
        };
        plan.run(&session, left).unwrap()
    }

    #[test]
    fn what_a_part_leaves_is_kept() {
        let script = "mkdir -p runs/part; echo '{\"steps\": 3}' > runs/part/summary.json; \
                      echo '{\"event\": \"started\"}' > runs/part/events.jsonl; \
                      echo '{\"schema_version\": 1}' >> $SNUG_LEDGER; echo said; echo why >&2; exit 3";
        let part = run(plan(script), Duration::from_mins(1));
        assert!(part.is_as_expected(), "{part:?}");
        assert_eq!(part.output, "said\nwhy\n");
        assert_eq!(part.summary.unwrap()["steps"], 3);
        assert_eq!(part.ledger.unwrap()["schema_version"], 1);
        assert_eq!(part.events.len(), 1);
    }

    #[test]
    fn a_part_that_takes_too_long_is_killed() {
        let part = run(plan("exec sleep 30"), Duration::from_millis(200));
        assert_eq!(part.ending, Ending::TimedOut);
        assert!(!part.is_as_expected() && part.seconds < 10.0);
    }

    #[test]
    fn a_missing_program_is_not_the_end_of_a_session() {
        let plan = PartPlan {
            program: Some("no-such-program"),
            ..plan("")
        };
        let part = run(plan, Duration::from_mins(1));
        assert!(matches!(part.ending, Ending::NotStarted(_)), "{part:?}");
    }

    #[test]
    fn output_tells_no_folders_of_the_machine() {
        let text =
            "read `/home/me/a.png` and runs/x/y, \"/usr/lib/libc.so.6\":/opt/z\n1/2 images/s";
        assert_eq!(
            without_folders(text),
            "read `a.png` and runs/x/y, \"libc.so.6\":z\n1/2 images/s"
        );
    }

    #[test]
    fn a_command_line_tells_no_folders_of_the_machine() {
        let mut plan = plan("x");
        plan.words = vec!["bench".to_owned(), "/some/where/python3".to_owned()];
        assert_eq!(plan.command(), "SNUG_FAULT=none sh bench python3");
    }
}
