//! Finds a card by name, as people write it.

use config::Bytes;

use super::Card;

/// Below this Jaro-Winkler similarity (0 to 1) a name is not worth proposing.
const ALIKE: f64 = 0.8;
const MOST: usize = 5;

/// Words that do not help to identify a card.
const MAKERS: [&str; 3] = ["nvidia", "geforce", "tesla"];
/// Words that people leave out, although they distinguish some cards.
const SERIES: [&str; 3] = ["rtx", "gtx", "quadro"];

pub(super) fn lookup(cards: &'static [Card], name: &str) -> Option<&'static Card> {
    let words = words(name);
    find(cards, &words).or_else(|| {
        let (words, memory) = split_size(&words)?;
        let found = find(cards, words)?;
        let mut same = cards.iter().filter(|card| card.name == found.name);
        same.find(|card| card.memory == memory)
    })
}

pub(super) fn near(cards: &'static [Card], name: &str) -> Vec<&'static str> {
    let parts = words(name);
    let wanted = parts.concat();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut scored: Vec<(f64, &'static str)> = Vec::new();
    for card in cards {
        if scored.last().is_some_and(|&(_, last)| last == card.name) {
            continue;
        }
        let known = words(card.name);
        // A card whose name contains every given word ranks above any card that is only similar.
        let score = if parts.iter().all(|part| known.contains(part)) {
            1.0
        } else {
            strsim::jaro_winkler(&wanted, &known.concat()).max(strsim::jaro_winkler(
                &wanted,
                &without_series(&known).concat(),
            ))
        };
        scored.push((score, card.name));
    }
    scored.retain(|&(score, _)| score >= ALIKE);
    // The sort is stable: among equal scores the older card stays first.
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    scored
        .into_iter()
        .take(MOST)
        .map(|(_, name)| name)
        .collect()
}

/// The card whose whole name the words are, with or without a leading `RTX` or `GTX`; otherwise the
/// only card whose name begins with them.
fn find(cards: &'static [Card], wanted: &[String]) -> Option<&'static Card> {
    if wanted.is_empty() {
        return None;
    }
    let matching = |fits: &dyn Fn(&[String]) -> bool| -> Vec<&'static Card> {
        let fits = |card: &&Card| fits(&words(card.name));
        cards.iter().filter(fits).collect()
    };
    let whole = matching(&|known| {
        let short = known.split_first().filter(|(first, _)| *first != "quadro");
        known == wanted || short.is_some_and(|(first, rest)| is_series(first) && rest == wanted)
    });
    one_name(&whole).or_else(|| {
        // `RTX 4000` may mean the Turing card (`Quadro RTX 4000`) or the Ada card: choose neither.
        one_name(&matching(&|known| {
            known.starts_with(wanted) || without_series(known).starts_with(wanted) || {
                let rest = known.strip_prefix(&["quadro".to_owned()]);
                rest.is_some_and(|rest| rest.starts_with(wanted))
            }
        }))
    })
}

/// The first of the cards, if all have the same name.
fn one_name(cards: &[&'static Card]) -> Option<&'static Card> {
    let first = *cards.first()?;
    cards
        .iter()
        .all(|card| card.name == first.name)
        .then_some(first)
}

fn is_series(word: &str) -> bool {
    SERIES.contains(&word)
}

/// The words after the series words.
fn without_series(words: &[String]) -> &[String] {
    let series = words.iter().take_while(|word| is_series(word)).count();
    words.get(series..).unwrap_or_default()
}

/// The runs of letters (in lower case) and of digits: `RTX3060Ti` becomes `rtx`, `3060`, `ti`.
fn words(name: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut last = None;
    for c in name.chars() {
        let kind = c.is_alphanumeric().then(|| c.is_ascii_digit());
        match (kind, all.last_mut()) {
            (Some(_), Some(word)) if kind == last => word.extend(c.to_lowercase()),
            (Some(_), _) => all.push(c.to_lowercase().collect()),
            (None, _) => {}
        }
        last = kind;
    }
    all.retain(|word| !MAKERS.contains(&word.as_str()));
    all
}

/// The words before a trailing size in GB or GiB, and that size.
fn split_size(words: &[String]) -> Option<(&[String], Bytes)> {
    let (rest, [number, unit]) = words.split_last_chunk()?;
    let number: u64 = number.parse().ok()?;
    let memory = Bytes(number.checked_mul(Bytes::GIB)?);
    matches!(unit.as_str(), "gb" | "gib" | "g").then_some((rest, memory))
}

#[cfg(test)]
mod tests {
    use config::Bytes;
    use proptest::prelude::*;

    use crate::Hardware;

    fn name(text: &str) -> Option<&'static str> {
        Hardware::lookup(text).map(|card| card.name)
    }

    #[test]
    fn tolerant() {
        for (text, expected) in [
            ("RTX 3060", "NVIDIA GeForce RTX 3060"),
            ("3060", "NVIDIA GeForce RTX 3060"),
            ("geforce rtx3060", "NVIDIA GeForce RTX 3060"),
            ("3060 ti", "NVIDIA GeForce RTX 3060 Ti"),
            ("rtx3060ti", "NVIDIA GeForce RTX 3060 Ti"),
            ("GeForce GTX 1080 Ti", "NVIDIA GeForce GTX 1080 Ti"),
            ("1060 6gb", "NVIDIA GeForce GTX 1060 6GB"),
            ("4090 laptop", "NVIDIA GeForce RTX 4090 Laptop GPU"),
            ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation"),
            ("quadro rtx 6000", "Quadro RTX 6000"),
            ("A6000", "NVIDIA RTX A6000"),
            ("a100-sxm4-80gb", "NVIDIA A100-SXM4-80GB"),
            ("NVIDIA T4", "Tesla T4"),
            ("V100 SXM2 32GB", "Tesla V100-SXM2-32GB"),
            ("L40S", "NVIDIA L40S"),
            ("L40", "NVIDIA L40"),
            ("h100 80gb hbm3", "NVIDIA H100 80GB HBM3"),
            ("H200", "NVIDIA H200"),
        ] {
            assert_eq!(name(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn every_name_finds_itself() {
        for card in Hardware::cards() {
            assert_eq!(name(card.name), Some(card.name));
            let sized = Hardware::lookup_with_memory(card.name, card.memory);
            assert_eq!(sized, Some(card));
        }
    }

    #[test]
    fn sizes() {
        let gib = |text| Hardware::lookup(text).map(|card| card.memory.0 / Bytes::GIB);
        assert_eq!(gib("RTX 3060"), Some(12));
        assert_eq!(gib("RTX 3060 8GB"), Some(8));
        assert_eq!(gib("rtx 3080 12 GiB"), Some(12));
        assert_eq!(gib("rtx 3080 13 GiB"), None);
        // What NVML reports for an 8 GiB card.
        let card = Hardware::lookup_with_memory("NVIDIA GeForce RTX 3060", Bytes::from_mib(8188));
        assert_eq!(card.map(|card| card.memory.0 / Bytes::GIB), Some(8));
    }

    #[test]
    fn unknown_or_ambiguous() {
        for text in [
            "",
            " ",
            "NVIDIA",
            "GeForce",
            "RTX",
            "A100",
            "V100",
            "H100",
            "RTX 4000",
            "RTX 6000",
            "GTX 1060",
            "30",
            "RTX 306",
            "Radeon RX 7900",
            "8gb",
            "TITAN",
            "2",
        ] {
            assert_eq!(name(text), None, "{text}");
        }
    }

    #[test]
    fn near_misses() {
        assert_eq!(Hardware::near("RTX 3061")[0], "NVIDIA GeForce RTX 3060");
        assert!(Hardware::near("RTX 6000").contains(&"NVIDIA RTX 6000 Ada Generation"));
        assert!(
            Hardware::near("A100")
                .iter()
                .any(|name| name.contains("A100"))
        );
        assert_eq!(Hardware::near("abacus"), Vec::<&str>::new());
        assert_eq!(Hardware::near(""), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text: String, digits in "[a-z0-9 ]{0,12}") {
            for text in [text, digits] {
                if let Some(card) = Hardware::lookup(&text) {
                    prop_assert!(Hardware::cards().contains(card));
                }
                prop_assert!(Hardware::near(&text).len() <= 5);
            }
        }
    }
}
