//! Events in words.

use figures::numbers::small;
use serde_json::{Map, Value, json};

use super::sentence;
use crate::Run;

type Event = Map<String, Value>;

/// The events in order, each with its step, if it has one, and whether it is a warning.
pub(super) fn in_words(run: &Run) -> Vec<Value> {
    // Of the processes, the page has a line of its own.
    let events = run.events.iter().filter(|it| !is_of_ranks(it));
    let said = events.map(|event| {
        let (said, is_warning) = one(event);
        let inner = event.get("fallback").and_then(|it| it.get("step"));
        let step = event.get("step").or(inner);
        json!({"step": step, "said": sentence(&said), "is_warning": is_warning})
    });
    said.collect()
}

/// Whether it says what each of several processes did in an epoch.
pub(super) fn is_of_ranks(event: &Event) -> bool {
    event.get("event").and_then(Value::as_str) == Some("ranks")
}

fn one(event: &Event) -> (String, bool) {
    let text = |key: &str| plain(event.get(key));
    let number = |key: &str| event.get(key).and_then(Value::as_f64);
    let is = |key: &str| event.get(key).and_then(Value::as_bool) == Some(true);
    let inner = |key: &str, field: &str| plain(event.get(key).and_then(|it| it.get(field)));
    match text("event").as_str() {
        "started" => (format!("started in {}", text("precision")), false),
        "resumed" => (format!("resumed in {}", text("precision")), false),
        "changed" => {
            let change = |field| inner("change", field);
            let (key, why) = (change("what"), change("why"));
            let (from, to) = (change("from"), change("to"));
            (
                format!("before the run, `{key}` changed from {from} to {to}: {why}"),
                false,
            )
        }
        "fallback" => {
            let change = |field| inner("fallback", field);
            let bits = if is("bit_exact") {
                "results stay bit-identical"
            } else {
                "rounding differs from here on"
            };
            let (failure, from, to) = (change("failure"), change("from"), change("to"));
            (format!("{failure}; {from} -> {to}: {bits}"), true)
        }
        "amp-check" => {
            let verdict = if is("holds") {
                "agrees"
            } else {
                "does not agree"
            };
            let differs = |key| number(key).map_or_else(|| "-".to_owned(), small);
            let said = format!(
                "AMP check: {} {verdict} with fp32 (difference {} on average, {} at most)",
                text("precision"),
                differs("mean_difference"),
                differs("largest_difference")
            );
            (said, !is("holds"))
        }
        "cuda-graph" => {
            let share = number("host_share")
                .map(|it| format!(": launches take {:.0} % of a step's time", 100.0 * it));
            let choice = if is("on") {
                "CUDA graph on"
            } else {
                "CUDA graph off"
            };
            (format!("{choice}{}", share.unwrap_or_default()), false)
        }
        "threads" => {
            let [threads, all, others] =
                ["threads", "all", "others"].map(|key| number(key).unwrap_or_default());
            let said = format!(
                "other programs use {others:.1} cores: from here on, a step takes {threads:.0} of {all:.0} threads"
            );
            (said, false)
        }
        "overlap" => (
            overlap(is("on"), number("step_ms_after"), number("step_ms_during")),
            false,
        ),
        "algorithm-search" => {
            let peak = event.get("peak_allocated_bytes").and_then(Value::as_u64);
            let peak = super::said(peak.map(config::Bytes));
            (
                format!("the search for the fastest algorithms held at most {peak}"),
                false,
            )
        }
        "loss-explodes" => {
            let times = number("times").map_or_else(|| "many".to_owned(), |it| format!("{it:.0}"));
            let said = format!(
                "the loss is {times} times its initial value; the learning rate is probably too high"
            );
            (said, true)
        }
        "limit" => {
            let advice = event.get("advice").and_then(Value::as_str);
            let advice = advice.map(|it| format!("; {it}")).unwrap_or_default();
            (format!("limited by {}", text("what")) + &advice, false)
        }
        "finished" => finished(event),
        other => {
            let fields = event
                .iter()
                .filter(|(key, _)| *key != "event" && *key != "step");
            let fields = fields.map(|(key, it)| super::name(&format!("{key} {}", plain(Some(it)))));
            let fields: Vec<_> = fields.collect();
            (
                format!("{}: {}", super::name(other), fields.join(", ")),
                false,
            )
        }
    }
}

fn finished(event: &Event) -> (String, bool) {
    let status = plain(event.get("status"));
    let error = event.get("error").and_then(Value::as_str);
    let error = error.map_or_else(String::new, |it| format!(": {it}"));
    let is_good = matches!(status.as_str(), "completed" | "early-stopped" | "stopped");
    let asked = if status == "stopped" {
        ", as asked"
    } else {
        ""
    };
    (format!("{status}{asked}{error}"), !is_good)
}

/// When gradients travel between processes, and the milliseconds of a step by which that was decided.
fn overlap(is_on: bool, after: Option<f64>, during: Option<f64>) -> String {
    let text = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"));
    let (after, during) = (text(after), text(during));
    if is_on {
        format!(
            "gradients travel during backward: a step takes {during} ms, and {after} ms if they travel after it"
        )
    } else {
        format!(
            "gradients travel after backward: a step takes {after} ms, and {during} ms if they travel during it"
        )
    }
}

/// A value as a person writes it.
fn plain(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
