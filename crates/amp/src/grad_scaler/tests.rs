#![expect(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    reason = "scales are powers of two: every value here is exact in fp32"
)]

use proptest::prelude::*;
use tch::no_grad;

use super::*;

/// Plain gradient descent with one parameter of two elements, whose gradients the test sets.
struct Sgd {
    id: OptimizerId,
    param: Tensor,
    grad: Option<Tensor>,
    fused: bool,
    num_steps: usize,
}

impl Sgd {
    fn new(fused: bool) -> Self {
        let param = Tensor::zeros([2], (Kind::Float, Device::Cpu));
        Self {
            id: OptimizerId::unique(),
            param,
            grad: None,
            fused,
            num_steps: 0,
        }
    }
}

impl Optimizer for Sgd {
    fn id(&self) -> OptimizerId {
        self.id
    }

    fn gradients(&self) -> Vec<Tensor> {
        self.grad.iter().map(Tensor::shallow_clone).collect()
    }

    fn step(
        &mut self,
        grad_scale: Option<&Tensor>,
        found_inf: Option<&Tensor>,
    ) -> torch_ext::Result<()> {
        if found_inf.is_some_and(|f| f.double_value(&[0]) != 0.0) {
            return Ok(());
        }
        let grad = self.grad.as_ref().unwrap().shallow_clone();
        let grad = grad_scale.map_or_else(|| grad.shallow_clone(), |s| &grad / s);
        no_grad(|| self.param -= grad);
        self.num_steps += 1;
        Ok(())
    }

    fn step_supports_amp_scaling(&self) -> bool {
        self.fused
    }
}

/// The behaviour of the scale as PyTorch documents it, in plain arithmetic.
struct Reference {
    scale: f32,
    tracker: i64,
    config: ScalerConfig,
}

