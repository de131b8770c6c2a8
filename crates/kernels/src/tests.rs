//! Against fp64, against themselves without vector instructions, and at the edges.
#![expect(clippy::float_cmp, reason = "what must be equal is")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::element::{normalised, passed, relu};

/// The largest error of a stored value, in units of its magnitude.
fn rounding<T: Element>() -> f64 {
    if size_of::<T>() == 2 {
        1.0 / 256.0
    } else {
        1.2e-7
    }
}

fn narrowed<T: Element>(values: &[f32]) -> Vec<T> {
    values.iter().map(|it| T::narrow(*it)).collect()
}

fn widened<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|it| f64::from(it.widen())).collect()
}

/// Elements by their bits. Each NaN is equal to each, since instructions differ in the NaN that they make.
fn bits<T: Element>(values: &[T]) -> Vec<u32> {
    let bits = |it: f32| if it.is_nan() { u32::MAX } else { it.to_bits() };
    values.iter().map(|it| bits(it.widen())).collect()
}

/// Some rows with coefficients; images of 2 x `width` pixels.
#[derive(Debug, Clone)]
struct Case {
    channels: usize,
    width: usize,
    x: Vec<f32>,
    dy: Vec<f32>,
    pooled: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    mean: Vec<f32>,
}

impl Case {
    fn affine(&self) -> Affine<'_> {
        Affine {
            scale: &self.scale,
            shift: &self.shift,
        }
    }

    fn gradient(&self) -> Gradient<'_> {
        Gradient {
            mean: &self.mean,
            gradient: &self.shift,
            slope: &self.shift,
            scale: &self.scale,
        }
    }

    const fn grid(&self) -> Grid {
        Grid { width: self.width }
    }
}

fn number() -> BoxedStrategy<f32> {
    prop_oneof![
        12 => -4.0_f32..4.0,
        // Equal values, for windows.
        4 => (-2_i8..3).prop_map(f32::from),
    ]
    .boxed()
}

fn any_number() -> BoxedStrategy<f32> {
    prop_oneof![
        8 => number(),
        1 => any::<f32>(),
        1 => proptest::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40, f32::MIN_POSITIVE]),
    ]
    .boxed()
}

/// Of every number of channels up to 40, so that tiles of all sizes occur.
fn case(number: BoxedStrategy<f32>) -> impl Strategy<Value = Case> {
    (1_usize..41, 1_usize..4, 0_usize..4).prop_flat_map(move |(channels, half, pairs)| {
        let width = 2 * half;
        let elements = 2 * pairs * width * channels;
        let of = |len| vec(number.clone(), len);
        (
            of(elements),
            of(elements),
            of(elements / 4),
            of(channels),
            of(channels),
            of(channels),
        )
            .prop_map(move |(x, dy, pooled, scale, shift, mean)| Case {
                channels,
                width,
                x,
                dy,
                pooled,
                scale,
                shift,
                mean,
            })
    })
}

/// What each kernel writes: the best version, or the portable body.
fn outputs<T: Element>(case: &Case, portable: bool) -> Vec<Vec<u32>> {
    let (x, dy, pooled) = (
        narrowed::<T>(&case.x),
        narrowed::<T>(&case.dy),
        narrowed::<T>(&case.pooled),
    );
    let channels = case.channels;
    let (mut mean, mut deviation) = (vec![0.0; channels], vec![0.0; channels]);
    let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
    let mut all = Vec::new();
    macro_rules! run {
        ($module:ident::$name:ident($($argument:expr),*)) => {
            if portable { $module::$name::<T>($($argument),*) } else { $name::<T>($($argument),*) }
        };
    }
    run!(moments::moments(&x, &mut mean, &mut deviation));
    all.extend([bits(&mean), bits(&deviation)]);
    // Half of rows that are twice as long.
    let mut y = vec![T::default(); 2 * x.len()];
    run!(activate::activate(&x, case.affine(), &mut y, 2 * channels));
    all.push(bits(&y));
    let mut y = vec![T::default(); 2 * x.len()];
    run!(copy::copy(&x, channels, &mut y, 2 * channels, channels));
    all.push(bits(&y));
    let mut y = x.clone();
    run!(activate::activate_in_place(&mut y, case.affine()));
    all.push(bits(&y));
    let mut y = vec![T::default(); x.len() / 4];
    run!(pool::activate_pooled(
        &x,
        case.affine(),
        case.grid(),
        &mut y
    ));
    all.push(bits(&y));
    for mask in [None, Some(case.affine())] {
        run!(differentiate::sums(
            &dy,
            &x,
            mask,
            &case.mean,
            &mut sum,
            &mut product
        ));
        all.extend([bits(&sum), bits(&product)]);
        let mut dx = dy.clone();
        run!(differentiate::differentiate(
            &mut dx,
            &x,
            mask,
            case.gradient()
        ));
        all.push(bits(&dx));
    }
    let mut dx = dy;
    run!(pool::unpool(
        &mut dx,
        &x,
        case.affine(),
        case.grid(),
        &pooled
    ));
    all.push(bits(&dx));
    all
}

