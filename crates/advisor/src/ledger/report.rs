//! Reports the ledger's statistics as text and as JSON.

use std::fmt::Write as _;

use config::Bytes;
use figures::Table;
use figures::numbers::change;
use serde_json::{Value, json};

use super::corrections::MIN_RUNS;
use super::entry::Device;
use super::file::{Contents, LedgerPlace};
use super::fitted::Fitted;
use super::statistics::{Spread, Statistics};

const LOCAL: &str = "nothing of the ledger leaves this machine; `SNUG_LEDGER` is a path, or `off`";

const LEGEND: &str = "(errors are of the predicted bytes, speed is the measured one over the \
                      predicted)";

/// The text for a terminal. `like` selects the devices with this in their name, whatever the case.
pub fn to_text(place: &LedgerPlace, contents: &Contents, like: Option<&str>) -> String {
    let mut text = match place {
        LedgerPlace::File(path) => format!("ledger: `{}`", path.display()),
        LedgerPlace::Off => "ledger: off, as `SNUG_LEDGER` says".to_owned(),
        LedgerPlace::Homeless => "ledger: none, as there is no home folder".to_owned(),
    };
    if matches!(place, LedgerPlace::File(_)) {
        let _ = match contents.entries.len() {
            0 => write!(text, ", no runs yet: `train fit` adds one when it ends"),
            1 => write!(text, ", 1 run"),
            count => write!(text, ", {count} runs"),
        };
    }
    if contents.num_skipped() > 0 {
        let _ = write!(
            text,
            "; lines left out: {} of another schema, {} not understood",
            contents.num_other_schema, contents.num_not_understood
        );
    }
    text.push('\n');
    let all = Statistics::of(&contents.entries);
    let (shown, hidden) = chosen(&all, like);
    for statistics in &shown {
        device(&mut text, statistics);
    }
    for fitted in calibrations(contents, like) {
        let _ = writeln!(
            text,
            "\n{}: times of {} {} calibrated from {} measurements, the newest of {}",
            label(&fitted.device),
            fitted.precision,
            fitted.memory_format,
            fitted.num_measurements,
            fitted.date
        );
    }
    if let (Some(like), true, false) = (like, shown.is_empty(), hidden.is_empty()) {
        let _ = writeln!(text, "\nno runs on a device like `{like}`; there are:");
        for statistics in hidden {
            let _ = writeln!(text, "  {}", label(&statistics.device));
        }
    }
    if shown.iter().any(|it| it.has_predictions()) {
        let _ = writeln!(text, "\n{LEGEND}");
    }
    let _ = writeln!(text, "\n{LOCAL}");
    text
}

/// The object that `advisor ledger --json` prints, schema 1. An error is predicted over measured, minus 1.
pub fn to_json(place: &LedgerPlace, contents: &Contents, like: Option<&str>) -> Value {
    let path = match place {
        LedgerPlace::File(path) => Some(path.display().to_string()),
        LedgerPlace::Off | LedgerPlace::Homeless => None,
    };
    let all = Statistics::of(&contents.entries);
    json!({
        "schema_version": 1,
        "ledger": path,
        "num_runs": contents.entries.len(),
        "skipped": {
            "num_other_schema": contents.num_other_schema,
            "num_not_understood": contents.num_not_understood,
        },
        "devices": chosen(&all, like).0,
        "calibrations": calibrations(contents, like).collect::<Vec<_>>(),
    })
}

fn calibrations<'a>(
    contents: &'a Contents,
    like: Option<&str>,
) -> impl Iterator<Item = &'a Fitted> {
    let like = like.unwrap_or_default().to_lowercase();
    let rates = contents.rates.iter();
    rates.filter(move |it| it.device.name.to_lowercase().contains(&like))
}

/// Splits the statistics into the devices with `like` in their name and the others.
fn chosen<'a>(
    all: &'a [Statistics],
    like: Option<&str>,
) -> (Vec<&'a Statistics>, Vec<&'a Statistics>) {
    let like = like.unwrap_or_default().to_lowercase();
    all.iter()
        .partition(|it| it.device.name.to_lowercase().contains(&like))
}

fn label(device: &Device) -> String {
    let mut text = device.name.clone();
    if let (Some(set), Some(threads)) = (&device.instruction_set, device.threads) {
        let _ = write!(text, " ({set}, {threads} threads)");
    }
    text
}

fn device(text: &mut String, statistics: &Statistics) {
    let runs = match statistics.num_runs {
        1 => "1 run".to_owned(),
        count => format!("{count} runs"),
    };
    let _ = writeln!(text, "\n{}: {runs}\n", label(&statistics.device));
    let errors = [
        ("allocated", statistics.allocated_bytes_error),
        ("reserved", statistics.reserved_bytes_error),
        ("total", statistics.total_bytes_error),
    ];
    let speed = statistics.images_per_second_ratio;
    if !statistics.has_predictions() {
        let _ = writeln!(text, "  none of them had a prediction");
        return;
    }
    // The last column is flush left.
    let mut table = Table::new(&["", "runs", "least", "median", "most", ""]);
    let mut row = |name: &str, spread: Spread, cell: fn(f64) -> String| {
        let [least, median, most] = [spread.min, spread.median, spread.max].map(cell);
        let runs = spread.num_runs.to_string();
        table.row([name.to_owned(), runs, least, median, most, String::new()]);
    };
    for (name, spread) in errors {
        if let Some(spread) = spread {
            row(name, spread, |error| change(error, 2));
        }
    }
    if let Some(spread) = speed {
        row("training speed", spread, |ratio| format!("x {ratio:.2}"));
    }
    text.push_str(&table.to_text(1));
    corrections(text, statistics);
}

fn corrections(text: &mut String, statistics: &Statistics) {
    let learnt = statistics.corrections;
    let mut said = Vec::new();
    if let Some(factor) = learnt.time_factor {
        said.push(format!("time x {factor:.2}"));
    }
    for (name, bytes) in [
        ("reserved", learnt.reserved_bytes),
        ("total", learnt.total_bytes),
    ] {
        if bytes > 0 {
            said.push(format!("{name} + {}", Bytes(bytes)));
        }
    }
    let said = match said.as_slice() {
        [] if statistics.num_runs < MIN_RUNS => format!("none before {MIN_RUNS} runs"),
        [] => "none".to_owned(),
        said => said.join(", "),
    };
    let _ = writeln!(text, "\n  corrections: {said}");
}
