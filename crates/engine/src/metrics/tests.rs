//! Scores against the slow and plain count.

use data::masks::IGNORE;
use tch::Device;

use super::*;

/// Mean IoU at a threshold over the images that count, computed the slow and plain way.
fn iou_at(p: &Tensor, masks: &Tensor, threshold: f64) -> Option<f64> {
    let of_image = |i: i64| {
        let counts = masks.get(i).not_equal(i64::from(IGNORE));
        let answer = p.get(i).gt(threshold).logical_and(&counts);
        let mask = masks.get(i).eq(1);
        let number = |t: Tensor| t.sum(Kind::Int64).int64_value(&[]);
        let either = number(answer.logical_or(&mask));
        (either > 0).then(|| number(answer.logical_and(&mask)) as f64 / either as f64)
    };
    let all: Vec<f64> = (0..p.size()[0]).filter_map(of_image).collect();
    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
}

#[test]
fn every_threshold_agrees_with_the_plain_count() {
    tch::manual_seed(3);
    let logits = Tensor::randn([5, 1, 9, 7], (Kind::Float, Device::Cpu)) * 2.0;
    let noise = || Tensor::rand([5, 9, 7], (Kind::Float, Device::Cpu));
    let masks = noise().gt(0.6).to_kind(Kind::Uint8);
    let masks = masks.masked_fill(&noise().gt(0.8), i64::from(IGNORE));
    // One image has no foreground, and in one nothing counts.
    let _empty = masks.get(1).clamp_max_(0);
    let _ignored = masks.get(4).fill_(i64::from(IGNORE));
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
        let fast = counter.by_threshold[k].score(1).iou;
        let near = (slow.unwrap_or(-1.0) - fast.unwrap_or(-1.0)).abs() < 1e-9;
        assert!(near, "threshold {k}: {slow:?} {fast:?}");
    }
    let scores = counter.scores();
    assert!((scores.iou - iou_at(&p, &masks, 0.5).unwrap()).abs() < 1e-9);
    assert_eq!((scores.num_images, scores.per_class[0].num_images), (5, 4));
    assert!(scores.best_threshold.unwrap().iou >= scores.iou);
}

/// Half of the masks are empty, and nothing is answered.
#[test]
fn one_rule_for_empty_masks_whatever_the_number_of_classes() {
    let mut masks = Tensor::zeros([4, 4, 4], (Kind::Uint8, Device::Cpu));
    let _filled = masks.narrow(0, 0, 2).narrow(1, 0, 2).fill_(1);
    masks = masks.contiguous();
    let nothing = |classes: i64| {
        let logits = Tensor::zeros([4, classes, 4, 4], (Kind::Float, Device::Cpu));
        let _background = logits
            .narrow(1, 0, 1)
            .fill_(if classes == 1 { -9.0 } else { 9.0 });
        let mut counter = Counter::new(classes.try_into().unwrap());
        counter.add(&logits, &masks).unwrap();
        let scores = counter.scores();
        let class = *scores.per_class.last().unwrap();
        ((class.iou, class.num_images), scores)
    };
    let ((one, one_images), scores) = nothing(1);
    assert_eq!((one, one_images), (Some(0.0), 2));
    assert_eq!((scores.dice, scores.num_images), (0.0, 4));
    let ((two, two_images), scores) = nothing(2);
    assert_eq!((two, two_images), (one, one_images));
    assert_eq!((scores.dice, scores.num_images), (0.0, 4));
}

