//! Whether masks lie on what their images show: along the border of a mask, its image has edges.

use super::masks::IGNORE;
use super::{DataError, Source};

/// Masks with fewer border pixels say nothing.
const MIN_BORDER: usize = 16;
/// Fewer masks than this say nothing.
const MIN_SAMPLES: usize = 4;
/// How much better another way to lay masks on images must be.
const CLEARLY: f64 = 1.3;

/// The ways to turn and mirror a square, by the bits of their number: transposed, upside down, mirrored.
const WAYS: [&str; 8] = [
    "as they are",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180 degrees",
    "mirrored along the diagonal",
    "turned by 90 degrees",
    "turned by 270 degrees",
    "mirrored along the other diagonal",
];

/// How much the images of a set have edges along the borders of masks, as multiples of the edges that
/// they have anywhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alignment {
    /// The samples that were looked at, with the edges along their own border; `None` for masks with next
    /// to no border.
    pub samples: Vec<(usize, Option<f64>)>,
    /// Means over the samples with a border, for each of [`WAYS`] to lay masks on their images.
    ways: [f64; 8],
}

impl Alignment {
    /// Looks at up to `most` samples of `source`, spread evenly over it.
    ///
    /// # Errors
    /// As [`Source::load`].
    ///
    /// # Panics
    /// If the samples are not square, which is a bug in the caller: only a square can be turned.
    pub fn of(source: &dyn Source, most: usize) -> Result<Self, DataError> {
        let (side, width) = source.size();
        assert_eq!(side, width, "only a square can be turned");
        let num = source.len().min(most);
        let mut found = Self::default();
        for nth in 0..num {
            let index = nth * source.len() / num;
            let sample = source.load(index)?;
            let border = border(&sample.mask, side);
            if border.len() < MIN_BORDER {
                found.samples.push((index, None));
                continue;
            }
            let edges = edges(&sample.rgb(), side);
            let ways: [f64; 8] = std::array::from_fn(|way| along(&edges, &border, way, side));
            found.samples.push((index, Some(ways[0])));
            for (sum, found) in found.ways.iter_mut().zip(ways) {
                *sum += found;
            }
        }
        let num = found.num_with_border().max(1) as f64;
        found.ways = found.ways.map(|sum| sum / num);
        Ok(found)
    }

    fn num_with_border(&self) -> usize {
        self.samples
            .iter()
            .filter(|(_, edges)| edges.is_some())
            .count()
    }

    /// What looks wrong, for people.
    pub fn warning(&self) -> Option<String> {
        if self.num_with_border() < MIN_SAMPLES {
            return None;
        }
        let [as_they_are, others @ ..] = self.ways;
        let (way, best) = (1..).zip(others).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best > CLEARLY * as_they_are.max(1.0)).then(|| {
            let times = best / as_they_are.max(0.1);
            let way = WAYS[way];
            format!(
                "masks: they lie on the edges of their images {times:.1} times as well if {way}"
            )
        })
    }

    /// The samples, those whose masks fit worst first, and last those without a border.
    pub fn worst_first(&self) -> Vec<usize> {
        let mut samples = self.samples.clone();
        samples.sort_by(|(_, a), (_, b)| a.unwrap_or(f64::MAX).total_cmp(&b.unwrap_or(f64::MAX)));
        samples.into_iter().map(|(index, _)| index).collect()
    }
}

/// The strongest change of green between neighbours around each pixel, `[H, W]`, as a multiple of the
/// mean. A border may be a pixel off.
fn edges(image: &[u8], side: usize) -> Vec<f32> {
    let green = |y: usize, x: usize| f32::from(image[(y * side + x) * 3 + 1]);
    let mut change = vec![0_f32; side * side];
    for y in 0..side {
        for x in 0..side {
            let (right, down) = ((x + 1).min(side - 1), (y + 1).min(side - 1));
            let here = green(y, x);
            change[y * side + x] = (green(y, right) - here).abs() + (green(down, x) - here).abs();
        }
    }
    let around = |at: usize| at.saturating_sub(1)..(at + 2).min(side);
    let mut edges = vec![0_f32; side * side];
    for y in 0..side {
        for x in 0..side {
            let rows = around(y).map(|y| &change[y * side..][around(x)]);
            edges[y * side + x] = rows.flatten().fold(0.0, |most, &it| most.max(it));
        }
    }
    let mean = edges.iter().sum::<f32>() / edges.len().max(1) as f32;
    // An image without edges says nothing for or against its mask.
    let share = |it: f32| if mean > 0.0 { it / mean } else { 1.0 };
    edges.into_iter().map(share).collect()
}

