//! What training would make of a folder of images, and what would suit them better.

use std::fmt;

use config::{ImageSize, RunConfig};
use data::PartSurvey;
use serde::Serialize;

use super::run_data::num_samples;

/// Proportions and sizes that differ by less are alike.
const ALIKE: f64 = 1.25;
/// Fewer images are few.
const FEW_IMAGES: usize = 500;
/// The learning rate for few images, which `docs/guide/data.md` speaks of.
const FASTER: f64 = 1e-3;
/// Sides of images that enter a network are multiples of it.
const UNIT: u32 = 16;
/// The shortest side that is proposed: a side is halved four times.
const SHORTEST: u32 = 64;

/// What training would make of images.
#[derive(Debug, Serialize)]
pub(crate) struct Outlook {
    img_size: ImageSize,
    /// Whether windows of this size are cut from images, which are not resized then.
    crop: bool,
    images_per_step: usize,
    steps_per_epoch: usize,
    lr: f64,
    /// A size that suits the images better.
    better_img_size: Option<ImageSize>,
    /// Whether windows would keep structures that vanish at this size.
    better_crop: bool,
    /// A learning rate that suits their number better.
    better_lr: Option<f64>,
    #[serde(skip)]
    change: String,
    #[serde(skip)]
    are_small: bool,
}

impl Outlook {
    /// What training under `config` would make of the images of a part, which may lose structures by it.
    pub(crate) fn of(train: &PartSurvey, config: &RunConfig, loses_structures: bool) -> Self {
        let (images, img_size) = (num_samples(train, config), config.img_size);
        let are_small = are_small(train, img_size);
        let better_size = better_size(train, img_size);
        let batch = usize::try_from(config.effective_batch()).unwrap_or(images);
        let images_per_step = images.min(batch);
        let learns_slowly = images < FEW_IMAGES && config.lr < FASTER;
        Self {
            img_size,
            crop: config.crop,
            images_per_step,
            steps_per_epoch: images.div_ceil(images_per_step.max(1)),
            lr: config.lr,
            // The proportions of windows are not those of images.
            better_img_size: better_size.filter(|_| !config.crop || are_small),
            better_crop: loses_structures && !config.crop,
            better_lr: learns_slowly.then_some(FASTER),
            change: if config.crop {
                "windows of images at their own resolution".to_owned()
            } else {
                change(train, img_size)
            },
            are_small,
        }
    }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |num: usize| if num == 1 { "" } else { "s" };
        let (images, steps) = (self.images_per_step, self.steps_per_epoch);
        let sample = if self.crop { "window" } else { "image" };
        write!(
            f,
            "training: at {} ({}), {images} {sample}{} per step, {steps} step{} per epoch, learning rate {:?}",
            self.img_size,
            self.change,
            plural(images),
            plural(steps),
            self.lr
        )?;
        if let Some(size) = self.better_img_size {
            let why = if self.are_small {
                "is about the size of the largest, and takes less memory and time"
            } else {
                "keeps their proportions"
            };
            write!(f, "; `--img-size {size}` {why}")?;
        }
        if self.better_crop {
            write!(f, "; `--crop on` keeps structures that vanish at this size")?;
        }
        if let Some(lr) = self.better_lr {
            write!(f, "; with few {sample}s, `--lr {lr:?}` learns faster")?;
        }
        Ok(())
    }
}

/// What becomes of the sides of images.
fn change(train: &PartSurvey, to: ImageSize) -> String {
    let (low, high) = shrinking(train, to);
    let is_near = |ratio: f64| (1.0 / ALIKE..=ALIKE).contains(&ratio);
    if train.min_size == train.max_size && train.min_size == (to.height as usize, to.width as usize)
    {
        "unchanged".to_owned()
    } else if is_near(low) && is_near(high) {
        "about their size".to_owned()
    } else if low >= 1.0 {
        format!("their sides divided by {}", span(low, high))
    } else if high <= 1.0 {
        format!("their sides multiplied by {}", span(1.0 / high, 1.0 / low))
    } else if is_stretched(train, to) {
        "stretched".to_owned()
    } else {
        "some shrunk, some enlarged".to_owned()
    }
}

/// Whether one side of every image is shortened and the other lengthened.
fn is_stretched(train: &PartSurvey, to: ImageSize) -> bool {
    let (least, most) = (train.min_size, train.max_size);
    let (height, width) = (to.height as usize, to.width as usize);
    (most.0 <= height && least.1 >= width) || (least.0 >= height && most.1 <= width)
}

fn span(low: f64, high: f64) -> String {
    let [low, high] = [low, high].map(|it| format!("{it:.1}"));
    if low == high {
        low
    } else {
        format!("{low} to {high}")
    }
}

/// Whether all sides of all images are clearly shorter than those of `to`.
fn are_small(train: &PartSurvey, to: ImageSize) -> bool {
    shrinking(train, to).1 < 1.0 / ALIKE
}

/// The least and the most that a side is divided by.
fn shrinking(train: &PartSurvey, to: ImageSize) -> (f64, f64) {
    let of = |(height, width): (usize, usize)| {
        [
            height as f64 / f64::from(to.height),
            width as f64 / f64::from(to.width),
        ]
    };
    let [least, most] = [train.min_size, train.max_size].map(of);
    (least[0].min(least[1]), most[0].max(most[1]))
}

