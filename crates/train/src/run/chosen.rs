//! Chooses the settings that the user left open, by the images and the device.

use std::fmt::{self, Write as _};

use config::{Network, Origins, RunConfig};
use data::PartSurvey;
use tch::Device;

use super::outlook::size_within;
use super::run_data::num_samples;
use super::understood::Understood;
use crate::error::Result;

/// The guide's image, in pixels, and what a CPU has time for.
const PIXELS_ON_GPU: u64 = 512 * 512;
const PIXELS_ON_CPU: u64 = 256 * 256;
/// Images are at most this many times larger where structures are thin.
const LARGER_FOR_THIN: u64 = 4;
/// The guide's batch, and what a CPU has time for.
const BATCH_ON_GPU: u64 = 12;
const BATCH_ON_CPU: u64 = 4;
/// Small images do not raise the batch beyond this.
const LARGEST_BATCH: u64 = 64;
/// Batch norm takes its statistics from at least this many images, if there are enough.
const SMALLEST_BATCH: u64 = 4;
/// Steps that an epoch of few images keeps.
const STEPS_PER_EPOCH: u64 = 16;
/// Steps of a run, if nothing ends it earlier.
const STEPS_ON_GPU: u64 = 4_000;
const STEPS_ON_CPU: u64 = 1_500;
const EPOCHS: (u64, u64) = (10, 200);
/// The network's first level on a CPU.
const WIDTH_ON_CPU: u32 = 16;
/// The learning rate of runs of up to [`FEW_STEPS`]; longer ones divide it, down to the script's.
const LR_OF_FEW_STEPS: f64 = 1e-3;
const FEW_STEPS: f64 = 5_000.0;
const SCRIPTS_LR: f64 = 1e-4;

/// A setting, its value and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) why: String,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.why)
    }
}

/// What settings follow from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choosing<'a> {
    /// The images to train on.
    pub(crate) train: &'a PartSurvey,
    /// Whether a GPU computes.
    pub(crate) is_gpu: bool,
    /// Which settings were given.
    pub(crate) origins: &'a Origins,
    /// The width of weights to start from.
    pub(crate) width: Option<u32>,
}

impl Choosing<'_> {
    /// Sets everything that is open: first the size, which [`Self::enlarge`] may raise, then what follows
    /// from it.
    pub(crate) fn size(&self, config: &mut RunConfig) -> Option<Chosen> {
        if self.is_given("img_size") {
            return None;
        }
        let (most, what) = if self.is_gpu {
            (PIXELS_ON_GPU, "as many pixels as the guide's images")
        } else {
            (PIXELS_ON_CPU, "a size that a CPU trains in reasonable time")
        };
        config.img_size = size_within(self.train, most);
        let largest = self.train.max_size.0 * self.train.max_size.1;
        let why = if largest as u64 <= most {
            "about the size of the largest image"
        } else {
            what
        };
        Some(Chosen::new("img_size", &config.img_size, why))
    }

    /// Raises the size, because structures would vanish at the present one. `None` if the images are no larger, or if
    /// the size was given.
    pub(crate) fn enlarge(&self, config: &mut RunConfig) -> Option<Chosen> {
        let base = if self.is_gpu {
            PIXELS_ON_GPU
        } else {
            PIXELS_ON_CPU
        };
        let pixels = config.img_size.pixels() * 2;
        let larger = size_within(self.train, pixels.min(base * LARGER_FOR_THIN));
        if self.is_given("img_size") || larger.pixels() <= config.img_size.pixels() * 5 / 4 {
            return None;
        }
        config.img_size = larger;
        Some(Chosen::new(
            "img_size",
            &larger,
            "masks have structures that vanish at a smaller size",
        ))
    }

    /// Cuts windows from images instead of resizing them, because structures vanish at every size that
    /// [`Self::enlarge`] tries: windows of the first size. `None` if it was given whether to.
    pub(crate) fn crop(&self, config: &mut RunConfig) -> Option<Vec<Chosen>> {
        if self.is_given("crop") {
            return None;
        }
        config.crop = true;
        let size = self.size(config);
        let why = "masks have structures that vanish when the images are resized";
        let crop = Chosen::new("crop", &true, why);
        Some(size.into_iter().chain([crop]).collect())
    }

    /// What follows from the size of images, and from how many samples there are.
    pub(crate) fn rest(&self, config: &mut RunConfig) -> Vec<Chosen> {
        let mut all = Vec::new();
        if let Some(width) = self.width.filter(|_| !self.is_given("width")) {
            config.width = width;
            all.push(Chosen::new(
                "width",
                &width,
                "the width of the weights to start from",
            ));
        } else if !self.is_gpu && !self.is_given("width") {
            config.width = WIDTH_ON_CPU;
            all.push(Chosen::new(
                "width",
                &WIDTH_ON_CPU,
                "a network that a CPU trains in reasonable time; 64 is the guide's",
            ));
        }
        let samples = num_samples(self.train, config) as u64;
        if !self.is_given("batch") {
            let (batch, why) = self.batch(config, samples);
            config.batch = batch;
            all.push(Chosen::new("batch", &batch, why));
        }
        let steps_per_epoch = samples.div_ceil(config.effective_batch()).max(1);
        if !self.is_given("epochs") {
            let steps = if self.is_gpu {
                STEPS_ON_GPU
            } else {
                STEPS_ON_CPU
            };
            let epochs = (steps / steps_per_epoch).clamp(EPOCHS.0, EPOCHS.1);
            config.epochs = u32::try_from(epochs).unwrap_or(u32::MAX);
            let total = epochs * steps_per_epoch;
            let mut why = format!("{total} steps in all, {steps_per_epoch} per epoch");
            if !self.is_given("patience") {
                let patience = config.patience.max(config.epochs / 4);
                config.patience = patience;
                // Writing to a `String` cannot fail.
                let _ = write!(
                    why,
                    "; the run ends earlier after {patience} epochs without a better IoU"
                );
            }
            all.push(Chosen::new("epochs", &epochs, &why));
        }
        if !self.is_given("lr") {
            let steps = (u64::from(config.epochs) * steps_per_epoch) as f64;
            config.lr = rate(steps);
            let why = if config.lr < LR_OF_FEW_STEPS {
                "smaller than 0.001 because there are many steps"
            } else {
                "there are few steps"
            };
            all.push(Chosen::new("lr", &config.lr, why));
        }
        all
    }

    /// As many pixels per step as in the guide, unless an epoch would have too few steps.
    fn batch(&self, config: &RunConfig, samples: u64) -> (u32, &'static str) {
        let (pixels, batch) = if self.is_gpu {
            (PIXELS_ON_GPU, BATCH_ON_GPU)
        } else {
            (PIXELS_ON_CPU, BATCH_ON_CPU)
        };
        let of_device = (pixels * batch / config.img_size.pixels()).clamp(1, LARGEST_BATCH);
        let of_data = (samples / STEPS_PER_EPOCH).max(SMALLEST_BATCH).min(samples);
        let (batch, why) = if of_data < of_device {
            let why = if config.crop {
                "few windows: more steps per epoch"
            } else {
                "few images: more steps per epoch"
            };
            (of_data, why)
        } else if self.is_gpu {
            (
                of_device,
                "as many pixels per step as the guide's 12 images of 512x512",
            )
        } else {
            (
                of_device,
                "as many pixels per step as a CPU trains in reasonable time",
            )
        };
        (u32::try_from(batch.max(1)).unwrap_or(u32::MAX), why)
    }

    fn is_given(&self, key: &str) -> bool {
        self.origins.given_by_user(key)
    }
}

