//! Checks for the tests of the programs: every row has a flag, and the flag sets only that row.

use std::collections::BTreeSet;

use crate::keys::{Command, KEYS, find};
use crate::run::RunConfig;

/// Values to try; a flag refuses values of the wrong type.
const VALUES: [&str; 11] = [
    "",
    "2",
    "0,9",
    "0.5",
    "on",
    "off",
    "bf16",
    "block",
    "32x48",
    "best-balance",
    "convs,convs,convs,convs,convs,convs,convs,convs,convs",
];

/// The faults in the flags of a command: an offered flag that does not set its key, a flag that
/// sets the key of another flag, or a flag that is accepted but not offered. Empty if there are
/// none.
///
/// `parse` turns the words after the command's name into a configuration.
pub fn faults(command: Command, parse: impl Fn(&[&str]) -> Option<RunConfig>) -> Vec<String> {
    let mut faults = Vec::new();
    for key in KEYS {
        let set = set_by(key.flag, &parse);
        let (name, flag) = (key.name, key.flag);
        if set.contains(name) != key.is_offered_by(command) {
            faults.push(format!("{command:?}: `{flag}` sets {set:?}, row `{name}`"));
        }
        let strangers = set.iter().filter(|&&other| find(other) != find(name));
        let strangers = strangers.filter(|&&other| find(other).is_none_or(|it| it.flag != flag));
        faults.extend(strangers.map(|it| format!("{command:?}: `{flag}` sets `{it}` as well")));
    }
    faults
}

/// The keys whose values differ between configurations with and without a flag.
fn set_by(flag: &str, parse: impl Fn(&[&str]) -> Option<RunConfig>) -> BTreeSet<&'static str> {
    let mut set = BTreeSet::new();
    // A plan is accepted only together with its policy.
    for base in [&[] as &[&str], &["--grad-checkpoint", "mixed"]] {
        let Some(before) = parse(base) else { continue };
        for value in VALUES {
            let mut words = [base, &[flag, value]].concat();
            words.retain(|word| !word.is_empty());
            if let Some(after) = parse(&words) {
                set.extend(before.differences(&after));
            }
        }
    }
    set
}
