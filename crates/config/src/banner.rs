//! The settings banner of the guide's script, with the other settings that affect memory.

use std::fmt::Display;

use crate::choices::CheckpointPolicy;
use crate::keys;
use crate::run::RunConfig;
use locale::Language;

const TITLE: &str = "\u{26a1} memory optimisation settings";
const ON: &str = "\u{2705} on";
const OFF: &str = "\u{274c} off";

impl RunConfig {
    /// The settings banner, ending in a newline. In Japanese the first three settings are the guide's lines.
    pub fn banner(&self, language: Language) -> String {
        let rule = "=".repeat(60);
        let line = |key: &str, value: &dyn Display| {
            let label = keys::find(key).map_or("", |key| key.banner);
            format!("{}{value}", language.word("banner", label))
        };
        let switch = |on: bool| language.word("banner", if on { ON } else { OFF });
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
            language.word("banner", TITLE).to_owned(),
            rule.clone(),
            line("use_amp", &switch(self.use_amp)),
            line("use_grad_checkpoint", &switch(checkpointing)),
            line("use_channels_last", &switch(self.use_channels_last)),
            rule.clone(),
            line("img_size", &self.img_size),
        ];
        if self.crop {
            lines.push(line("crop", &language.word("banner", ON)));
        }
        lines.push(line("batch", &batch));
        lines.push(line("amp_dtype", &precision));
        let policy = self.checkpoint_policy();
        if policy != CheckpointPolicy::Off {
            lines.push(line("grad_checkpoint_policy", &policy));
            if let Some(plan) = &self.grad_checkpoint_plan {
                let stages: Vec<_> = plan.iter().map(|keep| keep.as_str()).collect();
                lines.push(line("grad_checkpoint_plan", &stages.join(", ")));
            }
        }
        if self.split_concat {
            lines.push(line("split_concat", &language.word("banner", ON)));
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
