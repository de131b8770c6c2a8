use locale::Language;

use super::*;

fn bytes(activations: u64) -> BytesByCategory {
    let mut bytes = [0; Category::ALL.len()];
    bytes[Category::Parameters.index()] = 100;
    bytes[Category::Activations.index()] = activations;
    bytes
}

fn step() -> MemoryTimeline {
    MemoryTimeline::of_moments([
        ("forward", 1.0, bytes(100)),
        ("forward", 1.0, bytes(200)),
        ("backward", 2.0, bytes(400)),
        ("backward", 2.0, bytes(300)),
    ])
}

#[test]
fn phases_are_stretched_one_by_one() {
    let predicted = step();
    assert_eq!(predicted.phases, [("forward", 0.0), ("backward", 2.0)]);
    assert_eq!(predicted.peak().unwrap().total(), 500);
    let with = |phases: &[(&'static str, f64)], end_ms| MemoryTimeline {
        phases: phases.to_vec(),
        end_ms,
        samples: Vec::new(),
    };
    let at = |it: &MemoryTimeline| it.samples.iter().map(|it| it.at_ms).collect::<Vec<_>>();
    let measured = with(&[("forward", 0.0), ("backward", 10.0)], 12.0);
    assert_eq!(at(&predicted.in_time_of(&measured)), [0.0, 5.0, 10.0, 11.0]);
    let other = with(&[("validation", 0.0)], 60.0);
    assert_eq!(at(&predicted.in_time_of(&other)), [0.0, 10.0, 20.0, 40.0]);
}

#[test]
fn a_chart_holds_what_a_reader_looks_for() {
    let timeline = step();
    let bar = |name: &str, bytes, predicted_bytes, is_drawn| Bar {
        name: name.to_owned(),
        bytes,
        predicted_bytes,
        is_drawn,
    };
    let picture = Chart {
        title: "a <step> & more",
        lines: &["of nothing".to_owned()],
        timeline: &timeline,
        predicted: Some(&timeline),
        peak_at: "backward: convolution",
        bars: &[
            bar("off", 1000, Some(1010), false),
            bar("selective + split", 500, None, true),
        ],
        holders: &[(Category::Activations, "conv2d (2): 400 B".to_owned())],
        hints: &[(0.0, "1. conv2d".to_owned())],
        time_axis: "time, ms",
    }
    .to_svg(Language::English);
    insta::assert_snapshot!("chart", picture);
}

#[test]
fn panels_are_as_wide_as_their_steps_are_long() {
    let twice = MemoryTimeline::of_moments([("forward", 12.0, bytes(150))]);
    let panel = |name: &str, timeline| Panel {
        name: name.to_owned(),
        timeline,
    };
    let picture = Panels {
        title: "half the memory, twice the time".to_owned(),
        lines: Vec::new(),
        panels: vec![panel("off", step()), panel("block", twice)],
    }
    .to_svg(Language::English);
    for said in ["50 %", "+100 % time", "time of a step: 1", "activations"] {
        assert!(picture.contains(&format!(">{said}</text>")), "{said}");
    }
}

#[test]
fn a_step_without_moments_is_drawn() {
    let timeline = MemoryTimeline::default();
    let chart = Chart {
        title: "",
        lines: &[],
        timeline: &timeline,
        predicted: None,
        peak_at: "",
        bars: &[],
        holders: &[],
        hints: &[],
        time_axis: "",
    };
    let panels = Panels {
        title: String::new(),
        lines: Vec::new(),
        panels: vec![Panel {
            name: String::new(),
            timeline: timeline.clone(),
        }],
    };
    for picture in [
        chart.to_svg(Language::English),
        panels.to_svg(Language::English),
    ] {
        assert!(
            !picture.contains("NaN") && !picture.contains("inf"),
            "{picture}"
        );
    }
}
