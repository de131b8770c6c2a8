//! cuDNN's workspaces as a table: `table.txt`, made by `crates/standin/tools/table.py`, which describes it.

use std::collections::HashMap;
use std::sync::OnceLock;

use config::Precision;

use super::super::super::sizes::ConvSize;
use super::Cuda;
use super::workspace::Operation;

const TEXT: &str = include_str!("table.txt");

/// The compute capabilities that libtorch has kernels for.
pub(super) const CAPABILITIES: [(u32, u32); 7] =
    [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)];

/// Channels of a stage.
const CHANNELS: [u64; 14] = [
    8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024,
];
/// The most channels of each kind of convolution, in the order of [`Kind`].
const MOST: [u64; 10] = [1024, 1024, 512, 512, 128, 128, 128, 128, 128, 128];
/// The batches with a row.
const BATCHES: [u64; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32];
/// Height and width of the images that were asked, in units: square, wide and tall.
const SHAPES: [(f64, f64); 3] = [(2.0, 2.0), (2.0, 3.0), (3.0, 2.0)];
/// The unit of the smallest images, and steps of an octave of units, which divide it evenly.
const SMALLEST: f64 = 8.0;
const STEPS: f64 = 8.0;
/// Steps of an octave of bytes from 1 KiB on.
const LOGS: f64 = 256.0;
/// Letters of a segment.
const SEGMENT: usize = 5;
/// A row or a group that is as another one.
const SAME: &str = "=";

/// The convolutions of a U-Net, by their channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Same,
    Half,
    Double,
    Up,
    First,
    Head,
    /// Of several classes: an even number, an odd one, a whole vector, and many.
    Even,
    Odd,
    Vector,
    Many,
}

/// The groups of each shape; none of a shape that was not asked.
type Groups = [Vec<&'static str>; SHAPES.len()];

/// Major and minor of a compute capability, operation, data type and memory format as cuDNN numbers them.
type Key = (u32, u32, u8, u8, bool);

/// How a tensor is copied into the layout of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    No,
    Plain,
    /// With its channels padded to 16 bytes.
    Padded,
}

/// What an engine takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) image: Copied,
    pub(super) result: Copied,
    /// Whether both are copied twice.
    pub(super) is_twice: bool,
    /// Copies of the weight, and partial sums of its gradient.
    pub(super) num_weights: u64,
    /// Everything else, such as index tables.
    pub(super) rest_bytes: u64,
}

/// What cuDNN's first choice takes for a convolution of about this size; `None` if it has none.
pub(super) fn taken(cuda: Cuda, conv: &ConvSize, operation: Operation) -> Option<Taken> {
    let (kind, channels) = kind_of(conv);
    let groups = table().get(&key(cuda, conv, operation))?;
    let row = row_of(groups, group_of(kind, channels), shape_of(conv), conv.batch)?;
    let units = units_of(conv);
    let step = step_of(units);
    let mut segments = row.as_bytes().as_chunks().0.iter().copied();
    let first = segments.next()?;
    let later = segments.take_while(|it| start(*it) <= step);
    taken_by(later.last().unwrap_or(first), units)
}

/// The unit of an image with which the nearest batch has as many pixels.
fn units_of(conv: &ConvSize) -> f64 {
    let (height, width) = SHAPES[shape_of(conv)];
    let batch = BATCHES[nearest(BATCHES, conv.batch)];
    let pixels = conv
        .batch
        .saturating_mul(conv.height.saturating_mul(conv.width));
    (pixels as f64 / (batch as f64 * height * width)).sqrt()
}

/// The nearest step of the images that were asked.
fn step_of(units: f64) -> f64 {
    let units = (units / SMALLEST).max(1.0);
    let octave = units.log2().floor();
    STEPS.mul_add(octave, (STEPS * (units / octave.exp2() - 1.0)).round())
}

/// The unit of a step.
fn unit(step: f64) -> f64 {
    let octave = (step / STEPS).floor();
    let part = step / STEPS - octave;
    SMALLEST * octave.exp2() * (1.0 + part)
}

/// The first of these letters is 0.
const fn number(letter: u8) -> u8 {
    letter.saturating_sub(b'!')
}

/// The step at which a segment starts.
fn start(segment: [u8; SEGMENT]) -> f64 {
    number(segment[0]).into()
}

