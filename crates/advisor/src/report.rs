//! The advice as text for a terminal.

use std::fmt::Write as _;

use crate::device::Device;
use crate::guide::{Row, TABLE};
use crate::recommend::Advice;

/// What the guide's figures are worth, from the simulation.
pub(crate) const CAVEAT: &str = "the guide's figures are too low at width 64: its baseline of \
     2.8 GB was simulated at 11,859 MiB (12.4 GB); 2.8 GB is what saved activations come to at \
     width 16";

/// The device, the guide's table, the recommendation and a line to copy.
pub fn to_text(device: &Device, advice: &Advice) -> String {
    let mut text = String::new();
    for line in describe(device) {
        push(&mut text, &line);
    }
    push(&mut text, "");
    push(
        &mut text,
        "the guide's table (its GB), beside tensor bytes simulated at width 64:",
    );
    push(&mut text, "");
    push(
        &mut text,
        "  settings             image    batch  guide  card  simulated",
    );
    for row in &TABLE {
        push(&mut text, &table_row(row));
    }
    push(&mut text, "");
    push(
        &mut text,
        "  (simulated with PyTorch 2.11, without CUDA context and workspaces; `-`: not simulated)",
    );
    push(&mut text, "");
    push(&mut text, &format!("note: {CAVEAT}"));
    push(&mut text, "");
    push(
        &mut text,
        "recommended, from the guide's table; not yet checked against the estimator:",
    );
    push(&mut text, "");
    let config = &advice.config;
    let on = |on: bool| if on { "on" } else { "off" };
    for (label, value) in [
        ("source", advice.from.clone()),
        ("image size", config.img_size.to_string()),
        ("batch", config.batch.to_string()),
        ("AMP", on(config.use_amp).to_owned()),
        ("checkpointing", config.checkpoint_policy().to_string()),
        ("channels-last", on(config.use_channels_last).to_owned()),
    ] {
        push(&mut text, &format!("  {label:<15}{value}"));
    }
    push(&mut text, "");
    push(&mut text, &format!("  {}", advice.command));
    if !advice.warnings.is_empty() {
        push(&mut text, "");
    }
    for warning in &advice.warnings {
        push(&mut text, &format!("warning: {warning}"));
    }
    if !advice.alternatives.is_empty() {
        push(&mut text, "");
        push(&mut text, "the guide's other recipes for such a card:");
    }
    for other in &advice.alternatives {
        push(&mut text, "");
        push(&mut text, &format!("  {}", other.command));
        push(&mut text, &format!("    {}", other.when));
    }
    text
}

fn describe(device: &Device) -> Vec<String> {
    match device {
        Device::Given { memory } => vec![format!("for a card with {memory} (given by `--vram`)")],
        Device::Found { gpu, notes } => {
            let found = format!(
                "found {} ({}): {} free of {}",
                gpu.name, gpu.uuid, gpu.free, gpu.total
            );
            let notes = notes.iter().map(|note| format!("note: {note}"));
            [found].into_iter().chain(notes).collect()
        }
        Device::Cpu { reason } => vec![
            format!("no GPU: {reason}"),
            "a run here uses the CPU; for another machine's card pass `--vram 8GiB`".to_owned(),
        ],
    }
}

fn table_row(row: &Row) -> String {
    let recipe = &row.recipe;
    let simulated = recipe
        .simulated()
        .map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    format!(
        "  {:<21}{:<9}{:>5}{:>7.1}{:>5}+{simulated:>11}",
        row.name,
        recipe.img_size.to_string(),
        recipe.batch,
        row.stated_gb,
        row.card_gb,
    )
}

fn push(text: &mut String, line: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
