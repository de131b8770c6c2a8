//! Prints the fits for a terminal and as JSON.

use std::fmt::Write as _;

use figures::Table;
use figures::numbers::change;
use serde_json::{Value, json};

use super::{Errors, Group, Sample};

/// Each group: measured and predicted times, before and after the fit, with the errors.
pub fn to_text(groups: &[Group]) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    for group in groups {
        let fitted = &group.fitted;
        if !text.is_empty() {
            text.push('\n');
        }
        let threads = fitted.device.threads;
        let threads = threads.map_or(String::new(), |it| format!(", {it} threads"));
        let _ = writeln!(
            text,
            "{}{threads}, {} {}:",
            fitted.device.name, fitted.precision, fitted.memory_format
        );
        let mut table = Table::new(&[
            "recipe",
            "measured, ms",
            "before",
            "error",
            "after",
            "error",
            "",
        ]);
        for sample in &group.samples {
            let ms = |seconds: f64| format!("{:.1}", 1e3 * seconds);
            let error = |seconds: f64| change(seconds / sample.measured_seconds - 1.0, 0);
            table.row([
                sample.recipe.clone(),
                ms(sample.measured_seconds),
                ms(sample.before_seconds),
                error(sample.before_seconds),
                ms(sample.after_seconds),
                error(sample.after_seconds),
                String::new(),
            ]);
        }
        text.push_str(&table.to_text(1));
        let (tera, giga) = (1e-12, 1e-9);
        let _ = writeln!(
            text,
            "  before: {}\n  after:  {}",
            errors(&group.before),
            errors(&group.after)
        );
        let _ = writeln!(
            text,
            "  convolutions {:.3} -> {:.3} TFLOP/s, other passes {:.1} -> {:.1} GB/s",
            group.before_conv_flops * tera,
            fitted.conv_flops * tera,
            group.before_memory_bytes_per_second * giga,
            fitted.memory_bytes_per_second * giga,
        );
        let width = |sample: &Sample| sample.work.1;
        if let [first, rest @ ..] = group.samples.as_slice()
            && rest.iter().all(|it| width(it) == width(first))
        {
            let _ = writeln!(
                text,
                "  note: all of width {}: times of other widths may be further off",
                width(first)
            );
        }
        if group.samples.len() < 3 {
            let _ = writeln!(
                text,
                "  note: so few recipes hardly tell the two rates apart"
            );
        }
    }
    text
}

fn errors(errors: &Errors) -> String {
    let pairs = match errors.num_pairs {
        0 => "no two recipes of the same work".to_owned(),
        all => format!("{} of {all} pairs in the wrong order", errors.num_inverted),
    };
    format!(
        "off by a factor of {:.2} (root of the mean square), {} at the worst; {pairs}",
        errors.spread.exp(),
        change(errors.worst, 0)
    )
}

/// The object that `advisor calibrate --json` prints, schema 1.
pub fn to_json(groups: &[Group]) -> Value {
    json!({ "schema_version": 1, "groups": groups })
}
