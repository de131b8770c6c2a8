//! The parts of a session, in order.

use std::time::Duration;

use super::Session;

/// The part that draws the pages which others train on.
pub(super) const PAGES: &str = "pages";
/// The part that measures, and its folder.
pub(super) const BENCH: &str = "bench";

/// The names of all parts, in order.
pub const NAMES: [&str; 20] = [
    "driver",
    "doctor",
    PAGES,
    "refused",
    "limited",
    "trained",
    "small",
    "small-graph",
    BENCH,
    "without-nvrtc",
    "out-of-memory",
    "search-1",
    "search-20",
    "search-off",
    "large-64",
    "large-96",
    "nan-fp16",
    "nan-bf16",
    "infinite",
    "recompute",
];

/// What a part is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartPlan {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Another program than `train`.
    pub(super) program: Option<&'static str>,
    pub(super) words: Vec<String>,
    /// Variables of its environment.
    pub(super) variables: Vec<(&'static str, &'static str)>,
    pub(super) expected: Option<i32>,
    pub(super) limit: Duration,
    /// Whether it leaves the folder of a run.
    pub(super) is_run: bool,
}

impl PartPlan {
    fn new(name: &'static str, title: &'static str, seconds: u64, words: &str) -> Self {
        Self {
            name,
            title,
            program: None,
            words: words.split_whitespace().map(str::to_owned).collect(),
            variables: Vec::new(),
            expected: Some(0),
            limit: Duration::from_secs(seconds),
            is_run: false,
        }
    }

    fn expecting(self, expected: Option<i32>) -> Self {
        Self { expected, ..self }
    }

    fn with(mut self, variable: &'static str, value: &'static str) -> Self {
        self.variables.push((variable, value));
        self
    }
}

pub(super) fn all(session: &Session) -> Vec<PartPlan> {
    let device = &session.device_flag;
    let fit = |name, title, seconds, flags| fit(device, name, title, seconds, flags);
    let compared = match &session.python {
        Some(python) => format!(
            "--against-pytorch --python {} --variant pytorch-eager --variant pytorch-checkpoint",
            python.display()
        ),
        None => String::new(),
    };
    let mut parts = vec![
        PartPlan {
            program: Some("nvidia-smi"),
            ..PartPlan::new(
                "driver",
                "the GPU, its driver, its memory and MIG",
                15,
                "--query-gpu=name,driver_version,memory.total,mig.mode.current --format=csv",
            )
        },
        PartPlan::new(
            "doctor",
            "each technique, policy and precision works",
            75,
            &format!("doctor --device {device} --json"),
        ),
        PartPlan::new(
            PAGES,
            "the pages that the other parts train on",
            60,
            &format!("synth --out {PAGES} --train 96 --val 24"),
        ),
        fit(
            "refused",
            "a run that cannot fit is refused before it starts",
            30,
            "--strict --width 256 --batch 96 --max-steps 1",
        )
        .expecting(Some(3)),
        fit(
            "limited",
            "a run under a limit on memory",
            45,
            "--memory-limit 8GiB --max-steps 2",
        ),
        fit(
            "trained",
            "memory as predicted and as measured, and speed",
            90,
            "--preset best-balance --max-steps 60",
        ),
        fit(
            "small",
            "a small network, launched kernel by kernel",
            20,
            "--width 16 --img-size 256x256 --batch 4",
        ),
        fit(
            "small-graph",
            "the same steps as CUDA graphs",
            20,
            "--width 16 --img-size 256x256 --batch 4 --cuda-graph on",
        ),
        PartPlan::new(
            BENCH,
            "speed and memory compared with PyTorch",
            150,
            &format!(
                "bench --device {device} --quick --batch 12 --rounds 5 --budget-minutes 1.5 --out \
                 {BENCH} {compared}"
            ),
        ),
        fit(
            "without-nvrtc",
            "the same run without kernels compiled at run time",
            60,
            "--preset best-balance --max-steps 40",
        )
        .with("SNUG_NVRTC", "off"),
        fit(
            "out-of-memory",
            "an allocation that the GPU refuses leads to a smaller recipe",
            60,
            "--force --guard-gpu off --memory-limit 5GiB --batch 12 --max-steps 6",
        ),
    ];
    parts.extend(searches(device));
    parts.extend(faults(device));
    parts
}

fn fit(
    device: &str,
    name: &'static str,
    title: &'static str,
    seconds: u64,
    flags: &str,
) -> PartPlan {
    let words =
        format!("fit --device {device} --data {PAGES} --epochs 8 --run-dir runs/{name} {flags}");
    PartPlan {
        is_run: true,
        ..PartPlan::new(name, title, seconds, &words)
    }
}

/// Peaks of cuDNN's search, and large tensors.
fn searches(device: &str) -> Vec<PartPlan> {
    let fit = |name, title, seconds, flags| fit(device, name, title, seconds, flags);
    vec![
        fit(
            "search-1",
            "the peak of the first step, in which cuDNN tries algorithms",
            40,
            "--preset best-balance --max-steps 1",
        ),
        fit(
            "search-20",
            "the peak of the steps after it",
            45,
            "--preset best-balance --max-steps 20",
        ),
        fit(
            "search-off",
            "the peak without a search",
            45,
            "--preset best-balance --max-steps 20 --deterministic",
        ),
        fit(
            "large-64",
            "a concatenation of 2^31 numbers",
            45,
            "--preset best-balance --force --batch 64 --max-steps 2",
        )
        .expecting(None),
        fit(
            "large-96",
            "more than 2^31 numbers",
            60,
            "--preset best-balance --force --batch 96 --max-steps 2",
        )
        .expecting(None),
    ]
}

fn faults(device: &str) -> Vec<PartPlan> {
    let fit = |name, title, flags| fit(device, name, title, 45, flags);
    vec![
        fit(
            "nan-fp16",
            "a NaN in a step whose loss is not read never reaches the weights",
            "--preset best-balance --batch 4 --max-steps 30",
        )
        .with("SNUG_FAULT", "nan-loss@13"),
        fit(
            "nan-bf16",
            "a NaN in a step whose loss is read changes the precision",
            "--preset best-balance --amp bf16 --batch 4 --max-steps 30",
        )
        .with("SNUG_FAULT", "nan-loss@11"),
        fit(
            "infinite",
            "infinite gradients in seven steps are skipped",
            "--preset best-balance --amp bf16 --batch 4 --max-steps 30",
        )
        .with("SNUG_FAULT", "inf-gradients:7@3"),
        fit(
            "recompute",
            "a segment that cannot be recomputed changes its form",
            "--preset best-balance --grad-checkpoint block --batch 4 --max-steps 4",
        )
        .with("SNUG_FAULT", "recompute@2"),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_parts_and_their_time_limits() {
        let session = Session {
            train: PathBuf::from("train"),
            device_flag: "cuda:0".to_owned(),
            python: Some(PathBuf::from("python3")),
            out: PathBuf::from("out"),
            budget: Duration::from_mins(8),
            only: Vec::new(),
        };
        let plans = all(&session);
        let names: Vec<&str> = plans.iter().map(|plan| plan.name).collect();
        assert_eq!(names, NAMES);
        for plan in plans.iter().filter(|plan| plan.is_run) {
            let dir = format!("runs/{}", plan.name);
            assert!(plan.words.contains(&dir), "{plan:?}");
        }
    }
}