/// A size that suits the images better: of their proportions, if they have the same and `to` has others, and not
/// larger than they are.
fn better_size(train: &PartSurvey, to: ImageSize) -> Option<ImageSize> {
    let (narrow, wide) = train.aspects;
    let aspect = (narrow * wide).sqrt();
    if narrow <= 0.0 || wide / narrow > ALIKE {
        return None;
    }
    let ratio = aspect * f64::from(to.height) / f64::from(to.width);
    if ratio.max(1.0 / ratio) < ALIKE && !are_small(train, to) {
        return None;
    }
    let size = size_within(train, to.pixels());
    (size != to && size.is_valid()).then_some(size)
}

/// A size of at most about this many pixels, of the images' proportions if they have the same, otherwise square, and
/// not larger than the largest.
pub(crate) fn size_within(train: &PartSurvey, most_pixels: u64) -> ImageSize {
    let (narrow, wide) = train.aspects;
    let aspect = if narrow > 0.0 && wide / narrow <= ALIKE {
        (narrow * wide).sqrt()
    } else {
        1.0
    };
    let pixels = (most_pixels as f64).min((train.max_size.0 * train.max_size.1) as f64);
    let side = |length: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturated, and limited below"
        )]
        let units = (length / f64::from(UNIT)).round() as u32;
        units
            .saturating_mul(UNIT)
            .clamp(SHORTEST, ImageSize::MAX_SIDE)
    };
    ImageSize::new(
        side((pixels / aspect).sqrt()),
        side((pixels * aspect).sqrt()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(samples: usize, sizes: [(usize, usize); 2], to: (u32, u32)) -> String {
        let aspects = sizes.map(|(height, width)| width as f64 / height as f64);
        let mut train = PartSurvey::default();
        train.samples = samples;
        [train.min_size, train.max_size] = sizes;
        train.aspects = (aspects[0].min(aspects[1]), aspects[0].max(aspects[1]));
        let config = RunConfig {
            img_size: ImageSize::new(to.0, to.1),
            ..RunConfig::default()
        };
        Outlook::of(&train, &config, false).to_string()
    }

    #[test]
    fn what_suits_is_left_alone() {
        assert_eq!(
            said(900, [(512, 512); 2], (512, 512)),
            "training: at 512x512 (unchanged), 12 images per step, 75 steps per epoch, learning rate 0.0001"
        );
        assert_eq!(
            said(1000, [(1024, 1024), (2048, 2000)], (512, 512)),
            "training: at 512x512 (their sides divided by 2.0 to 4.0), 12 images per step, 84 steps per epoch, \
             learning rate 0.0001"
        );
    }

    #[test]
    fn small_and_few_images_have_advice() {
        assert_eq!(
            said(10, [(96, 96), (128, 128)], (512, 512)),
            "training: at 512x512 (their sides multiplied by 4.0 to 5.3), 10 images per step, 1 step per epoch, \
             learning rate 0.0001; `--img-size 128x128` is about the size of the largest, and takes less memory and time; with few \
             images, `--lr 0.001` learns faster"
        );
    }

    #[test]
    fn proportions_are_kept_where_all_have_them() {
        let wide = said(900, [(1080, 1920); 2], (512, 512));
        assert!(
            wide.ends_with("`--img-size 384x688` keeps their proportions"),
            "{wide}"
        );
        assert!(
            wide.contains("(their sides divided by 2.1 to 3.8)"),
            "{wide}"
        );
        let stretched = said(900, [(300, 900); 2], (512, 512));
        assert!(stretched.contains("(stretched)"), "{stretched}");
        let tiny = said(900, [(8, 8), (20, 20)], (512, 512));
        assert!(tiny.contains("`--img-size 64x64` is about"), "{tiny}");
        let both = said(900, [(1080, 1920), (1920, 1080)], (512, 512));
        assert!(both.ends_with("learning rate 0.0001"), "{both}");
    }

    #[test]
    fn windows_are_counted_and_proposed() {
        let mut train = PartSurvey::default();
        train.samples = 2;
        (train.min_size, train.max_size) = ((1000, 3000), (1000, 3000));
        train.aspects = (3.0, 3.0);
        let sizes = ["a.png", "b.png"].map(|name| (name.into(), (1000, 3000)));
        train.sizes = sizes.into();
        let said = |crop, loses| {
            let config = RunConfig {
                crop,
                ..RunConfig::default()
            };
            Outlook::of(&train, &config, loses).to_string()
        };
        assert_eq!(
            said(true, true),
            "training: at 512x512 (windows of images at their own resolution), 12 windows per step, 2 steps per epoch, \
             learning rate 0.0001; with few windows, `--lr 0.001` learns faster"
        );
        let whole = said(false, true);
        assert!(
            whole.contains(
                "keeps their proportions; `--crop on` keeps structures that vanish at this size;"
            ),
            "{whole}"
        );
        assert!(!said(false, false).contains("--crop"));
    }
}
