//! What the names that scripts use for settings are in Snug.

use config::keys::KEYS;

/// What a setting of a script becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counterpart {
    /// A key of the TOML file.
    Key(&'static str),
    /// The folder of images and masks.
    Folder,
    /// A flag.
    Flag(&'static str),
    /// Nothing, for this reason.
    Nothing(&'static str),
    /// Snug does not know the name.
    Unknown,
}

use Counterpart::{Flag, Folder, Key, Nothing, Unknown};

/// Names, separated by spaces, that are not those of a key or its aliases, or that mean something else in a script.
const NAMES: [(&str, Counterpart); 19] = [
    (
        "root root_dir data data_dir data_root data_path dataset_dir",
        Folder,
    ),
    ("dataset dataset_name", Flag("--dataset")),
    ("models_dir model_dir", Flag("--models-dir")),
    ("run_name exp_name experiment_name", Flag("--run-name")),
    ("resume resume_from", Flag("--resume")),
    ("device", Flag("--device")),
    (
        "base_channels base_ch base_filters init_features",
        Key("width"),
    ),
    ("n_classes", Key("classes")),
    ("mixed_precision", Key("use_amp")),
    ("use_checkpoint", Key("use_grad_checkpoint")),
    (
        "accum_steps grad_accum grad_accum_steps gradient_accumulation_steps",
        Key("accumulation"),
    ),
    ("val_ratio val_split validation", Key("val_percent")),
    (
        "workers num_workers",
        Nothing("Snug chooses the number of loader threads by itself (`--workers` sets it)"),
    ),
    (
        "pin_memory persistent_workers prefetch_factor",
        Nothing("Snug's loader always reads ahead and has no such setting"),
    ),
    ("optimizer optim", Nothing("Snug trains with AdamW")),
    (
        "scheduler lr_scheduler step_size gamma t_max eta_min",
        Nothing("in Snug the learning rate falls to zero along a cosine over the epochs"),
    ),
    (
        "loss criterion bce_weight dice_weight",
        Nothing(
            "Snug's loss is half BCE and half Dice, or cross-entropy and Dice for several classes",
        ),
    ),
    (
        "threshold thr pred_threshold",
        Nothing("Snug scores at 0.5 and reports the best threshold of the validation beside it"),
    ),
    (
        "use_wandb wandb_project use_tensorboard log_dir",
        Nothing(
            "Snug writes its curves into the run's folder, with `--tensorboard` as an event file as well",
        ),
    ),
];

/// The counterpart of a setting, whose name may be in capitals or have hyphens.
pub(super) fn of(name: &str) -> Counterpart {
    let normal = name.to_lowercase().replace('-', "_");
    let mut listed = NAMES
        .iter()
        .filter(|(names, _)| names.split(' ').any(|it| it == normal));
    let key = || {
        let mut keys = KEYS.iter();
        keys.find(|key| key.name == normal || key.aliases.contains(&normal.as_str()))
    };
    match listed.next() {
        Some((_, counterpart)) => *counterpart,
        None => key().map_or(Unknown, |key| Key(key.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs() {
        assert_eq!(of("USE_GRAD_CHECKPOINT"), Key("use_grad_checkpoint"));
        assert_eq!(of("batch-size"), Key("batch"));
        assert_eq!(of("BATHC"), Unknown);
        assert!(matches!(of("NUM_WORKERS"), Nothing(_)));
    }

    #[test]
    fn every_key_that_is_listed_exists() {
        for (names, counterpart) in NAMES {
            if let Key(key) = counterpart {
                assert!(config::keys::find(key).is_some(), "{names:?}");
            }
        }
    }
}
