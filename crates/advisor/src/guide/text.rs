//! Prints the checked guide for a terminal.

use std::fmt::Write as _;

use config::Bytes;
use config::guide::{Quantity, Stated, Verdict};
use figures::Table;
use machine::Device;

use super::check::{ClaimCheck, GuideCheck, GuidePart, GuideRow, Measurements};
use crate::report::describe;
use crate::target::Target;

/// Formats the recipes, part by part, then the claims.
pub fn to_text(
    device: &Device,
    target: &Target,
    check: &GuideCheck,
    measured: Option<Measurements<'_>>,
) -> String {
    let width = check.width;
    let mut text = format!("the guide next to predictions for a U-Net of width {width}\n");
    // Writing to a `String` cannot fail.
    for line in describe(device, target) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(Measurements { name, results }) = measured {
        let (device, date) = (&results.device.name, &results.date);
        let _ = writeln!(text, "measured: `{name}`, {device}, {date}");
    }
    for (part, title) in [
        (GuidePart::Example, "its examples"),
        (GuidePart::Table, "its table"),
        (GuidePart::Preset, "its presets"),
    ] {
        let _ = writeln!(text, "\n{title}:");
        let mut table = Table::new(&heading(measured.is_some()));
        for row in check.rows.iter().filter(|row| row.part == part) {
            table.row(cells(row, measured.is_some()));
        }
        text.push_str(&table.to_text(2));
    }
    text.push_str(
        "\n(sizes in GiB; the guide's GB are read as such, and hold within a tenth of what is \
         allocated, the\nleast of the three; a card has to have the total, and some to spare)\n",
    );
    if let Some((least, largest)) = check.baseline_holds_at {
        let _ = writeln!(
            text,
            "(the table's baseline holds for U-Nets of width {least} to {largest})"
        );
    }
    let _ = writeln!(text, "\nits claims:");
    let mut heading = vec!["of", "what", "guide", "predicted", "in total"];
    if measured.is_some() {
        heading.push("measured");
    }
    heading.push("");
    let mut table = Table::new(&heading);
    for claim in &check.claims {
        table.row(claim_cells(claim, measured.is_some()));
    }
    text.push_str(&table.to_text(2));
    text.push_str(
        "\n(verdicts on memory are of allocated bytes; in total there is cuDNN's workspace as well, of \
         which\nthe prediction is an upper figure; what channels-last does to speed is not \
         predicted: in brackets\nis what the other switches do)\n",
    );
    if measured.is_some() && !has_measured(check) {
        text.push_str("note: the file has no row for this workload at this width\n");
    }
    text
}

fn has_measured(check: &GuideCheck) -> bool {
    check.rows.iter().any(|row| row.measured_bytes.is_some())
        || check.claims.iter().any(|it| it.measured_percent.is_some())
}

fn heading(measured: bool) -> Vec<&'static str> {
    let mut cells = vec![
        "recipe",
        "work",
        "guide",
        "allocated",
        "reserved",
        "total",
        "its card",
        "this card",
        "verdict",
    ];
    if measured {
        cells.insert(6, "measured");
    }
    cells
}

fn cells(row: &GuideRow, measured: bool) -> Vec<String> {
    let gib = |bytes: u64| format!("{:.2}", Bytes(bytes).as_gib());
    let none = || "-".to_owned();
    let fits = |fits: bool| if fits { "fits" } else { "no" };
    let its_card = match (row.card_gb, row.fits_its_card) {
        (Some(gb), Some(it)) => format!("{gb} GB: {}", fits(it)),
        _ => none(),
    };
    let mut cells = vec![
        row.name.clone(),
        format!("{} x {}", row.recipe.batch, row.recipe.img_size),
        row.stated_gb.map_or_else(none, |gb| format!("{gb:.1}")),
        gib(row.allocated_bytes),
        row.reserved_bytes.map_or_else(none, gib),
        gib(row.total_bytes),
        its_card,
        fits(row.fits_here).to_owned(),
        verdict(row),
    ];
    if measured {
        cells.insert(6, row.measured_bytes.map_or_else(none, gib));
    }
    cells
}

/// The verdict on the stated memory if there is one, otherwise on the card.
fn verdict(row: &GuideRow) -> String {
    let (fits, whose) = match row.fits_its_card {
        Some(fits) => (fits, "its"),
        None => (row.fits_here, "this"),
    };
    match row.verdict {
        Some(Stated::Holds) => "holds".to_owned(),
        Some(Stated::TooLow(times)) => format!("{times:.1} times too low"),
        Some(Stated::TooHigh(times)) => format!("{times:.1} times too high"),
        None if fits => format!("fits {whose} card"),
        None => format!("does not fit {whose} card"),
    }
}

fn claim_cells(check: &ClaimCheck, measured: bool) -> Vec<String> {
    let claim = &check.claim;
    let percent = |percent: f64| claim.shown(percent);
    let none = || "-".to_owned();
    let predicted = match (check.predicted_percent, check.verdict) {
        (Some(it), Verdict::NotPredicted) => format!("({})", percent(it)),
        (Some(it), _) => percent(it),
        (None, _) => none(),
    };
    let in_total = check.predicted_total_percent.map_or_else(none, percent);
    let what = match claim.quantity {
        // `speed` alone is a preset.
        Quantity::Speed => "training speed".to_owned(),
        other => other.as_str().to_owned(),
    };
    let mut cells = vec![claim.about.to_owned(), what, claim.stated(), predicted];
    cells.push(in_total);
    if measured {
        cells.push(check.measured_percent.map_or_else(none, percent));
    }
    cells.push(check.verdict.as_str().to_owned());
    cells
}
