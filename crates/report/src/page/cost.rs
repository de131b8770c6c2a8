//! What the run cost: memory over one step, and time.

use config::Bytes;
use figures::numbers::percent;
use serde_json::{Value, json};

use super::{against, duration, sentence};
use crate::Run;
use crate::chart::{Figure, has_phases_of, memory as over_a_step, stacked};
use crate::wire::Kind;

/// Memory over one step, and by kind at the predicted peak.
pub(super) fn memory(run: &Run) -> Vec<Figure> {
    let Some(memory) = &run.report.memory else {
        return Vec::new();
    };
    let Some(predicted) = &memory.predicted else {
        return Vec::new();
    };
    let step = memory.measured.as_ref();
    let measured = step.and_then(|it| it.peak_allocated_bytes);
    let total = memory.device_total_bytes;
    let lines = [
        measured.map(|it| (format!("measured {}", Bytes(it)), it)),
        (memory.budget_bytes).map(|it| (format!("budget {}", Bytes(it)), it)),
        total.map(|it| (format!("device {}", Bytes(it)), it)),
    ];
    let lines: Vec<(String, u64)> = lines.into_iter().flatten().collect();
    let reserved = step.and_then(|it| it.peak_reserved_bytes);
    let at = &predicted.peak_at;
    let mut clauses = if let Some(measured) = measured {
        let against = against(measured, predicted.peak_bytes);
        let peak = Bytes(measured);
        vec![
            format!("The measured peak is {peak}, {against}"),
            format!("the prediction has it at {at}"),
        ]
    } else {
        let peak = Bytes(predicted.peak_bytes);
        vec![format!("The peak is predicted as {peak}, at {at}")]
    };
    let reserved = reserved.map(|it| format!("the allocator held at most {}", Bytes(it)));
    let total = total.map(|it| format!("the device has {}", Bytes(it)));
    clauses.extend(reserved.into_iter().chain(total));
    let moments = step.map(|it| &it.timeline[..]);
    let moments = moments.filter(|it| has_phases_of(it, &predicted.timeline));
    if moments.is_some() {
        clauses.push("the orange line is a measured step".to_owned());
    }
    let over_time = over_a_step(
        "Memory over one step",
        &predicted.timeline,
        moments.unwrap_or_default(),
        &lines,
        clauses.join("; ") + ".",
    );
    let by_kind = |title, kinds: &[Kind], said: &dyn Fn(&str, &str, Bytes) -> String| {
        let whole: u64 = kinds.iter().map(|it| it.bytes).sum();
        let most = kinds.iter().max_by_key(|it| it.bytes)?;
        let share = percent(most.bytes as f64 / whole.max(1) as f64);
        let caption = said(&most.kind, &share, Bytes(whole));
        let kinds = kinds.iter().map(|it| {
            let said = Bytes(it.bytes).to_string();
            (it.kind.clone(), it.bytes as f64, said)
        });
        stacked(title, &kinds.collect::<Vec<_>>(), caption)
    };
    let expected = by_kind("Memory by kind", &predicted.kinds, &|kind, share, whole| {
        format!("At the predicted peak, {kind} hold {share} of {whole}.")
    });
    let found = step.map_or(&[][..], |it| &it.kinds);
    let found = by_kind("Memory by kind, measured", found, &|kind, share, whole| {
        format!("At the peak of a measured step, {kind} held {share} of {whole}.")
    });
    let figures = [over_time, expected, found];
    figures.into_iter().flatten().collect()
}

/// Where the time went: a chart, or its caption alone if the parts are not known, and what would help.
pub(super) fn time(run: &Run) -> Option<Value> {
    let time = run.report.time.as_ref()?;
    let parts = time.parts.iter().filter(|it| it.seconds > 0.0);
    let parts: Vec<_> = parts
        .map(|it| (it.what.clone(), it.seconds, duration(it.seconds)))
        .collect();
    let whole = run.summary.as_ref().map_or(0.0, |it| it.seconds);
    let seconds = duration(time.seconds);
    let took = if time.seconds + 1.0 < whole {
        format!("This part of the run took {seconds}")
    } else {
        format!("The run took {seconds}")
    };
    let verdict = time.verdict.as_deref().map(sentence);
    let said: Vec<String> = [sentence(&took)].into_iter().chain(verdict).collect();
    let said = said.join(" ");
    Some(json!({
        "chart": stacked("Time", &parts, said.clone()),
        "said": said,
        "advice": time.advice.as_deref().map(sentence),
    }))
}
