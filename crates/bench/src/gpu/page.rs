//! The page of a session for people.

use config::Bytes;
use figures::Table;
use serde_json::Value;

use super::{Archive, Ending, Part};
use crate::markdown;

/// Lines of output that a part which did not end as expected is shown with.
const MOST_LINES: usize = 12;

/// The page. `bench_page` is the file of the benchmark's own page, as seen from it.
pub fn page(archive: &Archive, bench_page: Option<&str>) -> String {
    let device = &archive.device;
    let mut sections = vec![
        format!(
            "# {} on {}\n\nMade by `cargo xtask gpu`: do not edit. Snug {}, libtorch {}, driver {}.",
            device.name,
            archive.date,
            archive.snug,
            archive.libtorch,
            device.driver.as_deref().unwrap_or("of unknown version"),
        ),
        parts(archive),
    ];
    sections.extend(runs(archive));
    if let (Some(page), Some(results)) = (bench_page, &archive.bench) {
        let tables = markdown::tables(results);
        sections.push(format!(
            "## Compared with PyTorch\n\n[All results]({page}).\n\n{tables}"
        ));
    }
    for part in &archive.parts {
        if part.name == "driver" || !part.is_as_expected() && !part.output.is_empty() {
            let lines: Vec<&str> = part.output.lines().collect();
            let last = lines[lines.len().saturating_sub(MOST_LINES)..].join("\n");
            sections.push(format!("## `{}`\n\n```text\n{last}\n```", part.name));
        }
    }
    let sections: Vec<&str> = sections.iter().map(|text| text.trim_end()).collect();
    sections.join("\n\n") + "\n"
}

fn parts(archive: &Archive) -> String {
    let mut table = Table::new(&["part", "what it shows", "ended", "as expected", "seconds"]);
    for part in &archive.parts {
        table.row(vec![
            format!("`{}`", part.name),
            part.title.clone(),
            match &part.ending {
                Ending::Exit(code) => format!("exit code {code}"),
                Ending::Signal => "by a signal".to_owned(),
                Ending::TimedOut => "killed at its time limit".to_owned(),
                Ending::NotStarted(why) => format!("not started: {why}"),
            },
            if part.is_as_expected() { "yes" } else { "no" }.to_owned(),
            format!("{:.1}", part.seconds),
        ]);
    }
    table.to_markdown()
}

/// Memory and speed of each run, if there is one.
fn runs(archive: &Archive) -> Option<String> {
    let mut table = Table::new(&[
        "run",
        "allocated, predicted",
        "measured",
        "reserved, predicted",
        "measured",
        "total, predicted",
        "measured",
        "search's peak",
        "ms per step",
        "images/s",
        "skipped",
        "fallbacks",
    ]);
    let runs = archive.parts.iter().filter(|part| part.summary.is_some());
    for part in runs.clone() {
        let of = |file: &Option<Value>, pointer: &str| {
            file.as_ref().and_then(|it| it.pointer(pointer)).cloned()
        };
        let bytes = |file, pointer: &str| shown_bytes(of(file, pointer).as_ref());
        let number = |pointer: &str| match of(&part.summary, pointer).and_then(|it| it.as_f64()) {
            Some(number) => format!("{number:.1}"),
            None => "-".to_owned(),
        };
        table.row(vec![
            format!("`{}`", part.name),
            bytes(&part.ledger, "/predicted/allocated_bytes"),
            bytes(&part.summary, "/memory/peak_allocated_bytes"),
            bytes(&part.ledger, "/predicted/reserved_bytes"),
            bytes(&part.summary, "/memory/peak_reserved_bytes"),
            bytes(&part.ledger, "/predicted/total_bytes"),
            bytes(&part.ledger, "/measured/total_bytes"),
            shown_bytes(search_peak(part)),
            number("/throughput/step_ms_median"),
            number("/throughput/images_per_second"),
            of(&part.summary, "/skipped_updates")
                .map_or_else(|| "-".to_owned(), |it| it.to_string()),
            fallbacks(part),
        ]);
    }
    (runs.count() > 0).then(|| format!("## Runs\n\n{}", table.to_markdown()))
}

fn shown_bytes(value: Option<&Value>) -> String {
    match value.and_then(Value::as_u64) {
        Some(bytes) => Bytes(bytes).to_string(),
        None => "-".to_owned(),
    }
}

/// Reserved bytes at the peak of cuDNN's search.
fn search_peak(part: &Part) -> Option<&Value> {
    let mut events = part.events.iter();
    let search = events.find(|event| event["event"] == "algorithm-search")?;
    search.get("peak_reserved_bytes")
}

fn fallbacks(part: &Part) -> String {
    let rungs = part
        .summary
        .as_ref()
        .and_then(|it| it["fallbacks"].as_array());
    let rungs = rungs.into_iter().flatten().map(|rung| {
        let word = |key: &str| rung[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {} -> {}", word("failure"), word("from"), word("to"))
    });
    let all: Vec<String> = rungs.collect();
    if all.is_empty() {
        "-".to_owned()
    } else {
        all.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gpu::SCHEMA_VERSION;
    use crate::results::Device;

    #[test]
    fn a_page() {
        let part = |name: &str, ending, output: &str| Part {
            name: name.to_owned(),
            title: format!("what {name} shows"),
            command: format!("train {name}"),
            expected: Some(0),
            ending,
            seconds: 1.25,
            output: output.to_owned(),
            summary: None,
            ledger: None,
            events: Vec::new(),
        };
        let run = Part {
            summary: Some(json!({
                "memory": {"peak_allocated_bytes": 5_u64 << 30, "peak_reserved_bytes": 6_u64 << 30},
                "throughput": {"step_ms_median": 210.04, "images_per_second": 57.1},
                "skipped_updates": 2,
                "fallbacks": [{"failure": "out of memory", "from": "off", "to": "mixed"}],
            })),
            ledger: Some(json!({
                "predicted": {"allocated_bytes": 5_u64 << 30, "reserved_bytes": 6_u64 << 30,
                              "total_bytes": 7_u64 << 30},
                "measured": {"total_bytes": null},
            })),
            events: vec![json!({"event": "algorithm-search", "peak_reserved_bytes": 8_u64 << 30})],
            ..part("trained", Ending::Exit(0), "not shown")
        };
        let archive = Archive {
            schema_version: SCHEMA_VERSION,
            date: "2026-11-29".to_owned(),
            snug: "0.1.0, release profile".to_owned(),
            libtorch: "2.11.0".to_owned(),
            device: Device {
                kind: "cuda".to_owned(),
                name: "NVIDIA Example".to_owned(),
                total_bytes: Some(24 << 30),
                driver: Some("580.1".to_owned()),
                cpu_capability: "AVX2".to_owned(),
                threads: 2,
            },
            parts: vec![
                part("driver", Ending::Exit(0), "name, driver_version\n"),
                run,
                part("search-1", Ending::TimedOut, "last words\n"),
                part(
                    "recompute",
                    Ending::NotStarted("no time left".to_owned()),
                    "",
                ),
            ],
            bench: None,
        };
        insta::assert_snapshot!(page(&archive, None));
        let text = archive.to_json();
        assert_eq!(serde_json::from_str::<Archive>(&text).unwrap(), archive);
    }
}
