//! Formats a configuration as a command line to copy.

use std::fmt::Write as _;

use config::{Checkpointing, Overrides, RunConfig, resolve};

/// Columns that a command may take on a terminal.
const MAX_COLUMNS: usize = 120;

/// What trains on one device.
pub(crate) const PROGRAM: &str = "cargo xtask train";

/// Returns `cargo xtask train` with a flag for each key in which the configuration differs from its preset.
pub fn line(config: &RunConfig) -> String {
    line_of(PROGRAM, config)
}

/// The same for another program that takes these flags.
pub(crate) fn line_of(program: &str, config: &RunConfig) -> String {
    let preset = config.preset.as_deref().unwrap_or("best-balance");
    let base = resolve(Some(preset), None, Overrides::default())
        .map_or_else(|_| RunConfig::default(), |resolved| resolved.config);
    [format!("{program} --preset {preset}"), flags(&base, config)]
        .join(" ")
        .trim_end()
        .to_owned()
}

/// The flags that a command for `base` needs for `config`.
pub fn flags(base: &RunConfig, config: &RunConfig) -> String {
    let mut line = String::new();
    let mut put = |flag: &str, from: &dyn ToString, to: &dyn ToString| {
        if from.to_string() != to.to_string() {
            // Writing to a `String` cannot fail.
            let _ = write!(line, " --{flag} {}", to.to_string());
        }
    };
    let on = |on: bool| if on { "on" } else { "off" };
    put("img-size", &base.img_size, &config.img_size);
    put("width", &base.width, &config.width);
    put("in-channels", &base.in_channels, &config.in_channels);
    put("classes", &base.classes, &config.classes);
    put("batch", &base.batch, &config.batch);
    put("accumulation", &base.accumulation, &config.accumulation);
    let amp = |config: &RunConfig| {
        if config.use_amp {
            config.amp_dtype.as_str()
        } else {
            "off"
        }
    };
    put("amp", &amp(base), &amp(config));
    put(
        "channels-last",
        &on(base.use_channels_last),
        &on(config.use_channels_last),
    );
    let checkpointing = |config: &RunConfig| match config.checkpointing() {
        Checkpointing {
            plan: Some(plan), ..
        } => plan.to_string(),
        other => other.policy.to_string(),
    };
    put(
        "grad-checkpoint",
        &checkpointing(base),
        &checkpointing(config),
    );
    put(
        "split-concat",
        &on(base.split_concat),
        &on(config.split_concat),
    );
    line.trim_start().to_owned()
}

/// The same for a terminal, indented: a command that is too wide goes on in the next line, as a shell
/// reads it.
pub(crate) fn indented(program: &str, config: &RunConfig) -> String {
    let line = line_of(program, config);
    let mut text = String::from(" ");
    let mut columns = text.len();
    // A flag stays with its value.
    for part in line.replace(" --", "\n--").lines() {
        if columns + " ".len() + part.len() + " \\".len() > MAX_COLUMNS {
            text.push_str(" \\\n     ");
            columns = "     ".len();
        }
        text.push(' ');
        text.push_str(part);
        columns += " ".len() + part.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use config::{ImageSize, Keep};

    use super::*;

    #[test]
    fn a_wide_command_is_broken_between_flags() {
        let config = RunConfig {
            img_size: ImageSize::new(1024, 1024),
            width: 128,
            classes: 12,
            batch: 1024,
            accumulation: 16,
            split_concat: true,
            ..RunConfig::default().with_plan(vec![Keep::Nothing; 9])
        };
        let text = indented(PROGRAM, &config);
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.len() <= MAX_COLUMNS), "{text}");
        let joined: Vec<_> = text
            .replace('\\', " ")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(joined.join(" "), line(&config));
    }
}
