//! The banner and the resolved file.

use config::{
    AmpDtype, CheckpointPolicy, Keep, Overrides, RunConfig, preset_toml, presets, resolve,
};
use locale::Language;

#[test]
fn banners() {
    let preset = |name| {
        resolve(Some(name), None, Overrides::default())
            .unwrap()
            .config
    };
    let balance = preset("best-balance");
    let mut memory = preset("max-memory");
    memory.accumulation = 2;
    memory.grad_checkpoint_policy = Some(CheckpointPolicy::Mixed);
    memory.grad_checkpoint_plan = Some(vec![Keep::LastConv; 9]);
    memory.split_concat = true;
    memory.amp_dtype = AmpDtype::Bf16;
    let text = [
        balance.banner(Language::English),
        memory.banner(Language::English),
        preset("speed").banner(Language::English),
        balance.banner(Language::Japanese),
        memory.banner(Language::Japanese),
    ];
    insta::assert_snapshot!("banners", text.join("\n"));
}

#[test]
fn the_japanese_banner_begins_with_the_guides() {
    let guide = "\
============================================================
⚡ メモリ最適化設定
============================================================
混合精度（AMP）:         ✅ 有効
勾配チェックポイント:     ❌ 無効
Channels-last:          ✅ 有効
============================================================
";
    assert!(
        RunConfig::default()
            .banner(Language::Japanese)
            .starts_with(guide)
    );
}

#[test]
fn resolved_files() {
    let mut config = resolve(Some("max-memory"), None, Overrides::default())
        .unwrap()
        .config;
    config.max_steps = Some(20);
    config.grad_checkpoint_policy = Some(CheckpointPolicy::Stage);
    insta::assert_snapshot!("to_toml", config.to_toml());
    let epochs = |num_steps: u64| config.epochs_of(num_steps * config.effective_batch());
    assert_eq!([1, 8].map(|it| epochs(it).to_string()), ["20", "2.5"]);
}

#[test]
fn a_name_of_any_text_is_written_so_that_it_is_read() {
    // `from_toml` reads what `to_toml` wrote, even for presets that may no longer exist.
    for name in ["a\"b", "a\\b", "\n", "\u{7f}", "speed"] {
        let config = RunConfig {
            preset: Some(name.to_owned()),
            ..RunConfig::default()
        };
        let text = config.to_toml();
        assert_eq!(RunConfig::from_toml(&text).ok(), Some(config), "{text}");
    }
}

#[test]
fn presets_are_the_guides() {
    let text: Vec<_> = presets()
        .iter()
        .map(|name| {
            let c = resolve(Some(name), None, Overrides::default())
                .unwrap()
                .config;
            format!(
                "{name}: {} batch {} amp {} checkpoint {} channels-last {} lr {:?}",
                c.img_size, c.batch, c.use_amp, c.use_grad_checkpoint, c.use_channels_last, c.lr
            )
        })
        .collect();
    insta::assert_snapshot!("presets", text.join("\n"));
    assert!(preset_toml("speed").is_some_and(|text| text.contains("schema_version = 1")));
}

#[test]
fn tensors_stand_in_the_scripts_order() {
    let lines: Vec<_> = config::Network::new(64, 2)
        .parameters()
        .iter()
        .map(|tensor| format!("{} {:?} {:?}", tensor.name, tensor.shape, tensor.role))
        .collect();
    insta::assert_snapshot!("tensors", lines.join("\n"));
}