impl Chosen {
    fn new(key: &'static str, value: &impl ToString, why: &str) -> Self {
        Self {
            key,
            value: value.to_string(),
            why: why.to_owned(),
        }
    }
}

/// What the settings that the user left open depend on, besides the images.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    pub(crate) origins: &'a Origins,
    pub(crate) device: Device,
    /// The network of weights to start from.
    pub(crate) warm: Option<Network>,
}

/// Sets what is open by the data and the device; the images have been [looked at](Understood::look) then.
///
/// # Errors
/// As [`Understood::look`].
pub(crate) fn choose(
    understood: &mut Understood,
    config: &mut RunConfig,
    open: &Open<'_>,
) -> Result<Vec<Chosen>> {
    let train = understood.survey.train.clone();
    let choosing = Choosing {
        train: &train,
        is_gpu: open.device.is_cuda(),
        origins: open.origins,
        width: open.warm.map(|it| it.width),
    };
    let mut size = choosing.size(config);
    understood.look(config)?;
    while understood.loses_structures()
        && let Some(larger) = choosing.enlarge(config)
    {
        size = Some(larger);
        understood.look(config)?;
    }
    let mut all: Vec<Chosen> = size.into_iter().collect();
    if understood.loses_structures()
        && let Some(cropped) = choosing.crop(config)
    {
        all = cropped;
        understood.look(config)?;
    }
    all.extend(choosing.rest(config));
    Ok(all)
}

/// The learning rate for a number of steps, with one significant digit.
fn rate(steps: f64) -> f64 {
    let rate = (LR_OF_FEW_STEPS * FEW_STEPS / steps).clamp(SCRIPTS_LR, LR_OF_FEW_STEPS);
    let unit = SCRIPTS_LR;
    // As a quotient it is the number that a person writes.
    (rate / unit).round() / unit.recip()
}

#[cfg(test)]
mod tests {
    use config::{ImageSize, Overrides, resolve};

    use super::*;

