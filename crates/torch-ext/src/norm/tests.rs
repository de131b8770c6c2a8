//! Our kernels against libtorch's operators.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use tch::{Cuda, Device, Kind, Tensor};

use super::*;
use crate::ops::add_scalar_;

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
        momentum: 0.1,
        eps: 1e-5,
        together: None,
    }
}

/// Output, gradients, and running statistics after a step.
fn step(input: &Tensor, training: bool, kernels: Kernels) -> Vec<(&'static str, Tensor)> {
    let norm = norm(input.size()[1]);
    let input = input.detach().set_requires_grad(training);
    let run = || batch_norm_relu((&input).into(), &norm, training, Pass::Forward, kernels).unwrap();
    if !training {
        return vec![("output", tch::no_grad(run))];
    }
    let out = run();
    let gradient = random(&out.size(), out.kind(), 9);
    crate::backward_with(&out, Some(&gradient), false).unwrap();
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
        norm.fuse(input.into(), true).unwrap().is_some()
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
    let fused = norm(16).fuse((&x).into(), true).unwrap().unwrap();
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

/// A channels-last tensor of rows of channels.
fn of_rows(rows: &Tensor, [n, c, h, w]: [i64; 4]) -> Tensor {
    rows.view([n, h, w, c]).permute([0, 3, 1, 2])
}

/// Batch norm and ReLU in fp64, from what the kernels read: mean, output, and gradients of input, weight and bias, given
/// that of the output.
fn in_fp64(x: &Tensor, norm: &BatchNorm, dy: &Tensor) -> [Tensor; 5] {
    let wide = |it: &Tensor| it.detach().to_kind(Kind::Double);
    let of_channels = |it: &Tensor| wide(it).view([1, -1, 1, 1]);
    let dims = [0_i64, 2, 3].as_slice();
    let sum = |it: &Tensor| it.sum_dim_intlist(dims, true, Kind::Double);
    let (x, weight) = (wide(x), of_channels(&norm.weight));
    let count = (x.numel() as f64) / (x.size()[1] as f64);
    let mean = sum(&x) / count;
    let centred = &x - &mean;
    let inverse = (sum(&centred.square()) / count + norm.eps).rsqrt();
    let z = &centred * &inverse * &weight + of_channels(&norm.bias);
    let dz = wide(dy) * z.gt(0.0);
    let (bias, product) = (sum(&dz), sum(&(&dz * &centred)));
    let slope = &product * inverse.square() / count;
    let dx = (&dz - &bias / count - &centred * slope) * &inverse * &weight;
    [mean, z.relu(), dx, product * inverse, bias]
}

/// The kernels of a GPU, run on the CPU by the same source, against fp64: at sizes that fill no block, many blocks, one
/// pixel, and a mean that is large beside the deviation.
#[test]
fn a_gpus_kernels_agree_with_fp64() {
    crate::init().unwrap();
    let _gpu = crate::emulate(standin::emulated::launch);
    let sizes = [
        [2, 16, 8, 10],
        [1, 8, 1, 2],
        [3, 40, 7, 5],
        [1, 1032, 2, 2],
        [2, 8, 70, 66],
        [1, 264, 9, 11],
    ];
    let kinds = [
        (Kind::Float, 1e-5),
        (Kind::Half, 6e-4),
        (Kind::BFloat16, 5e-3),
    ];
    for ((kind, tolerance), size) in kinds
        .into_iter()
        .flat_map(|it| sizes.map(|size| (it, size)))
    {
        let norm = norm(size[1]);
        // Of two values the deviation is small beside such a mean, and with it what fp32 holds of the output.
        let mean = if size[2] > 2 { 40.0 } else { 0.0 };
        let x = random(&size, kind, 5) + mean;
        let dy = random(&size, kind, 9) - 3.0;
        let source = Source::Batch { update: true };
        let fused = tch::no_grad(|| Fused::by(true, &norm, (&x).into(), source))
            .unwrap()
            .unwrap();
        let out = x.empty_like();
        fused.activate(&x, &out).unwrap();
        let gradients = fused.backward(dy.copy(), &x, false).unwrap();
        let found = [out, gradients.input, gradients.weight, gradients.bias];
        let [mean, expected @ ..] = in_fp64(&x, &norm, &dy);
        // Where rounding decides what ReLU passes, gradients differ: sums are compared as a whole.
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let found = found.to_kind(Kind::Double).view_as(expected);
            let difference = (&found - expected).abs().mean(Kind::Double);
            let scale = expected.abs().mean(Kind::Double).double_value(&[]) + 1.0;
            let error = difference.double_value(&[]) / scale;
            assert!(error < tolerance, "{i} of {size:?}, {kind:?}: {error:.1e}");
        }
        let before = (noise(size[1], 3) + 0.5).to_kind(Kind::Double) * 0.9;
        let advanced = before + mean.view([-1]) * 0.1;
        let error = (norm.running_mean.to_kind(Kind::Double) - advanced)
            .abs()
            .max();
        assert!(error.double_value(&[]) < 1e-5, "{size:?} {kind:?}");
    }
}

