//! Resizes images and masks exactly as Pillow does, so that results are comparable with
//! PyTorch scripts: bilinear with antialiasing for images, nearest for masks. Sizes are
//! (height, width).

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::DataError;

/// Resizes `pixels`, `[H, W, C]` of size `from`, to `to`: `[H', W', C]`.
/// Mirrors `Image.resize((w, h), Image.Resampling.BILINEAR)`.
///
/// # Errors
/// [`DataError::Size`] if a side is 0 or `pixels` does not have the size `from`.
pub fn image(
    pixels: Vec<u8>,
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
) -> Result<Vec<u8>, DataError> {
    if pixels.len() != from.0 * from.1 * channels || pixels.is_empty() || to.0 == 0 || to.1 == 0 {
        return Err(size_error(
            to,
            "the source pixels do not match, or a side is 0",
        ));
    }
    if from == to {
        return Ok(pixels);
    }
    let mut resized = vec![0; to.0 * to.1 * channels];
    match channels {
        1 => bilinear::<U8>(&pixels, from, &mut resized, to)?,
        3 => bilinear::<U8x3>(&pixels, from, &mut resized, to)?,
        _ => {
            let mut plane = vec![0; to.0 * to.1];
            for channel in 0..channels {
                let source: Vec<u8> = pixels
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .copied()
                    .collect();
                bilinear::<U8>(&source, from, &mut plane, to)?;
                let target = resized.iter_mut().skip(channel).step_by(channels);
                target
                    .zip(&plane)
                    .for_each(|(target, &value)| *target = value);
            }
        }
    }
    Ok(resized)
}

/// Typed, because `Resizer::resize` is compiled for every type of pixel, which takes minutes.
fn bilinear<P: InnerPixel<Component = u8> + PixelTrait>(
    pixels: &[u8],
    from: (usize, usize),
    resized: &mut [u8],
    to: (usize, usize),
) -> Result<(), DataError> {
    let side = |side| u32::try_from(side).map_err(|_overflow| size_error(to, "too large"));
    let source = TypedImageRef::<P>::from_buffer(side(from.1)?, side(from.0)?, pixels)
        .map_err(|_wrong| size_error(from, "the pixels have another size"))?;
    let mut target = TypedImage::<P>::from_buffer(side(to.1)?, side(to.0)?, resized)
        .map_err(|_wrong| size_error(to, "the pixels have another size"))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|_wrong| size_error(to, "the image cannot be resized to it"))
}

/// Resizes `pixels`, `[H, W]` of size `from`, to `to`: `[H', W']`. Each pixel gets the value of
/// the source pixel that its centre falls into. Mirrors
/// `Image.resize((w, h), Image.Resampling.NEAREST)`.
pub fn mask(pixels: Vec<u8>, from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    debug_assert_eq!(pixels.len(), from.0 * from.1);
    if from == to || pixels.is_empty() {
        return pixels;
    }
    let columns = centres(from.1, to.1);
    let mut resized = Vec::with_capacity(to.0 * to.1);
    for row in centres(from.0, to.0) {
        let row = &pixels[row * from.1..][..from.1];
        resized.extend(columns.iter().map(|&column| row[column]));
    }
    resized
}

/// For each of `to` pixels, the one of `from` under its centre. The position is summed step by
/// step as in Pillow's `ImagingScaleAffine`, because a product rounds differently if a centre
/// falls on an edge.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to `from`"
)]
fn centres(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut position = step * 0.5;
    (0..to)
        .map(|_| {
            let pixel = (position as usize).min(from - 1);
            position += step;
            pixel
        })
        .collect()
}

