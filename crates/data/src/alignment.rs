//! Whether masks lie on what their images show: along the border of a mask, its image has edges.

use super::masks::IGNORE;
use super::{DataError, Sample};

/// Masks with fewer border pixels say nothing.
const MIN_BORDER: usize = 16;
/// Fewer masks than this say nothing.
const MIN_SAMPLES: usize = 4;
/// How much better another way to lay masks on images, or another image, must be.
const CLEARLY: f64 = 1.3;
/// One of this many masks must belong to another image.
const MIXED_UP: usize = 4;

/// Row and column of pixels.
type Border = Vec<(usize, usize)>;

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
    /// Samples whose masks belong to the image of another sample, which comes second.
    mixed_up: Vec<(usize, usize)>,
    /// The number found with mirrored masks, none of which can be right.
    by_chance: usize,
}

impl Alignment {
    /// Looks at up to `most` of `len` samples, pairs of neighbours spread evenly over them. `load` gives a sample of
    /// `side` x `side` pixels: only a square can be turned.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn of(
        len: usize,
        most: usize,
        side: usize,
        mut load: impl FnMut(usize) -> Result<Sample, DataError>,
    ) -> Result<Self, DataError> {
        let mut found = Self::default();
        let mut with_border = Vec::new();
        for index in spread(len, most) {
            let sample = load(index)?;
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
            with_border.push((index, edges, border));
        }
        let [as_they_are, mirrored] = [0, 1].map(|way| favourites(&with_border, way, side));
        found.mixed_up = as_they_are;
        found.by_chance = mirrored.len();
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

    /// What looks wrong, for people. `name` gives the name of a sample.
    pub fn warning(&self, name: impl Fn(usize) -> String) -> Option<String> {
        if self.num_with_border() < MIN_SAMPLES {
            return None;
        }
        let [as_they_are, others @ ..] = self.ways;
        let (way, best) = (1..).zip(others).max_by(|a, b| a.1.total_cmp(&b.1))?;
        if best > CLEARLY * as_they_are.max(1.0) {
            let times = best / as_they_are.max(0.1);
            let way = WAYS[way];
            return Some(format!(
                "masks: they lie on the edges of their images {times:.1} times as well if {way}"
            ));
        }
        let (num, mixed_up) = (self.num_with_border(), self.mixed_up.len());
        let is_many = mixed_up >= MIN_SAMPLES && MIXED_UP * mixed_up >= num;
        let &(mask, image) = self.mixed_up.first()?;
        (is_many && mixed_up > 2 * self.by_chance).then(|| {
            format!(
                "masks: {mixed_up} of {num} that were looked at lie on the edges of another image and not of their own, \
                 such as the mask of `{}` on `{}`: are their names mixed up?",
                name(mask),
                name(image)
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

/// Up to `most` of `len` samples: pairs of neighbours, spread evenly. Masks whose names are mixed up are often those of
/// a neighbour.
fn spread(len: usize, most: usize) -> Vec<usize> {
    if len <= most {
        return (0..len).collect();
    }
    let pairs = most.div_ceil(2);
    let pair = |nth: usize| [nth * len / pairs, nth * len / pairs + 1];
    (0..pairs).flat_map(pair).take(most).collect()
}

/// Masks, laid on images in one of [`WAYS`], that belong to another image: it and the mask lie on each other clearly
/// better than either on its own partner, and than the mask on any third image. Takes of each sample its index,
/// its edges and its border, and returns the samples of the mask and of the image.
fn favourites(
    samples: &[(usize, Vec<f32>, Border)],
    way: usize,
    side: usize,
) -> Vec<(usize, usize)> {
    let fits_of = |(_, edges, _): &(_, Vec<f32>, _)| -> Vec<f64> {
        let fits = samples
            .iter()
            .map(|(_, _, border)| along(edges, border, way, side));
        let fits: Vec<f64> = fits.collect();
        // Some images have edges everywhere.
        let mean = fits.iter().sum::<f64>() / fits.len().max(1) as f64;
        fits.into_iter()
            .map(|it| it / mean.max(f64::MIN_POSITIVE))
            .collect()
    };
    // By image, then by mask.
    let fits: Vec<Vec<f64>> = samples.iter().map(fits_of).collect();
    let favourite = |mask: usize| {
        let others = (0..samples.len()).filter(|it| *it != mask);
        let image = others
            .clone()
            .max_by(|a, b| fits[*a][mask].total_cmp(&fits[*b][mask]))?;
        let third = others.filter(|it| *it != image).map(|it| fits[it][mask]);
        let rest = third.fold(fits[mask][mask].max(fits[image][image]), f64::max);
        let is_mutual = fits[image].iter().all(|it| *it <= fits[image][mask]);
        (is_mutual && fits[image][mask] > CLEARLY * rest)
            .then(|| (samples[mask].0, samples[image].0))
    };
    (0..samples.len()).filter_map(favourite).collect()
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
fn border(mask: &[u8], side: usize) -> Border {
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
    use crate::{Source as _, SynthSource};

    /// The alignment of pages whose masks are changed.
    fn found(
        pages: usize,
        most: usize,
        mask: impl Fn(&SynthSource, usize) -> Vec<u8>,
    ) -> Alignment {
        let pages = SynthSource::new(3, pages, 128, 128).unwrap();
        let load = |index| {
            let mask = mask(&pages, index);
            let page = pages.load(index)?;
            Ok(Sample { mask, ..page })
        };
        Alignment::of(pages.len(), most, 128, load).unwrap()
    }

    fn warning(mask: impl Fn(&SynthSource, usize) -> Vec<u8>) -> Option<String> {
        found(12, 8, mask).warning(|index| index.to_string())
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
    fn masks_of_other_images_are_noticed() {
        let warning = |mask: &dyn Fn(&SynthSource, usize) -> Vec<u8>| {
            found(40, 32, mask).warning(|index| index.to_string())
        };
        let next = |pages: &SynthSource, index| of_page(pages, (index + 1) % 40);
        let said = warning(&next).unwrap();
        assert_eq!(
            said,
            "masks: 20 of 32 that were looked at lie on the edges of another image and not of their own, such as the \
             mask of `1` on `2`: are their names mixed up?"
        );
        assert_eq!(warning(&of_page), None);
        // Masks of images that are not there belong to none.
        let others = SynthSource::new(4, 40, 128, 128).unwrap();
        assert_eq!(warning(&|_, index| of_page(&others, index)), None);
    }

    #[test]
    fn noisy_copies_of_images_are_not_mixed_up() {
        let pages = SynthSource::new(3, 20, 128, 128).unwrap();
        let load = |index: usize| {
            let mut page = pages.load(index / 2)?;
            if index % 2 == 1 {
                let mut noise = 1_u32;
                for value in &mut page.image {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *value = value.midpoint(noise.to_be_bytes()[0]);
                }
            }
            Ok(page)
        };
        let found = Alignment::of(40, 32, 128, load).unwrap();
        assert_eq!(found.warning(|index| index.to_string()), None);
    }

    #[test]
    fn the_worst_come_first() {
        let one = |pages: &SynthSource, index: usize| match index {
            2 => vec![0; 128 * 128],
            4 => of_page(pages, 1),
            _ => of_page(pages, index),
        };
        let order = found(6, 6, one).worst_first();
        assert_eq!((order[0], order[5]), (4, 2));
    }
}
