//! Chooses the cases to measure, in groups that are timed in turns.

use config::guide::{self, Setup};
use config::{Arithmetic, CheckpointPolicy, ImageSize, MemoryFormat, Precision};

use crate::case::{Case, Implementation};

/// The size of the work that groups are built around. The guide's own is 512x512, batch 8, width 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// The size of the images.
    pub img_size: ImageSize,
    /// Channels of the first level.
    pub width: u32,
    /// Images per step.
    pub batch: u32,
}

impl Work {
    /// The guide's work.
    pub const GUIDE: Self = Self {
        img_size: ImageSize::new(512, 512),
        width: 64,
        batch: 8,
    };
    /// Work that a CPU measures in minutes.
    pub const SMALL: Self = Self {
        img_size: ImageSize::new(256, 256),
        width: 16,
        batch: 4,
    };

    /// Scales a recipe of the guide, which assumes 512x512 and batch 8, to this size of work.
    fn scaled(&self, recipe: &Setup) -> (ImageSize, u32) {
        let side = |of: u32, mine: u32, guides: u32| {
            let exact = u64::from(of) * u64::from(mine) / u64::from(guides);
            let side = u32::try_from(exact).unwrap_or(u32::MAX / 2);
            side.next_multiple_of(ImageSize::MULTIPLE)
                .max(ImageSize::MULTIPLE)
        };
        let size = ImageSize::new(
            side(recipe.img_size.height, self.img_size.height, 512),
            side(recipe.img_size.width, self.img_size.width, 512),
        );
        let batch = u64::from(recipe.batch) * u64::from(self.batch) / 8;
        (size, u32::try_from(batch).unwrap_or(u32::MAX).max(1))
    }
}

/// Cases that are timed in turns. Ratios are relative to the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in files and on the command line.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// The cases to measure.
    pub cases: Vec<Case>,
}

/// The names of the groups, most valuable first, for when time is short.
pub const NAMES: [&str; 7] = [
    "guide",
    "pytorch-half",
    "policies",
    "pytorch-full",
    "formats",
    "epochs",
    "host",
];

/// The settings that decide the groups.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The size of the work.
    pub work: Work,
    /// Batches of the group `policies`.
    pub batches: Vec<u32>,
    /// Precisions that are worth measuring on the device.
    pub precisions: Vec<Precision>,
    /// Whether the device is a GPU.
    pub cuda: bool,
    /// PyTorch's variants; if empty, only Snug is measured.
    pub variants: Vec<Implementation>,
}

impl Matrix {
    /// The half precision of the device: fp16 on CUDA as in the guide, bf16 on the CPU.
    pub fn half(&self) -> Option<Precision> {
        let has = |precision| self.precisions.contains(&precision);
        let cpu = Arithmetic::Cpu {
            bf16: has(Precision::Bf16),
            fp16: has(Precision::Fp16),
        };
        let auto = if self.cuda { Arithmetic::Cuda } else { cpu };
        let others = [Precision::Bf16, Precision::Fp16].into_iter();
        auto.half().into_iter().chain(others).find(|p| has(*p))
    }

    /// The precision without mixed precision: TF32 if the device has it, since PyTorch's
    /// convolutions use it by default.
    pub fn full(&self) -> Precision {
        if self.precisions.contains(&Precision::Tf32) {
            Precision::Tf32
        } else {
            Precision::Fp32
        }
    }