fn size_error((height, width): (usize, usize), why: &'static str) -> DataError {
    DataError::Size { height, width, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Both sides round fixed-point sums, but at different places.
    const MAX_DIFFERENCE: u8 = 1;

    // The numbers below are from Pillow 13.0 with this program:
    //   h, w = 5, 7
    //   y, x, c = np.mgrid[0:h, 0:w, 0:3]
    //   a = ((x * 37 + y * 59 + c * 83 + x * y * 11) % 256).astype(np.uint8)
    //   for H, W in [(3, 4), (8, 10)]:
    //       r = np.asarray(Image.fromarray(a).resize((W, H), Image.Resampling.BILINEAR))
    //       print(r[..., 0].ravel().tolist())
    //   m = Image.fromarray(np.arange(h * w, dtype=np.uint8).reshape(h, w))
    //   for H, W in [(3, 4), (7, 12)]:
    //       print(np.asarray(m.resize((W, H), Image.Resampling.NEAREST)).ravel().tolist())
    const SIZE: (usize, usize) = (5, 7);
    const DOWN: [u8; 12] = [47, 112, 167, 149, 146, 155, 127, 134, 176, 135, 126, 122];
    const UP: [u8; 80] = [
        0, 20, 46, 72, 98, 124, 150, 176, 202, 222, 26, 48, 78, 107, 137, 166, 190, 141, 142, 165,
        63, 89, 124, 158, 181, 210, 232, 98, 72, 99, 100, 130, 169, 208, 132, 110, 145, 127, 147,
        177, 136, 170, 195, 182, 108, 90, 129, 117, 141, 175, 173, 211, 200, 80, 107, 149, 186, 67,
        56, 93, 210, 173, 134, 108, 157, 159, 113, 88, 113, 155, 236, 140, 81, 138, 195, 162, 52,
        109, 165, 210,
    ];
    const NEAREST_DOWN: [u8; 12] = [0, 2, 4, 6, 14, 16, 18, 20, 28, 30, 32, 34];
    const NEAREST_UP: [u8; 84] = [
        0, 0, 1, 2, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11, 11, 12, 13, 13, 7, 7, 8, 9,
        9, 10, 10, 11, 11, 12, 13, 13, 14, 14, 15, 16, 16, 17, 17, 18, 18, 19, 20, 20, 21, 21, 22,
        23, 23, 24, 24, 25, 25, 26, 27, 27, 21, 21, 22, 23, 23, 24, 24, 25, 25, 26, 27, 27, 28, 28,
        29, 30, 30, 31, 31, 32, 32, 33, 34, 34,
    ];

    fn formula() -> Vec<u8> {
        let pixel = |y: usize, x: usize, c: usize| (x * 37 + y * 59 + c * 83 + x * y * 11) % 256;
        let all = (0..SIZE.0).flat_map(|y| (0..SIZE.1).map(move |x| (y, x)));
        all.flat_map(|(y, x)| [0, 1, 2].map(|c| u8::try_from(pixel(y, x, c)).unwrap()))
            .collect()
    }

    #[test]
    fn images_equal_pillow() {
        for (to, expected) in [((3, 4), &DOWN[..]), ((8, 10), &UP[..])] {
            let resized = image(formula(), 3, SIZE, to).unwrap();
            let red: Vec<u8> = resized.iter().step_by(3).copied().collect();
            assert_eq!(red.len(), expected.len());
            let difference = red
                .iter()
                .zip(expected)
                .map(|(a, b)| a.abs_diff(*b))
                .max()
                .unwrap();
            assert!(difference <= MAX_DIFFERENCE, "{difference}: {red:?}");
        }
    }

    #[test]
    fn each_of_any_channels_is_resized_alone() {
        for to in [(3, 4), (8, 10)] {
            let rgb = image(formula(), 3, SIZE, to).unwrap();
            let [five, one] = [&[2, 0, 1, 2, 0][..], &[1]].map(|channels| {
                let pixels = |pixels: &[u8]| -> Vec<u8> {
                    let of_pixel =
                        |pixel: &[u8]| channels.iter().map(|&it| pixel[it]).collect::<Vec<_>>();
                    pixels.chunks_exact(3).flat_map(of_pixel).collect()
                };
                let resized = image(pixels(&formula()), channels.len(), SIZE, to).unwrap();
                (resized, pixels(&rgb))
            });
            assert_eq!(five.0, five.1);
            assert_eq!(one.0, one.1);
        }
    }

    #[test]
    fn masks_equal_pillow() {
        let pixels: Vec<u8> = (0..35).collect();
        assert_eq!(mask(pixels.clone(), SIZE, (3, 4)), NEAREST_DOWN);
        assert_eq!(mask(pixels, SIZE, (7, 12)), NEAREST_UP);
    }

    #[test]
    fn masks_equal_pillow_at_every_ratio() {
        // Pillow 13.0, FNV-1a over all the columns that NEAREST picks:
        //   fnv = 0xcbf29ce484222325
        //   for n in range(1, 65):
        //       row = Image.fromarray(np.arange(n, dtype=np.uint8)[None, :])
        //       for t in range(1, 97):
        //           for v in np.asarray(row.resize((t, 1), Image.Resampling.NEAREST)).ravel().tolist():
        //               fnv = ((fnv ^ v) * 0x100000001b3) & (2**64 - 1)
        const PILLOW: u64 = 0xd62f_cea1_68a1_4360;
        let mut fnv = 0xcbf2_9ce4_8422_2325_u64;
        for from in 1..65_u8 {
            for to in 1..97 {
                for value in mask((0..from).collect(), (1, usize::from(from)), (1, to)) {
                    fnv = (fnv ^ u64::from(value)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        assert_eq!(fnv, PILLOW);
    }

    #[test]
    fn an_empty_image_cannot_be_resized() {
        let text = |pixels, to| image(pixels, 3, (1, 1), to).unwrap_err().to_string();
        assert!(text(vec![0; 3], (0, 5)).starts_with("invalid image size 0x5 (height x width)"));
        assert!(text(vec![0; 2], (5, 5)).contains("the source pixels do not match"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flat_colour_stays_and_no_class_is_invented(
            colour: [u8; 3], class: u8, from in (1_usize..40, 1_usize..40), to in (1_usize..40, 1_usize..40),
        ) {
            let pixels = from.0 * from.1;
            let resized = image(colour.repeat(pixels), 3, from, to).unwrap();
            prop_assert_eq!(resized, colour.repeat(to.0 * to.1));
            let mut classes = vec![0; pixels];
            classes[pixels / 2] = class;
            let resized = mask(classes.clone(), from, to);
            prop_assert_eq!(resized.len(), to.0 * to.1);
            prop_assert!(resized.iter().all(|value| classes.contains(value)));
        }
    }
}
