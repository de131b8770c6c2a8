//! Formats a benchmark as a Markdown page, whose tables are readable in a terminal too.

use std::fmt::Write as _;

use config::Bytes;
use config::guide::Verdict;
use figures::Table;
use figures::numbers::{change, median, short};

use crate::claims::claims;
use crate::results::{EpochRow, HostRow, Results, Row, Status};
use crate::statistics::Ratio;

/// The whole page; `picture` is the file with its scatter plot.
pub fn report(results: &Results, picture: &str) -> String {
    let device = &results.device;
    let mut out = format!("# {}, {}\n\n", device.name, results.date);
    let _ = writeln!(
        out,
        "Made by `{}`; never edited by hand.\n",
        results.command
    );
    let mut machine = vec![format!("device: {} ({})", device.name, device.kind)];
    if let Some(bytes) = device.total_bytes {
        machine.push(format!("{:.1} GiB", Bytes(bytes).as_gib()));
    }
    if let Some(driver) = &device.driver {
        machine.push(format!("driver {driver}"));
    }
    machine.push(format!(
        "CPU kernels {}, {} threads",
        device.cpu_capability, device.threads
    ));
    let _ = writeln!(out, "- {}", machine.join(", "));
    let _ = writeln!(
        out,
        "- Snug {}, libtorch {}",
        results.snug, results.libtorch
    );
    if let Some(pytorch) = &results.pytorch {
        let _ = writeln!(out, "- PyTorch {pytorch}");
    }
    out.push_str(
        "\nEach case is a process of its own. The cases of a table are timed in turns, each beginning \
         a round as\noften as the others; times are medians over rounds with their quartiles. Ratios \
         are taken round by round and\ngiven as a median with the interval of the sign test, which \
         holds the true one with at least 95 % (of fewer than\nsix rounds: their range). All rows of \
         the same size of work start from the same weights and train on the same\nbatches, and \
         PyTorch's are refused unless their first losses agree with Snug's. \
         Memory is that of one step, by the allocator's own\nstatistics; on the CPU PyTorch's is \
         added up from its memory events. Predicted is Snug's allocated memory, by its\nestimator; \
         an error below zero is too low. `-`: not measured, or not built yet.\n\n",
    );
    out.push_str(&tables(results));
    if !results.rows.is_empty() {
        let _ = write!(
            out,
            "\n## Memory against speed\n\n![memory against speed]({picture})\n"
        );
    }
    out
}

