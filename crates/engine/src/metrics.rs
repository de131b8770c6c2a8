//! IoU and Dice, counted on the device and averaged over images.
//!
//! One class: foreground at threshold 0.5, and at every threshold of a grid of 101. Several
//! classes: the largest logit; the mean is over the classes without the background (0), and
//! a class that occurs neither in the mask nor in the prediction does not count for that image.

use std::fmt;

use config::Network;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::Result;
use torch_ext::ops::mul_scalar;

/// Thresholds k / 100 for k in 0..=100.
const NUM_THRESHOLDS: usize = 101;
/// The threshold of the validation scores.
const HALF: usize = 50;

/// Scores of one class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Class index; 1 is the foreground of a one-class network.
    pub class: usize,
    /// Mean intersection over union; `None` if the class never occurs.
    pub iou: Option<f64>,
    /// Mean Dice coefficient; `None` if the class never occurs.
    pub dice: Option<f64>,
}

impl fmt::Display for ClassScore {
    /// `class 2: IoU 0.7312, Dice 0.8447`, with a dash if the class never occurs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
        write!(
            f,
            "class {}: IoU {}, Dice {}",
            self.class,
            or_dash(self.iou),
            or_dash(self.dice)
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

/// Scores of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean IoU at threshold 0.5 (one class), or over the classes without background.
    pub iou: f64,
    /// Mean Dice, likewise.
    pub dice: f64,
    /// The best of 101 thresholds; `None` with several classes.
    pub best_threshold: Option<Threshold>,
    /// Scores by class.
    pub per_class: Vec<ClassScore>,
    /// Images counted.
    pub num_images: usize,
}

/// Adds up scores batch by batch.
#[derive(Debug)]
pub struct Counter {
    classes: usize,
    num_images: usize,
    /// One class: sum of IoU and of Dice by threshold.
    by_threshold: Vec<(f64, f64)>,
    /// Several: sum of IoU, of Dice, and images counted, by class.
    by_class: Vec<(f64, f64, usize)>,
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
            num_images: 0,
            by_threshold: vec![(0.0, 0.0); NUM_THRESHOLDS],
            by_class: vec![(0.0, 0.0, 0); classes],
        }
    }

    /// Adds a batch: `logits` `[N, C, H, W]`, `masks` `[N, H, W]` of class indices. Waits for
    /// the device once.
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn add(&mut self, logits: &Tensor, masks: &Tensor) -> Result<()> {
        let logits = logits.f_detach()?.f_to_kind(Kind::Float)?;
        let num = usize::try_from(logits.size()[0]).unwrap_or(0);
        if self.classes == 1 {
            let counts = histogram(&logits.f_sigmoid()?.f_squeeze_dim(1)?, masks)?;
            for image in counts.chunks_exact(NUM_THRESHOLDS * 2) {
                self.add_binary(image);
            }
        } else {
            let counts = confusion(&logits.f_argmax(1, false)?, masks, self.classes)?;
            for image in counts.chunks_exact(self.classes * self.classes) {
                self.add_classes(image);
            }
        }
        self.num_images += num;
        Ok(())
    }

    /// `image`: for each bin, pixels of background and of foreground.
    fn add_binary(&mut self, image: &[i64]) {
        let foreground: i64 = image.iter().skip(1).step_by(2).sum();
        // From the highest bin down: the pixels above threshold k are in the bins over k.
        let (mut hits, mut false_alarms) = (0, 0);
        for k in (0..NUM_THRESHOLDS).rev() {
            let union = foreground + false_alarms;
            let answered = hits + false_alarms;
            let (iou, dice) = ratios(hits, union, answered + foreground);
            self.by_threshold[k].0 += iou;
            self.by_threshold[k].1 += dice;
            false_alarms += image[2 * k];
            hits += image[2 * k + 1];
        }
    }

    /// `image`: number of pixels by (mask class, predicted class).
    fn add_classes(&mut self, image: &[i64]) {
        for class in 0..self.classes {
            let hits = image[class * self.classes + class];
            let in_mask: i64 = image[class * self.classes..][..self.classes].iter().sum();
            let answered: i64 = image.iter().skip(class).step_by(self.classes).sum();
            let union = in_mask + answered - hits;
            if union == 0 {
                continue;
            }
            let (iou, dice) = ratios(hits, union, in_mask + answered);
            let sums = &mut self.by_class[class];
            *sums = (sums.0 + iou, sums.1 + dice, sums.2 + 1);
        }
    }

    /// The scores of all batches added; zero if there were none.
    pub fn scores(&self) -> Scores {
        let n = self.num_images.max(1) as f64;
        if self.classes == 1 {
            let (iou, dice) = (self.by_threshold[HALF].0 / n, self.by_threshold[HALF].1 / n);
            // Among equals, take the threshold nearest to 0.5.
            let best = (0..NUM_THRESHOLDS)
                .max_by(|&a, &b| {
                    let iou = |k: usize| self.by_threshold[k].0;
                    iou(a)
                        .total_cmp(&iou(b))
                        .then(b.abs_diff(HALF).cmp(&a.abs_diff(HALF)))
                })
                .unwrap_or(HALF);
            let best_threshold = Some(Threshold {
                threshold: best as f64 / 100.0,
                iou: self.by_threshold[best].0 / n,
            });
            let per_class = vec![ClassScore {
                class: 1,
                iou: Some(iou),
                dice: Some(dice),
            }];
            return Scores {
                iou,
                dice,
                best_threshold,
                per_class,
                num_images: self.num_images,
            };
        }
        let per_class: Vec<ClassScore> = self
            .by_class
            .iter()
            .enumerate()
            .map(|(class, &(iou, dice, count))| ClassScore {
                class,
                iou: (count > 0).then(|| iou / count as f64),
                dice: (count > 0).then(|| dice / count as f64),
            })
            .collect();
        let mean = |of: fn(&ClassScore) -> Option<f64>| {
            let values: Vec<f64> = per_class.iter().skip(1).filter_map(of).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        Scores {
            iou: mean(|c| c.iou),
            dice: mean(|c| c.dice),
            best_threshold: None,
            per_class,
            num_images: self.num_images,
        }
    }
}