    /// The groups of steps.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = vec![self.guide()];
        if let Some(half) = self.half() {
            groups.extend(self.pytorch("pytorch-half", half));
        }
        groups.push(self.policies());
        groups.extend(self.pytorch("pytorch-full", self.full()));
        groups.push(self.formats());
        groups.sort_by_key(|group| NAMES.iter().position(|name| *name == group.name));
        groups
    }

    /// Snug in channels-last.
    pub(crate) fn case(&self, precision: Precision, policy: CheckpointPolicy) -> Case {
        Case {
            implementation: Implementation::Snug,
            img_size: self.work.img_size,
            width: self.work.width,
            batch: self.work.batch,
            precision,
            memory_format: MemoryFormat::ChannelsLast,
            policy,
            split_concat: false,
        }
    }

    /// The guide's table and the preset that is not in it. The guide's four patterns are the first rows.
    fn guide(&self) -> Group {
        let mut recipes: Vec<&Setup> = guide::TABLE.iter().map(|row| &row.recipe).collect();
        recipes.insert(1, &guide::SPEED);
        let mut cases = Vec::new();
        for recipe in recipes {
            let precision = match (recipe.use_amp, self.half()) {
                (false, _) => self.full(),
                (true, Some(half)) => half,
                (true, None) => continue,
            };
            let policy = if recipe.use_grad_checkpoint {
                // The policy that the guide uses.
                CheckpointPolicy::Block
            } else {
                CheckpointPolicy::Off
            };
            let (img_size, batch) = self.work.scaled(recipe);
            let memory_format = MemoryFormat::of(recipe.use_channels_last);
            let case = Case {
                img_size,
                batch,
                memory_format,
                ..self.case(precision, policy)
            };
            // On small work, rows of the guide that differ in size may coincide.
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        Group {
            name: "guide".to_owned(),
            title: "The guide's table, its patterns and presets".to_owned(),
            cases,
        }
    }

    fn policies(&self) -> Group {
        let brief = [CheckpointPolicy::Off, CheckpointPolicy::Selective];
        let mut cases = brief.map(|it| self.case(self.full(), it)).to_vec();
        let all = CheckpointPolicy::NAMED.iter();
        if let Some(half) = self.half() {
            cases.extend(all.map(|it| self.case(half, *it)));
        } else {
            let others = all.filter(|it| !brief.contains(it));
            cases.extend(others.map(|it| self.case(self.full(), *it)));
        }
        let split = cases.last().map(|case| Case {
            split_concat: true,
            ..*case
        });
        cases.extend(split);
        let of_batch = |batch: &u32| {
            cases
                .iter()
                .map(|case| Case {
                    batch: *batch,
                    ..*case
                })
                .collect::<Vec<_>>()
        };
        let cases = self.batches.iter().flat_map(of_batch).collect();
        Group {
            name: "policies".to_owned(),
            title: "Checkpoint policies".to_owned(),
            cases,
        }
    }

    fn formats(&self) -> Group {
        let mut cases = Vec::new();
        for precision in &self.precisions {
            for memory_format in [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast] {
                cases.push(Case {
                    memory_format,
                    ..self.case(*precision, CheckpointPolicy::Off)
                });
            }
        }
        Group {
            name: "formats".to_owned(),
            title: "Precisions and memory formats".to_owned(),
            cases,
        }
    }

    fn pytorch(&self, name: &str, precision: Precision) -> Option<Group> {
        if self.variants.is_empty() {
            return None;
        }
        let snug = self.case(precision, CheckpointPolicy::Off);
        // The second case is compared with PyTorch's checkpointing and memory budget.
        let mut cases = vec![snug, self.case(precision, CheckpointPolicy::Selective)];
        if self.cuda {
            cases.push(Case {
                implementation: Implementation::SnugGraph,
                ..snug
            });
        }
        let variants = self.variants.iter().filter(|v| {
            // glibc's malloc is irrelevant on a GPU.
            !(self.cuda && **v == Implementation::PytorchEagerMalloc)
        });
        cases.extend(variants.map(|implementation| Case {
            implementation: *implementation,
            // PyTorch's checkpointing corresponds to the guide's policy.
            policy: if *implementation == Implementation::PytorchCheckpoint {
                CheckpointPolicy::Block
            } else {
                CheckpointPolicy::Off
            },
            ..snug
        }));
        Some(Group {
            name: name.to_owned(),
            title: format!("Beside PyTorch, {precision}"),
            cases,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn matrix(precisions: &[Precision], cuda: bool) -> Matrix {
        Matrix {
            work: Work::GUIDE,
            batches: vec![Work::GUIDE.batch],
            precisions: precisions.to_vec(),
            cuda,
            variants: Implementation::ALL[2..].to_vec(),
        }
    }

    #[test]
    fn the_guides_rows_are_the_guides() {
        let group = matrix(&[Precision::Fp32, Precision::Tf32, Precision::Fp16], true).guide();
        let lines: Vec<String> = group.cases.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        snug, tf32 channels-first, 8 x 512x512, width 64
        snug, tf32 channels-last, 8 x 512x512, width 64
        snug, fp16 channels-first, 8 x 512x512, width 64
        snug, fp16 channels-last, 8 x 512x512, width 64
        snug, fp16 channels-last block, 8 x 512x512, width 64
        snug, fp16 channels-first, 12 x 512x512, width 64
        snug, fp16 channels-last block, 16 x 512x512, width 64
        snug, fp16 channels-last block, 16 x 384x512, width 64
        ");
    }

    #[test]
    fn smaller_work_keeps_the_proportions() {
        let recipe = &guide::TABLE[6].recipe;
        let (size, batch) = Work::SMALL.scaled(recipe);
        assert_eq!((size.to_string().as_str(), batch), ("192x256", 8));
    }

    #[test]
    fn rows_that_small_work_makes_equal_are_one() {
        let mut small = matrix(&[Precision::Fp32, Precision::Fp16], true);
        small.work = Work {
            img_size: ImageSize::new(32, 32),
            width: 4,
            batch: 2,
        };
        assert_eq!(small.guide().cases.len(), 7);
    }

    #[test]
    fn a_cpu_without_bf16_measures_what_it_can() {
        let groups = matrix(&[Precision::Fp32], false).groups();
        let names: Vec<&str> = groups.iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["guide", "policies", "pytorch-full", "formats"]);
        for group in &groups {
            assert!(group.cases.iter().all(|c| c.precision == Precision::Fp32));
        }
    }

    #[test]
    fn policies_are_measured_at_each_batch() {
        let mut matrix = matrix(&[Precision::Fp32, Precision::Fp16], true);
        let of_one = matrix.policies().cases;
        matrix.batches = vec![2, 8];
        let cases = matrix.policies().cases;
        assert_eq!(cases[of_one.len()..], of_one);
        assert!(cases[..of_one.len()].iter().all(|case| case.batch == 2));
    }

    #[test]
    fn every_group_has_a_name_of_the_list_and_no_case_twice() {
        for cuda in [false, true] {
            let all = [Precision::Fp32, Precision::Fp16, Precision::Bf16];
            for group in matrix(&all, cuda).groups() {
                assert!(NAMES.contains(&group.name.as_str()), "{}", group.name);
                let different: HashSet<&Case> = group.cases.iter().collect();
                assert_eq!(different.len(), group.cases.len(), "{}", group.name);
            }
        }
    }
}
