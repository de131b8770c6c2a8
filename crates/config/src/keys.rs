//! The keys of a configuration: each key is one row, and everything else about it follows from the
//! row.
//!
//! The rows below generate [`RunConfig`](crate::RunConfig) and its default, the TOML that is
//! written and read, [`Overrides`](crate::Overrides) and their ranges, the flags of the programs
//! (`cli`), the suggestions for misspelt keys, and what a resumed run may change. To add a key, add
//! a row and use the key.

use crate::nearest::nearest;

/// Passes every row to the macro `$make`, in the order in which a configuration is written. A row
/// has documentation, a name, a type, a default (`as Option` marks a key that may be unset), and
/// then
/// - `accepts`: the accepted range, worded to follow "must be";
/// - `flag`: its flag, followed in parentheses by the type of the value, the value's name (`""` for
///   a flag without a value), the help text and, for a flag that sets several keys, the function
///   that does so. The row of the first of these keys declares the flag;
/// - `commands`: the commands that offer the flag in addition to `train fit`;
/// - `resume`: whether a resumed run may change the key;
/// - `aliases`: names of the same setting in other programs;
/// - `banner`: the label of its line in the settings banner, padded by hand, as in the catalogue, because kana and
///   kanji are two columns wide.
macro_rules! with_rows {
    ($make:ident) => {
        $make! {
            /// The preset that the values started from.
            preset: String as Option = None => {
                accepts: Accepts::any("the name of a preset"),
                flag: "--preset" (String, "NAME", "Start from a preset: best-balance, max-memory or speed"),
                commands: [Evaluate, Memory, Explain, Inspect],
                resume: Fixed,
            }
            /// Size at which images enter the network.
            img_size: ImageSize = ImageSize::new(512, 512) => {
                accepts: Accepts::new(
                    "[height, width], both multiples of 16 from 16 to 65536",
                    |size: &ImageSize| size.is_valid(),
                ).with_flag_text("`HxW`, both multiples of 16 from 16 to 65536"),
                flag: "--img-size" (ImageSize, "HxW", "Image size, height x width, in multiples of 16"),
                commands: [Evaluate, Memory, Explain, Pareto, Suggest, Inspect],
                resume: Fixed,
                aliases: ["image_size", "size"],
                banner: "image size (H x W):      ",
            }
            /// Windows of `img_size`, cut from images at their own resolution, instead of whole images scaled to it. The
            /// memory of a step depends on `img_size` alone.
            crop: bool = false => {
                accepts: SWITCH,
                flag: "--crop" (
                    Switch,
                    "SWITCH",
                    "Train on windows of `--img-size` cut from images at their own resolution, instead of whole images \
                     scaled to it: on or off"
                ),
                commands: [Evaluate, Inspect],
                resume: Fixed,
                banner: "windows of the images:   ",
            }
            /// Images per forward pass.
            batch: u32 = 12 => {
                accepts: whole!(1 to 65_536),
                flag: "--batch" (u32, "N", "Images per step"),
                commands: [Evaluate, Memory, Explain, Pareto, Inspect],
                resume: Fixed,
                aliases: ["batch_size"],
                banner: "batch:                   ",
            }
            /// Mixed precision.
            use_amp: bool = true => {
                accepts: SWITCH,
                flag: "--amp" (AmpFlag, "DTYPE", "Mixed precision: off, auto, fp16 or bf16", AmpFlag::apply),
                commands: [Evaluate, Memory, Explain, Pareto],
                resume: Fixed,
                aliases: ["amp"],
                banner: "mixed precision (AMP):   ",
            }
            /// Gradient checkpointing; see
            /// [`RunConfig::checkpoint_policy`](crate::RunConfig::checkpoint_policy).
            use_grad_checkpoint: bool = false => {
                accepts: SWITCH,
                flag: "--grad-checkpoint" (
                    CheckpointFlag,
                    "POLICY",
                    "Gradient checkpointing: off, selective (keeps convolution outputs: half the memory \
                     for almost no time), block (each double convolution, as in the guide), stage, mixed \
                     (the least memory), nine letters (`mixed` with that plan, as in NNNNNNLNC), or auto (`train \
                     fit` only: the fastest that fits the free memory)",
                    CheckpointFlag::apply
                ),
                commands: [Memory, Explain],
                resume: WithCheckpointing,
                aliases: ["grad_checkpoint", "gradient_checkpointing"],
                banner: "gradient checkpointing:  ",
            }
            /// Channels-last memory format.
            use_channels_last: bool = true => {
                accepts: SWITCH,
                flag: "--channels-last" (Switch, "SWITCH", "Channels-last memory format: on or off"),
                commands: [Evaluate, Memory, Explain],
                resume: Free,
                aliases: ["channels_last"],
                banner: "channels-last:           ",
            }
            /// Passes over the training images.
            epochs: u32 = 50 => {
                accepts: whole!(1 to 4_294_967_295),
                flag: "--epochs" (u32, "N", "Passes over the training images"),
                resume: Free,
                aliases: ["num_epochs"],
                banner: "epochs, learning rate:   ",
            }
            /// Learning rate at the start of the cosine.
            lr: f64 = 1e-4 => {
                accepts: POSITIVE,
                flag: "--lr" (f64, "X", "Learning rate at the start"),
                commands: [Inspect],
                resume: Fixed,
                aliases: ["learning_rate"],
            }
            /// Epochs without a better validation IoU before the run stops; 0 never stops early.
            patience: u32 = 10 => {
                accepts: whole!(0 "(never stop early)" to 4_294_967_295),
                flag: "--patience" (
                    u32,
                    "N",
                    "Stop after this many epochs without a better validation IoU; 0 never stops early"
                ),
                resume: Free,
            }
            /// Seed of weights, order, augmentation and built-in data.
            seed: u64 = 0 => {
                accepts: whole!(0 to 9_223_372_036_854_775_807),
                flag: "--seed" (u64, "N", "Seed of weights, order, augmentation and built-in pages"),
                commands: [Evaluate, Memory, Inspect],
                resume: Fixed,
            }
            /// Channels of the first level, doubled at each level below.
            width: u32 = 64 => {
                accepts: whole!(1 to 1_024),
                flag: "--width" (u32, "N", "Channels of the first level; 64 is the guide's network"),
                commands: [Evaluate, Memory, Explain, Pareto, Suggest],
                resume: Fixed,
                banner: "width, classes:          ",
            }
            /// Channels of the images.
            in_channels: u32 = 3 => {
                accepts: whole!(1 "(gray)" to 16),
                flag: "--in-channels" (
                    u32,
                    "N",
                    "Channels of the images, 1 for gray; without it, `fit --data` takes 3 for gray and colour, otherwise as \
                     many as the images have"
                ),
                commands: [Memory, Explain, Pareto, Suggest, Inspect],
                resume: Fixed,
                aliases: ["n_channels", "num_channels", "channels", "in_chans"],
                banner: "image channels:          ",
            }
            /// Output channels; 1 means a binary mask.
            classes: u32 = 1 => {
                accepts: whole!(1 "(binary)" to 255),
                flag: "--classes" (u32, "N", "Classes of the masks, 1 for foreground against background; without it, `fit --data` takes as many as the masks have"),
                commands: [Evaluate, Memory, Explain, Pareto, Suggest, Inspect],
                resume: Fixed,
                aliases: ["num_classes"],
            }
            /// Names of the classes, background first; `names` of the table `[classes]`.
            class_names: Vec<String> as Option = None => {
                accepts: CLASS_NAMES,
                flag: "--class-names" (Names, "NAMES", "Names of the classes, the background first, separated by commas"),
                commands: [Evaluate, Inspect],
                resume: Free,
            }
            /// The value of each class in the masks, background first; `values` or `colors` of the table
            /// `[classes]`.
            class_values: Vec<MaskValue> as Option = None => {
                accepts: CLASS_VALUES,
                flag: "--class-values" (
                    MaskValues,
                    "VALUES",
                    "The value of each class in the masks, the background first, separated by commas: numbers, or \
                     colours such as #ff8000"
                ),
                commands: [Evaluate, Inspect],
                resume: Fixed,
                aliases: ["class_colors", "class_colours"],
            }
            /// Values of masks whose pixels count neither in the loss nor in scores; `ignore` of the table
            /// `[classes]`.
            ignore: Vec<MaskValue> as Option = None => {
                accepts: IGNORED_VALUES,
                flag: "--ignore" (
                    MaskValues,
                    "VALUES",
                    "Values of the masks whose pixels count neither in training nor in scores, separated by commas"
                ),
                commands: [Evaluate, Memory, Explain, Pareto, Inspect],
                resume: Fixed,
                aliases: ["ignore_index", "ignore_label", "void"],
            }
            /// Type of mixed precision.
            amp_dtype: AmpDtype = AmpDtype::Auto => {
                accepts: Accepts::any(AmpDtype::LIST),
                flag: "--amp",
                resume: Fixed,
                banner: "precision:               ",
            }
            /// First scale of the gradient scaler.
            init_scale: f64 = 65_536.0 => {
                accepts: POSITIVE,
                flag: "--init-scale" (f64, "X", "First scale of the gradient scaler (fp16)"),
                resume: Fixed,
            }
            /// What gradient checkpointing recomputes; `None` lets the switch decide.
            grad_checkpoint_policy: CheckpointPolicy as Option = None => {
                accepts: Accepts::any(CheckpointPolicy::LIST),
                flag: "--grad-checkpoint",
                resume: WithCheckpointing,
                banner: "checkpoint policy:       ",
            }
            /// What each stage keeps under the policy `mixed`; `None` means the built-in plan.
            grad_checkpoint_plan: Vec<Keep> as Option = None => {
                accepts: Accepts::new(
                    "nine letters such as `NNNNNNLNC` (E everything, C convs, L last-conv, N nothing), or nine such \
                     names, one per stage",
                    |plan: &Vec<Keep>| plan.len() == Network::new(1, 1).num_stages(),
                ),
                flag: "--grad-checkpoint-plan" (
                    PlanLetters,
                    "STAGES",
                    "For `mixed`: what each of the nine stages keeps, a letter for each (E everything, C convs, \
                     L last-conv, N nothing), such as NNNNNNLNC, or the names separated by commas"
                ),
                commands: [Memory, Explain],
                resume: WithCheckpointing,
                banner: "plan, stage by stage:    ",
            }
            /// The reentrant form of gradient checkpointing; it has no effect when checkpointing is
            /// off.
            use_reentrant: bool = false => {
                accepts: SWITCH,
                flag: "--use-reentrant" (Switch, "SWITCH", "The reentrant form of gradient checkpointing: on or off"),
                commands: [Memory],
                resume: WithCheckpointing,
            }
            /// Convolves the two halves of each concatenation separately, without a buffer for
            /// both. Results are equal within rounding, not bit for bit.
            split_concat: bool = false => {
                accepts: SWITCH,
                flag: "--split-concat" (
                    Switch,
                    "SWITCH",
                    "Convolve the halves of each concatenation separately, without a buffer for both: on \
                     or off; results are equal within rounding, not bit for bit"
                ),
                commands: [Memory, Explain, Pareto],
                resume: Free,
                banner: "split concatenation:     ",
            }
            /// libtorch's own operators for batch norm, ReLU and pooling, instead of kernels that do them in fewer passes.
            /// Results are equal within rounding, not bit for bit.
            exact_kernels: bool = false => {
                accepts: SWITCH,
                flag: "--exact-kernels" (
                    Switch,
                    "SWITCH",
                    "libtorch's own operators for batch norm, ReLU and pooling, instead of faster kernels: on or off; results are \
                     equal within rounding, not bit for bit"
                ),
                commands: [Evaluate, Memory, Explain, Pareto],
                resume: Fixed,
            }
            /// Whether steps on a GPU are recorded as CUDA graphs of the same kernels, which the host starts as a whole.
            cuda_graph: CudaGraph = CudaGraph::Off => {
                accepts: Accepts::any(CudaGraph::LIST),
                flag: "--cuda-graph" (
                    CudaGraph,
                    "CHOICE",
                    "Start each step on a GPU as one CUDA graph: on, off, or auto, if the GPU waits for the host otherwise"
                ),
                resume: Free,
            }
            /// Forward passes per optimizer step.
            accumulation: u32 = 1 => {
                accepts: whole!(1 to 65_536),
                flag: "--accumulation" (u32, "N", "Forward passes per optimizer step"),
                commands: [Explain],
                resume: Fixed,
                aliases: ["accumulation_steps"],
            }
            /// Random flips, turns and brightness while training.
            augment: bool = true => {
                accepts: SWITCH,
                flag: "--augment" (Switch, "SWITCH", "Random flips, turns and brightness: on or off"),
                resume: Fixed,
            }
            /// Threads that decode images; 0 chooses for the machine.
            workers: u32 = 0 => {
                accepts: whole!(0 "(chosen for the machine)" to 1_024),
                flag: "--workers" (u32, "N", "Threads that read images; 0 chooses for the machine"),
                commands: [Evaluate, Memory, Inspect],
                resume: Free,
                aliases: ["num_workers"],
            }
            /// Optimizer steps after which the run ends, in whatever epoch it is.
            max_steps: u64 as Option = None => {
                accepts: whole!(1 to 9_223_372_036_854_775_807),
                flag: "--max-steps" (u64, "N", "Stop after this many optimizer steps"),
                resume: Free,
            }
            /// Weight decay of `AdamW`.
            weight_decay: f64 = 0.01 => {
                accepts: Accepts::new("a finite number of at least 0", |decay: &f64| decay.is_finite() && *decay >= 0.0),
                flag: "--weight-decay" (f64, "X", "Weight decay of AdamW"),
                resume: Fixed,
                aliases: ["wd"],
            }
            /// Percentage of a flat folder that is held out for validation.
            val_percent: f64 = 10.0 => {
                accepts: Accepts::new("a number above 0 and below 100", |percent: &f64| *percent > 0.0 && *percent < 100.0),
                flag: "--val-percent" (f64, "PERCENT", "Percentage of a flat folder's images held out for validation"),
                commands: [Evaluate, Memory, Inspect],
                resume: Fixed,
            }
            /// Uses deterministic algorithms, which give the same bits each time, if there is a
            /// choice.
            deterministic: bool = false => {
                accepts: SWITCH,
                flag: "--deterministic" (
                    bool,
                    "",
                    "On CUDA, do not search for the fastest algorithm, which may differ from run to run; \
                     on the CPU a seed gives the same bits anyway"
                ),
                resume: Free,
            }
        }
    };
}
pub(crate) use with_rows;

