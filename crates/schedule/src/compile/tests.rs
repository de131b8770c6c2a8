//! What each operation reads, makes and frees, and schedules that are followed by it.

use proptest::prelude::*;

use super::Schedule;
use crate::{Alive, Half, Keep, Nth, Op, Plan, Statistics, Target, Value};
use config::Network;

const NETWORK: Network = Network::new(64, 1);

/// Operators only, which work on whole tensors.
const OPERATORS: Target = Target {
    in_place_norm: false,
    shapeless_input_grad: false,
    fused: false,
};

impl Schedule {
    /// What an operation does to the tensors that are alive.
    fn effect(&self, op: Op, alive: &Alive) -> Effects {
        use Value::{Act, Conv, GradAct, GradConv, GradInput, GradUp, Input, Up};
        let skip = |stage| self.skip_of(stage).unwrap_or(0);
        let one_of = |a: Value, b: Value| if alive.contains(a) { a } else { b };
        let source = |stage| one_of(Act(stage, Nth::Second), Conv(stage, Nth::Second));
        let last = self.network.num_stages() - 1;
        let input = |stage, nth| match (stage, nth) {
            (0, Nth::First) => Value::Image,
            (_, Nth::First) => Input(stage),
            (_, Nth::Second) => Act(stage, Nth::First),
        };
        let half = |stage, half| match half {
            Half::Up => Up(stage),
            Half::Skip => Act(skip(stage), Nth::Second),
        };
        match op {
            Op::Conv(s, n) => Effects::new([input(s, n)]).makes(Conv(s, n)),
            Op::ConvHalf(s, h @ Half::Up) => Effects::new([half(s, h)]).makes(Conv(s, Nth::First)),
            Op::ConvHalf(s, h @ Half::Skip) => Effects::new([half(s, h), Conv(s, Nth::First)]),
            Op::Moments(s, n) => Effects::new([Conv(s, n)]),
            Op::Norm {
                stage,
                nth,
                in_place,
                ..
            } => {
                let effect = Effects::new([Conv(stage, nth)]).makes(Act(stage, nth));
                if in_place {
                    effect.takes(Conv(stage, nth))
                } else {
                    effect
                }
            }
            Op::Pool(s) => Effects::new([source(s - 1)]).makes(Input(s)),
            Op::Up(s) => Effects::new([Act(s - 1, Nth::Second)]).makes(Up(s)),
            Op::Concat(s) => Effects::new([Up(s), source(skip(s))]).makes(Input(s)),
            Op::ConcatSkip(s) => Effects::new([source(skip(s))]).makes(Input(s)),
            Op::ConcatUp(s) => Effects::new([Up(s), Input(s)]),
            Op::Head => Effects::new([Act(last, Nth::Second)]).makes(Value::Logits),
            Op::HeadWeight => Effects::new([Act(last, Nth::Second), Value::GradLogits]),
            Op::HeadInput => Effects::new([Conv(last, Nth::Second), Value::GradLogits])
                .makes(GradAct(last, Nth::Second)),
            Op::NormBackward {
                stage: s, nth: n, ..
            } => Effects::new([GradAct(s, n), Conv(s, n)])
                .makes(GradConv(s, n))
                .takes(GradAct(s, n)),
            Op::ConvWeight(s, n) => Effects::new([input(s, n), GradConv(s, n)]),
            Op::ConvInput(s, Nth::Second) => {
                Effects::new([GradConv(s, Nth::Second), Conv(s, Nth::First)])
                    .makes(GradAct(s, Nth::First))
            }
            Op::ConvInput(s, Nth::First) => {
                let effect = Effects::new([GradConv(s, Nth::First)]).makes(GradInput(s));
                if self.target.shapeless_input_grad {
                    effect
                } else {
                    effect.reads(Input(s))
                }
            }
            Op::ConvWeightHalf(s, h) => Effects::new([half(s, h), GradConv(s, Nth::First)]),
            Op::ConvInputHalf(s, h) => {
                let grad = match h {
                    Half::Up => GradUp(s),
                    Half::Skip => GradAct(skip(s), Nth::Second),
                };
                Effects::new([GradConv(s, Nth::First)]).makes(grad)
            }
            Op::PoolBackward(s) => {
                Effects::new([GradInput(s), source(s - 1), GradAct(s - 1, Nth::Second)])
            }
            Op::TakeUp(s) => Effects::new([GradInput(s)]).makes(GradUp(s)),
            Op::TakeSkip(s) => Effects::new([GradInput(s)]).makes(GradAct(skip(s), Nth::Second)),
            Op::UpWeight(s) => Effects::new([GradUp(s), Act(s - 1, Nth::Second)]),
            Op::UpInput(s) => Effects::new([GradUp(s), Conv(s - 1, Nth::Second)])
                .makes(GradAct(s - 1, Nth::Second)),
            Op::Free(value) => Effects::new([value]),
        }
    }
}

