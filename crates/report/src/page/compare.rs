//! The page that compares runs.

use std::collections::{BTreeMap, BTreeSet};

use config::Bytes;
use figures::numbers::short;
use serde_json::{Value, json};

use super::{curves, duration, first, plural, said};
use crate::Run;

/// Everything on the page of several runs.
pub(crate) fn comparison(runs: &[Run]) -> Value {
    let names = names(runs);
    let named = || runs.iter().zip(&names);
    let classes: BTreeSet<_> = runs.iter().map(|run| run.setting("classes")).collect();
    let ious = || runs.iter().map(|run| first::scores(run)["iou"].as_f64());
    let best = ious().flatten().max_by(f64::total_cmp);
    let results = named().zip(ious()).map(|((run, name), iou)| {
        let summary = run.summary.as_ref();
        json!({
            "name": name,
            "title": run.title(),
            "outcome": first::outcome(run),
            "scores": first::scores(run),
            "is_best": iou.is_some() && iou == best && classes.len() < 2,
            "time": said(summary.map(|it| duration(it.seconds))),
            "device": said(summary.map(|it| &it.device.name)),
            "peak": said(first::peak(run).map(Bytes)),
            "predicted": said(summary.and_then(|it| it.memory.predicted_peak_bytes).map(Bytes)),
            "reserved": said(summary.and_then(|it| it.memory.peak_reserved_bytes).map(Bytes)),
            "speed": said(summary.and_then(|it| it.throughput.images_per_second).map(short)),
            "step": said(summary.and_then(|it| it.throughput.step_ms_median).map(short)),
        })
    });
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.config.keys()).collect();
    let differing = keys.into_iter().filter_map(|key| {
        let values: Vec<_> = runs.iter().map(|run| run.setting(key)).collect();
        let differ = values.windows(2).any(|pair| pair[0] != pair[1]);
        let values = values.into_iter().map(|it| it.unwrap_or("-"));
        differ.then(|| json!({"key": key, "values": values.collect::<Vec<_>>()}))
    });
    json!({
        "title": format!("{} compared", plural(runs.len(), "run")),
        "results": results.collect::<Vec<_>>(),
        "has_different_classes": classes.len() > 1,
        "names": names,
        "settings": differing.collect::<Vec<_>>(),
        "curves": curves::of_runs(runs, &names),
    })
}

/// The folders' names, numbered where several are equal.
fn names(runs: &[Run]) -> Vec<String> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut names = Vec::new();
    for Run { name, .. } in runs {
        let times = seen.entry(name).or_default();
        *times += 1;
        names.push(if *times > 1 {
            format!("{name} ({times})")
        } else {
            name.clone()
        });
    }
    names
}