/// An activation is the same wherever it is written, and pooling takes the same elements as libtorch's does.
#[test]
fn a_gpus_routes_give_equal_bits() {
    crate::init().unwrap();
    let _gpu = crate::emulate(standin::emulated::launch);
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        let (x, norm) = (random(&[2, 16, 8, 10], kind, 5), norm(16));
        let source = Source::Batch { update: false };
        let fused = tch::no_grad(|| Fused::by(true, &norm, (&x).into(), source))
            .unwrap()
            .unwrap();
        let out = x.empty_like();
        fused.activate(&x, &out).unwrap();
        // Half of a concatenation, and over its input.
        let whole = random(&[2, 32, 8, 10], kind, 6);
        let other = whole.narrow(1, 0, 16).copy();
        fused.activate(&x, &whole.narrow(1, 16, 16)).unwrap();
        assert!(whole.narrow(1, 16, 16).equal(&out) && whole.narrow(1, 0, 16).equal(&other));
        let in_place = x.copy();
        fused.activate(&in_place, &in_place).unwrap();
        assert!(in_place.equal(&out));
        // Pooled, from the convolution and from the activation.
        let (pooled, indices) =
            out.to_kind(Kind::Float)
                .max_pool2d_with_indices([2, 2], [2, 2], [0, 0], [1, 1], false);
        for (input, fused) in [(&x, &fused), (&out, &fused.identity())] {
            let found = random(&[2, 16, 4, 5], kind, 7);
            fused.activate_pooled(input, &found).unwrap();
            assert!(found.equal(&pooled.to_kind(kind)), "{kind:?}");
            // The gradient of pooling, added to another's, and masked.
            let (dy, more) = (
                random(&[2, 16, 8, 10], kind, 8),
                random(&[2, 16, 4, 5], kind, 9),
            );
            let routed = out.to_kind(Kind::Float).max_pool2d_with_indices_backward(
                &more.to_kind(Kind::Float),
                [2, 2],
                [2, 2],
                [0, 0],
                [1, 1],
                false,
                &indices,
            );
            let sum = (dy.to_kind(Kind::Float) + routed).to_kind(kind) * out.gt(0.0);
            fused.unpool(&dy, input, &more).unwrap();
            assert!(dy.equal(&sum), "{kind:?}");
        }
    }
}

/// The bias of a convolution that has not added it ends in the running mean, and nowhere else.
#[test]
fn a_gpus_batch_norm_adds_the_bias_of_a_convolution() {
    crate::init().unwrap();
    let gpu = crate::emulate(standin::emulated::launch);
    let (x, bias) = (
        random(&[2, 16, 8, 10], Kind::Float, 5),
        noise(16, 6) * 8.0 - 4.0,
    );
    let with_bias = &x + bias.view([1, -1, 1, 1]);
    let run = |tensor: &Tensor, bias: Option<&Tensor>, source| {
        let norm = norm(16);
        let input = Input { tensor, bias };
        let fused = tch::no_grad(|| Fused::by(true, &norm, input, source))
            .unwrap()
            .unwrap();
        let out = x.empty_like();
        fused.activate(tensor, &out).unwrap();
        [out, norm.running_mean, norm.running_var]
    };
    for source in [Source::Batch { update: true }, Source::Running] {
        let found = run(&x, Some(&bias), source);
        let expected = run(&with_bias, None, source);
        for (found, expected) in found.into_iter().zip(expected) {
            let error = (found - expected).abs().max().double_value(&[]);
            assert!(error < 1e-5, "{source:?}: {error:.1e}");
        }
    }
    drop(gpu);
    let input = Input {
        tensor: &x,
        bias: Some(&bias),
    };
    assert!(!Fused::takes(&norm(16), input), "oneDNN adds it");
    assert!(norm(16).fuse(input, true).unwrap().is_none());
    assert!(x.equal(&with_bias), "so libtorch's batch norm gets it");
}

