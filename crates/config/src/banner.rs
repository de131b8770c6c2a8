//! The settings banner of the guide's script, with the other settings that affect memory.

use std::fmt::Display;

use crate::choices::CheckpointPolicy;
use crate::keys;
use crate::run::RunConfig;

/// The language of the banner, in the order of the labels of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese, word for word as in the guide.
    Japanese,
}

impl Language {
    /// Japanese for a locale such as `ja_JP.UTF-8`, otherwise English.
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

/// The words of a banner except the labels of the keys, which are in the rows. The first three
/// Japanese lines are the guide's, including the spaces.
struct Words {
    title: &'static str,
    on: &'static str,
    off: &'static str,
}

const ENGLISH: Words = Words {
    title: "\u{26a1} memory optimisation settings",
    on: "\u{2705} on",
    off: "\u{274c} off",
};

const JAPANESE: Words = Words {
    title: "⚡ メモリ最適化設定",
    on: "✅ 有効",
    off: "❌ 無効",
};

impl RunConfig {
    /// The settings banner, ending in a newline.
    pub fn banner(&self, language: Language) -> String {
        let words = match language {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
        };
        let rule = "=".repeat(60);
        let line = |key: &str, value: &dyn Display| {
            let labels = keys::find(key).map_or(&[] as &[_], |key| key.banner);
            format!("{}{value}", labels.get(language as usize).unwrap_or(&""))
        };
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
        let checkpointing = self.use_grad_checkpoint;
        let mut lines = vec![
            rule.clone(),
            words.title.to_owned(),
            rule.clone(),
            line("use_amp", &switch(self.use_amp)),
            line("use_grad_checkpoint", &switch(checkpointing)),
            line("use_channels_last", &switch(self.use_channels_last)),
            rule.clone(),
            line("img_size", &self.img_size),
            line("batch", &batch),
            line("amp_dtype", &precision),
        ];
        let policy = self.checkpoint_policy();
        if policy != CheckpointPolicy::Off {
            lines.push(line("grad_checkpoint_policy", &policy));
            if let Some(plan) = &self.grad_checkpoint_plan {
                let stages: Vec<_> = plan.iter().map(|keep| keep.as_str()).collect();
                lines.push(line("grad_checkpoint_plan", &stages.join(", ")));
            }
        }
        if self.split_concat {
            lines.push(line("split_concat", &words.on));
        }
        let network = format_args!("{}, {}", self.width, self.classes);
        lines.push(line("width", &network));
        // The banner of the guide has no such line.
        if self.in_channels != Self::default().in_channels {
            lines.push(line("in_channels", &self.in_channels));
        }
        lines.push(line(
            "epochs",
            &format_args!("{}, {:?}", self.epochs, self.lr),
        ));
        lines.push(rule);
        lines.join("\n") + "\n"
    }
}
