//! Reads the ledger of runs and fitted rates, and computes corrections from it.

#![no_main]

use advisor::ledger::{Contents, Place, to_json, to_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let contents = Contents::from_bytes(bytes);
    let place = Place::File("ledger.jsonl".into());
    to_text(&place, &contents, None);
    let json = format!("{:#}", to_json(&place, &contents, Some("a")));
    serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON");
    for entry in &contents.entries {
        let line = serde_json::to_vec(entry).expect("it was JSON");
        assert_eq!(Contents::from_bytes(&line).entries, [entry.clone()]);
    }
    for rates in &contents.rates {
        let line = serde_json::to_vec(rates).expect("it was JSON");
        assert_eq!(Contents::from_bytes(&line).rates, [rates.clone()]);
    }
});
