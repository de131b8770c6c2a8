//! What the tests of the programs ask of their flags: that each row has one, which sets that row alone.

use std::collections::BTreeSet;

use crate::keys::{Command, KEYS, find};
use crate::run::RunConfig;

/// Values to try; a flag refuses those that are not for it.
const VALUES: [&str; 10] = [
    "",
    "2",
    "0.5",
    "on",
    "off",
    "bf16",
    "block",
    "32x48",
    "best-balance",
    "convs,convs,convs,convs,convs,convs,convs,convs,convs",
];

/// What is wrong with the flags of a command: a key whose flag it offers and that the flag does not
/// set, a flag that sets a key with another flag, a flag that is taken and not offered. Empty when
/// all is well.
///
/// `parse` answers words after the command's name with the configuration that follows from them.
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

/// The keys in which configurations differ with and without a flag.
fn set_by(flag: &str, parse: impl Fn(&[&str]) -> Option<RunConfig>) -> BTreeSet<&'static str> {
    let mut set = BTreeSet::new();
    // A plan is accepted beside its policy only.
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