/// IoU and Dice; an empty prediction for an empty mask is correct.
fn ratios(hits: i64, union: i64, total: i64) -> (f64, f64) {
    if union == 0 {
        return (1.0, 1.0);
    }
    (hits as f64 / union as f64, 2.0 * hits as f64 / total as f64)
}

/// `probabilities`, `masks`: `[N, H, W]` -> for each image, bin and mask value the number of
/// pixels. Bin k holds probabilities in ((k - 1) / 100, k / 100]: those above threshold k / 100
/// are exactly those in the bins over k.
fn histogram(probabilities: &Tensor, masks: &Tensor) -> Result<Vec<i64>> {
    let bins = mul_scalar(probabilities, 100.0)?.f_ceil()?;
    // NaN is above no threshold, so it counts as background, as in a prediction.
    let bins = bins.f_nan_to_num(0.0, 100.0, 0.0)?.f_to_kind(Kind::Int64)?;
    count(
        &bins,
        masks,
        NUM_THRESHOLDS,
        2,
        |bins, masks, _, columns| Ok(mul_scalar(bins, columns)?.f_add(masks)?),
    )
}

/// `answers`, `masks`: `[N, H, W]` -> for each image the number of pixels by (mask, prediction).
fn confusion(answers: &Tensor, masks: &Tensor, classes: usize) -> Result<Vec<i64>> {
    count(
        answers,
        masks,
        classes,
        classes,
        |answers, masks, rows, _| Ok(mul_scalar(masks, rows)?.f_add(answers)?),
    )
}

