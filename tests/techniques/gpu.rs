//! The kernels of a GPU in whole steps, run on the CPU by the same source.

use config::{Network, Precision};
use engine::model::Kernels;
use tch::Kind;

use schedule::{Keep, Plan};

use super::{
    BLOCK, PLAIN, Run, STAGE, Setting, alone, batch, differing, gradients_of, policies, scheduled,
    state_of,
};

/// Gradients of a step, and all tensors after it and a second one.
fn steps(setting: &Setting) -> [Vec<(String, tch::Tensor)>; 2] {
    let mut run = Run::new(8, setting);
    let images = batch(60, 2, true);
    run.gradients(&images).unwrap();
    let gradients = gradients_of(&run);
    run.update();
    run.gradients(&images).unwrap();
    run.update();
    [gradients, state_of(&run)]
}

/// Every policy gives the bits of the graph that autograd records, running statistics included, with convolutions
/// that leave their bias to batch norm.
#[test]
fn every_policy_gives_the_same_bits() {
    let _turn = alone();
    let _gpu = torch_ext::emulate(standin::emulated::launch);
    let everything = Plan::uniform(&Network::new(8, 1), Keep::Everything);
    let in_halves = [
        ("off, split", scheduled(&everything.with_split_concat(true))),
        ("block, split", BLOCK),
        ("stage, split", STAGE),
    ];
    for precision in [Precision::Fp32, Precision::Bf16] {
        for (split_concat, policies) in [(false, policies()), (true, in_halves.to_vec())] {
            let plain = Setting {
                precision,
                split_concat,
                ..PLAIN
            };
            let expected = steps(&plain);
            for (name, checkpointing) in policies {
                let found = steps(&Setting {
                    checkpointing,
                    ..plain.clone()
                });
                for (found, expected) in found.iter().zip(&expected) {
                    assert_eq!(
                        differing(found, expected),
                        Vec::<String>::new(),
                        "{name}, {precision:?}"
                    );
                }
            }
        }
    }
}

/// A step agrees with libtorch's operators within rounding, which grows from layer to layer, but for the biases that have no
/// gradient.
#[test]
fn a_step_agrees_with_libtorchs() {
    let _turn = alone();
    let theirs = steps(&Setting {
        kernels: Kernels::Library,
        ..PLAIN
    });
    let _gpu = torch_ext::emulate(standin::emulated::launch);
    let ours = steps(&PLAIN);
    let mut num_zero = 0;
    for ((name, ours), (_, theirs)) in ours[0].iter().zip(&theirs[0]) {
        let norm = |it: &tch::Tensor| it.to_kind(Kind::Double).norm().double_value(&[]);
        if norm(ours) == 0.0 {
            num_zero += 1;
            assert!(
                name.ends_with("bias") && norm(theirs) < 1e-5,
                "{name}: {}",
                norm(theirs)
            );
            continue;
        }
        let error = norm(&(ours - theirs)) / norm(theirs);
        assert!(error < 0.05, "{name}: {error:.1e}");
    }
    assert_eq!(num_zero, 18, "convolutions before a batch norm");
}