/// One key of the TOML schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name in TOML, in [`Origins`](crate::Origins) and in messages.
    pub name: &'static str,
    /// The flag that sets it.
    pub flag: &'static str,
    /// The commands that offer the flag in addition to [`Command::Fit`]. For a flag that sets
    /// several keys, only the key that declares it lists them.
    pub commands: &'static [Command],
    /// Whether a resumed run may change it.
    pub resume: Resume,
    /// Names of the same setting in other programs.
    pub aliases: &'static [&'static str],
    /// The label of its line in the banner; empty if it has none.
    pub(crate) banner: &'static str,
}

/// A command that sets keys by flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `train fit`, which takes every key.
    Fit,
    /// `train evaluate` and `train predict`.
    Evaluate,
    /// `train memory`.
    Memory,
    /// `advisor explain`.
    Explain,
    /// `advisor pareto`.
    Pareto,
    /// `advisor suggest`.
    Suggest,
    /// `train inspect`.
    Inspect,
}

impl Command {
    /// Whether it takes keys from a file as well.
    pub const fn takes_files(self) -> bool {
        !matches!(self, Self::Pareto | Self::Suggest)
    }
}

/// Whether a resumed run may change a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It determines what is learnt, from which data and how, so it must not change.
    Fixed,
    /// It determines only how long the run lasts, or how the same result is computed.
    Free,
    /// It belongs to gradient checkpointing, whose keys change only together.
    WithCheckpointing,
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $ty:ty $(as $option:ident)? = $default:expr => {
        accepts: $accepts:expr,
        flag: $flag:literal $(($($declared:tt)*))?,
        $(commands: [$($command:ident),+],)?
        resume: $resume:ident,
        $(aliases: [$($alias:literal),+],)?
        $(banner: $label:literal,)?
    })+) => {
        /// Every key, in the order in which a configuration is written.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            flag: $flag,
            commands: &[$($(Command::$command),+)?],
            resume: Resume::$resume,
            aliases: &[$($($alias),+)?],
            banner: concat!($($label)?),
        }),+];
    };
}
with_rows!(table);

