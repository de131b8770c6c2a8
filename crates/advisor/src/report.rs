//! Prints the advice for a terminal.

use std::fmt::Write as _;

use config::{Bytes, Precision, RunConfig};
use estimator::Forecast;
use figures::Table;
use machine::Device;

use crate::fit::Fit;
use crate::line;
use crate::ranks::{self, Together};
use crate::recommend::{Advice, Alternative};
use crate::target::Target;

/// Formats the device, the guide's recipe next to the recommended one, what changed and why, and a
/// command line to copy.
pub fn to_text(device: &Device, target: &Target, advice: &Advice) -> String {
    let mut text = String::new();
    for line in describe(device, target) {
        push(&mut text, &line);
    }
    push(&mut text, "");
    text.push_str(&table(target, advice));
    if !advice.changes.is_empty() {
        push(&mut text, "");
        push(&mut text, "changed from the guide's recipe:");
    }
    for change in &advice.changes {
        let (what, from, to) = (change.what, &change.from, &change.to);
        push(&mut text, &format!("  {what}: {from} -> {to}"));
        push(&mut text, &format!("    {}", change.why));
    }
    push(&mut text, "");
    match &advice.recommended {
        Some(fit) => {
            push(&mut text, "recommended:");
            push(&mut text, "");
            push(&mut text, &command(advice, &fit.config));
            if let Some(together) = several(advice) {
                if let machines @ 2.. = together.ranks.num_machines() {
                    push(
                        &mut text,
                        &format!(
                            "    on each of {machines} machines, where HOST is the first one's name"
                        ),
                    );
                }
                push(&mut text, "");
                text.push_str(&ranks::to_text(
                    together,
                    target,
                    &fit.config,
                    &fit.prediction,
                ));
            }
        }
        None => push(&mut text, "nothing fits"),
    }
    if !advice.warnings.is_empty() {
        push(&mut text, "");
    }
    for warning in &advice.warnings {
        push(&mut text, &format!("warning: {warning}"));
    }
    if !advice.alternatives.is_empty() {
        push(&mut text, "");
        push(
            &mut text,
            match several(advice) {
                Some(_) => "others that fit, with the memory and the speed of each GPU:",
                None => "others that fit:",
            },
        );
    }
    for other in &advice.alternatives {
        push(&mut text, "");
        push(&mut text, &command(advice, &other.fit.config));
        let than = advice.recommended.as_ref();
        push(&mut text, &format!("    {}", in_short(target, other, than)));
    }
    text
}

/// The GPUs that the advice is for, if they are several.
fn several(advice: &Advice) -> Option<&Together> {
    advice.together.as_ref().filter(|it| it.ranks.num > 1)
}

/// The command that runs a recipe, on all GPUs that the advice is for.
fn command(advice: &Advice, config: &RunConfig) -> String {
    match &advice.together {
        Some(together) => line::indented(&together.program(), &together.whole(config)),
        None => line::indented(line::PROGRAM, config),
    }
}

fn table(target: &Target, advice: &Advice) -> String {
    let guide = &advice.guide;
    let recommended = advice.recommended.as_ref();
    let together = several(advice);
    let each = together.map(|it| format!("each of {} GPUs", it.ranks.num));
    let mut table = Table::new(&[each.as_deref().unwrap_or(""), "guide", "recommended"]);
    let mut row = |label: &str, guide: String, ours: Option<String>| {
        let ours = ours.unwrap_or_else(|| "-".to_owned());
        table.row([label.to_owned(), guide, ours]);
    };
    let mut of_config = |label: &str, value: &dyn Fn(&RunConfig) -> String| {
        row(
            label,
            value(&guide.config),
            recommended.map(|fit| value(&fit.config)),
        );
    };
    let on = |on: bool| if on { "on" } else { "off" };
    of_config("preset", &|c| c.preset.clone().unwrap_or_default());
    of_config("image size", &|c| c.img_size.to_string());
    of_config("width", &|c| c.width.to_string());
    of_config("batch", &|c| c.batch.to_string());
    match together {
        Some(all) => of_config("effective batch of all", &|c| {
            all.whole(c).effective_batch().to_string()
        }),
        None => of_config("effective batch", &|c| c.effective_batch().to_string()),
    }
    of_config("AMP", &|c| amp(target, c));
    of_config("channels-last", &|c| on(c.use_channels_last).to_owned());
    of_config("checkpointing", &|c| c.checkpointing().to_string());
    let mut of_prediction = |label: &str, value: &dyn Fn(&Forecast) -> Option<String>| {
        let none = || "-".to_owned();
        row(
            label,
            value(&guide.prediction).unwrap_or_else(none),
            recommended.map(|fit| value(&fit.prediction).unwrap_or_else(none)),
        );
    };
    let gib = |bytes: u64| Some(format!("{:.2} GiB", Bytes(bytes).as_gib()));
    of_prediction("allocated", &|p| gib(p.allocated_bytes));
    if target.is_cuda() {
        of_prediction("reserved", &|p| p.reserved_bytes.and_then(gib));
        of_prediction("with context", &|p| gib(p.total_bytes));
    }
    if let Some(budget) = target.budget() {
        of_prediction("headroom", &|p| {
            let room = budget.as_gib() - Bytes(p.total_bytes).as_gib();
            Some(format!("{room:+.2} GiB of {:.2}", budget.as_gib()))
        });
    }
    if target.speed_is_known() {
        of_prediction("img/s", &|p| Some(speed(p)));
    } else {
        of_prediction("time per image", &|p| {
            let ratio = guide.prediction.images_per_second / p.images_per_second;
            Some(format!("{ratio:.2}"))
        });
    }
    table.to_text(3)
}

