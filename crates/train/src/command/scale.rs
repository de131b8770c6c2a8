//! A first run without a GPU: the preset is scaled down to the machine's size.
//!
//! Only values that the user did not set are scaled, only on the CPU, and only for built-in data.

use config::{ImageSize, Resolved};
use tch::Device;

use crate::run::run_data::Pages;

/// Pages of an unscaled run.
const FULL: Pages = Pages {
    train: 400,
    val: 80,
};
/// Pages of a scaled run.
const SCALED: Pages = Pages {
    train: 192,
    val: 48,
};
const SCALED_WIDTH: u32 = 16;
/// The image is this much smaller in each direction.
const SHRINK: u32 = 4;
const SCALED_EPOCHS: u32 = 16;
/// On small data 1e-3 converges far faster than the preset's 1e-4.
const SCALED_LR: f64 = 1e-3;

/// Scales values that the user did not set; returns the pages to draw and a line that reports it.
pub(super) fn to_machine(
    resolved: &mut Resolved,
    device: Device,
    built_in: bool,
    full_size: bool,
) -> (Pages, Option<String>) {
    if !built_in || full_size || device.is_cuda() {
        return (FULL, None);
    }
    let given = |key: &str| resolved.origins.given_by_user(key);
    let config = &mut resolved.config;
    let mut changes = Vec::new();
    if !given("width") && config.width > SCALED_WIDTH {
        changes.push(format!("width {} -> {SCALED_WIDTH}", config.width));
        config.width = SCALED_WIDTH;
    }
    if !given("img_size") {
        let from = config.img_size;
        let shrunk = |side: u32| (side / SHRINK).next_multiple_of(ImageSize::MULTIPLE);
        let to = ImageSize::new(shrunk(from.height), shrunk(from.width));
        changes.push(format!("image {from} -> {to}"));
        config.img_size = to;
    }
    if !given("epochs") {
        changes.push(format!("epochs {} -> {SCALED_EPOCHS}", config.epochs));
        config.epochs = SCALED_EPOCHS;
    }
    if !given("lr") && config.lr < SCALED_LR {
        changes.push(format!("lr {} -> {SCALED_LR}", config.lr));
        config.lr = SCALED_LR;
    }
    let line = format!(
        "no GPU: scaled to this machine ({}; {} + {} built-in pages); `--full-size` runs the \
         preset unchanged",
        changes.join(", "),
        SCALED.train,
        SCALED.val
    );
    (SCALED, Some(line))
}

#[cfg(test)]
mod tests {
    use config::{Overrides, resolve};

    use super::*;

    fn preset() -> Resolved {
        resolve(Some("best-balance"), None, Overrides::default()).unwrap()
    }

    #[test]
    fn the_preset_keeps_its_flags() {
        let mut resolved = preset();
        let (_, line) = to_machine(&mut resolved, Device::Cpu, true, false);
        assert!(line.is_some_and(|l| l.contains("--full-size") && l.contains("width 64 -> 16")));
        let config = resolved.config;
        assert!(config.use_amp && config.use_channels_last && !config.use_grad_checkpoint);
        assert_eq!(
            (config.batch, config.img_size.to_string().as_str()),
            (12, "128x128")
        );
    }

    #[test]
    fn a_value_given_is_never_scaled() {
        let flags = Overrides {
            width: Some(64),
            img_size: Some(ImageSize::new(512, 512)),
            epochs: Some(50),
            lr: Some(1e-4),
            ..Overrides::default()
        };
        let mut resolved = resolve(Some("best-balance"), None, flags).unwrap();
        let before = resolved.config.clone();
        to_machine(&mut resolved, Device::Cpu, true, false);
        assert_eq!(resolved.config, before);
    }

    #[test]
    fn a_gpu_own_data_and_full_size_run_as_given() {
        for (device, built_in, full) in [
            (Device::Cuda(0), true, false),
            (Device::Cpu, false, false),
            (Device::Cpu, true, true),
        ] {
            let mut resolved = preset();
            let (pages, line) = to_machine(&mut resolved, device, built_in, full);
            assert_eq!((resolved, pages, line), (preset(), FULL, None));
        }
    }
}