#[test]
fn nothing_to_find_and_nothing_found_is_no_score() {
    let mut counter = Counter::new(1);
    let logits = Tensor::full([1, 1, 4, 4], -9.0, (Kind::Float, Device::Cpu));
    let masks = Tensor::zeros([1, 4, 4], (Kind::Uint8, Device::Cpu));
    counter.add(&logits, &masks).unwrap();
    let scores = counter.scores();
    assert_eq!((scores.iou, scores.per_class[0].iou), (0.0, None));
    // A low threshold answers something, which is wrong.
    assert_eq!(scores.best_threshold, None);
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

#[test]
fn details_add_up_to_the_scores() {
    // A row of 0 0 1 1 and a row of ignored pixels; the prediction is 0 1 1 1.
    let i = IGNORE;
    let masks = Tensor::from_slice(&[0_u8, 0, 1, 1, i, i, i, i]).view([1, 2, 4]);
    let answer = Tensor::from_slice(&[0_i64, 1, 1, 1, 0, 1, 0, 1]).view([1, 2, 4]);
    let two = answer.one_hot(2).permute([0, 3, 1, 2]).to_kind(Kind::Float);
    let one = (answer.unsqueeze(1).to_kind(Kind::Float) - 0.5) * 20.0;
    for logits in [one, two] {
        let mut counter = Counter::new(logits.size()[1].try_into().unwrap());
        for _ in 0..2 {
            counter.add(&logits, &masks).unwrap();
        }
        let (details, scores) = (counter.details(), counter.scores());
        assert_eq!(details.confusion, [[2, 2], [0, 4]]);
        let image = ImageScore {
            iou: Some(scores.iou),
            dice: Some(scores.dice),
        };
        assert_eq!(details.images, [image; 2]);
        assert!(details.thresholds.is_empty() || details.thresholds[HALF] == image);
    }
}

#[test]
fn ignored_pixels_of_several_classes_do_not_count() {
    // 0 and 1 are right; the others are wrong, but ignored.
    let masks = Tensor::from_slice(&[0_u8, 1, IGNORE, IGNORE]).view([1, 2, 2]);
    let answer = Tensor::from_slice(&[0_i64, 1, 1, 2]).view([1, 2, 2]);
    let logits = answer.one_hot(3).permute([0, 3, 1, 2]).to_kind(Kind::Float);
    let mut counter = Counter::new(3);
    counter.add(&logits, &masks).unwrap();
    let iou: Vec<_> = counter.scores().per_class.iter().map(|c| c.iou).collect();
    assert_eq!(iou, [Some(1.0), Some(1.0), None]);
}

/// Scores of whole images, and of windows in batches of every size. Rows that two windows share are ignored in one.
#[test]
fn windows_of_an_image_have_its_score() {
    tch::manual_seed(5);
    let windows = [(0, 0..7), (6, 7..13), (12, 13..20)];
    for classes in [1, 3] {
        let logits = Tensor::randn([3, classes, 20, 6], (Kind::Float, Device::Cpu));
        let masks = Tensor::randint(classes.max(2), [3, 20, 6], (Kind::Uint8, Device::Cpu));
        let of_window = |image: i64, (first, own): &(i64, std::ops::Range<i64>)| {
            let mask = masks.get(image).narrow(0, *first, 8).copy();
            for row in (*first..first + 8).filter(|row| !own.contains(row)) {
                let _ignored = mask.get(row - first).fill_(i64::from(IGNORE));
            }
            (logits.get(image).narrow(1, *first, 8), mask)
        };
        let all = (0..3).flat_map(|image| windows.iter().map(move |it| of_window(image, it)));
        let (cut, own): (Vec<_>, Vec<_>) = all.unzip();
        let images = [0, 0, 0, 1, 1, 1, 2, 2, 2];
        let mut whole = Counter::new(classes.try_into().unwrap());
        whole.add(&logits, &masks).unwrap();
        for batch in 1..=9 {
            let mut counter = Counter::new(classes.try_into().unwrap());
            for ((cut, own), images) in cut
                .chunks(batch)
                .zip(own.chunks(batch))
                .zip(images.chunks(batch))
            {
                let (cut, own) = (Tensor::stack(cut, 0), Tensor::stack(own, 0));
                counter.add_windows(&cut, &own, images).unwrap();
            }
            assert_eq!(counter.details().images.len(), 2, "the last image is open");
            counter.end_image();
            assert_eq!(counter.details(), whole.details(), "batches of {batch}");
            assert_eq!(counter.scores(), whole.scores());
        }
        let mut apart = Counter::new(classes.try_into().unwrap());
        apart
            .add(&Tensor::stack(&cut, 0), &Tensor::stack(&own, 0))
            .unwrap();
        assert_ne!(apart.scores(), whole.scores(), "the comparison can fail");
    }
}