/// The tensors of a case in one type of element, also in fp64.
struct Stored<'a, T> {
    case: &'a Case,
    x: Vec<T>,
    dy: Vec<T>,
    pooled: Vec<T>,
    /// Batch norm's output, rounded.
    z: Vec<f32>,
}

impl<'a, T: Element> Stored<'a, T> {
    fn new(case: &'a Case) -> Self {
        let x = narrowed::<T>(&case.x);
        let coefficients = case.scale.iter().zip(&case.shift).cycle();
        let z = x.iter().zip(coefficients);
        Self {
            case,
            z: z.map(|(x, (scale, shift))| normalised::<T>(x.widen(), *scale, *shift))
                .collect(),
            x,
            dy: narrowed(&case.dy),
            pooled: narrowed(&case.pooled),
        }
    }

    /// The gradient that ReLU passes, in fp64.
    fn passed(&self) -> Vec<f64> {
        let dy = widened(&self.dy).into_iter().zip(&self.z);
        dy.map(|(dy, z)| if *z > 0.0 { dy } else { 0.0 }).collect()
    }

    /// The affine map, and the gradient of its input.
    fn check_elements(&self) {
        let (case, eps) = (self.case, rounding::<T>());
        let mut dx = self.dy.clone();
        differentiate::<T>(&mut dx, &self.x, Some(case.affine()), case.gradient());
        let (x, dx, passed) = (widened(&self.x), widened(&dx), self.passed());
        for (i, z) in self.z.iter().enumerate() {
            let of = |values: &[f32]| f64::from(values[i % case.channels]);
            let exact = x[i].mul_add(of(&case.scale), of(&case.shift));
            let found = f64::from(*z);
            assert!(
                (found - exact).abs() <= eps * exact.abs() + 1e-37,
                "{found} {exact}"
            );
            let gradient = case.gradient();
            let terms = [
                passed[i],
                -of(gradient.gradient),
                (of(gradient.mean) - x[i]) * of(gradient.slope),
            ];
            let exact = terms.iter().sum::<f64>() * of(gradient.scale);
            let size = terms.iter().map(|it| it.abs()).sum::<f64>() * of(gradient.scale).abs();
            let error = (dx[i] - exact).abs();
            assert!(
                error <= eps * exact.abs() + 5e-7 * size + 1e-37,
                "{error} {exact}"
            );
        }
    }

    fn check_sums(&self) {
        let case = self.case;
        let (channels, rows) = (case.channels, self.x.len() / case.channels);
        let of_channels = || (vec![0.0; channels], vec![0.0; channels]);
        let (mut mean, mut deviation) = of_channels();
        moments::<T>(&self.x, &mut mean, &mut deviation);
        let (mut sum, mut product) = of_channels();
        sums::<T>(
            &self.dy,
            &self.x,
            Some(case.affine()),
            &case.mean,
            &mut sum,
            &mut product,
        );
        let close = |found: f32, exact: f64, error: f64| {
            assert!((f64::from(found) - exact).abs() <= error, "{found} {exact}");
        };
        let (x, dy) = (widened(&self.x), self.passed());
        for channel in 0..channels {
            let of = |values: &[f64]| -> Vec<f64> {
                values
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .copied()
                    .collect()
            };
            let (x, dy) = (of(&x), of(&dy));
            if rows > 0 {
                let exact = x.iter().sum::<f64>() / rows as f64;
                close(mean[channel], exact, 1e-6);
                let exact = x.iter().map(|it| (it - exact).powi(2)).sum();
                close(deviation[channel], exact, 1e-6 * exact + 1e-10);
            }
            close(sum[channel], dy.iter().sum(), 1e-4);
            let products = dy
                .iter()
                .zip(&x)
                .map(|(dy, x)| dy * (x - f64::from(case.mean[channel])));
            close(product[channel], products.sum(), 1e-3);
        }
    }

    /// Pooling is exact: it chooses, and adds once.
    fn check_windows(&self) {
        let case = self.case;
        let mut y = vec![T::default(); self.x.len() / 4];
        activate_pooled::<T>(&self.x, case.affine(), case.grid(), &mut y);
        let mut dx = self.dy.clone();
        unpool::<T>(&mut dx, &self.x, case.affine(), case.grid(), &self.pooled);
        let (row, per_row) = (case.width * case.channels, case.width / 2);
        for (i, (y, pooled)) in y.iter().zip(&self.pooled).enumerate() {
            let (window, channel) = (i / case.channels, i % case.channels);
            let first = window / per_row * 2 * row + window % per_row * 2 * case.channels + channel;
            let at = [0, case.channels, row, row + case.channels].map(|it| first + it);
            let values = at.map(|it| self.z[it]);
            let largest = values.into_iter().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(*y, T::narrow(relu(largest)));
            let chosen = values.iter().position(|it| *it == largest);
            for (place, at) in at.into_iter().enumerate() {
                let routed = if Some(place) == chosen {
                    pooled.widen()
                } else {
                    0.0
                };
                let expected = passed(self.dy[at].widen() + routed, self.z[at]);
                assert_eq!(dx[at], T::narrow(expected));
            }
        }
    }