fn count(
    values: &Tensor,
    masks: &Tensor,
    rows: usize,
    columns: usize,
    cell: impl Fn(&Tensor, &Tensor, f64, f64) -> Result<Tensor>,
) -> Result<Vec<i64>> {
    let n = values.size()[0];
    let cells = (rows * columns).cast_signed() as i64;
    let masks = masks.f_to_kind(Kind::Int64)?;
    let index = cell(values, &masks, rows as f64, columns as f64)?;
    let first: Vec<i64> = (0..n).map(|image| image * cells).collect();
    let first = Tensor::f_from_slice(&first)?.f_to_device(values.device())?;
    let index = index.f_add(&first.f_view([n, 1, 1])?)?.f_flatten(0, -1)?;
    let counts = index.f_bincount(None::<&Tensor>, n * cells)?;
    Ok(Vec::<i64>::try_from(counts)?)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// Mean IoU at a threshold, computed the slow and plain way.
    fn iou_at(p: &Tensor, masks: &Tensor, threshold: f64) -> f64 {
        let n = p.size()[0];
        (0..n)
            .map(|i| {
                let answer = p.get(i).gt(threshold);
                let mask = masks.get(i).gt(0);
                let hits = answer.logical_and(&mask).sum(Kind::Int64).int64_value(&[]);
                let union = answer.logical_or(&mask).sum(Kind::Int64).int64_value(&[]);
                ratios(hits, union, 1).0
            })
            .sum::<f64>()
            / n as f64
    }

    #[test]
    fn every_threshold_agrees_with_the_plain_count() {
        tch::manual_seed(3);
        let logits = Tensor::randn([5, 1, 9, 7], (Kind::Float, Device::Cpu)) * 2.0;
        let masks =
            (Tensor::rand([5, 9, 7], (Kind::Float, Device::Cpu)).gt(0.6)).to_kind(Kind::Uint8);
        let mut counter = Counter::new(1);
        counter
            .add(&logits.narrow(0, 0, 2), &masks.narrow(0, 0, 2))
            .unwrap();
        counter
            .add(&logits.narrow(0, 2, 3), &masks.narrow(0, 2, 3))
            .unwrap();
        let p = logits.sigmoid().squeeze_dim(1);
        for k in 0..NUM_THRESHOLDS {
            let slow = iou_at(&p, &masks, k as f64 / 100.0);
            let fast = counter.by_threshold[k].0 / 5.0;
            assert!((slow - fast).abs() < 1e-9, "threshold {k}: {slow} {fast}");
        }
        let scores = counter.scores();
        assert!((scores.iou - iou_at(&p, &masks, 0.5)).abs() < 1e-9);
        assert!(scores.best_threshold.unwrap().iou >= scores.iou);
    }

    #[test]
    fn an_empty_mask_answered_with_nothing_is_right() {
        let mut counter = Counter::new(1);
        let logits = Tensor::full([1, 1, 4, 4], -9.0, (Kind::Float, Device::Cpu));
        counter
            .add(
                &logits,
                &Tensor::zeros([1, 4, 4], (Kind::Uint8, Device::Cpu)),
            )
            .unwrap();
        assert!((counter.scores().iou - 1.0).abs() < 1e-12);
    }

    #[test]
    fn classes_are_counted_apart_and_absent_ones_not_at_all() {
        // The mask is 0 0 1 1, the prediction 0 1 1 1; class 2 never occurs.
        let masks = Tensor::from_slice(&[0_u8, 0, 1, 1]).view([1, 2, 2]);
        let answer = Tensor::from_slice(&[0_i64, 1, 1, 1]).view([1, 2, 2]);
        let logits = answer.one_hot(3).permute([0, 3, 1, 2]).to_kind(Kind::Float);
        let mut counter = Counter::new(3);
        counter.add(&logits, &masks).unwrap();
        let scores = counter.scores();
        assert_eq!(scores.per_class[0].iou, Some(0.5));
        assert_eq!(scores.per_class[1].iou, Some(2.0 / 3.0));
        assert_eq!(scores.per_class[2].iou, None);
        assert!((scores.iou - 2.0 / 3.0).abs() < 1e-12);
        assert!((scores.dice - 0.8).abs() < 1e-12);
    }
}