    fn choose(
        samples: usize,
        side: (usize, usize),
        is_gpu: bool,
        flags: Overrides,
    ) -> (RunConfig, Vec<String>) {
        let mut train = PartSurvey::default();
        train.samples = samples;
        (train.min_size, train.max_size) = (side, side);
        let aspect = side.1 as f64 / side.0 as f64;
        train.aspects = (aspect, aspect);
        let resolved = resolve(None, None, flags).unwrap();
        let mut config = resolved.config;
        let from = Choosing {
            train: &train,
            is_gpu,
            origins: &resolved.origins,
            width: None,
        };
        let mut all: Vec<_> = from.size(&mut config).into_iter().collect();
        all.extend(from.rest(&mut config));
        (config, all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn small_images_on_a_cpu() {
        let (_, said) = choose(80, (256, 320), false, Overrides::default());
        assert_eq!(
            said,
            [
                "img_size = 224x288: a size that a CPU trains in reasonable time",
                "width = 16: a network that a CPU trains in reasonable time; 64 is the guide's",
                "batch = 4: as many pixels per step as a CPU trains in reasonable time",
                "epochs = 75: 1500 steps in all, 20 per epoch; the run ends earlier after 18 epochs without a better IoU",
                "lr = 0.001: there are few steps",
            ]
        );
    }

    #[test]
    fn photographs_on_a_gpu() {
        let (config, said) = choose(20_000, (1080, 1920), true, Overrides::default());
        assert_eq!(
            (config.img_size, config.batch, config.width),
            (ImageSize::new(384, 688), 11, 64)
        );
        assert_eq!(
            said.last().unwrap(),
            "lr = 0.0003: smaller than 0.001 because there are many steps"
        );
        let (config, _) = choose(20_000, (96, 96), true, Overrides::default());
        assert_eq!(
            (config.img_size, config.batch),
            (ImageSize::new(96, 96), 64)
        );
    }

    #[test]
    fn what_is_given_stays() {
        let flags = Overrides {
            img_size: Some(ImageSize::new(128, 64)),
            batch: Some(3),
            epochs: Some(2),
            lr: Some(0.5),
            width: Some(8),
            ..Overrides::default()
        };
        let (config, said) = choose(80, (256, 320), false, flags.clone());
        assert_eq!(said, Vec::<String>::new());
        let unchanged = resolve(None, None, flags).unwrap().config;
        assert_eq!(config, unchanged);
    }

    #[test]
    fn one_image_is_enough() {
        let (config, _) = choose(1, (8, 8), true, Overrides::default());
        assert_eq!(
            (config.batch, config.epochs, config.img_size),
            (1, 200, ImageSize::new(64, 64))
        );
    }

    #[test]
    fn a_larger_size_ends_at_the_images() {
        let mut train = PartSurvey::default();
        train.samples = 50;
        (train.min_size, train.max_size) = ((700, 700), (700, 700));
        train.aspects = (1.0, 1.0);
        let resolved = resolve(None, None, Overrides::default()).unwrap();
        let mut config = resolved.config;
        let from = Choosing {
            train: &train,
            is_gpu: true,
            origins: &resolved.origins,
            width: None,
        };
        from.size(&mut config);
        let mut sizes = vec![config.img_size.to_string()];
        while from.enlarge(&mut config).is_some() {
            sizes.push(config.img_size.to_string());
        }
        assert_eq!(sizes, ["512x512", "704x704"]);
    }

    #[test]
    fn windows_have_the_first_size_and_are_counted() {
        let mut train = PartSurvey::default();
        train.samples = 3;
        (train.min_size, train.max_size) = ((3000, 2000), (3000, 2000));
        train.aspects = (2.0 / 3.0, 2.0 / 3.0);
        let sizes = (0..3).map(|nth| (format!("{nth}.png").into(), (3000, 2000)));
        train.sizes = sizes.collect();
        let given = |crop| Overrides {
            crop,
            ..Overrides::default()
        };
        let resolved = resolve(None, None, given(None)).unwrap();
        let mut config = resolved.config;
        let mut from = Choosing {
            train: &train,
            is_gpu: true,
            origins: &resolved.origins,
            width: None,
        };
        from.size(&mut config);
        while from.enlarge(&mut config).is_some() {}
        let mut all = from.crop(&mut config).unwrap();
        all.extend(from.rest(&mut config));
        let said: Vec<_> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "img_size = 624x416: as many pixels as the guide's images",
                "crop = true: masks have structures that vanish when the images are resized",
                "batch = 4: few windows: more steps per epoch",
                "epochs = 200: 3800 steps in all, 19 per epoch; the run ends earlier after 50 epochs without a better IoU",
                "lr = 0.001: there are few steps",
            ]
        );
        let off = resolve(None, None, given(Some(false))).unwrap();
        from.origins = &off.origins;
        assert_eq!(from.crop(&mut config), None);
    }

    #[test]
    fn rates_are_round() {
        let rates = [1.0, 5e3, 6e3, 2e4, 1e9].map(|steps| rate(steps).to_string());
        assert_eq!(rates, ["0.001", "0.001", "0.0008", "0.0003", "0.0001"]);
    }
}
