//! Precedence (default < preset < file < flag) and round trips through a resolved file.

use config::{
    AmpDtype, AmpFlag, CheckpointFlag, CheckpointPolicy, ImageSize, Keep, Overrides, Resolved,
    RunConfig, Source, presets, resolve,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn with_file(preset: Option<&str>, toml: &str, flags: Overrides) -> Resolved {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, toml).unwrap();
    resolve(preset, Some(&path), flags).unwrap()
}

#[test]
fn nothing_given_is_best_balance() {
    let plain = resolve(None, None, Overrides::default()).unwrap().config;
    let named = resolve(Some("best-balance"), None, Overrides::default())
        .unwrap()
        .config;
    assert_eq!(
        plain,
        RunConfig {
            preset: None,
            ..named
        }
    );
    assert_eq!(plain, RunConfig::default());
}

#[test]
fn a_file_names_its_preset_and_a_flag_replaces_it() {
    let file = "preset = \"speed\"\nlr = 0.5";
    let resolved = with_file(None, file, Overrides::default());
    assert_eq!((resolved.config.batch, resolved.config.lr), (8, 0.5));
    assert_eq!(
        resolved.origins.of("batch"),
        &Source::Preset("speed".into())
    );
    assert!(!resolved.origins.given_by_user("batch") && resolved.origins.given_by_user("lr"));
    let resolved = with_file(Some("max-memory"), file, Overrides::default());
    assert_eq!((resolved.config.batch, resolved.config.lr), (16, 0.5));
    assert_eq!(resolved.config.preset.as_deref(), Some("max-memory"));
}

#[test]
fn flags_that_set_two_keys_win_over_both() {
    let file =
        "use_grad_checkpoint = true\ngrad_checkpoint_policy = \"stage\"\namp_dtype = \"fp16\"";
    let mut flags = Overrides::default();
    "off".parse::<CheckpointFlag>().unwrap().apply(&mut flags);
    "bf16".parse::<AmpFlag>().unwrap().apply(&mut flags);
    let resolved = with_file(None, file, flags);
    assert_eq!(resolved.config.checkpoint_policy(), CheckpointPolicy::Off);
    assert_eq!(resolved.config.amp_dtype, AmpDtype::Bf16);
    assert_eq!(
        resolved.origins.of("use_grad_checkpoint"),
        &Source::Flag("--grad-checkpoint")
    );
    assert_eq!(resolved.origins.of("amp_dtype"), &Source::Flag("--amp"));
}

#[test]
fn switching_off_forgets_the_policy_below() {
    let file = "use_grad_checkpoint = true\ngrad_checkpoint_policy = \"stage\"";
    let flags = Overrides {
        use_grad_checkpoint: Some(false),
        ..Overrides::default()
    };
    let resolved = with_file(None, file, flags);
    assert_eq!(resolved.config.checkpoint_policy(), CheckpointPolicy::Off);
    assert_eq!(
        resolved.origins.of("grad_checkpoint_policy"),
        &Source::Default
    );
}

#[test]
fn the_switch_alone_means_block() {
    let resolved = resolve(Some("max-memory"), None, Overrides::default()).unwrap();
    assert_eq!(resolved.config.checkpoint_policy(), CheckpointPolicy::Block);
    assert_eq!(resolved.config.network().width, 64);
}

fn sides() -> impl Strategy<Value = u32> {
    (1..=256_u32).prop_map(|sixteenths| sixteenths * 16)
}

fn positive() -> impl Strategy<Value = f64> {
    prop_oneof![
        1e-12..1e12_f64,
        Just(f64::MIN_POSITIVE),
        Just(f64::MAX),
        Just(1.0)
    ]
}

