//! The settings banner of the guide's script, with what else decides memory.

use crate::choices::CheckpointPolicy;
use crate::run::RunConfig;

/// The language of the banner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese, word for word as in the guide.
    Japanese,
}

impl Language {
    /// Japanese for a locale such as `ja_JP.UTF-8`, else English.
    ///
    /// The caller reads `LC_ALL`, `LC_MESSAGES` and `LANG`, in this order.
    pub fn from_locale(locale: Option<&str>) -> Self {
        let language = locale
            .unwrap_or_default()
            .split(['_', '.', '-', '@'])
            .next();
        match language {
            Some("ja") => Self::Japanese,
            _ => Self::English,
        }
    }
}

/// Words of one language. Labels are padded by hand: kana and kanji are two
/// columns wide. The first three lines of the Japanese are the guide's, spaces
/// included.
struct Words {
    title: &'static str,
    on: &'static str,
    off: &'static str,
    amp: &'static str,
    checkpoint: &'static str,
    channels_last: &'static str,
    img_size: &'static str,
    batch: &'static str,
    precision: &'static str,
    policy: &'static str,
    plan: &'static str,
    split_concat: &'static str,
    width: &'static str,
    epochs: &'static str,
}

const ENGLISH: Words = Words {
    title: "\u{26a1} memory optimisation settings",
    on: "\u{2705} on",
    off: "\u{274c} off",
    amp: "mixed precision (AMP):   ",
    checkpoint: "gradient checkpointing:  ",
    channels_last: "channels-last:           ",
    img_size: "image size (H x W):      ",
    batch: "batch:                   ",
    precision: "precision:               ",
    policy: "checkpoint policy:       ",
    plan: "plan, stage by stage:    ",
    split_concat: "split concatenation:     ",
    width: "width, classes:          ",
    epochs: "epochs, learning rate:   ",
};

const JAPANESE: Words = Words {
    title: "⚡ メモリ最適化設定",
    on: "✅ 有効",
    off: "❌ 無効",
    amp: "混合精度（AMP）:         ",
    checkpoint: "勾配チェックポイント:     ",
    channels_last: "Channels-last:          ",
    img_size: "画像サイズ（高さx幅）:   ",
    batch: "バッチ:                  ",
    precision: "演算精度:                ",
    policy: "再計算の方針:            ",
    plan: "ステージごとの計画:      ",
    split_concat: "結合の分割:              ",
    width: "幅、クラス数:            ",
    epochs: "エポック数、学習率:      ",
};

impl RunConfig {
    /// The settings banner, ending in a newline.
    pub fn banner(&self, language: Language) -> String {
        let words = match language {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
        };
        let rule = "=".repeat(60);
        let switch = |on: bool| if on { words.on } else { words.off };
        let batch = match self.accumulation {
            1 => self.batch.to_string(),
            n => format!("{} x {n} = {}", self.batch, self.effective_batch()),
        };
        let precision = if self.use_amp {
            format!("AMP {}", self.amp_dtype)
        } else {
            "fp32".to_owned()
        };
        let policy = self.checkpoint_policy();
        let mut lines = vec![
            rule.clone(),
            words.title.to_owned(),
            rule.clone(),
            format!("{}{}", words.amp, switch(self.use_amp)),
            format!("{}{}", words.checkpoint, switch(self.use_grad_checkpoint)),
            format!("{}{}", words.channels_last, switch(self.use_channels_last)),
            rule.clone(),
            format!("{}{}", words.img_size, self.img_size),
            format!("{}{batch}", words.batch),
            format!("{}{precision}", words.precision),
        ];
        if policy != CheckpointPolicy::Off {
            lines.push(format!("{}{policy}", words.policy));
            if let Some(plan) = &self.grad_checkpoint_plan {
                let stages: Vec<_> = plan.iter().map(|keep| keep.as_str()).collect();
                lines.push(format!("{}{}", words.plan, stages.join(", ")));
            }
        }
        if self.split_concat {
            lines.push(format!("{}{}", words.split_concat, words.on));
        }
        lines.push(format!("{}{}, {}", words.width, self.width, self.classes));
        lines.push(format!("{}{}, {:?}", words.epochs, self.epochs, self.lr));
        lines.push(rule);
        lines.join("\n") + "\n"
    }
}
