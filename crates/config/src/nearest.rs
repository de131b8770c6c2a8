//! The most similar of several names, which a person probably meant.

/// The candidate most similar to `found`, if any is similar enough.
pub(crate) fn nearest(
    found: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // Below this similarity a suggestion misleads more often than it helps.
    const THRESHOLD: f64 = 0.6;
    // No name is longer, and the comparison takes quadratic time.
    const MAX_CHARS: usize = 64;
    if found.chars().count() > MAX_CHARS {
        return None;
    }
    let found = found.trim().to_lowercase();
    candidates
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(&found, candidate),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= THRESHOLD)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
