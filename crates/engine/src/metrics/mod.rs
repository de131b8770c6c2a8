//! IoU and Dice, counted on the device and averaged over images.
//!
//! One class: foreground at threshold 0.5, and at every threshold of a grid of 101. Several
//! classes: the largest logit; the mean is over the classes without the background (0).
//!
//! A class that occurs neither in the mask of an image nor in its prediction does not count for that
//! image, for one class as for several: answering nothing is no skill where there is nothing to find. A
//! class that is predicted but not in the mask counts as 0. Pixels of [`IGNORE`](data::masks::IGNORE) do not
//! count.

use std::fmt;

use config::Network;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::Result;
use torch_ext::ops::{mul_scalar, one_value_of};

/// Thresholds k / 100 for k in 0..=100.
const NUM_THRESHOLDS: usize = 101;
/// The threshold of the validation scores.
const HALF: usize = 50;
/// What a pixel of a mask of one class can be: background, foreground or ignored.
const MASK_VALUES: usize = 3;

/// Scores of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Class index; 1 is the foreground of a one-class network.
    pub class: usize,
    /// Mean intersection over union; `None` if the class never occurs.
    pub iou: Option<f64>,
    /// Mean Dice coefficient; `None` if the class never occurs.
    pub dice: Option<f64>,
    /// Images that count: those with the class in the mask or in the prediction.
    #[serde(default)]
    pub num_images: usize,
}

impl fmt::Display for ClassScore {
    /// `class 2: IoU 0.7312, Dice 0.8447 (in 9 images)`, with dashes if the class never occurs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        write!(
            f,
            "class {}: IoU {}, Dice {} (in {} {})",
            self.class,
            or_dash(self.iou),
            or_dash(self.dice),
            self.num_images,
            if self.num_images == 1 {
                "image"
            } else {
                "images"
            },
        )
    }
}

/// A threshold with its IoU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Probability above which a pixel is foreground.
    pub threshold: f64,
    /// Mean IoU at this threshold.
    pub iou: f64,
}

/// The pixels of all images by threshold, with one class.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PixelCurve {
    /// Pixels that count.
    pub pixels: u64,
    /// Foreground in the masks.
    pub foreground: u64,
    /// For each threshold, from 0 up in equal steps.
    pub points: Vec<CurvePoint>,
}

/// The pixels above a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CurvePoint {
    /// Those that are foreground in the mask.
    pub hits: u64,
    /// All of them.
    pub answered: u64,
}

/// Scores of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean IoU at threshold 0.5 (one class), or over the classes without background.
    pub iou: f64,
    /// Mean Dice, likewise.
    pub dice: f64,
    /// The best of 101 thresholds; `None` with several classes, and if none finds anything.
    pub best_threshold: Option<Threshold>,
    /// Scores by class.
    pub per_class: Vec<ClassScore>,
    /// Images that were scored, whether they count for a class or not.
    pub num_images: usize,
    /// With one class, all pixels by threshold. It is not kept in files.
    #[serde(skip)]
    pub curve: Option<PixelCurve>,
}

impl Scores {
    /// With one class, a line on the images that do not count, if there are any.
    pub fn uncounted(&self) -> Option<String> {
        let [only] = self.per_class[..] else {
            return None;
        };
        let (all, others) = (
            self.num_images,
            self.num_images - only.num_images.min(self.num_images),
        );
        (others > 0).then(|| {
            format!("{others} of {all} images have no foreground, in the mask or found, and do not count")
        })
    }
}

/// Scores of one image: of its foreground, or the mean over its classes without the background; `None` if there is
/// none, neither in its mask nor found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ImageScore {
    /// Intersection over union.
    pub iou: Option<f64>,
    /// Dice coefficient.
    pub dice: Option<f64>,
}

/// What scores are made of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// Each image, in the order in which they were added.
    pub images: Vec<ImageScore>,
    /// Pixels that count: a row for each class of the masks, a column for each class predicted.
    pub confusion: Vec<Vec<u64>>,
    /// With one class, the mean over images at each threshold, from 0 up in equal steps.
    pub thresholds: Vec<ImageScore>,
}