/// Only the tables.
pub fn tables(results: &Results) -> String {
    let mut out = String::new();
    for group in &results.groups {
        let rows: Vec<&Row> = results.group(&group.name).collect();
        let _ = writeln!(out, "## {}\n", group.title);
        if !group.together {
            out.push_str("One worker at a time, for want of memory for all.\n\n");
        }
        out.push_str(&steps(&rows));
        out.push_str(&against_pytorch(results, &group.name));
        out.push('\n');
    }
    let claims = claims(results);
    if !claims.is_empty() {
        out.push_str("## The guide's claims\n\n");
        if let Some(row) = results.group("guide").next() {
            let _ = writeln!(
                out,
                "About the work measured here, {} x {} at width {}; the guide speaks of 8 x 512x512.\n",
                row.batch,
                row.size(),
                row.width
            );
        }
        let mut table = Table::new(&["claim", "the guide", "measured", "verdict"]);
        for claim in claims {
            let verdict = match claim.verdict {
                Verdict::DoesNotHold => format!("**{}**", Verdict::DoesNotHold.as_str()),
                verdict => verdict.as_str().to_owned(),
            };
            table.row(vec![claim.about, claim.stated, claim.measured, verdict]);
        }
        let _ = writeln!(out, "{}", table.to_markdown());
    }
    if !results.epochs.is_empty() {
        out.push_str(&epochs(&results.epochs));
    }
    if !results.host.is_empty() {
        out.push_str(&host(&results.host, results.device.kind == "cuda"));
    }
    if !results.left_out.is_empty() {
        out.push_str("## Left out\n\n");
        for line in &results.left_out {
            let _ = writeln!(out, "- {line}");
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn steps(rows: &[&Row]) -> String {
    let mut table = Table::new(&[
        "implementation",
        "recipe",
        "work",
        "step, ms",
        "quartiles",
        "img/s",
        "time per image",
        "allocated, MiB",
        "reserved, MiB",
        "device, MiB",
        "predicted, MiB",
        "error",
    ]);
    for row in rows {
        let step = match (row.status, row.step_ms_median) {
            (Status::Ok, Some(ms)) => short(ms),
            (Status::Ok, None) => dash(),
            (status, _) => status.name().to_owned(),
        };
        let quartiles = row.step_ms_quartiles;
        table.row(vec![
            row.implementation.name().to_owned(),
            row.recipe(),
            format!("{} x {}", row.batch, row.size()),
            step,
            quartiles.map_or(dash(), |[a, b]| format!("{} to {}", short(a), short(b))),
            row.images_per_second.map_or(dash(), short),
            row.ratio_to_baseline.map_or(dash(), |r| interval(&r)),
            mib(row.peak_allocated_bytes),
            mib(row.peak_reserved_bytes),
            mib(row.device_total_bytes),
            mib(row.predicted_peak_bytes),
            row.prediction_error()
                .map_or(dash(), |error| change(error, 2)),
        ]);
    }
    let mut out = table.to_markdown();
    for row in rows.iter().filter(|row| row.status != Status::Ok) {
        let _ = writeln!(
            out,
            "\n{} ({}): {}: {}",
            row.implementation.name(),
            row.recipe(),
            row.status.name(),
            row.message.as_deref().unwrap_or("no word")
        );
    }
    out
}

/// Snug's time and memory as a share of those of each PyTorch variant.
fn against_pytorch(results: &Results, group: &str) -> String {
    let mut out = String::new();
    for (row, snug) in results.pairs(group) {
        let Some(ratio) = Ratio::of(&snug.ms_per_image(), &row.ms_per_image()) else {
            continue;
        };
        let bytes = snug.peak_allocated_bytes.zip(row.peak_allocated_bytes);
        let peak = bytes.map_or(String::new(), |(ours, theirs)| {
            format!(" and {:.3} of the peak", ours as f64 / theirs as f64)
        });
        if out.is_empty() {
            let _ = writeln!(out, "\nOver {} rounds:\n", snug.step_ms.len());
        }
        let _ = writeln!(
            out,
            "- Snug (policy {}) takes {} of the time{peak} of `{}`",
            snug.policy,
            interval(&ratio),
            row.implementation.name()
        );
    }
    out
}

fn epochs(rows: &[EpochRow]) -> String {
    let mut out = "## An epoch over files\n\n".to_owned();
    if let Some((row, first)) = rows.iter().find_map(|row| Some((row, row.first?))) {
        let _ = writeln!(
            out,
            "Decode, resize, augment, train on {} images and validate on {}, batches of {}. Medians \
             of the epochs\nafter the first. Readers: threads or processes beside the step; 0: the \
             step reads. Kept: images that were\ndecoded once stay in memory while there is room, \
             which is how Snug trains; it then decodes when it checks every\nfile, before the first \
             epoch. All had the same validation loss before. The script scores 101 thresholds one \
             by\none; tuned PyTorch and Snug count once.\n",
            first.images, first.val_images, row.work
        );
    }
    let mut table = Table::new(&[
        "implementation",
        "recipe",
        "readers",
        "decoded images",
        "epoch, s",
        "train",
        "waiting for data",
        "validate",
        "first epoch, s",
        "checks, s",
        "time against Snug",
    ]);
    for row in rows {
        let of = |pick: fn(&crate::protocol::Epoch) -> f64| {
            let values: Vec<f64> = row.epochs.iter().map(pick).collect();
            median(&values).map_or(dash(), |s| format!("{s:.2}"))
        };
        table.row(vec![
            row.implementation.name().to_owned(),
            row.recipe.clone(),
            row.workers.to_string(),
            if row.keeps_decoded {
                "kept".to_owned()
            } else {
                "each epoch anew".to_owned()
            },
            if row.status == Status::Ok {
                of(crate::protocol::Epoch::total_s)
            } else {
                row.status.name().to_owned()
            },
            of(|e| e.train_s),
            of(|e| e.data_wait_s),
            of(|e| e.val_s),
            row.first
                .map_or(dash(), |first| format!("{:.2}", first.total_s())),
            format!("{:.2}", row.prepare_ms as f64 / 1e3),
            row.ratio_to_snug.map_or(dash(), |r| interval(&r)),
        ]);
    }
    out.push_str(&table.to_markdown());
    for row in rows {
        if let Some(message) = &row.message {
            let _ = writeln!(
                out,
                "\n{} ({}): {}: {message}",
                row.implementation.name(),
                row.recipe,
                row.status.name()
            );
        }
    }
    out.push('\n');
    out
}

fn host(rows: &[HostRow], cuda: bool) -> String {
    let mut out = "## Host work\n\n".to_owned();
    out.push_str(if cuda {
        "How long a step takes to be asked for, kernel after kernel. It passes beside the kernels' \
         own time, so the\nshare is an upper bound of what no kernel takes. The smallest step is the \
         same recipe on images of 16x16 at width\n8: all that operators cost besides their \
         kernels, and a little more.\n\n"
    } else {
        "Of a step's time, what passes outside of every operator: the program around them and \
         autograd's engine. The\nsmallest step is the same recipe on two images of 16x16 at width 8, \
         where kernels have next to nothing to do:\nall that operators cost besides their kernels, \
         and a little more. The truth lies between the two.\n\n"
    });
    let mut table = Table::new(&[
        "recipe",
        "width",
        "work",
        "step, ms",
        "host, ms",
        "share",
        "smallest step, ms",
        "share at most",
    ]);
    for row in rows {
        let share = |ms: f64| format!("{:.2} %", 100.0 * ms / row.step_ms);
        table.row(vec![
            row.recipe.clone(),
            row.width.to_string(),
            format!("{} x {}x{}", row.batch, row.img_size[0], row.img_size[1]),
            short(row.step_ms),
            format!("{:.3}", row.host_ms),
            share(row.host_ms),
            format!("{:.2}", row.smallest_step_ms),
            share(row.smallest_step_ms),
        ]);
    }
    out.push_str(&table.to_markdown());
    out.push('\n');
    out
}

fn dash() -> String {
    "-".to_owned()
}

pub(crate) fn interval(ratio: &Ratio) -> String {
    format!("{:.3} [{:.3}, {:.3}]", ratio.median, ratio.low, ratio.high)
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or(dash(), |bytes| short(Bytes(bytes).as_mib()))
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    use super::*;

    #[test]
    fn a_page_says_what_was_measured() {
        insta::assert_snapshot!(report(&fixture::results(64, 1.0), "picture.svg"));
    }
}
