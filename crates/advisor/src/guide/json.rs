//! Prints the checked guide as JSON.

use machine::Device;
use serde_json::{Value, json};

use super::check::{GuideCheck, Measurements};
use crate::json::describe;
use crate::target::Target;

/// The object that `advisor guide --json` prints, schema 1. It has the fields of [`GuideCheck`].
pub fn to_json(
    device: &Device,
    target: &Target,
    check: &GuideCheck,
    measured: Option<Measurements<'_>>,
) -> Value {
    let measured = measured.map(|Measurements { name, results }| {
        let (device, date) = (&results.device.name, &results.date);
        json!({ "file": name, "device": device, "date": date })
    });
    json!({
        "schema_version": 1,
        "device": describe(device, target),
        "measured": measured,
        "width": check.width,
        "rows": check.rows,
        "claims": check.claims,
    })
}