/// Sums over the images that count.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    iou: f64,
    dice: f64,
    num_images: usize,
}

impl Sums {
    /// Adds an image: its pixels of the class in both mask and prediction, in the mask, and in the
    /// prediction.
    fn add(&mut self, both: i64, in_mask: i64, answered: i64) {
        let either = in_mask + answered - both;
        if either > 0 {
            self.iou += both as f64 / either as f64;
            self.dice += 2.0 * both as f64 / (in_mask + answered) as f64;
            self.num_images += 1;
        }
    }

    fn score_of_image(&self) -> ImageScore {
        ImageScore {
            iou: self.mean(self.iou),
            dice: self.mean(self.dice),
        }
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.num_images > 0).then(|| sum / self.num_images as f64)
    }

    fn score(&self, class: usize) -> ClassScore {
        ClassScore {
            class,
            iou: self.mean(self.iou),
            dice: self.mean(self.dice),
            num_images: self.num_images,
        }
    }
}

/// Adds up scores batch by batch.
#[derive(Debug)]
pub struct Counter {
    classes: usize,
    images: Vec<ImageScore>,
    /// One class, by threshold.
    by_threshold: Vec<Sums>,
    curve: PixelCurve,
    /// Several, by class.
    by_class: Vec<Sums>,
    /// Pixels by (mask class, predicted class).
    confusion: Vec<u64>,
    /// The last image of which windows were added, and what was counted in them.
    open: Option<(usize, Vec<i64>)>,
}

impl Counter {
    /// A counter for the predictions of `network`.
    pub fn of(network: Network) -> Self {
        Self::new(usize::try_from(network.classes).unwrap_or(usize::MAX))
    }