/// What is not finite arrives, in its own channel only; numbers too small for a normal one stay.
#[test]
fn a_gpus_kernels_pass_what_is_not_finite() {
    crate::init().unwrap();
    let _gpu = crate::emulate(standin::emulated::launch);
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (x, norm) = (random(&[1, 16, 4, 4], kind, 5), norm(16));
            let _filled = x
                .narrow(1, 3, 1)
                .narrow(2, 1, 1)
                .narrow(3, 2, 1)
                .fill_(value);
            let source = Source::Batch { update: false };
            let fused = tch::no_grad(|| Fused::by(true, &norm, (&x).into(), source))
                .unwrap()
                .unwrap();
            let out = x.empty_like();
            fused.activate(&x, &out).unwrap();
            let dx = fused.backward(x.ones_like(), &x, false).unwrap().input;
            for tensor in [out, dx] {
                let finite = tensor.isfinite().all_dim(2, false).all_dim(2, false);
                assert!(
                    !bool::try_from(finite.get(0).get(3)).unwrap(),
                    "{kind:?} {value}"
                );
                assert_eq!(
                    finite.sum(Kind::Int64).int64_value(&[]),
                    15,
                    "{kind:?} {value}"
                );
            }
        }
        let tiny = of_rows(&(noise(256, 5) * 1e-7).to_kind(kind), [1, 16, 4, 4]);
        let norm = BatchNorm {
            eps: 1e-20,
            ..norm(16)
        };
        let source = Source::Batch { update: false };
        let fused = tch::no_grad(|| Fused::by(true, &norm, (&tiny).into(), source))
            .unwrap()
            .unwrap();
        let out = tiny.empty_like();
        fused.activate(&tiny, &out).unwrap();
        let expected = in_fp64(&tiny, &norm, &out)[1]
            .mean(Kind::Double)
            .double_value(&[]);
        let found = out.mean(Kind::Double).double_value(&[]);
        assert!(
            (found / expected - 1.0).abs() < 1e-2,
            "{kind:?}: {found} {expected}"
        );
    }
}

/// Backward reuses the memory of a gradient only if nothing else holds it, and refuses an input that has changed.
#[test]
fn the_node_is_as_libtorchs() {
    crate::init().unwrap();
    let norm = norm(16);
    let leaf = random(&[2, 16, 8, 10], Kind::Float, 5).set_requires_grad(true);
    let input = &leaf * 1.0;
    let run =
        || batch_norm_relu((&input).into(), &norm, true, Pass::Forward, Kernels::Fused).unwrap();
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

/// One of two threads that share a batch.
#[derive(Debug)]
struct Half {
    rank: usize,
    numbers: Arc<Mutex<[Option<Tensor>; 2]>>,
    both: Arc<Barrier>,
}

impl Together for Half {
    fn gather(&self, numbers: &Tensor) -> Result<Tensor> {
        self.numbers.lock().unwrap()[self.rank] = Some(numbers.copy());
        self.both.wait();
        let all = {
            let numbers = self.numbers.lock().unwrap();
            Tensor::cat(&numbers.each_ref().map(|it| it.as_ref().unwrap()), 0)
        };
        self.both.wait();
        Ok(all)
    }

    fn num_images(&self) -> usize {
        4
    }
}

/// Two processes with three images and one compute what one does with four: by the kernels of the CPU and by those of a GPU.
#[test]
fn parts_of_a_batch_are_normalised_as_the_whole() {
    crate::init().unwrap();
    for is_gpu in [false, true] {
        let step = |norm: &BatchNorm, (from, len)| {
            let _gpu = is_gpu.then(|| crate::emulate(standin::emulated::launch));
            let [x, dy] = [5, 9].map(|seed| {
                let whole = random(&[4, 16, 6, 10], Kind::Float, seed);
                let part = whole.narrow(0, from, len);
                part.permute([0, 2, 3, 1]).copy().permute([0, 3, 1, 2])
            });
            let fused = Fused::by(is_gpu, norm, (&x).into(), Source::Batch { update: true });
            let fused = fused.unwrap().unwrap();
            let out = x.empty_like();
            fused.activate(&x, &out).unwrap();
            let gradients = fused.backward(dy, &x, false).unwrap();
            let statistics = Tensor::stack(&[&norm.running_mean, &norm.running_var], 0);
            (
                [out, gradients.input],
                [gradients.weight, gradients.bias],
                statistics,
            )
        };
        let _no_grad = tch::no_grad_guard();
        let (of_each, sums, statistics) = step(&norm(16), (0, 4));
        let (numbers, both) = (Arc::default(), Arc::new(Barrier::new(2)));
        let parts = thread::scope(|scope| {
            let run = |(rank, part)| {
                let together: Arc<dyn Together> = Arc::new(Half {
                    rank,
                    numbers: Arc::clone(&numbers),
                    both: Arc::clone(&both),
                });
                let step = &step;
                scope.spawn(move || {
                    let _no_grad = tch::no_grad_guard();
                    let norm = BatchNorm {
                        together: Some(together),
                        ..norm(16)
                    };
                    step(&norm, part)
                })
            };
            [(0, (0, 3)), (1, (3, 1))]
                .map(run)
                .map(|it| it.join().unwrap())
        });
        let near = |a: &Tensor, b: &Tensor| a.allclose(b, 1e-4, 1e-5, false);
        let [(a, a_sums, a_statistics), (b, b_sums, b_statistics)] = parts;
        assert!(a_statistics.equal(&b_statistics) && near(&a_statistics, &statistics));
        for (whole, (a, b)) in of_each.iter().zip(a.iter().zip(&b)) {
            assert!(near(&Tensor::cat(&[a, b], 0), whole), "GPU: {is_gpu}");
        }
        for (whole, (a, b)) in sums.iter().zip(a_sums.iter().zip(&b_sums)) {
            assert!(near(&(a + b), whole), "GPU: {is_gpu}");
        }
    }
}