fn amp(target: &Target, config: &RunConfig) -> String {
    let name = match target.precision(config) {
        _ if !config.use_amp => "off",
        Precision::Fp32 => "off (no bf16 here)",
        precision => precision.as_str(),
    };
    name.to_owned()
}

fn speed(prediction: &Forecast) -> String {
    let speed = prediction.images_per_second;
    if speed < 10.0 {
        format!("{speed:.2}")
    } else {
        format!("{speed:.0}")
    }
}

/// Summarises an alternative and compares it with the recommended recipe.
fn in_short(target: &Target, other: &Alternative, than: Option<&Fit>) -> String {
    let prediction = &other.fit.prediction;
    let against = |figure: fn(&Forecast) -> f64| {
        let ratio = than.map(|it| figure(prediction) / figure(&it.prediction));
        ratio.map(|ratio| format!("{:+.0} %", (100.0 * (ratio - 1.0)).round() + 0.0))
    };
    let mut text = format!(
        "{}: {:.2} GiB",
        other.when,
        Bytes(prediction.total_bytes).as_gib()
    );
    // Writing to a `String` cannot fail.
    if let Some(more) = against(|it| it.total_bytes as f64) {
        let _ = write!(text, " ({more})");
    }
    if target.speed_is_known() {
        let _ = write!(text, ", {} img/s", speed(prediction));
    } else {
        text.push_str(", speed");
    }
    if let Some(more) = against(|it| it.images_per_second) {
        let _ = write!(text, " ({more})");
    }
    text
}

pub(crate) fn describe(device: &Device, target: &Target) -> Vec<String> {
    let mut lines = describe_device(device, target);
    lines.extend(target.notes().iter().map(|note| format!("note: {note}")));
    lines
}

fn describe_device(device: &Device, target: &Target) -> Vec<String> {
    match device {
        Device::Given { memory, card: None } => vec![
            format!("for a card with {memory} (given by `--vram`)"),
            "note: which card is not known: times are compared as on an RTX 3060".to_owned(),
        ],
        Device::Given {
            memory,
            card: Some(card),
        } => vec![format!("for {} with {memory} free (given)", card.name)],
        Device::Found { gpu, notes } => {
            let found = format!(
                "found {} ({}): {} free of {}",
                gpu.name, gpu.uuid, gpu.free, gpu.total
            );
            let notes = notes.iter().map(|note| format!("note: {note}"));
            [found].into_iter().chain(notes).collect()
        }
        Device::Cpu { reason, .. } => {
            let mut lines = vec![
                format!("no GPU: {reason}"),
                "a run here uses the CPU; for another machine's card pass `--vram 8GiB`".to_owned(),
                "note: with built-in pages `train` scales a preset down on a CPU, unless \
                 `--full-size` is given"
                    .to_owned(),
            ];
            if !target.speed_is_known() {
                lines.push(
                    "note: memory is an upper bound, and times are those of a CPU with AVX512, which \
                     this CPU lacks"
                        .to_owned(),
                );
            }
            lines
        }
    }
}

fn push(text: &mut String, line: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