prop_compose! {
    fn overrides()(
        img_size in option::of((sides(), sides()).prop_map(|(h, w)| ImageSize::new(h, w))),
        (batch, epochs, lr, patience, seed) in (
            option::of(1..=65_536_u32),
            option::of(1..=u32::MAX),
            option::of(positive()),
            option::of(any::<u32>()),
            option::of(0..=i64::MAX.unsigned_abs()),
        ),
        (use_amp, amp_dtype, use_channels_last, augment, deterministic) in (
            option::of(any::<bool>()),
            option::of(select(AmpDtype::ALL)),
            option::of(any::<bool>()),
            option::of(any::<bool>()),
            option::of(any::<bool>()),
        ),
        checkpoint in option::of(select(CheckpointPolicy::ALL)),
        (width, classes, accumulation, workers) in (
            option::of(1..=1024_u32),
            option::of(1..=255_u32),
            option::of(1..=65_536_u32),
            option::of(0..=1024_u32),
        ),
        (init_scale, max_steps, weight_decay, val_percent) in (
            option::of(positive()),
            option::of(1..=i64::MAX.unsigned_abs()),
            option::of(prop_oneof![Just(0.0), positive()]),
            option::of(0.001..99.999_f64),
        ),
    ) -> Overrides {
        let mut values = Overrides {
            img_size, batch, use_amp, use_channels_last, epochs, lr, patience, seed, width,
            classes, amp_dtype, init_scale, accumulation, augment, workers, max_steps,
            weight_decay, val_percent, deterministic, ..Overrides::default()
        };
        if let Some(policy) = checkpoint {
            CheckpointFlag::Policy(policy).apply(&mut values);
        }
        values
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(
        preset in option::of(select(presets().to_vec())),
        flags in overrides(),
    ) {
        let first = resolve(preset, None, flags).unwrap().config;
        let again = with_file(None, &first.to_toml(), Overrides::default());
        prop_assert_eq!(again.config, first);
        prop_assert!(again.origins.given_by_user("batch"));
    }

    #[test]
    fn the_nearer_layer_wins(
        preset in option::of(select(presets().to_vec())),
        in_file in overrides(),
        flags in overrides(),
    ) {
        let base = resolve(preset, None, Overrides::default()).unwrap().config;
        let toml = file_of(&in_file);
        let resolved = with_file(preset, &toml, flags.clone());
        let config = &resolved.config;
        prop_assert_eq!(config.batch, flags.batch.or(in_file.batch).unwrap_or(base.batch));
        let lr = flags.lr.or(in_file.lr).unwrap_or(base.lr);
        prop_assert_eq!(config.lr.to_bits(), lr.to_bits());
        prop_assert_eq!(config.img_size, flags.img_size.or(in_file.img_size).unwrap_or(base.img_size));
        prop_assert_eq!(config.use_amp, flags.use_amp.or(in_file.use_amp).unwrap_or(base.use_amp));
        prop_assert_eq!(config.max_steps, flags.max_steps.or(in_file.max_steps));
        let given = flags.batch.is_some() || in_file.batch.is_some();
        prop_assert_eq!(resolved.origins.given_by_user("batch"), given);
        if flags.batch.is_some() {
            prop_assert_eq!(resolved.origins.of("batch"), &Source::Flag("--batch"));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z_]{0,12} ?=? ?[-0-9a-z\"\\[\\],. \n]{0,24}") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        if let Err(error) = resolve(None, Some(&path), Overrides::default()) {
            prop_assert!(error.to_string().contains("run.toml"));
        }
    }
}

/// The keys of the precedence test as TOML; only keys that are set.
fn file_of(values: &Overrides) -> String {
    let mut lines = Vec::new();
    lines.extend(values.batch.map(|batch| format!("batch = {batch}")));
    lines.extend(values.lr.map(|lr| format!("lr = {lr:?}")));
    lines.extend(
        values
            .img_size
            .map(|size| format!("img_size = [{}, {}]", size.height, size.width)),
    );
    lines.extend(values.use_amp.map(|on| format!("use_amp = {on}")));
    lines.extend(values.max_steps.map(|steps| format!("max_steps = {steps}")));
    lines.join("\n")
}

/// A plan belongs to the policy `mixed` that it was given with.
#[test]
fn a_plan_goes_with_its_policy() {
    let stages = ["\"convs\""; 9].join(", ");
    let file = format!(
        "use_grad_checkpoint = true\ngrad_checkpoint_policy = \"mixed\"\n\
         grad_checkpoint_plan = [{stages}]\nsplit_concat = true"
    );
    let with = |flag: Option<CheckpointFlag>| {
        let mut flags = Overrides::default();
        if let Some(flag) = flag {
            flag.apply(&mut flags);
        }
        with_file(None, &file, flags).config
    };
    let plan = Some(vec![Keep::Convs; 9]);
    assert_eq!(with(None).grad_checkpoint_plan, plan);
    assert!(with(None).split_concat);
    let mixed = with(Some(CheckpointFlag::Policy(CheckpointPolicy::Mixed)));
    assert_eq!(mixed.grad_checkpoint_plan, plan);
    for policy in [CheckpointPolicy::Off, CheckpointPolicy::Selective] {
        let other = with(Some(CheckpointFlag::Policy(policy)));
        assert_eq!(other.grad_checkpoint_plan, None, "{policy}");
        assert_eq!(other.checkpoint_policy(), policy);
    }
}
