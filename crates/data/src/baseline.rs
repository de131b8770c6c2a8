//! Trivial predictions to compare a network with: a model that does not beat them has
//! learnt nothing.

use super::masks::IGNORE;
use super::{DataError, Sample, Source};

/// `IoU` of the trivial predictions, each averaged over images. An image counts if it has foreground or
/// is predicted to have any; pixels of [`IGNORE`] do not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baselines {
    /// Everything is foreground.
    pub all_foreground: f64,
    /// Foreground is everything brighter (or darker) than the best level for this set.
    pub brightness: f64,
    /// The level: foreground is luma >= `level`, or < `level` if `dark`.
    pub threshold: u8,
    /// Whether the darker side is foreground.
    pub dark: bool,
}

/// The baselines over all of `source`, where every class but 0 is foreground. Luma is
/// computed as in Pillow's `convert("L")`.
///
/// # Errors
/// As [`Source::load`].
pub fn of_source(source: &dyn Source) -> Result<Baselines, DataError> {
    let mut sums = Sums::default();
    for image in 0..source.num_images() {
        let mut levels = Levels::default();
        for index in source.samples_of(image) {
            levels.add(&source.load(index)?);
        }
        sums.add(&levels);
    }
    Ok(sums.best())
}

/// The baselines over samples in memory.
pub fn of_samples<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Baselines {
    let mut sums = Sums::default();
    for sample in samples {
        let mut levels = Levels::default();
        levels.add(sample);
        sums.add(&levels);
    }
    sums.best()
}

/// Sums of `IoU` over images, and the images that count.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    iou: f64,
    samples: u64,
}

impl Sum {
    /// Adds a prediction of `answer` pixels, of which `both` are correct, for `target` pixels.
    fn add(&mut self, both: u64, answer: u64, target: u64) {
        let either = answer + target - both;
        if either > 0 {
            self.iou += both as f64 / either as f64;
            self.samples += 1;
        }
    }

    fn mean(&self) -> f64 {
        self.iou / self.samples.max(1) as f64
    }
}

struct Sums {
    foreground: Sum,
    /// By level.
    bright: [Sum; 256],
    dark: [Sum; 256],
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            foreground: Sum::default(),
            bright: [Sum::default(); 256],
            dark: [Sum::default(); 256],
        }
    }
}

/// The pixels of an image by their level: two histograms from one pass suffice for all 512 thresholds.
struct Levels {
    inside: [u64; 256],
    outside: [u64; 256],
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            inside: [0; 256],
            outside: [0; 256],
        }
    }
}

impl Levels {
    /// Adds a sample of the image.
    fn add(&mut self, sample: &Sample) {
        for (pixel, &class) in sample.rgb().as_chunks::<3>().0.iter().zip(&sample.mask) {
            let histogram = match class {
                IGNORE => continue,
                0 => &mut self.outside,
                _ => &mut self.inside,
            };
            histogram[usize::from(luma(*pixel))] += 1;
        }
    }
}

impl Sums {
    fn add(&mut self, Levels { inside, outside }: &Levels) {
        let target: u64 = inside.iter().sum();
        let pixels: u64 = target + outside.iter().sum::<u64>();
        self.foreground.add(target, pixels, target);
        let (mut darker_inside, mut darker) = (0, 0);
        for level in 0..256 {
            self.dark[level].add(darker_inside, darker, target);
            self.bright[level].add(target - darker_inside, pixels - darker, target);
            darker_inside += inside[level];
            darker += inside[level] + outside[level];
        }
    }

    fn best(&self) -> Baselines {
        let mut best = Baselines {
            all_foreground: self.foreground.mean(),
            brightness: 0.0,
            threshold: 0,
            dark: false,
        };
        for threshold in 0..=255_u8 {
            for (dark, sums) in [(false, &self.bright), (true, &self.dark)] {
                let value = sums[usize::from(threshold)].mean();
                if value > best.brightness {
                    best = Baselines {
                        brightness: value,
                        threshold,
                        dark,
                        ..best
                    };
                }
            }
        }
        best
    }
}

/// Luma by ITU-R 601, in Pillow's integer arithmetic.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    u8::try_from((sum + 0x8000) >> 16).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(levels: &[u8], mask: &[u8]) -> Sample {
        Sample {
            image: levels.iter().flat_map(|&v| [v; 3]).collect(),
            mask: mask.to_vec(),
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn the_separating_level_is_found() {
        let found = of_samples(&[gray(&[10, 200, 220, 30], &[0, 1, 1, 0])]);
        assert!(
            near(found.brightness, 1.0) && near(found.all_foreground, 0.5),
            "{found:?}"
        );
        assert!(!found.dark);
        assert!((31..=200).contains(&found.threshold));
        let found = of_samples(&[gray(&[10, 200, 220, 30], &[1, 0, 0, 1])]);
        assert!(near(found.brightness, 1.0) && found.dark, "{found:?}");
    }

    #[test]
    fn an_empty_mask_counts_where_something_is_predicted() {
        let found = of_samples(&[gray(&[9, 9], &[0, 0]), gray(&[9, 9], &[1, 0])]);
        assert!(near(found.all_foreground, 0.25), "{found:?}");
        let found = of_samples(&[gray(&[9, 9], &[0, 0]), gray(&[90, 9], &[1, 0])]);
        assert!(near(found.brightness, 1.0), "{found:?}");
        let ignored = of_samples(&[gray(&[9, 90, 90], &[0, 1, IGNORE])]);
        assert!(near(ignored.all_foreground, 0.5), "{ignored:?}");
    }

    #[test]
    fn luma_equals_pillow() {
        // [Image.new("RGB", (1, 1), c).convert("L").getpixel((0, 0)) for c in ...], Pillow 13.0
        assert_eq!(
            [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3], [1, 2, 3]].map(luma),
            [76, 150, 29, 255, 2]
        );
    }
}