impl Reference {
    fn update(&mut self, overflow: bool) {
        if overflow {
            self.scale = (f64::from(self.scale) * self.config.backoff_factor) as f32;
            self.tracker = 0;
        } else if self.tracker + 1 == self.config.growth_interval {
            let grown = (f64::from(self.scale) * self.config.growth_factor) as f32;
            if grown.is_finite() {
                self.scale = grown;
            }
            self.tracker = 0;
        } else {
            self.tracker += 1;
        }
        self.scale = self.scale.max(self.config.min_scale as f32);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn follows_the_reference_state_machine(
        events in prop::collection::vec((prop::bool::weighted(0.25), any::<bool>()), 1..60),
        interval in 1_i64..6,
        exponent in 0_i32..18,
        fused: bool,
        floor in prop::sample::select(vec![0.0, 1.0]),
    ) {
        let config = ScalerConfig {
            init_scale: 2_f64.powi(exponent),
            growth_interval: interval,
            min_scale: floor,
            ..ScalerConfig::default()
        };
        let mut scaler = GradScaler::new(Device::Cpu, config).unwrap();
        let mut reference = Reference { scale: config.init_scale as f32, tracker: 0, config };
        let mut optimizer = Sgd::new(fused);
        let mut good = 0;
        for (overflow, unscale_first) in events {
            let scale = scaler.get_scale().unwrap();
            let value = if overflow { f64::INFINITY } else { scale };
            optimizer.grad = Some(Tensor::from_slice(&[value as f32, scale as f32]));
            if unscale_first {
                scaler.unscale_(&optimizer).unwrap();
            }
            scaler.step(&mut optimizer).unwrap();
            scaler.update(None).unwrap();
            reference.update(overflow);
            good += usize::from(!overflow);
            prop_assert_eq!(scaler.get_scale().unwrap() as f32, reference.scale);
            prop_assert_eq!(scaler.state().unwrap().growth_tracker, reference.tracker);
            prop_assert_eq!(optimizer.num_steps, good);
        }
        // Each good step subtracted exactly 1, the unscaled gradient.
        prop_assert_eq!(optimizer.param.double_value(&[1]), -(good as f64));
    }
}

#[test]
fn a_second_unscale_and_a_second_step_are_errors() {
    for fused in [false, true] {
        let mut scaler = GradScaler::new(Device::Cpu, ScalerConfig::default()).unwrap();
        let mut optimizer = Sgd::new(fused);
        optimizer.grad = Some(Tensor::from_slice(&[1_f32, 1.0]));
        scaler.unscale_(&optimizer).unwrap();
        assert!(matches!(
            scaler.unscale_(&optimizer),
            Err(Error::AlreadyUnscaled)
        ));
        scaler.step(&mut optimizer).unwrap();
        assert!(matches!(
            scaler.unscale_(&optimizer),
            Err(Error::AlreadyStepped("unscale_"))
        ));
        assert!(matches!(
            scaler.step(&mut optimizer),
            Err(Error::AlreadyStepped("step"))
        ));
        scaler.update(None).unwrap();
        assert!(matches!(
            scaler.update(None),
            Err(Error::NothingChecked("update"))
        ));
    }
}

#[test]
fn a_step_without_gradients_is_an_error() {
    let mut scaler = GradScaler::new(Device::Cpu, ScalerConfig::default()).unwrap();
    let mut optimizer = Sgd::new(false);
    assert!(matches!(
        scaler.step(&mut optimizer),
        Err(Error::NothingChecked("step"))
    ));
}

#[test]
fn a_disabled_scaler_does_nothing() {
    let config = ScalerConfig {
        enabled: false,
        ..ScalerConfig::default()
    };
    let mut scaler = GradScaler::new(Device::Cpu, config).unwrap();
    let loss = Tensor::from(3_f32);
    assert_eq!(scaler.scale(&loss).unwrap().double_value(&[]), 3.0);
    let mut optimizer = Sgd::new(true);
    optimizer.grad = Some(Tensor::from_slice(&[1_f32, 2.0]));
    scaler.unscale_(&optimizer).unwrap();
    scaler.step(&mut optimizer).unwrap();
    scaler.update(None).unwrap();
    assert_eq!(optimizer.param.double_value(&[1]), -2.0);
    assert_eq!(scaler.get_scale().unwrap(), 1.0);
}

#[test]
fn the_loss_keeps_its_shape() {
    let scaler = GradScaler::new(Device::Cpu, ScalerConfig::default()).unwrap();
    let loss = Tensor::from(2_f32);
    let scaled = scaler.scale(&loss).unwrap();
    assert_eq!(scaled.dim(), 0);
    assert_eq!(scaled.double_value(&[]), 131_072.0);
}

#[test]
fn the_state_survives_json() {
    let mut scaler = GradScaler::new(Device::Cpu, ScalerConfig::default()).unwrap();
    let state = ScalerState {
        scale: 1024.0,
        growth_tracker: 7,
        ..scaler.state().unwrap()
    };
    let json = serde_json::to_string(&state).unwrap();
    assert!(json.contains("\"_growth_tracker\":7"), "{json}");
    scaler
        .load_state(&serde_json::from_str(&json).unwrap())
        .unwrap();
    assert_eq!(scaler.state().unwrap(), state);
    let bad = ScalerState {
        scale: f64::NAN,
        ..state
    };
    assert!(scaler.load_state(&bad).is_err());
    assert_eq!(scaler.state().unwrap(), state);
}

#[test]
fn settings_out_of_range_are_refused() {
    let d = ScalerConfig::default();
    for config in [
        ScalerConfig {
            init_scale: 0.0,
            ..d
        },
        ScalerConfig {
            growth_factor: 1.0,
            ..d
        },
        ScalerConfig {
            backoff_factor: 1.0,
            ..d
        },
        ScalerConfig {
            growth_interval: 0,
            ..d
        },
        ScalerConfig {
            min_scale: -1.0,
            ..d
        },
    ] {
        assert!(matches!(
            GradScaler::new(Device::Cpu, config),
            Err(Error::Setting { .. })
        ));
    }
}

/// `(gradient, scale after, tracker after, parameter after)` of PyTorch 2.11.0's own scaler.
/// Made by `tests/reference/grad_scaler.py`.
const PYTORCH: &str = include_str!("pytorch_sequence.json");

#[test]
fn a_sequence_with_planted_infinities_equals_pytorch() {
    let rows: Vec<(Option<f64>, f64, i64, f64)> = serde_json::from_str(PYTORCH).unwrap();
    assert!(rows.len() >= 40);
    let config = ScalerConfig {
        init_scale: 1024.0,
        growth_interval: 3,
        ..ScalerConfig::default()
    };
    for fused in [false, true] {
        let mut scaler = GradScaler::new(Device::Cpu, config).unwrap();
        let mut optimizer = Sgd::new(fused);
        for (gradient, scale, tracker, param) in &rows {
            let before = scaler.get_scale().unwrap();
            let value = gradient.map_or(f64::INFINITY, |g| g * before);
            optimizer.grad = Some(Tensor::from_slice(&[value as f32, 0.0]));
            scaler.step(&mut optimizer).unwrap();
            scaler.update(None).unwrap();
            let state = scaler.state().unwrap();
            assert_eq!((state.scale, state.growth_tracker), (*scale, *tracker));
            assert_eq!(optimizer.param.double_value(&[0]), *param);
        }
    }
}
