//! Errors, panics and failed allocations inside segments: they are returned with their types, and
//! the next step is not affected.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use checkpoint::{Checkpoint, Pass};
use engine::model::Checkpointing;
use tch::{Device, Kind, Tensor};
use torch_ext::{Error, meter, segment};

use super::{BLOCK, PLAIN, Run, Setting, alone, batch, differing, gradients_of, policies};

#[derive(Debug, thiserror::Error)]
#[error("the closure says no")]
struct No;

fn forms() -> [Checkpoint; 2] {
    [
        Checkpoint::default(),
        Checkpoint::default().use_reentrant(true),
    ]
}

/// A segment that fails in one of its passes.
fn failing(
    form: Checkpoint,
    fail_in: Pass,
    by_panic: bool,
    a: &Tensor,
) -> torch_ext::Result<Tensor> {
    let out = form.run(&[a], move |inputs, pass| {
        let y = inputs[0].f_exp()?;
        if pass == fail_in {
            assert!(!by_panic, "the closure panics");
            return Err(No.into());
        }
        Ok(vec![y.f_tanh()?])
    })?;
    Ok(out[0].shallow_clone())
}

#[test]
fn an_error_of_the_closure_keeps_its_type() {
    let _turn = alone();
    for form in forms() {
        let a = Tensor::randn([8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let is_no = |e: &Error| match e {
            Error::Segment(source) => source.downcast_ref::<No>().is_some(),
            _ => false,
        };
        let error = failing(form, Pass::Forward, false, &a).unwrap_err();
        assert!(is_no(&error), "{form:?}: {error:?}");
        let out = failing(form, Pass::Recompute, false, &a).unwrap();
        let error = torch_ext::backward(&out.sum(Kind::Float)).unwrap_err();
        assert!(is_no(&error), "{form:?}: {error:?}");
        assert_eq!(segment::stats().depth, 0);
    }
}

#[test]
fn a_panic_of_the_closure_resumes_at_the_caller() {
    let _turn = alone();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    for form in forms() {
        let a = Tensor::randn([8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let forward = catch_unwind(AssertUnwindSafe(|| failing(form, Pass::Forward, true, &a)));
        assert!(forward.is_err());
        let out = failing(form, Pass::Recompute, true, &a).unwrap();
        let loss = out.sum(Kind::Float);
        let backward = catch_unwind(AssertUnwindSafe(|| torch_ext::backward(&loss)));
        let message = *backward.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "the closure panics");
        assert_eq!(segment::stats().depth, 0);
        // The next step works.
        let b = a.detach().set_requires_grad(true);
        let out = form.run(&[&b], |i, _| Ok(vec![i[0].f_exp()?])).unwrap();
        torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
        assert!(b.grad().equal(&a.detach().exp()));
    }
    std::panic::set_hook(hook);
}

#[test]
fn a_recompute_that_differs_is_refused() {
    let _turn = alone();
    let a = Tensor::randn([8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let out = Checkpoint::default()
        .run(&[&a], |i, pass| {
            let x = if pass == Pass::Forward {
                i[0].shallow_clone()
            } else {
                i[0].f_narrow(0, 0, 4)?
            };
            Ok(vec![x.f_exp()?.f_tanh()?])
        })
        .unwrap();
    let error = torch_ext::backward(&out[0].sum(Kind::Float)).unwrap_err();
    assert!(matches!(error, Error::RecomputeMismatch(_)), "{error:?}");
}

/// Fails every allocation of a small step, one by one: each failure has its type, memory returns to
/// its level exactly, and the retry equals a step that never failed.
#[test]
fn every_allocation_of_a_step_may_fail() {
    let _turn = alone();
    let off = ("off", Checkpointing::Off);
    for (name, checkpointing) in policies().into_iter().chain([off]) {
        let setting = Setting {
            checkpointing,
            ..PLAIN
        };
        let images = batch(20, 1, true);
        let mut run = Run::new(1, &setting);
        // Libraries cache on first use.
        run.gradients(&images).unwrap();
        let expected = gradients_of(&run);
        run.clear();
        let num = {
            let before = meter::read().num_allocations;
            run.gradients(&images).unwrap();
            let num = meter::read().num_allocations - before;
            run.clear();
            num
        };
        let level = meter::read().allocated_bytes;
        let failures = Cell::new(0);
        for k in 0..num {
            meter::fail_after(Some(u32::try_from(k).unwrap()));
            let result = run.gradients(&images);
            meter::fail_after(None);
            if let Err(error) = result {
                failures.set(failures.get() + 1);
                assert!(error.is_out_of_memory(), "{name} at {k}: {error:?}");
            }
            run.clear();
            assert_eq!(segment::stats().depth, 0);
            let now = meter::read().allocated_bytes;
            assert_eq!(now, level, "{name} at {k}: level not restored");
        }
        run.gradients(&images).unwrap();
        assert_eq!(
            differing(&gradients_of(&run), &expected),
            Vec::<String>::new()
        );
        run.clear();
        println!(
            "{name}: {} of {num} allocations failed and recovered",
            failures.get()
        );
        assert!(
            failures.get() * 10 >= num * 9,
            "{} of {num}",
            failures.get()
        );
    }
}

#[test]
fn a_limit_refuses_with_the_bytes() {
    let _turn = alone();
    let level = meter::read().allocated_bytes;
    meter::set_limit(Some(level + 1_000_000));
    let result = Tensor::f_zeros([1_000_000], (Kind::Float, Device::Cpu));
    meter::set_limit(None);
    let error = Error::from(result.unwrap_err());
    let Error::OutOfMemory {
        requested_bytes,
        free_bytes,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (requested_bytes, free_bytes),
        (Some(4_000_000), Some(1_000_000))
    );
}

/// libtorch does not check versions of tensors saved through hooks, so the segment does.
#[test]
fn a_parameter_written_to_in_between_is_an_error() {
    let _turn = alone();
    let images = batch(21, 2, true);
    let run = Run::new(
        2,
        &Setting {
            checkpointing: BLOCK,
            ..PLAIN
        },
    );
    let mode = engine::model::ForwardMode {
        training: true,
        checkpointing: BLOCK,
        split_concat: false,
        kernels: engine::model::Kernels::Fused,
    };
    let logits = run.model().forward(&images.0, &mode).unwrap();
    let weight = run
        .model()
        .parameters()
        .get("downs.1.conv.3.weight")
        .unwrap();
    tch::no_grad(|| torch_ext::ops::add_scalar_(weight, 1.0).unwrap());
    let error = torch_ext::backward(&logits.sum(Kind::Float)).unwrap_err();
    assert!(error.to_string().contains("modified in place"), "{error}");
}

#[test]
fn a_segment_without_inputs_runs() {
    let _turn = alone();
    let a = Tensor::randn([8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    for form in forms() {
        let b = a.detach().set_requires_grad(true);
        let c = b.shallow_clone();
        let out = form
            .run(&[], move |_, _| Ok(vec![c.f_exp()?.f_tanh()?]))
            .unwrap();
        torch_ext::backward(&out[0].sum(Kind::Float)).unwrap();
        assert!(b.grad().defined(), "{form:?}");
    }
}

#[test]
fn batch_norm_of_a_single_value_is_refused() {
    let _turn = alone();
    let run = Run::new(2, &PLAIN);
    let image = Tensor::rand([1, 3, 16, 16], (Kind::Float, Device::Cpu));
    let mode = engine::model::ForwardMode {
        training: true,
        checkpointing: Checkpointing::Off,
        split_concat: false,
        kernels: engine::model::Kernels::Fused,
    };
    let error = run.model().forward(&image, &mode).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more than one value per channel"),
        "{error}"
    );
}