/// The pixels of a mask whose right or lower neighbour is of another class.
fn border(mask: &[u8], side: usize) -> Vec<(usize, usize)> {
    let mut border = Vec::new();
    for y in 0..side - 1 {
        for x in 0..side - 1 {
            let at = y * side + x;
            let near = [mask[at], mask[at + 1], mask[at + side]];
            if !near.contains(&IGNORE) && (near[0] != near[1] || near[0] != near[2]) {
                border.push((y, x));
            }
        }
    }
    border
}

/// The mean of `edges` along a border that is laid on them in one of [`WAYS`].
fn along(edges: &[f32], border: &[(usize, usize)], way: usize, side: usize) -> f64 {
    let at = |&(y, x): &(usize, usize)| {
        let (y, x) = if way & 4 == 0 { (y, x) } else { (x, y) };
        let y = if way & 2 == 0 { y } else { side - 1 - y };
        let x = if way & 1 == 0 { x } else { side - 1 - x };
        f64::from(edges[y * side + x])
    };
    border.iter().map(at).sum::<f64>() / border.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;
    use crate::SynthSource;

    /// Pages whose masks are changed.
    struct Changed<F>(SynthSource, F);

    impl<F: Fn(&SynthSource, usize) -> Vec<u8> + Send + Sync> Source for Changed<F> {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn size(&self) -> (usize, usize) {
            self.0.size()
        }

        fn name(&self, index: usize) -> String {
            self.0.name(index)
        }

        fn load(&self, index: usize) -> Result<Sample, DataError> {
            let mask = (self.1)(&self.0, index);
            Ok(Sample {
                mask,
                ..self.0.load(index)?
            })
        }
    }

    fn warning(mask: impl Fn(&SynthSource, usize) -> Vec<u8> + Send + Sync) -> Option<String> {
        let pages = SynthSource::new(3, 12, 128, 128).unwrap();
        Alignment::of(&Changed(pages, mask), 8).unwrap().warning()
    }

    fn of_page(pages: &SynthSource, index: usize) -> Vec<u8> {
        pages.load(index).unwrap().mask
    }

    #[test]
    fn masks_on_their_images_are_right() {
        assert_eq!(warning(of_page), None);
        // A few pixels off is not turned.
        let shifted = |pages: &SynthSource, index| {
            let mut mask = of_page(pages, index);
            mask.rotate_right(128 + 1);
            mask
        };
        assert_eq!(warning(shifted), None);
        assert_eq!(warning(|_, _| vec![0; 128 * 128]), None);
    }

    #[test]
    fn turned_masks_are_noticed() {
        let mirrored = |pages: &SynthSource, index| -> Vec<u8> {
            let mask = of_page(pages, index);
            mask.chunks(128)
                .flat_map(|row| row.iter().rev().copied())
                .collect()
        };
        let said = warning(mirrored).unwrap();
        assert!(
            said.ends_with("times as well if mirrored left to right"),
            "{said}"
        );
        let turned = |pages: &SynthSource, index| -> Vec<u8> {
            let mask = of_page(pages, index);
            (0..128 * 128)
                .map(|at| mask[(127 - at % 128) * 128 + at / 128])
                .collect()
        };
        let said = warning(turned).unwrap();
        assert!(said.ends_with("degrees"), "{said}");
    }

    #[test]
    fn the_worst_come_first() {
        let pages = SynthSource::new(3, 6, 128, 128).unwrap();
        let one = |pages: &SynthSource, index: usize| match index {
            2 => vec![0; 128 * 128],
            4 => of_page(pages, 1),
            _ => of_page(pages, index),
        };
        let found = Alignment::of(&Changed(pages, one), 6).unwrap();
        let order = found.worst_first();
        assert_eq!((order[0], order[5]), (4, 2));
    }
}
