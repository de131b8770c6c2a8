//! The keys that Python names in `MemoryKeys` are those of `advisor explain`.

use std::collections::BTreeSet;

use config::keys::{Command, KEYS};

const TYPES: &str = include_str!("../python/snug/_types.py");

#[test]
fn python_names_every_key_that_decides_the_memory() {
    let (_, class) = TYPES.split_once("class MemoryKeys(").unwrap();
    let (class, _) = class.split_once("\n\n\n").unwrap();
    let named: BTreeSet<&str> = class
        .lines()
        .filter_map(|line| Some(line.strip_prefix("    ")?.split_once(": ")?.0))
        .collect();
    // The preset is an argument of its own.
    let offered = KEYS
        .iter()
        .filter(|key| key.is_offered_by(Command::Explain) && key.name != "preset");
    let offered: BTreeSet<&str> = offered.map(|key| key.name).collect();
    assert_eq!(named, offered);
}