/// What an operation needs and changes.
#[derive(Debug, Default)]
struct Effects {
    /// Tensors that must be alive before it.
    reads: Vec<Value>,
    /// Tensors that are alive from here on.
    makes: Vec<Value>,
    /// Tensors that are no longer alive after it.
    takes: Vec<Value>,
}

impl Effects {
    fn new<const N: usize>(reads: [Value; N]) -> Self {
        Self {
            reads: reads.to_vec(),
            ..Self::default()
        }
    }

    fn reads(mut self, value: Value) -> Self {
        self.reads.push(value);
        self
    }

    fn makes(mut self, value: Value) -> Self {
        self.makes.push(value);
        self
    }

    fn takes(mut self, value: Value) -> Self {
        self.takes.push(value);
        self
    }
}

/// Follows a schedule as an executor would and asserts that every tensor is alive when it is read
/// and not alive before it is made, and that none is left. Returns how often each batch norm took
/// new statistics.
fn follow(schedule: &Schedule) -> Vec<usize> {
    let mut alive = Alive::new(schedule.network.num_stages());
    alive.insert(Value::Image);
    alive.insert(Value::GradLogits);
    let mut norms = vec![0; 2 * (schedule.network.num_stages())];
    for &op in schedule.forward.iter().chain(&schedule.backward) {
        let effect = schedule.effect(op, &alive);
        for value in &effect.reads {
            assert!(
                alive.contains(*value),
                "{op:?} reads {value:?}, which is not alive"
            );
        }
        for &value in &effect.makes {
            assert!(
                alive.insert(value),
                "{op:?} makes {value:?}, which is alive already"
            );
        }
        for value in &effect.takes {
            assert!(
                alive.remove(*value),
                "{op:?} takes {value:?}, which is not alive"
            );
        }
        match op {
            Op::Free(value) => assert!(alive.remove(value)),
            Op::Moments(stage, nth)
            | Op::Norm {
                stage,
                nth,
                statistics: Statistics::Batch,
                ..
            } => norms[2 * stage + usize::from(nth == Nth::Second)] += 1,
            _ => {}
        }
    }
    for value in [Value::Image, Value::Logits] {
        alive.remove(value);
    }
    let none = Alive::new(schedule.network.num_stages());
    assert_eq!(alive, none, "left over");
    norms
}

fn count(schedule: &Schedule, wanted: impl Fn(&Op) -> bool) -> usize {
    schedule.backward.iter().filter(|op| wanted(op)).count()
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let keep = prop::sample::select(Keep::ALL.to_vec());
    (prop::collection::vec(keep, 9), any::<bool>()).prop_map(|(stages, split_concat)| Plan {
        stages,
        split_concat,
    })
}

proptest! {
    /// Any assignment is valid: it reads only tensors that are alive, leaves none behind, and
    /// computes statistics once and every gradient once.
    #[test]
    fn any_plan_compiles(plan in any_plan(), cpu in any::<bool>()) {
        let target = if cpu { Target::CPU } else { OPERATORS };
        let schedule = Schedule::compile(&NETWORK, &plan, target).unwrap();
        prop_assert_eq!(follow(&schedule), vec![1; 18]);
        let weights = count(&schedule, |op| matches!(op, Op::ConvWeight(..)))
            + count(&schedule, |op| matches!(op, Op::ConvWeightHalf(_, Half::Up)));
        prop_assert_eq!(weights, 18);
        prop_assert_eq!(count(&schedule, |op| matches!(op, Op::NormBackward { .. })), 18);
        prop_assert_eq!(count(&schedule, |op| matches!(op, Op::UpWeight(_))), 4);
        prop_assert_eq!(count(&schedule, |op| matches!(op, Op::HeadWeight)), 1);
    }
}

#[test]
fn selective_recomputes_the_cheapest_convolution_alone() {
    let of = |plan: &Plan| Schedule::compile(&NETWORK, plan, Target::CPU).unwrap();
    let is_3x3 = |op: &Op| matches!(op, Op::Conv(..) | Op::ConvHalf(..));
    let selective = of(&Plan::selective(&NETWORK));
    assert_eq!(count(&selective, is_3x3), 1);
    assert!(selective.backward.contains(&Op::Conv(0, Nth::First)));
    // The transposed convolution of the last stage is kept, which costs no memory.
    assert_eq!(count(&selective, |op| matches!(op, Op::Up(_))), 3);
    assert!(count(&of(&Plan::mixed(&NETWORK, false)), is_3x3) > 0);
}

#[test]
fn a_plan_is_for_one_depth() {
    let other = Network {
        depth: 3,
        ..NETWORK
    };
    assert!(Schedule::compile(&other, &Plan::selective(&NETWORK), Target::CPU).is_err());
}
