//! The keys of a configuration: names, flags, accepted values, near misses.

/// One key of the TOML schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name in TOML, in [`Origins`](crate::Origins) and in messages.
    pub name: &'static str,
    /// The flag that sets it; keys without one of their own have the name that one would have.
    pub flag: &'static str,
    /// The accepted values, to stand after "must be".
    pub accepts: &'static str,
}

const fn key(name: &'static str, flag: &'static str, accepts: &'static str) -> Key {
    Key {
        name,
        flag,
        accepts,
    }
}

const BOOL: &str = "`true` or `false`";

/// Every key, in the order in which a configuration is written.
pub const KEYS: &[Key] = &[
    key("preset", "--preset", "the name of a preset"),
    key(
        "img_size",
        "--img-size",
        "[height, width], both multiples of 16 from 16 to 65536",
    ),
    key("batch", "--batch", "a whole number from 1 to 65536"),
    key("use_amp", "--amp", BOOL),
    key("use_grad_checkpoint", "--grad-checkpoint", BOOL),
    key("use_channels_last", "--channels-last", BOOL),
    key("epochs", "--epochs", "a whole number from 1 to 4294967295"),
    key("lr", "--lr", "a finite number above 0"),
    key(
        "patience",
        "--patience",
        "a whole number from 0 (never stop early) to 4294967295",
    ),
    key(
        "seed",
        "--seed",
        "a whole number from 0 to 9223372036854775807",
    ),
    key("width", "--width", "a whole number from 1 to 1024"),
    key(
        "classes",
        "--classes",
        "a whole number from 1 (binary) to 256",
    ),
    key("amp_dtype", "--amp", "`auto`, `fp16` or `bf16`"),
    key("init_scale", "--init-scale", "a finite number above 0"),
    key(
        "grad_checkpoint_policy",
        "--grad-checkpoint",
        "`off`, `selective`, `block`, `stage`, `mixed` or `auto`",
    ),
    key(
        "grad_checkpoint_plan",
        "--grad-checkpoint-plan",
        "nine of `everything`, `convs`, `last-conv` and `nothing`, one per stage",
    ),
    key("use_reentrant", "--use-reentrant", BOOL),
    key("split_concat", "--split-concat", BOOL),
    key(
        "accumulation",
        "--accumulation",
        "a whole number from 1 to 65536",
    ),
    key("augment", "--augment", BOOL),
    key(
        "workers",
        "--workers",
        "a whole number from 0 (chosen for the machine) to 1024",
    ),
    key(
        "max_steps",
        "--max-steps",
        "a whole number from 1 to 9223372036854775807",
    ),
    key(
        "weight_decay",
        "--weight-decay",
        "a finite number of at least 0",
    ),
    key(
        "val_percent",
        "--val-percent",
        "a number above 0 and below 100",
    ),
    key("deterministic", "--deterministic", BOOL),
];

/// Names that other programs use for our keys.
const ALIASES: &[(&str, &str)] = &[
    ("batch_size", "batch"),
    ("image_size", "img_size"),
    ("size", "img_size"),
    ("learning_rate", "lr"),
    ("amp", "use_amp"),
    ("grad_checkpoint", "use_grad_checkpoint"),
    ("gradient_checkpointing", "use_grad_checkpoint"),
    ("channels_last", "use_channels_last"),
    ("num_workers", "workers"),
    ("num_classes", "classes"),
    ("num_epochs", "epochs"),
    ("accumulation_steps", "accumulation"),
    ("wd", "weight_decay"),
];

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that was probably meant by a name that is none: another case, a
/// hyphen, another program's word, or a typing slip.
pub fn nearest_key(name: &str) -> Option<&'static str> {
    let normal = name.to_lowercase().replace('-', "_");
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| *alias == normal)
        .map(|(_, key)| *key);
    let names = KEYS.iter().map(|key| key.name).chain(["schema_version"]);
    alias.or_else(|| nearest(&normal, names))
}

pub(crate) fn list() -> String {
    let names: Vec<_> = KEYS.iter().map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}

/// The candidate most like `found`, when it is like it at all.
pub(crate) fn nearest(
    found: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // Below this similarity a suggestion misleads more often than it helps.
    const THRESHOLD: f64 = 0.6;
    // No name is that long, and the comparison is quadratic.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses() {
        let cases = [
            ("USE_AMP", Some("use_amp")),
            ("IMG_SIZE", Some("img_size")),
            ("BATCH", Some("batch")),
            ("USE_GRAD_CHECKPOINT", Some("use_grad_checkpoint")),
            ("use-channels-last", Some("use_channels_last")),
            ("batch_size", Some("batch")),
            ("learning_rate", Some("lr")),
            ("epocs", Some("epochs")),
            ("schema", None),
            ("schema_versio", Some("schema_version")),
            ("", None),
            ("nothing like it", None),
        ];
        for (found, expected) in cases {
            assert_eq!(nearest_key(found), expected, "{found}");
        }
    }
}
