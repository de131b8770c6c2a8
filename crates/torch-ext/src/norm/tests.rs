//! Our kernels against libtorch's operators.

use tch::{Cuda, Device, Kind, Tensor};

use super::*;

/// Numbers from 0 to 1. libtorch's generator belongs to all tests of the process.
fn noise(num: i64, seed: i64) -> Tensor {
    let numbers = Tensor::arange(num, (Kind::Double, Device::Cpu)) * 78.233 + seed;
    let waves = numbers.sin() * 43_758.545_3;
    (&waves - waves.floor()).to_kind(Kind::Float)
}

fn random(size: &[i64], kind: Kind, seed: i64) -> Tensor {
    let values = noise(size.iter().product(), seed).view(size) * 6.0 + 0.5;
    let last = values.permute([0, 2, 3, 1]).contiguous();
    last.permute([0, 3, 1, 2]).to_kind(kind)
}

fn norm(channels: i64) -> BatchNorm {
    let of = |seed| noise(channels, seed) + 0.5;
    BatchNorm {
        weight: of(1).set_requires_grad(true),
        bias: (of(2) - 1.0).set_requires_grad(true),
        running_mean: of(3),
        running_var: of(4),
        num_batches_tracked: Tensor::zeros([1], (Kind::Int64, Device::Cpu)),
        momentum: 0.1,
        eps: 1e-5,
    }
}

/// Output, gradients, and running statistics after a step.
fn step(input: &Tensor, training: bool, kernels: Kernels) -> Vec<(&'static str, Tensor)> {
    let norm = norm(input.size()[1]);
    let input = input.detach().set_requires_grad(training);
    let run = || batch_norm_relu(&input, &norm, training, Pass::Forward, kernels).unwrap();
    if !training {
        return vec![("output", tch::no_grad(run))];
    }
    let out = run();
    let gradient = random(&out.size(), out.kind(), 9);
    crate::backward_with(&out, Some(&gradient), false).unwrap();
    assert_eq!(norm.num_batches_tracked.int64_value(&[0]), 1);
    vec![
        ("output", out.detach()),
        ("input", input.grad()),
        ("weight", norm.weight.grad()),
        ("bias", norm.bias.grad()),
        ("running mean", norm.running_mean),
        ("running variance", norm.running_var),
    ]
}

/// Both agree within the rounding of the stored type. In bf16 the mask of an output near 0 can differ, and with it a
/// gradient; so the mean difference counts.
#[test]
fn both_kernels_agree_within_rounding() {
    crate::init().unwrap();
    let sizes = [[2, 16, 8, 10], [3, 5, 7, 1], [1, 130, 1, 2], [4, 2, 33, 31]];
    // With one thread libtorch adds thousands of numbers in a row.
    for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 6e-3)] {
        for size in sizes {
            for training in [true, false] {
                let input = random(&size, kind, 5);
                let ours = step(&input, training, Kernels::Fused);
                let theirs = step(&input, training, Kernels::Library);
                for ((name, ours), (_, theirs)) in ours.into_iter().zip(theirs) {
                    assert_eq!((ours.size(), ours.kind()), (theirs.size(), theirs.kind()));
                    let [ours, theirs] = [ours, theirs].map(|it| it.to_kind(Kind::Double));
                    let difference = (&ours - &theirs).abs().mean(Kind::Double);
                    let scale = theirs.abs().mean(Kind::Double).double_value(&[]) + 0.1;
                    let error = difference.double_value(&[]) / scale;
                    assert!(
                        error < tolerance,
                        "{name} of {size:?}, {kind:?}, {training}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn only_tensors_that_fit_run_on_our_kernels() {
    crate::init().unwrap();
    let is_ours = |input: &Tensor| {
        let norm = norm(input.size()[1]);
        norm.fuse(input, true).unwrap().is_some()
    };
    let fits = random(&[2, 16, 8, 10], Kind::Float, 5);
    assert!(is_ours(&fits));
    assert!(is_ours(&fits.to_kind(Kind::BFloat16)));
    assert!(!is_ours(&fits.contiguous()), "channels-first");
    assert!(!is_ours(&fits.to_kind(Kind::Double)));
    assert!(!is_ours(&fits.narrow(1, 0, 8)), "half of a tensor");
    assert!(
        !is_ours(&random(&[2, 1, 8, 10], Kind::Float, 5)),
        "one channel has no format"
    );
    if Cuda::is_available() {
        assert!(!is_ours(&fits.to_device(Device::Cuda(0))));
    }
}

#[test]
fn tensors_that_do_not_fit_each_other_are_errors() {
    crate::init().unwrap();
    let x = random(&[2, 16, 8, 10], Kind::Float, 5);
    let fused = norm(16).fuse(&x, true).unwrap().unwrap();
    let unfit = |result: Result<()>| assert!(matches!(result, Err(Error::InvalidArgument(_))));
    unfit(fused.activate(&x, &random(&[2, 16, 8, 8], Kind::Float, 5)));
    unfit(fused.activate(&x, &x.to_kind(Kind::BFloat16)));
    unfit(fused.activate(&x.contiguous(), &x));
    unfit(fused.activate_pooled(&x, &random(&[2, 16, 4, 4], Kind::Float, 5)));
    unfit(fused.unpool(&x, &x, &random(&[2, 16, 4, 5], Kind::Float, 5)));
    unfit(
        fused
            .backward(random(&[2, 8, 8, 10], Kind::Float, 5), &x, false)
            .map(drop),
    );
    unfit(fused.activate(&x.narrow(0, 0, 1), &random(&[1, 16, 10, 8], Kind::Float, 5)));
    // The same memory, in part.
    unfit(fused.activate(&x.slice(2, 0, 4, 1), &x.slice(2, 2, 6, 1)));
    unfit(fused.unpool(&x, &x, &random(&[2, 16, 4, 5], Kind::Float, 5)));
    // Odd sides have no windows, although two images have as many pixels as four of half of them.
    let odd = random(&[2, 16, 7, 10], Kind::Float, 5);
    unfit(fused.activate_pooled(&odd, &random(&[1, 16, 7, 5], Kind::Float, 5)));
}

/// Backward reuses the memory of a gradient only if nothing else holds it, and refuses an input that has changed.
#[test]
fn the_node_is_as_libtorchs() {
    crate::init().unwrap();
    let norm = norm(16);
    let leaf = random(&[2, 16, 8, 10], Kind::Float, 5).set_requires_grad(true);
    let input = &leaf * 1.0;
    let run = || batch_norm_relu(&input, &norm, true, Pass::Forward, Kernels::Fused).unwrap();
    let gradient = random(&[2, 16, 8, 10], Kind::Float, 9);
    let before = gradient.copy();
    let out = run();
    crate::backward_with(&out, Some(&gradient), true).unwrap();
    assert!(gradient.equal(&before), "the caller's gradient");
    let first = leaf.grad().copy();
    crate::backward_with(&out, Some(&gradient), false).unwrap();
    assert!(leaf.grad().equal(&(first * 2.0)), "a retained graph");
    let error = crate::backward_with(&out, Some(&gradient), false).unwrap_err();
    assert!(error.to_string().contains("second time"), "{error}");
    // An expanded gradient has one number for all elements.
    crate::backward(&run().sum(Kind::Float)).unwrap();
    let out = run();
    tch::no_grad(|| add_scalar_(&input, 1.0)).unwrap();
    let error = crate::backward_with(&out, Some(&gradient), false).unwrap_err();
    assert!(error.to_string().contains("modified"), "{error}");
}
