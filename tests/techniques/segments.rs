//! Segments on their own: several inputs and outputs, received tensors, random numbers.

use checkpoint::{Checkpoint, Pass};
use tch::{Device, Kind, Tensor};

use super::alone;

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn leaf(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, FLOAT).set_requires_grad(true)
}

fn forms() -> [Checkpoint; 3] {
    let d = Checkpoint::default();
    [d, d.early_stop(false), d.use_reentrant(true)]
}

#[test]
fn several_inputs_and_outputs() {
    let _turn = alone();
    tch::manual_seed(1);
    let (a, b) = (leaf(&[3, 5]), leaf(&[3, 5]));
    let body = |a: &Tensor, b: &Tensor| (a.tanh() * b.exp(), (a + b).sigmoid());
    let (x, y) = body(&a, &b);
    (x.sum(Kind::Float) + (y * 2.0).sum(Kind::Float)).backward();
    let expected = [a.grad().copy(), b.grad().copy()];
    for form in forms() {
        let (a, b) = (
            a.detach().set_requires_grad(true),
            b.detach().set_requires_grad(true),
        );
        let out = form
            .run(&[&a, &b], move |inputs, _| {
                let x = inputs[0].f_tanh()?.f_mul(&inputs[1].f_exp()?)?;
                Ok(vec![x, inputs[0].f_add(&inputs[1])?.f_sigmoid()?])
            })
            .unwrap();
        let loss = out[0].sum(Kind::Float) + (&out[1] * 2.0).sum(Kind::Float);
        torch_ext::backward(&loss).unwrap();
        assert!(
            a.grad().equal(&expected[0]) && b.grad().equal(&expected[1]),
            "{form:?}"
        );
    }
}

#[test]
fn an_unused_output_costs_no_gradient() {
    let _turn = alone();
    for form in forms() {
        let a = leaf(&[4]);
        let out = form
            .run(&[&a], |i, _| Ok(vec![i[0].f_exp()?, i[0].f_tanh()?]))
            .unwrap();
        torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
        assert!(a.grad().equal(&a.detach().exp()), "{form:?}");
    }
}

/// PyTorch's reentrant form gives these parameters no gradient, and only warns.
#[test]
fn parameters_get_gradients_even_if_the_input_needs_none() {
    let _turn = alone();
    for form in forms() {
        let (input, weight) = (Tensor::randn([2, 4], FLOAT), leaf(&[4, 3]));
        let w = weight.shallow_clone();
        let out = form
            .run(&[&input], move |i, _| Ok(vec![i[0].f_matmul(&w)?]))
            .unwrap();
        torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
        assert!(
            weight.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0,
            "{form:?}"
        );
    }
}

#[test]
fn a_recompute_sees_the_random_numbers_of_its_forward() {
    let _turn = alone();
    for form in forms() {
        let a = leaf(&[1000]);
        tch::manual_seed(11);
        let out = form
            .run(&[&a], |i, _| Ok(vec![i[0].f_exp()?.f_dropout(0.5, true)?]))
            .unwrap();
        // The recompute must not disturb the random numbers of the outer run.
        let between = Tensor::rand([3], FLOAT);
        torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
        let after = Tensor::rand([3], FLOAT);

        tch::manual_seed(11);
        let b = a.detach().set_requires_grad(true);
        let plain = b.exp().dropout(0.5, true);
        assert!(between.equal(&Tensor::rand([3], FLOAT)));
        plain.sum(Kind::Float).backward();
        assert!(after.equal(&Tensor::rand([3], FLOAT)), "{form:?}");
        assert!(
            plain.equal(&out[0]) && a.grad().equal(&b.grad()),
            "{form:?}"
        );
    }
    // The check can fail: without the state, dropout drops other values.
    let a = leaf(&[1000]);
    let form = Checkpoint::default().preserve_rng_state(false);
    let out = form
        .run(&[&a], |i, _| Ok(vec![i[0].f_exp()?.f_dropout(0.5, true)?]))
        .unwrap();
    torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
    let kept_then = out[0].ne(0.0);
    assert!(!a.grad().ne(0.0).equal(&kept_then));
}