    /// A counter for a network with `classes` output channels.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            images: Vec::new(),
            by_threshold: vec![Sums::default(); NUM_THRESHOLDS],
            curve: PixelCurve {
                points: vec![CurvePoint::default(); NUM_THRESHOLDS],
                ..PixelCurve::default()
            },
            by_class: vec![Sums::default(); classes],
            confusion: vec![0; classes * classes],
            open: None,
        }
    }

    /// Adds a batch of whole images: `logits` `[N, C, H, W]`, `masks` `[N, H, W]` of class indices. Waits for
    /// the device once.
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn add(&mut self, logits: &Tensor, masks: &Tensor) -> Result<()> {
        self.end_image();
        let counts = self.counts(logits, masks)?;
        for image in counts.chunks_exact(self.num_cells()) {
            self.add_image(image);
        }
        Ok(())
    }

    /// Adds a batch of windows, in the form of [`Self::add`]; `images` `[N]` says of which image each is. Windows of
    /// an image follow each other, in one batch or in several, and have one score: that of all their pixels.
    /// [`Self::end_image`] ends the last image.
    ///
    /// # Errors
    /// As [`Self::add`]; nothing is added then.
    pub fn add_windows(&mut self, logits: &Tensor, masks: &Tensor, images: &[usize]) -> Result<()> {
        let counts = self.counts(logits, masks)?;
        self.add_counts(&counts, images);
        Ok(())
    }

    /// As [`Self::add_windows`], of what [`Self::counts`] returned.
    pub(crate) fn add_counts(&mut self, counts: &[i64], images: &[usize]) {
        for (window, &image) in counts.chunks_exact(self.num_cells()).zip(images) {
            self.add_window(image, window);
        }
    }

    /// As [`Self::add_windows`], of one window.
    pub(crate) fn add_window(&mut self, image: usize, counts: &[i64]) {
        match &mut self.open {
            Some((open, sums)) if *open == image => {
                sums.iter_mut()
                    .zip(counts)
                    .for_each(|(sum, num)| *sum += num);
            }
            _ => {
                self.end_image();
                self.open = Some((image, counts.to_vec()));
            }
        }
    }

    /// All windows of the last image have been added.
    pub fn end_image(&mut self) {
        if let Some((_, counts)) = self.open.take() {
            self.add_image(&counts);
        }
    }

    /// What is counted of each image, [`Self::num_cells`] for each.
    pub(crate) fn counts(&self, logits: &Tensor, masks: &Tensor) -> Result<Vec<i64>> {
        let logits = logits.f_detach()?.f_to_kind(Kind::Float)?;
        if self.classes == 1 {
            histogram(&logits.f_sigmoid()?.f_squeeze_dim(1)?, masks)
        } else {
            confusion(&logits.f_argmax(1, false)?, masks, self.classes)
        }
    }

    pub(crate) const fn num_cells(&self) -> usize {
        if self.classes == 1 {
            NUM_THRESHOLDS * MASK_VALUES
        } else {
            self.classes * (self.classes + 1)
        }
    }

    fn add_image(&mut self, counts: &[i64]) {
        if self.classes == 1 {
            self.add_binary(counts);
        } else {
            self.add_classes(counts);
        }
    }

    /// `image`: for each bin, pixels of background, of foreground and ignored ones.
    fn add_binary(&mut self, image: &[i64]) {
        let (bins, _) = image.as_chunks::<MASK_VALUES>();
        let foreground: i64 = bins.iter().map(|[_, foreground, _]| foreground).sum();
        // From the highest bin down: the pixels above threshold k are in the bins over k.
        let (mut hits, mut false_alarms) = (0, 0);
        let by_threshold = self.by_threshold.iter_mut().zip(&mut self.curve.points);
        for (k, ((sums, point), bin)) in by_threshold.zip(bins).enumerate().rev() {
            sums.add(hits, foreground, hits + false_alarms);
            if k == HALF {
                let mut image = Sums::default();
                image.add(hits, foreground, hits + false_alarms);
                self.images.push(image.score_of_image());
            }
            point.hits += hits.cast_unsigned();
            point.answered += (hits + false_alarms).cast_unsigned();
            false_alarms += bin[0];
            hits += bin[1];
        }
        self.curve.foreground += foreground.cast_unsigned();
        self.curve.pixels += (hits + false_alarms).cast_unsigned();
    }

    /// `image`: number of pixels by (mask class, predicted class); the last row is of ignored pixels.
    fn add_classes(&mut self, image: &[i64]) {
        let rows = || image.chunks_exact(self.classes).take(self.classes);
        let mut all = Sums::default();
        for (class, sums) in self.by_class.iter_mut().enumerate() {
            let in_mask = image[class * self.classes..][..self.classes].iter().sum();
            let answered = rows().map(|row| row[class]).sum();
            let both = image[class * self.classes + class];
            sums.add(both, in_mask, answered);
            if class > 0 {
                all.add(both, in_mask, answered);
            }
        }
        self.images.push(all.score_of_image());
        for (sum, pixels) in self.confusion.iter_mut().zip(image) {
            *sum += pixels.cast_unsigned();
        }
    }

    /// What the scores are made of, without an image that was not [ended](Self::end_image).
    pub fn details(&self) -> Details {
        let rows = |cells: &[u64]| {
            cells
                .chunks_exact(self.classes.max(2))
                .map(<[u64]>::to_vec)
                .collect()
        };
        if self.classes > 1 {
            return Details {
                images: self.images.clone(),
                confusion: rows(&self.confusion),
                thresholds: Vec::new(),
            };
        }
        let PixelCurve {
            pixels,
            foreground,
            ref points,
        } = self.curve;
        let CurvePoint { hits, answered } = points[HALF];
        let missed = foreground - hits;
        Details {
            images: self.images.clone(),
            confusion: rows(&[pixels - answered - missed, answered - hits, missed, hits]),
            thresholds: self.by_threshold.iter().map(Sums::score_of_image).collect(),
        }
    }

    /// The scores of all images added and [ended](Self::end_image); zero if there were none.
    pub fn scores(&self) -> Scores {
        if self.classes == 1 {
            let iou = |k: usize| self.by_threshold[k].score(1).iou;
            // Among equals, take the threshold nearest to 0.5.
            let best = (0..NUM_THRESHOLDS).max_by(|&a, &b| {
                let or_none = |k| iou(k).unwrap_or(-1.0);
                let nearer = b.abs_diff(HALF).cmp(&a.abs_diff(HALF));
                or_none(a).total_cmp(&or_none(b)).then(nearer)
            });
            // Where nothing is ever right, no threshold is better than another.
            let best = best.and_then(|k| Some((k, iou(k).filter(|&iou| iou > 0.0)?)));
            let best_threshold = best.map(|(k, iou)| Threshold {
                threshold: k as f64 / 100.0,
                iou,
            });
            let score = self.by_threshold[HALF].score(1);
            return Scores {
                iou: score.iou.unwrap_or(0.0),
                dice: score.dice.unwrap_or(0.0),
                best_threshold,
                per_class: vec![score],
                num_images: self.images.len(),
                curve: Some(self.curve.clone()),
            };
        }
        let score = |(class, sums): (usize, &Sums)| sums.score(class);
        let per_class: Vec<ClassScore> = self.by_class.iter().enumerate().map(score).collect();
        let mean = |of: fn(&ClassScore) -> Option<f64>| {
            let values: Vec<f64> = per_class.iter().skip(1).filter_map(of).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        Scores {
            iou: mean(|c| c.iou),
            dice: mean(|c| c.dice),
            best_threshold: None,
            per_class,
            num_images: self.images.len(),
            curve: None,
        }
    }
}

