//! What painting an image costs, so that a small file cannot claim hours of work.

use super::runs;
use crate::annotations::{AnnotatedImage, Order, Outline};

/// The number of pixels and edge steps that [`rasterise`](super::rasterise) visits, about.
pub(in crate::annotations) fn work(image: &AnnotatedImage) -> u64 {
    let side = |value: f64, side: usize| value.clamp(0.0, side as f64);
    let clamp = |[x, y]: [f64; 2]| [side(x, image.size.1), side(y, image.size.0)];
    let area = |low: [f64; 2], high: [f64; 2]| (high[0] - low[0] + 1.0) * (high[1] - low[1] + 1.0);
    let of_ring = |ring: &Vec<[f64; 2]>| {
        let (mut low, mut high) = ([f64::INFINITY; 2], [0.0_f64; 2]);
        let mut steps = 0.0;
        for (i, &point) in ring.iter().enumerate() {
            let (from, to) = (clamp(point), clamp(ring[(i + 1) % ring.len()]));
            steps += (to[0] - from[0]).abs() + (to[1] - from[1]).abs() + 1.0;
            low = [low[0].min(from[0]), low[1].min(from[1])];
            high = [high[0].max(from[0]), high[1].max(from[1])];
        }
        steps + area(low, high)
    };
    let of_box = |[left, top, right, bottom]: [f64; 4]| {
        // Walking along the curve costs a step per pixel, inside the image or not.
        area(clamp([left, top]), clamp([right, bottom])) + (right - left) + (bottom - top)
    };
    let of_outline = |outline: &Outline| match outline {
        Outline::Polygons { rings, .. } => rings.iter().map(of_ring).sum(),
        Outline::Circle { bounds } => of_box(*bounds),
        Outline::Ellipse(ellipse) => {
            let ([x, y], [rx, ry]) = (ellipse.centre, ellipse.radii);
            let reach = rx.max(ry);
            area(clamp([x - reach, y - reach]), clamp([x + reach, y + reach]))
        }
        Outline::Runs(runs) => {
            let columns = runs::reach(runs).map_or(0, |(first, last)| last - first + 1);
            let pixels = match runs.order {
                Order::Rows => runs.width * runs.height,
                Order::Columns => columns as u64 * runs.height,
            };
            runs.counts.len() as f64 + pixels as f64
        }
    };
    image
        .shapes
        .iter()
        .map(|shape| of_outline(&shape.outline))
        .sum::<f64>() as u64
}