    fn check(&self) {
        self.check_elements();
        self.check_sums();
        self.check_windows();
    }
}

proptest! {
    #[test]
    fn kernels_compute_what_fp64_does(case in case(number())) {
        Stored::<f32>::new(&case).check();
        Stored::<bf16>::new(&case).check();
    }

    #[test]
    fn every_instruction_set_computes_the_same_bits(case in case(any_number())) {
        prop_assert_eq!(outputs::<f32>(&case, false), outputs::<f32>(&case, true));
        prop_assert_eq!(outputs::<bf16>(&case, false), outputs::<bf16>(&case, true));
    }

    #[test]
    fn bf16_is_rounded_as_by_half(value in any::<f32>()) {
        let expected = bf16::from_f32(value);
        let found = <bf16 as Element>::narrow(value);
        prop_assert!(found == expected || (value.is_nan() && found.is_nan()));
        prop_assert_eq!(found.widen().to_bits(), found.to_f32().to_bits());
    }

    #[test]
    fn blocks_merge_to_the_moments_of_all(values in vec(-1.0_f32..1.0, 2..2000), offset in -1e4_f32..1e4) {
        // Of one channel a block has 1024 rows.
        let values: Vec<f32> = values.iter().map(|it| it + offset).collect();
        let mut blocks = Vec::new();
        for block in values.chunks(block_rows(1)) {
            let (mut mean, mut deviation) = ([0.0], [0.0]);
            moments(block, &mut mean, &mut deviation);
            blocks.extend([mean[0], deviation[0]]);
        }
        let merged = Moments::merge(values.len(), 1, &blocks)[0];
        let count = values.len() as f64;
        let mean = values.iter().map(|it| f64::from(*it)).sum::<f64>() / count;
        let deviation: f64 = values.iter().map(|it| (f64::from(*it) - mean).powi(2)).sum();
        // The mean of a block is stored in fp32.
        let unit = f64::from(offset.abs() + 1.0) * 6e-8;
        prop_assert!((merged.mean() - mean).abs() <= unit);
        let close = |found: f64, exact: f64| (found - exact).abs() <= 1e-5 * exact + 4.0 * unit * (exact.sqrt() + unit);
        prop_assert!(close(merged.variance(), deviation / count));
        prop_assert!(close(merged.unbiased_variance(), deviation / (count - 1.0)));
    }
}

#[test]
fn nothing_is_done_to_nothing() {
    let none: Affine<'_> = Affine {
        scale: &[],
        shift: &[],
    };
    let mut x = [1.0_f32, 2.0];
    activate_in_place(&mut x, none);
    activate(&[1.0_f32], none, &mut x, 0);
    activate_pooled(&[1.0_f32; 4], none, Grid { width: 2 }, &mut x);
    moments(&x, &mut [], &mut []);
    assert_eq!(x, [1.0, 2.0]);
    // An odd width has pixels outside of all windows.
    let one = Affine {
        scale: &[1.0],
        shift: &[0.0],
    };
    activate_pooled(&[5.0_f32; 6], one, Grid { width: 3 }, &mut x);
    assert_eq!(x, [1.0, 2.0]);
    assert!(Moments::merge(0, 1, &[])[0].variance().is_nan());
    assert!(Moments::merge(0, 0, &[]).is_empty());
}

#[test]
fn what_is_not_a_number_stays_so_and_passes_gradients_as_in_libtorch() {
    let one = Affine {
        scale: &[1.0],
        shift: &[0.0],
    };
    let x = [1.0, f32::NAN, 3.0, 2.0];
    let mut y = [0.0];
    activate_pooled(&x, one, Grid { width: 2 }, &mut y);
    assert!(y[0].is_nan());
    let mut dy = [1.0, 1.0, 1.0, 1.0];
    unpool(&mut dy, &x, one, Grid { width: 2 }, &[10.0]);
    assert_eq!(dy, [1.0, 11.0, 1.0, 1.0]);
    let mut x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0];
    activate_in_place(&mut x, one);
    assert!(x[0].is_nan());
    assert_eq!(x[1..], [f32::INFINITY, 0.0, 0.0]);
}

/// The sums of a constant channel are rounded, and its variance is still 0 or above.
#[test]
fn a_constant_channel_has_no_negative_variance() {
    for value in [1e-3_f32, 0.1, 7777.7, 1e6, 3e8] {
        for rows in [2, 100, 1024] {
            let (mut mean, mut deviation) = ([0.0], [0.0]);
            moments(&vec![value; rows], &mut mean, &mut deviation);
            assert!(deviation[0] >= 0.0, "{value}, {rows}: {}", deviation[0]);
            assert!((mean[0] - value).abs() <= value * 1e-6);
        }
    }
}