/// What the engine of a segment takes for an image of this unit.
fn taken_by(segment: [u8; SEGMENT], units: f64) -> Option<Taken> {
    let [_, code, weights, high, low] = segment;
    if code == b'~' {
        return None;
    }
    let code = number(code);
    let copied = |code: u8| match code {
        0 => Copied::No,
        1 => Copied::Plain,
        _ => Copied::Padded,
    };
    let log = 94.0 * f64::from(number(high)) + f64::from(number(low));
    let grown = match code / 9 {
        1 => (units / unit(start(segment))).powi(2),
        _ => 1.0,
    };
    let rest = match log {
        0.0 => 0.0,
        log => grown * (10.0 + (log - 1.0) / LOGS).exp2(),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes of a workspace, not negative, and saturated"
    )]
    let rest_bytes = rest as u64;
    Some(Taken {
        image: copied(code % 9 / 3),
        result: copied(code % 3),
        is_twice: code / 9 == 2,
        num_weights: number(weights).into(),
        rest_bytes,
    })
}

/// The number of the shape that is nearest by its ratio.
fn shape_of(conv: &ConvSize) -> usize {
    let width = conv.width.max(1) as f64 / conv.height.max(1) as f64;
    let distance = |(h, w): (f64, f64)| (width * h / w).ln().abs();
    let shapes = SHAPES.into_iter().enumerate();
    let nearest = shapes.min_by(|(_, a), (_, b)| distance(*a).total_cmp(&distance(*b)));
    nearest.map_or(0, |(shape, _)| shape)
}

/// The row of the nearest batch.
fn row_of(groups: &Groups, group: usize, shape: usize, batch: u64) -> Option<&'static str> {
    let square = groups.first()?.get(group)?.split('\t');
    let own = groups.get(shape)?.get(group).filter(|it| **it != SAME);
    let rows = own.map_or_else(|| square.clone(), |it| it.split('\t'));
    let rows = rows.enumerate().take(nearest(BATCHES, batch) + 1);
    let (index, row) = rows.filter(|(_, row)| !row.is_empty()).last()?;
    if row != SAME {
        return Some(row);
    }
    let rows = square.take(index + 1);
    rows.filter(|row| !row.is_empty()).last()
}

/// The index of the number nearest to `to`, by their ratio.
fn nearest<const N: usize>(numbers: [u64; N], to: u64) -> usize {
    let distance = |it: u64| (it as f64 / to.max(1) as f64).ln().abs();
    let numbers = numbers.into_iter().enumerate();
    let nearest = numbers.min_by(|(_, a), (_, b)| distance(*a).total_cmp(&distance(*b)));
    nearest.map_or(0, |(index, _)| index)
}

/// The kind of a convolution, and the channels of its stage.
const fn kind_of(conv: &ConvSize) -> (Kind, u64) {
    let ConvSize {
        inputs, outputs, ..
    } = *conv;
    if conv.stride == 2 {
        (Kind::Up, outputs)
    } else if conv.taps == 1 {
        let kind = match conv.outputs {
            1 => Kind::Head,
            classes if classes.is_multiple_of(8) => Kind::Vector,
            classes if classes.is_multiple_of(2) => Kind::Even,
            ..12 => Kind::Odd,
            _ => Kind::Many,
        };
        (kind, inputs)
    } else if inputs < 8 {
        (Kind::First, outputs)
    } else if inputs == outputs {
        (Kind::Same, outputs)
    } else if inputs < outputs {
        (Kind::Half, outputs)
    } else {
        (Kind::Double, outputs)
    }
}

/// The number of the group with the nearest channels.
fn group_of(kind: Kind, channels: u64) -> usize {
    let of = |kind: usize| CHANNELS.into_iter().filter(move |it| *it <= MOST[kind]);
    let before: usize = (0..kind as usize).map(|kind| of(kind).count()).sum();
    before + nearest(CHANNELS, channels.min(MOST[kind as usize]))
}

fn key(cuda: Cuda, conv: &ConvSize, operation: Operation) -> Key {
    let (major, minor) = supported(cuda.compute_capability);
    let operation = match operation {
        Operation::Forward => 10,
        Operation::WeightGradient => 11,
        Operation::InputGradient => 12,
    };
    let kind = match conv.precision {
        Precision::Fp32 | Precision::Tf32 => 0,
        Precision::Fp16 => 2,
        Precision::Bf16 => 9,
    };
    let last = cuda.memory_format.is_channels_last();
    (major, minor, operation, kind, last)
}

