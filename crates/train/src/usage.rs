//! Requests that cannot be met, each with its facts and a way out.

use std::path::PathBuf;

/// A request of the command line that is refused before anything is started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// A path was given instead of a name.
    #[error("`{flag}` must be a name, found `{found}`")]
    NotAName {
        /// The flag.
        flag: &'static str,
        /// Its value.
        found: String,
    },
    /// A folder to resume that has no snapshot.
    #[error("`{folder}` holds no snapshot to continue from")]
    NoSnapshot {
        /// The folder.
        folder: PathBuf,
    },
    /// A snapshot that is not in the folder of its run.
    #[error("`{path}` is a snapshot outside of its run")]
    SnapshotOutsideRun {
        /// The snapshot.
        path: PathBuf,
    },
    /// A folder for results was given together with a run to resume.
    #[error("a resumed run keeps its own folder, `{run}`")]
    RunKeepsFolder {
        /// The folder of the run.
        run: PathBuf,
    },
    /// Another process resumed the run in the meantime.
    #[error("another process has continued `{run}`")]
    ContinuedElsewhere {
        /// The folder of the run.
        run: PathBuf,
    },
    /// A rank of another machine sees other data under the same path.
    #[error("`{folder}` holds other images or masks here than where rank 0 runs")]
    OtherData {
        /// The folder.
        folder: PathBuf,
    },
    /// A setting that a resumed run cannot change.
    #[error(
        "`{snapshot}` belongs to a run with `{key}` = {was}, which cannot change to {is} (`{flag}`)"
    )]
    FixedSetting {
        /// The snapshot.
        snapshot: PathBuf,
        /// The key.
        key: &'static str,
        /// The flag that sets it.
        flag: &'static str,
        /// The run's value, as TOML.
        was: String,
        /// The value asked for, as TOML.
        is: String,
    },
    /// A run folder that holds something.
    #[error("the run folder `{folder}` is not empty")]
    RunFolderTaken {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process is working in the run folder.
    #[error("another run is at work in `{folder}`")]
    RunFolderLocked {
        /// The folder.
        folder: PathBuf,
    },
    /// All numbers of run folders are taken.
    #[error("no free number for a run in `{parent}`")]
    NoFreeRun {
        /// The folder for runs.
        parent: PathBuf,
    },
    /// All numbers of models are taken.
    #[error("no free number for a model in `{models_dir}`")]
    NoFreeModel {
        /// The folder for models.
        models_dir: PathBuf,
    },
    /// Built-in pages for several classes.
    #[error("the built-in pages have one class, not {classes}")]
    ClassesOfPages {
        /// The requested number of classes.
        classes: u32,
    },
    /// Built-in pages with other channels.
    #[error("the built-in pages have 3 channels, not {channels}")]
    ChannelsOfPages {
        /// The requested number of channels.
        channels: u32,
    },
    /// A file was given instead of a folder of data.
    #[error("`{path}` is a file, not a folder")]
    DataIsAFile {
        /// The file.
        path: PathBuf,
    },
    /// A part of a data set without images.
    #[error("`{data}` has no `{split}` images")]
    NoImagesToScore {
        /// The folder of data.
        data: PathBuf,
        /// `train`, `val` or `test`.
        split: &'static str,
    },
    /// Two images whose masks have one name.
    #[error("`{first}` and `{second}` would both become `{mask}`")]
    OneMaskForTwo {
        /// An image.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// The mask of both.
        mask: PathBuf,
    },
    /// A mask that exists.
    #[error("`{mask}` is there already")]
    MaskExists {
        /// The mask.
        mask: PathBuf,
    },
    /// Masks where training would find them.
    #[error("masks in `{out}` would be read as data of `{data}`")]
    AmongData {
        /// The folder for the masks.
        out: PathBuf,
        /// A folder of images and masks.
        data: PathBuf,
    },
    /// Folders, patterns and lists without images.
    #[error("no image (PNG, JPEG, TIFF, BMP, WebP or GIF) in {places}")]
    NoImages {
        /// Where they were looked for.
        places: String,
    },
    /// A path pattern with a syntax error.
    #[error("`{pattern}` is neither a path nor a pattern: {problem}")]
    NotAPattern {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A list of classes with another key.
    #[error("`{path}` lists classes, and has the key `{key}` as well")]
    NotATableOfClasses {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// Masks from which nothing can be learnt.
    #[error("in `{folder}` every pixel for training is {class}: there is nothing to learn")]
    NothingToLearn {
        /// The folder of data.
        folder: PathBuf,
        /// The only class.
        class: String,
    },
    /// A file that is never replaced.
    #[error("`{path}` already exists")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A resumed run whose data is no longer where it was.
    #[error("the data of this run was in `{folder}`, which does not exist", folder = folder.display())]
    DataMoved {
        /// The folder.
        folder: PathBuf,
    },
    /// A threshold for a network that needs none.
    #[error("`--threshold` is for one class, and these weights have {classes}")]
    NoThreshold {
        /// Classes of the network.
        classes: u32,
    },
    /// A file to write whose folder does not exist.
    #[error("there is no folder `{folder}`")]
    NoFolder {
        /// The folder.
        folder: PathBuf,
        /// The flag that names the file.
        flag: &'static str,
    },
    /// A folder was given instead of a file.
    #[error("`{path}` is a folder")]
    IsAFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Batch norm over several processes, where it cannot be computed.
    #[error("`--sync-batch-norm` needs our own kernels, and no segments")]
    NotTogether,
    /// A number of threads that changes, with results that may not.
    #[error("`--share-cores` changes the order of sums, and `deterministic` keeps it")]
    SharedCores,
    /// A CPU whose kernels the estimator does not know.
    #[error("nothing of that is predicted for this CPU, which has {capability}")]
    NothingPredicted {
        /// What libtorch uses of the CPU.
        capability: String,
    },
    /// A session on a GPU was asked for on the CPU.
    #[error("this command needs a GPU")]
    NoGpuChosen,
    /// A folder for results that holds something.
    #[error("the folder `{folder}` is not empty")]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// Data for a benchmark that PyTorch could not read.
    #[error("`{data}` has no `train/images` and `val/images`")]
    NotSplit {
        /// The folder.
        data: PathBuf,
    },
    /// A variant of PyTorch in a benchmark without PyTorch.
    #[error("`--variant` names one of PyTorch's")]
    VariantAlone,
    /// A check of `train doctor` that does not exist.
    #[error("there is no check `{name}` to break")]
    NoSuchCheck {
        /// The name that was given.
        name: String,
        /// The names of the checks.
        known: Vec<String>,
    },
    /// A faulty list of faults to plant.
    #[error("`{variable}`: {problem}")]
    NotAFault {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with its value.
        problem: String,
        /// The forms that it may have.
        forms: String,
    },
    /// A benchmark worker that was not started by a benchmark.
    #[error("this worker got {problem}")]
    NotFromABenchmark {
        /// What is wrong with the request.
        problem: String,
    },
}

impl UsageError {
    /// What to do.
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::NotAName { .. } => "`--run-dir DIR` takes a path",
            Self::NoSnapshot { .. } => {
                "a run writes `last/snapshot.safetensors` at each epoch; `--resume FILE` starts from \
                 bare weights, such as `best.safetensors`"
            }
            Self::SnapshotOutsideRun { .. } => {
                "it is continued in its run's folder, as `last/snapshot.safetensors`"
            }
            Self::RunKeepsFolder { .. } => "leave `--run-dir` and `--run-name` out",
            Self::ContinuedElsewhere { .. } => {
                "run the command again to resume from the latest snapshot"
            }
            Self::OtherData { .. } => "copy the data again, or use a disk that all machines share",
            Self::FixedSetting { .. } => {
                "leave the setting out to continue the run; to change it, start a new run from its \
                 weights: `--resume FILE`"
            }
            Self::RunFolderTaken { .. } => "choose another `--run-dir`; nothing is overwritten",
            Self::RunFolderLocked { .. } => "wait for it or stop it, or choose another `--run-dir`",
            Self::NoFreeRun { .. } => "name one with `--run-dir`",
            Self::NoFreeModel { .. } => "choose another `--models-dir`",
            Self::ClassesOfPages { .. } | Self::ChannelsOfPages { .. } => {
                "name your own data with `--data DIR`"
            }
            Self::DataIsAFile { .. } => {
                "`--data` takes the folder that holds `train/` and `val/`, or `images/` and `masks/`"
            }
            Self::NoImagesToScore { .. } => "choose others with `--split`",
            Self::OneMaskForTwo { .. } => "rename one of them, or predict them one after the other",
            Self::MaskExists { .. } => {
                "`--resume` makes those that are missing, `--overwrite` all; or choose another `--out`"
            }
            Self::AmongData { .. } => {
                "name a folder outside of it with `--out`, so that predictions are not trained on"
            }
            Self::NoImages { .. } => {
                "name images, a folder that holds some, or a pattern in quotes"
            }
            Self::NotAPattern { .. } => {
                "`*` is any text, `**` any folders, `[ab]` one of these letters"
            }
            Self::NotATableOfClasses { .. } => "settings belong in a file for `--config`",
            Self::NothingToLearn { .. } => {
                "`train inspect DIR --sheet FILE.png` draws the masks; `--force` trains all the same"
            }
            Self::DataMoved { .. } => "`--data FOLDER` names the place where it is now",
            Self::NoThreshold { .. } => "leave it out: each pixel gets its most probable class",
            Self::Exists { .. } => "`--out` names another place",
            Self::NoFolder { flag, .. } => {
                return format!("make it, or choose another place with `{flag}`");
            }
            Self::IsAFolder { .. } => "`--out` takes a file, such as `timeline.svg`",
            Self::NotTogether => {
                "`--channels-last on`, `--exact-kernels off`, and `--grad-checkpoint off`, `selective` or `mixed`; on a GPU \
                 a `--width` that 8 divides"
            }
            Self::SharedCores => "leave out one of them",
            Self::NothingPredicted { .. } => "`train memory` measures on any CPU",
            Self::NoGpuChosen => "choose one with `--device cuda:N`",
            Self::NotEmpty { .. } => "choose another `--out`; nothing is overwritten",
            Self::NotSplit { .. } => {
                "the epochs take a folder with `train/` and `val/`, each with `images/` and `masks/`, \
                 since PyTorch reads the same files"
            }
            Self::VariantAlone => "add `--against-pytorch`",
            Self::NotAFault { forms, .. } => forms,
            Self::NotFromABenchmark { .. } => "`train bench` starts its workers by itself",
            Self::NoSuchCheck { known, .. } => return format!("one of {}", known.join(", ")),
        };
        hint.to_owned()
    }
}