/// `probabilities`, `masks`: `[N, H, W]` -> for each image, bin and mask value the number of
/// pixels. Bin k holds probabilities in ((k - 1) / 100, k / 100]: those above threshold k / 100
/// are exactly those in the bins over k.
fn histogram(probabilities: &Tensor, masks: &Tensor) -> Result<Vec<i64>> {
    let bins = mul_scalar(probabilities, 100.0)?.f_ceil()?;
    // NaN is above no threshold, so it counts as background, as in a prediction.
    let bins = bins.f_nan_to_num(0.0, 100.0, 0.0)?.f_to_kind(Kind::Int64)?;
    let columns = MASK_VALUES as f64;
    count(masks, 1, NUM_THRESHOLDS * MASK_VALUES, |masks| {
        Ok(mul_scalar(&bins, columns)?.f_add(masks)?)
    })
}

/// `answers`, `masks`: `[N, H, W]` -> for each image the number of pixels by (mask, prediction).
fn confusion(answers: &Tensor, masks: &Tensor, classes: usize) -> Result<Vec<i64>> {
    count(masks, classes - 1, (classes + 1) * classes, |masks| {
        Ok(mul_scalar(masks, classes as f64)?.f_add(answers)?)
    })
}

/// Pixels by image and by `cell`, of which each image has `cells`. In the masks that `cell` gets, ignored
/// pixels have the number after `last`, the last class.
fn count(
    masks: &Tensor,
    last: usize,
    cells: usize,
    cell: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Vec<i64>> {
    let n = masks.size()[0];
    let cells = cells.cast_signed() as i64;
    let ignored = one_value_of(Kind::Uint8, (last + 1) as f64, masks.device())?;
    let index = cell(&masks.f_minimum(&ignored)?.f_to_kind(Kind::Int64)?)?;
    let first: Vec<i64> = (0..n).map(|image| image * cells).collect();
    let first = Tensor::f_from_slice(&first)?.f_to_device(masks.device())?;
    let index = index.f_add(&first.f_view([n, 1, 1])?)?.f_flatten(0, -1)?;
    let counts = index.f_bincount(None::<&Tensor>, n * cells)?;
    Ok(Vec::<i64>::try_from(counts)?)
}

#[cfg(test)]
mod tests;
