//! Memory: checkpointing lowers the peak, and a step leaves no bytes behind.

use config::{CheckpointPolicy, ImageSize, Keep, Network, Precision, RunConfig};
use engine::model::Checkpointing;
use tch::Device;
use torch_ext::meter;
use train::lab::measure::StepProbe;
use train::lab::memory::Timeline;
use train::lab::prediction;

use super::{PLAIN, Run, Setting, alone, batch, batch_of, policies};

/// Large enough that activations, not gradients, determine the peak.
const SIZE: [u32; 2] = [128, 160];
const BATCH: u32 = 2;

/// Peak of the second step above the level before it.
fn peak_of(setting: &Setting) -> u64 {
    peak_of_size(setting, BATCH, SIZE)
}

fn peak_of_size(setting: &Setting, num: u32, size: [u32; 2]) -> u64 {
    let mut run = Run::new(4, setting);
    let images = batch_of(5, num, size, setting.channels_last);
    run.gradients(&images).unwrap();
    run.update();
    let level = meter::read().allocated_bytes;
    meter::reset_peak();
    run.gradients(&images).unwrap();
    meter::read().peak_bytes - level
}

/// bf16 where the CPU multiplies it. Elsewhere convolutions are computed in fp32 behind conversions,
/// whose buffers take most of what bf16 saves.
fn bf16() -> Option<Precision> {
    machine::Cpu::detect().bf16.then_some(Precision::Bf16)
}

#[test]
fn checkpointing_lowers_the_peak() {
    if bf16().is_none() {
        println!("skipped in bf16: this CPU has neither AVX512-BF16 nor AMX");
    }
    let _turn = alone();
    // At width 64 and 512x512 the ratios in fp32 are 0.41, 0.62, 0.50 and 0.29 (derived from what
    // each policy keeps). In a small network on small images, temporary tensors add to them.
    let bounds = [
        ("off, scheduled", 0.95),
        ("selective", 0.60),
        ("block", 0.80),
        ("block, reentrant", 0.80),
        ("stage", 0.70),
        ("stage, reentrant", 0.70),
        ("mixed", 0.45),
    ];
    for precision in [Precision::Fp32].into_iter().chain(bf16()) {
        let peak = |checkpointing| {
            peak_of(&Setting {
                precision,
                checkpointing,
                ..PLAIN
            })
        };
        let plain = peak(Checkpointing::Off);
        for ((name, policy), (bound_of, bound)) in policies().into_iter().zip(bounds) {
            assert_eq!(name, bound_of);
            let ratio = peak(policy) as f64 / plain as f64;
            println!("{precision:?} {name}: {ratio:.3} of {plain} bytes");
            assert!(ratio < bound, "{precision:?} {name}: {ratio}");
        }
    }
}

#[test]
fn bf16_lowers_the_peak() {
    if bf16().is_none() {
        println!("skipped: this CPU has neither AVX512-BF16 nor AMX");
        return;
    }
    let _turn = alone();
    let fp32 = peak_of(&PLAIN);
    let bf16 = peak_of(&Setting {
        precision: Precision::Bf16,
        ..PLAIN
    });
    assert!((bf16 as f64) < 0.75 * fp32 as f64, "{bf16} of {fp32}");
}

/// Plans of every kind take the bytes that are predicted for them, in both memory formats.
#[test]
fn a_plan_takes_what_is_predicted() {
    let _turn = alone();
    let network = Network::new(8, 1);
    let uniform = |keep: &Keep| vec![*keep; network.num_stages()];
    let plans = Keep::ALL.iter().map(uniform);
    let cases = [(true, false), (true, true), (false, false)];
    let cases = plans.flat_map(|plan| cases.map(|case| (plan.clone(), case)));
    for (plan, (use_channels_last, exact_kernels)) in cases {
        let config = RunConfig {
            width: network.width,
            img_size: ImageSize::new(256, 320),
            batch: 2,
            use_amp: false,
            use_channels_last,
            exact_kernels,
            ..RunConfig::default().with_plan(plan)
        };
        let Some(tolerated) = prediction::tolerated(&config, Device::Cpu) else {
            println!("skipped: this CPU has neither AVX512 nor AVX2");
            return;
        };
        let predicted = prediction::peak(&config, Device::Cpu).unwrap().bytes;
        let mut probe = StepProbe::new(&config, Device::Cpu, Precision::Fp32).unwrap();
        probe.step().unwrap();
        let measured = probe.peak_bytes().unwrap().peak_bytes;
        let error = 100.0 * (predicted as f64 / measured as f64 - 1.0);
        let recipe = config.recipe(Precision::Fp32);
        println!("{recipe}: {measured} bytes, predicted with {error:+.2} %");
        assert!(tolerated.contains(&error), "{recipe}: {error:+.2} %");
    }
}

/// A record of allocations and the meter report the same peak.
#[test]
fn the_record_agrees_with_the_meter() {
    let _turn = alone();
    for policy in [
        CheckpointPolicy::Off,
        CheckpointPolicy::Block,
        CheckpointPolicy::Mixed,
    ] {
        let config = RunConfig {
            width: 4,
            img_size: ImageSize::new(64, 96),
            batch: 2,
            use_amp: false,
            ..RunConfig::default().with_policy(policy)
        };
        let mut probe = StepProbe::new(&config, Device::Cpu, Precision::Fp32).unwrap();
        probe.step().unwrap();
        let metered = probe.peak_bytes().unwrap();
        let timeline = Timeline::of(&probe.recorded_step().unwrap());
        assert_eq!(timeline.peak.total(), metered.peak_bytes, "{policy}");
        let samples = &timeline.memory.samples;
        let [first, last] = [samples.first(), samples.last()].map(|sample| {
            let bytes = sample.unwrap().bytes;
            bytes.iter().sum::<u64>()
        });
        assert_eq!(
            (first, last),
            (metered.held_bytes, metered.held_bytes),
            "{policy}"
        );
    }
}

#[test]
fn the_level_is_the_same_after_each_of_200_steps() {
    let _turn = alone();
    let off = ("off", Checkpointing::Off);
    for (name, checkpointing) in policies().into_iter().chain([off]) {
        let mut run = Run::new(
            1,
            &Setting {
                checkpointing,
                ..PLAIN
            },
        );
        let images = batch(6, 1, true);
        let mut level = None;
        for step in 0..200 {
            run.gradients(&images).unwrap();
            run.update();
            let now = meter::read().allocated_bytes;
            assert_eq!(*level.get_or_insert(now), now, "{name} step {step}");
        }
    }
}