/// The newest compute capability in the table that a card has.
fn supported(capability: (u32, u32)) -> (u32, u32) {
    let mut older = CAPABILITIES.into_iter().rev();
    older
        .find(|it| *it <= capability)
        .unwrap_or(CAPABILITIES[0])
}

fn table() -> &'static HashMap<Key, Groups> {
    static TABLE: OnceLock<HashMap<Key, Groups>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table: HashMap<Key, Groups> = HashMap::new();
        let mut before: Vec<&'static str> = Vec::new();
        for (key, shape, mut groups) in TEXT.lines().filter_map(row) {
            if shape == 0 {
                for (group, before) in groups.iter_mut().zip(&before) {
                    if *group == SAME {
                        *group = before;
                    }
                }
                before.clone_from(&groups);
            }
            if let Some(of_shape) = table.entry(key).or_default().get_mut(shape) {
                *of_shape = groups;
            }
        }
        table
    })
}

/// A line such as `8.6 10 0 1 0: !!##! !!##!`: the key, the number of the shape, and the groups.
fn row(line: &'static str) -> Option<(Key, usize, Vec<&'static str>)> {
    let (key, groups) = line.split_once(": ")?;
    let mut words = key.split(' ');
    let (major, minor) = words.next()?.split_once('.')?;
    let mut number = || words.next()?.parse::<u8>().ok();
    let key = (
        major.parse().ok()?,
        minor.parse().ok()?,
        number()?,
        number()?,
        number()? == 1,
    );
    Some((key, number()?.into(), groups.split(' ').collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_whole() {
        // Of three operations, three data types, two memory formats.
        assert_eq!(table().len(), CAPABILITIES.len() * 3 * 3 * 2);
        let of_shape = |shape: usize| {
            table()
                .values()
                .map(move |it| &it[shape])
                .filter(|it| !it.is_empty())
        };
        let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
        let shapes = (0..SHAPES.len()).map(|shape| of_shape(shape).count());
        assert_eq!(lines.count(), shapes.sum::<usize>());
        assert_eq!(of_shape(0).count(), table().len());
        let last = group_of(Kind::Many, MOST[9]);
        for (key, [square, others @ ..]) in table() {
            let others = others.iter().filter(|it| !it.is_empty());
            assert!(others.clone().all(|it| it.len() == last + 1), "{key:?}");
            assert_eq!(square.len(), last + 1, "{key:?}");
            let others = others.flatten().filter(|it| **it != SAME);
            for rows in square.iter().chain(others) {
                let rows: Vec<_> = rows.split('\t').collect();
                assert_eq!(rows.len(), BATCHES.len(), "{key:?}");
                assert_ne!(rows[0], "", "{key:?}");
                for row in rows.iter().filter(|it| !it.is_empty() && **it != SAME) {
                    assert_eq!(row.len() % SEGMENT, 0, "{key:?}");
                    let segments = row.as_bytes().as_chunks().0;
                    assert!(
                        segments.is_sorted_by(|a, b| start(*a) < start(*b)),
                        "{key:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_shape_has_rows_of_its_own_or_those_of_square_images() {
        let (square, own) = ("a\t\tb\tc", "x\t=\t\t=");
        let groups = [vec![square, square], vec![own, SAME], vec![]];
        let of =
            |group, shape| [1, 2, 3, 4].map(|batch| row_of(&groups, group, shape, batch).unwrap());
        assert_eq!(of(0, 0), ["a", "a", "b", "c"]);
        assert_eq!(of(0, 1), ["x", "a", "a", "c"]);
        assert_eq!(of(1, 1), of(0, 0));
        assert_eq!(of(0, 2), of(0, 0), "not asked");
        let shape = |height, width| {
            shape_of(&ConvSize {
                batch: 1,
                inputs: 8,
                outputs: 8,
                height,
                width,
                taps: 9,
                stride: 1,
                precision: Precision::Fp32,
            })
        };
        assert_eq!(
            [shape(48, 48), shape(48, 64), shape(64, 48), shape(0, 0)],
            [0, 1, 2, 0]
        );
    }

    #[test]
    fn the_nearest_card_and_channels_are_taken() {
        assert_eq!(supported((8, 7)), (8, 6));
        assert_eq!(supported((12, 1)), (12, 0));
        assert_eq!(supported((6, 1)), (7, 5));
        assert_eq!(group_of(Kind::Same, 64), 5);
        assert_eq!(group_of(Kind::Same, 4096), 13);
        assert_eq!(group_of(Kind::Half, 18), 14 + 1);
    }
}
