//! What the weights of a run answer, for its report: scores by threshold and image, and exemplary pictures.

use engine::metrics::{Counter, ImageScore, PixelCurve};
use engine::trainer::Trainer;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::run::outputs::{RunDir, samples};
use data::Source;
use data::masks::IGNORE;

/// The folder of pictures in a run's folder.
const PICTURES: &str = "report";
/// Bins of the calibration curve.
const BINS: usize = 10;

/// Scores of the best weights on the validation images, with pictures of some of them in the run's folder.
///
/// # Errors
/// If data, a tensor operation or a file fails.
pub(super) fn told(
    counter: &Counter,
    trainer: &Trainer,
    val: &dyn Source,
    dir: &RunDir,
) -> Result<Value> {
    let details = counter.details();
    let curve = counter.scores().curve;
    let folder = dir.file(PICTURES);
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    let (height, width) = val.size();
    let (mut shown, mut has_ignored) = (Vec::new(), false);
    for (what, nth) in exemplary(&details.images) {
        let index = samples::shown(val, nth)?;
        let number = shown.len() + 1;
        let stem = folder.join(format!("{number}-{what}"));
        let (paths, ignores) =
            samples::write_apart(trainer.learner.evaluator(), val, index, &stem)?;
        has_ignored |= ignores;
        let [image, truth, answer, errors] =
            paths.map(|path| path.strip_prefix(dir.path()).unwrap_or(&path).to_owned());
        let score = details.images[nth];
        shown.push(json!({
            "what": what, "name": val.name(index), "iou": score.iou, "dice": score.dice,
            "width": width, "height": height,
            "image": image, "truth": truth, "answer": answer, "errors": errors,
        }));
    }
    let score = |(index, it): (usize, &ImageScore)| {
        let name = val.name(val.samples_of(index).start);
        json!({"name": name, "iou": it.iou, "dice": it.dice})
    };
    let scores: Vec<_> = details.images.iter().enumerate().map(score).collect();
    let classes = (0..IGNORE).take(details.confusion.len()).map(Some);
    let color = |class: Option<u8>| {
        let color = samples::colour_in(val, class.unwrap_or(IGNORE));
        json!({"class": class, "color": color})
    };
    let colors = classes.chain(has_ignored.then_some(None)).map(color);
    let colors: Vec<_> = colors.collect();
    Ok(json!({
        "curve": curve.as_ref().map(curve_json),
        "calibration": curve.as_ref().map(calibration),
        "thresholds": details.thresholds.iter().map(score_json).collect::<Vec<_>>(),
        "confusion": {"counts": details.confusion},
        "images": {"scores": scores, "shown": shown, "colors": colors},
    }))
}

fn curve_json(curve: &PixelCurve) -> Value {
    let points = curve.points.iter();
    let points: Vec<_> = points
        .map(|it| json!({"hits": it.hits, "answered": it.answered}))
        .collect();
    json!({"pixels": curve.pixels, "foreground": curve.foreground, "points": points})
}

/// The share of foreground by predicted probability. Probabilities are known to a hundredth: the middle of the hundredth
/// stands for it.
fn calibration(curve: &PixelCurve) -> Value {
    // Bin k holds probabilities above threshold k - 1 and up to threshold k.
    let above = |k: usize| (curve.points[k].answered, curve.points[k].hits);
    let hundredths: Vec<(f64, u64, u64)> = (1..curve.points.len())
        .map(|k| {
            let ((answered, hits), (answered_next, hits_next)) = (above(k - 1), above(k));
            let middle = (k as f64 - 0.5) / (curve.points.len() - 1) as f64;
            (middle, answered - answered_next, hits - hits_next)
        })
        .collect();
    let bins = hundredths.chunks(hundredths.len().div_ceil(BINS).max(1));
    let bins: Vec<_> = bins
        .map(|bin| {
            let pixels: u64 = bin.iter().map(|it| it.1).sum();
            let hits: u64 = bin.iter().map(|it| it.2).sum();
            let mean: f64 = bin.iter().map(|it| it.0 * it.1 as f64).sum();
            let of_all = |sum: f64| (pixels > 0).then(|| sum / pixels as f64);
            json!({
                "mean_probability": of_all(mean),
                "foreground_share": of_all(hits as f64),
                "pixels": pixels,
            })
        })
        .collect();
    json!(bins)
}

fn score_json(score: &ImageScore) -> Value {
    json!({"iou": score.iou, "dice": score.dice})
}

/// Images that show what the answers are like: the best, the median and the two worst of those that count.
fn exemplary(scores: &[ImageScore]) -> Vec<(&'static str, usize)> {
    let counted = scores.iter().enumerate();
    let mut counted: Vec<_> = counted
        .filter_map(|(index, it)| Some((it.iou?, index)))
        .collect();
    counted.sort_by(|one, other| other.0.total_cmp(&one.0));
    let last = counted.len().saturating_sub(1);
    let places = [
        ("best", 0),
        ("median", last / 2),
        ("worst", last.saturating_sub(1)),
        ("worst", last),
    ];
    let mut chosen: Vec<(&str, usize)> = Vec::new();
    for (what, place) in places {
        let Some(&(_, index)) = counted.get(place) else {
            break;
        };
        if chosen.iter().all(|(_, other)| *other != index) {
            chosen.push((what, index));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use engine::metrics::CurvePoint;

    use super::*;

    #[test]
    fn exemplary_images_differ() {
        let scores = |all: &[f64]| -> Vec<ImageScore> {
            all.iter()
                .map(|&iou| ImageScore {
                    iou: (iou >= 0.0).then_some(iou),
                    dice: None,
                })
                .collect()
        };
        let chosen = exemplary(&scores(&[0.2, 0.9, -1.0, 0.5, 0.7, 0.1]));
        assert_eq!(
            chosen,
            [("best", 1), ("median", 3), ("worst", 0), ("worst", 5)]
        );
        assert_eq!(exemplary(&scores(&[0.3])), [("best", 0)]);
        assert_eq!(exemplary(&scores(&[-1.0])), []);
    }

    #[test]
    fn calibration_adds_up() {
        // 20 pixels at probability 0.05, of which 1 is foreground, and 10 at 1, all foreground.
        let at = |k: usize| match k {
            0..=4 => CurvePoint {
                hits: 11,
                answered: 30,
            },
            5..=99 => CurvePoint {
                hits: 10,
                answered: 10,
            },
            _ => CurvePoint::default(),
        };
        let curve = PixelCurve {
            pixels: 30,
            foreground: 11,
            points: (0..=100).map(at).collect(),
        };
        let bins = calibration(&curve);
        assert_eq!(bins.as_array().map(Vec::len), Some(BINS));
        assert_eq!(bins[0]["pixels"], 20);
        assert_eq!(bins[0]["foreground_share"], 0.05);
        assert!((bins[0]["mean_probability"].as_f64().unwrap() - 0.045).abs() < 1e-12);
        assert_eq!(bins[9]["pixels"], 10);
        assert_eq!(bins[9]["foreground_share"], 1.0);
        assert_eq!(bins[5]["foreground_share"], Value::Null);
    }
}