impl Key {
    /// Whether a command offers this key's flag.
    pub fn is_offered_by(&self, command: Command) -> bool {
        let declares = |key: &&Self| key.flag == self.flag;
        let commands = KEYS
            .iter()
            .find(declares)
            .map_or(&[] as &[_], |key| key.commands);
        command == Command::Fit || commands.contains(&command)
    }
}

/// The key with this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that an unknown name probably means: a name with different case, with a hyphen, from
/// another program, or with a typing error.
pub fn nearest_key(name: &str) -> Option<&'static str> {
    let normal = name.to_lowercase().replace('-', "_");
    let alias = KEYS
        .iter()
        .find(|key| key.aliases.contains(&normal.as_str()))
        .map(|key| key.name);
    let names = KEYS.iter().map(|key| key.name).chain(["schema_version"]);
    alias.or_else(|| nearest(&normal, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses() {
        let cases = [
            ("USE_AMP", Some("use_amp")),
            ("IMG_SIZE", Some("img_size")),
            ("BATCH", Some("batch")),
            ("USE_GRAD_CHECKPOINT", Some("use_grad_checkpoint")),
            ("use-channels-last", Some("use_channels_last")),
            ("batch_size", Some("batch")),
            ("learning_rate", Some("lr")),
            ("epocs", Some("epochs")),
            ("schema", None),
            ("schema_versio", Some("schema_version")),
            ("", None),
            ("nothing like it", None),
        ];
        for (found, expected) in cases {
            assert_eq!(nearest_key(found), expected, "{found}");
        }
    }
}