/// A received tensor is part of the forward's graph and is rebuilt in the recompute. Its gradient
/// is computed once, through the forward.
#[test]
fn a_received_tensor_is_rebuilt() {
    let _turn = alone();
    tch::manual_seed(5);
    let (base, other) = (leaf(&[2, 6]), leaf(&[2, 6]));
    let skip = base.relu();
    (skip.shallow_clone() * other.tanh())
        .exp()
        .sum(Kind::Float)
        .backward();
    let expected = [base.grad().copy(), other.grad().copy()];

    let (base, other) = (
        base.detach().set_requires_grad(true),
        other.detach().set_requires_grad(true),
    );
    let skip = base.relu();
    let kept = base.detach();
    let out = Checkpoint::default()
        .run_receiving(&[&other], &[&skip], move |inputs, pass| {
            let skip = match pass {
                Pass::Forward => inputs[1].shallow_clone(),
                Pass::Recompute => kept.f_relu()?.f_set_requires_grad(true)?,
            };
            assert_eq!(inputs.len(), if pass == Pass::Forward { 2 } else { 1 });
            Ok(vec![skip.f_mul(&inputs[0].f_tanh()?)?.f_exp()?])
        })
        .unwrap();
    drop(skip);
    torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
    assert!(base.grad().equal(&expected[0]) && other.grad().equal(&expected[1]));

    let refused = Checkpoint::default().use_reentrant(true);
    let error = refused.run_receiving(&[&other], &[&base], |i, _| Ok(vec![i[0].f_exp()?]));
    assert!(error.unwrap_err().to_string().contains("cannot receive"));
}

#[test]
fn segments_nest() {
    let _turn = alone();
    let a = leaf(&[3, 4]);
    a.exp().tanh().sigmoid().sum(Kind::Float).backward();
    let expected = a.grad().copy();
    for outer in forms() {
        for inner in forms() {
            let b = a.detach().set_requires_grad(true);
            let out = outer
                .run(&[&b], move |i, _| {
                    let mid = inner.run(&[&i[0].f_exp()?], |i, _| Ok(vec![i[0].f_tanh()?]))?;
                    Ok(vec![mid[0].f_sigmoid()?])
                })
                .unwrap();
            torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
            assert!(b.grad().equal(&expected), "{outer:?} around {inner:?}");
        }
    }
}

#[test]
fn a_retained_graph_gives_the_same_gradients_twice() {
    let _turn = alone();
    for form in forms() {
        let a = leaf(&[5]);
        let out = form
            .run(&[&a], |i, _| Ok(vec![i[0].f_exp()?.f_tanh()?]))
            .unwrap();
        let loss = out[0].sum(Kind::Float);
        torch_ext::backward_with(&loss, None, true).unwrap();
        let once = a.grad().copy();
        torch_ext::backward(&loss).unwrap();
        assert!(a.grad().equal(&(&once + &once)), "{form:?}");
        assert!(
            torch_ext::backward(&loss).is_err(),
            "{form:?}: the graph is gone"
        );
    }
}

#[test]
fn an_input_written_to_in_between_is_an_error() {
    let _turn = alone();
    for form in forms() {
        let a = leaf(&[5]);
        let mid = &a * 1.0;
        let out = form
            .run(&[&mid], |i, _| Ok(vec![i[0].f_exp()?.f_tanh()?]))
            .unwrap();
        tch::no_grad(|| torch_ext::ops::add_scalar_(&mid, 1.0).unwrap());
        let error = torch_ext::backward(&out[0].sum(Kind::Float)).unwrap_err();
        assert!(
            error.to_string().contains("modified in place"),
            "{form:?}: {error}"
        );
    }
}

#[test]
fn two_threads_train_side_by_side() {
    let _turn = alone();
    let work = |seed: i64| {
        tch::manual_seed(seed);
        let w = leaf(&[6, 6]);
        let plain = w.detach().set_requires_grad(true);
        for form in forms() {
            for _ in 0..20 {
                let c = w.shallow_clone();
                let x = Tensor::ones([2, 6], FLOAT);
                let y = form
                    .run(&[&x], move |i, _| Ok(vec![i[0].f_matmul(&c)?.f_tanh()?]))
                    .unwrap();
                torch_ext::backward(&y[0].sum(Kind::Float)).unwrap();
                x.matmul(&plain).tanh().sum(Kind::Float).backward();
            }
        }
        assert!(w.grad().equal(&plain.grad()));
    };
    std::thread::scope(|s| {
        s.spawn(|| work(1));
        s.spawn(|| work(2));
    });
}
