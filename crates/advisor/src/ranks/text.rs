//! Several GPUs in words, and as JSON.

use std::fmt::Write as _;

use config::{Bytes, RunConfig};
use estimator::{Forecast, Ring};
use figures::numbers::{percent, short};
use serde_json::{Value, json};

use crate::line::line_of;
use crate::target::Target;

use super::{Speeds, Together};

/// The bytes and the time of each part of a step, one after the other; nothing for one GPU. `each` is what one rank runs.
pub fn to_text(
    together: &Together,
    target: &Target,
    each: &RunConfig,
    prediction: &Forecast,
) -> String {
    let (num, exchange) = (together.ranks.num, &together.exchange);
    if num == 1 {
        return String::new();
    }
    let whole = together.whole(each);
    let mut text = format!("each step on {num} such GPUs:\n");
    let mut line = |words: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {words}");
    };
    let speeds = target
        .speed_is_known()
        .then(|| together.speeds(each, prediction));
    let (part, all, batch) = (each.accumulation, whole.accumulation, each.batch);
    line(&match speeds {
        Some(_) => format!(
            "computing, {}: {part} of {all} micro-batches of {batch} images on each GPU",
            ms(prediction.step_seconds)
        ),
        None => format!("computing: {part} of {all} micro-batches of {batch} images on each GPU"),
    });
    line(&format!(
        "agreeing on the step: {}",
        ms(exchange.agreement_seconds)
    ));
    line(&format!(
        "gradients of each GPU: {} in {} buckets",
        exchange.gradients, exchange.num_buckets
    ));
    let mut sum = |ring: &Ring, place: &str| {
        line(&format!(
            "summing gradients among {place}, {}: each sends {} over {}",
            ms(ring.seconds),
            sent(ring),
            ring.link
        ));
    };
    if let Some(ring) = &exchange.inside {
        sum(ring, &format!("the {} GPUs of a machine", ring.members));
    }
    if let Some(ring) = &exchange.between {
        sum(ring, &format!("{} machines", ring.members));
    }
    if let Some(speeds) = speeds {
        line(&format!(
            "in all {}: {} img/s, an efficiency of {} without overlap; with full overlap at most {}",
            ms(speeds.step_seconds),
            short(speeds.images_per_second),
            percent(speeds.efficiency),
            percent(speeds.overlapped_efficiency)
        ));
    }
    line(&format!(
        "kept free on each GPU: {} for buckets and {} for NCCL",
        exchange.buckets, exchange.communicator
    ));
    for assumption in assumptions(together) {
        line(&format!("assumed: {assumption}"));
    }
    text
}

fn sent(ring: &Ring) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of bytes, less than twice the gradients"
    )]
    Bytes(ring.sent_bytes.round() as u64)
}

fn ms(seconds: f64) -> String {
    format!("{} ms", short(1e3 * seconds))
}

/// What the figures rest on and was not said, as fragments.
fn assumptions(together: &Together) -> Vec<String> {
    let (exchange, (inside, between)) = (&together.exchange, together.is_assumed);
    let mut all = vec![
        "all of this, since nothing was measured on several GPUs".to_owned(),
        format!(
            "NCCL takes {} (users report 105 MiB to 1.5 GiB)",
            exchange.communicator
        ),
    ];
    if inside && let Some(ring) = &exchange.inside {
        all.push(format!(
            "the link inside a machine is {} (`--link` names another)",
            ring.link
        ));
    }
    if between && let Some(ring) = &exchange.between {
        all.push(format!(
            "the link between machines is {} (`--link` names another)",
            ring.link
        ));
    }
    all
}

/// The value of `ranks` in the objects of `suggest` and `explain`. Times of a step are `null` if the speed of the card is
/// not known.
pub fn to_json(
    together: &Together,
    target: &Target,
    each: &RunConfig,
    prediction: &Forecast,
) -> Value {
    let (ranks, exchange) = (&together.ranks, &together.exchange);
    let whole = together.whole(each);
    let speeds = target
        .speed_is_known()
        .then(|| together.speeds(each, prediction));
    let figure = |figure: fn(&Speeds) -> f64| speeds.as_ref().map(figure);
    let ring = |ring: &Option<Ring>, is_assumed: bool| {
        ring.map(|it| {
            json!({
                "members": it.members,
                "link": it.link.to_string(),
                "is_assumed": is_assumed,
                "bytes_per_second": it.link.bytes_per_second,
                "sent_bytes": sent(&it),
                "seconds": it.seconds,
            })
        })
    };
    json!({
        "num": ranks.num,
        "machines": ranks.num_machines(),
        "micro_batches_each": each.accumulation,
        "accumulation": whole.accumulation,
        "effective_batch": whole.effective_batch(),
        "gradients_bytes": exchange.gradients,
        "num_buckets": exchange.num_buckets,
        "inside": ring(&exchange.inside, together.is_assumed.0),
        "between": ring(&exchange.between, together.is_assumed.1),
        "agreement_seconds": exchange.agreement_seconds,
        "exchange_seconds": exchange.travel_seconds(),
        "buckets_bytes": exchange.buckets,
        "communicator_bytes": exchange.communicator,
        "step_seconds": figure(|it| it.step_seconds),
        "images_per_second": figure(|it| it.images_per_second),
        "efficiency": figure(|it| it.efficiency),
        "efficiency_with_full_overlap": figure(|it| it.overlapped_efficiency),
        "command": line_of(&together.program(), &whole),
    })
}
