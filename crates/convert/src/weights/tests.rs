use super::milesial::{floats, with_halves_swapped};
use super::*;

/// Repeatable numbers around 0, which differ from place to place.
fn numbers(num: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    (0..num).map(|_| next()).collect()
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor {
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: values.iter().flat_map(|it| it.to_le_bytes()).collect(),
    }
}

/// The weights of a small network by Snug's names, `num_batches_tracked` in its own format.
fn snug() -> Tensors {
    let network = Network {
        in_channels: 2,
        ..Network::new(4, 3)
    };
    let specs = network.parameters().into_iter().zip(1..);
    let tensors = specs.map(|(spec, seed)| {
        let shape: Vec<usize> = spec
            .shape
            .iter()
            .map(|it| usize::try_from(*it).unwrap())
            .collect();
        let tensor = if shape.is_empty() {
            Tensor {
                dtype: Dtype::I64,
                shape,
                bytes: 7_i64.to_le_bytes().to_vec(),
            }
        } else {
            tensor(&shape, &numbers(shape.iter().product(), seed))
        };
        (spec.name, tensor)
    });
    tensors.collect()
}

fn refused<T>(result: Result<T>) -> String {
    let error = result.err().unwrap();
    format!("{error}\nhint: {}", error.hint().unwrap())
}

#[test]
fn there_and_back_differs_only_where_a_bias_was_folded() {
    let before = snug();
    let there = to_milesial(&before, "snug").unwrap();
    assert_eq!(
        detect(there.keys().map(String::as_str)),
        Origin::Milesial { bilinear: false }
    );
    let back = to_snug(&there, "milesial").unwrap();
    assert!(before.keys().eq(back.keys()));
    let (mut equal, mut folded) = (0, 0);
    for (name, after) in &back {
        let is_bias = name.ends_with(".conv.0.bias") || name.ends_with(".conv.3.bias");
        if let Some(norm) = name.strip_suffix(".running_mean") {
            let (path, norm) = norm.rsplit_once('.').unwrap();
            let bias = &before[&format!("{path}.{}.bias", norm.parse::<u32>().unwrap() - 1)];
            let sums = floats(after)
                .zip(floats(bias))
                .map(|(mean, bias)| mean + bias);
            for (sum, mean) in sums.zip(floats(&before[name])) {
                // Two roundings of numbers up to 2.
                assert!((sum - mean).abs() <= 2.0 * f32::EPSILON, "{name}");
            }
            assert_ne!(after, &before[name], "{name}");
            folded += 1;
        } else if is_bias {
            assert!(floats(after).all(|it| it == 0.0), "{name}");
        } else {
            assert_eq!(after, &before[name], "{name}");
            equal += 1;
        }
    }
    assert_eq!((equal, folded), (back.len() - 36, 18));
    // Nothing is left to fold.
    assert_eq!(to_milesial(&back, "snug").unwrap(), there);
}

#[test]
fn names_and_shapes_are_those_of_milesials_network() {
    let there = to_milesial(&snug(), "snug").unwrap();
    // 18 convolutions without biases, 18 batch norms of five tensors, 4 transposed convolutions and a head.
    assert_eq!(there.len(), 18 + 18 * 5 + 4 * 2 + 2);
    let listed = [
        "inc.double_conv.0.weight",
        "down1.maxpool_conv.1.double_conv.3.weight",
        "down4.maxpool_conv.1.double_conv.4.running_var",
        "up1.up.weight",
        "up1.conv.double_conv.0.weight",
        "up4.conv.double_conv.1.num_batches_tracked",
        "outc.conv.weight",
        "outc.conv.bias",
    ];
    let shapes: [&[usize]; 8] = [
        &[4, 2, 3, 3],
        &[8, 8, 3, 3],
        &[64],
        &[64, 32, 2, 2],
        &[32, 64, 3, 3],
        &[],
        &[3, 4, 1, 1],
        &[3],
    ];
    for (name, shape) in listed.into_iter().zip(shapes) {
        assert_eq!(there[name].shape, shape, "{name}");
    }
}

#[test]
fn biases_of_older_files_and_prefixes_are_kept() {
    let before = snug();
    let mut older = to_milesial(&before, "snug").unwrap();
    older.insert(
        "inc.double_conv.0.bias".to_owned(),
        before["downs.0.conv.0.bias"].clone(),
    );
    let wrapped: Tensors = older
        .iter()
        .map(|(name, it)| (format!("module.{name}"), it.clone()))
        .collect();
    let back = to_snug(&wrapped, "older").unwrap();
    assert_eq!(back["downs.0.conv.0.bias"], before["downs.0.conv.0.bias"]);
    assert_eq!(back, to_snug(&older, "older").unwrap());
}

/// A 3x3 convolution's sums at one pixel, over the 9 numbers around it in each of the concatenated `halves`.
fn convolved(weight: &Tensor, halves: [&[f32]; 2]) -> Vec<f32> {
    let around = halves.concat();
    let weights: Vec<f32> = floats(weight).collect();
    let rows = weights.chunks_exact(around.len());
    rows.map(|row| {
        row.iter()
            .zip(&around)
            .map(|(weight, it)| weight * it)
            .sum()
    })
    .collect()
}

/// The sum of 54 products of numbers up to 1, added in another order.
const TOLERANCE: f32 = 54.0 * 54.0 * f32::EPSILON;

#[test]
fn swapped_halves_of_a_weight_read_swapped_halves_of_a_concatenation() {
    let (channels, outputs) = (3, 2);
    let weight = tensor(
        &[outputs, 2 * channels, 3, 3],
        &numbers(outputs * 2 * channels * 9, 1),
    );
    let (skip, up) = (numbers(channels * 9, 2), numbers(channels * 9, 3));
    let theirs = convolved(&weight, [&skip, &up]);
    let ours = convolved(&with_halves_swapped(&weight), [&up, &skip]);
    let worst = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    };
    assert!(worst(&theirs, &ours) < TOLERANCE);
    // Without the exchange the results are others.
    assert!(worst(&theirs, &convolved(&weight, [&up, &skip])) > 0.1);
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let tensors = snug();
    let bytes = write(&tensors, "x.safetensors").unwrap();
    assert_eq!(read(&bytes, "x.safetensors").unwrap(), tensors);
}

#[test]
fn errors() {
    let milesial = to_milesial(&snug(), "snug").unwrap();
    let without = |name: &str| {
        milesial
            .clone()
            .into_iter()
            .filter(|(it, _)| !it.contains(name))
            .collect::<Tensors>()
    };
    let mut shape = milesial.clone();
    shape.insert("up2.up.bias".to_owned(), tensor(&[1], &[0.0]));
    let mut half = snug();
    let mean = half.get_mut("downs.1.conv.1.running_mean").unwrap();
    (mean.dtype, mean.bytes) = (Dtype::F16, vec![0; 16]);
    let mut wrong = snug();
    wrong.insert("extra".to_owned(), tensor(&[2], &[0.0]));
    let all = [
        refused(to_snug(&without(".up."), "bilinear.pth")),
        refused(to_snug(&without("running_var"), "cut.pth")),
        refused(to_snug(&without("inc."), "other.pth")),
        refused(to_snug(&shape, "shape.pth")),
        refused(to_milesial(&half, "half.safetensors")),
        refused(to_milesial(&wrong, "extra.safetensors")),
        refused(write(&wrong, "out.safetensors")),
        refused(read(b"PK", "zip.pt")),
    ];
    insta::assert_snapshot!(all.join("\n\n"));
}
