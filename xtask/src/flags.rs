//! The command line: the flags of every command, without any behaviour.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The commands of a Snug checkout.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub(crate) struct Xtask {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find libtorch 2.11.0, or install it into `.libtorch`
    Setup(Setup),
    /// Train: `cargo xtask train --preset best-balance` (runs `setup` if needed)
    ///
    /// Passes every argument to `train fit` and returns its exit code.
    Train(Train),
    /// Run every test (runs `setup` if needed)
    Test(Test),
    /// Run every check that a change has to pass
    Ci(Ci),
    /// Measure training steps and epochs, and compare with PyTorch (runs `setup` if needed)
    ///
    /// Passes every other argument to `train bench`; `train bench --help` lists them.
    /// `--against-pytorch` compares with PyTorch.
    Bench(Bench),
    /// Try everything that only a real GPU can tell, in eight minutes (runs `setup` if needed)
    ///
    /// Passes every other argument to `train gpu`; `train gpu --help` lists them.
    Gpu(Gpu),
    /// Make the books of `docs`, English and Japanese, by mdBook
    Book(Book),
    /// Make a folder and an archive that run without a checkout (runs `setup` if needed)
    ///
    /// Its programs need a libtorch 2.11.0 and find it by themselves: in `LIBTORCH`, in the active
    /// Python or in their own folder.
    Dist(Dist),
    /// Make a Python wheel of the programs and the module `snug` (runs `setup` if needed)
    ///
    /// Its programs use the torch 2.11.0 of the Python that it is installed in.
    Wheel(Wheel),
    /// Check everything, raise the version, date the changelog, commit, tag, and make archive and wheel
    Release(Release),
}

#[derive(Debug, Default, Args)]
pub(crate) struct Setup {
    /// Install the CUDA libraries even if no GPU is found
    #[arg(long, conflicts_with = "cpu")]
    pub(crate) cuda: bool,
    /// Leave out the CUDA libraries even if a GPU is found
    #[arg(long)]
    pub(crate) cpu: bool,
    /// Use this libtorch 2.11.0 (the folder that holds `lib` and `include`)
    #[arg(long, value_name = "DIR")]
    pub(crate) libtorch: Option<PathBuf>,
}

// xtask has no `--help` here, so that the one of `train fit` is shown.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Train {
    /// Arguments of `train fit`
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Test {
    /// Arguments of `cargo test`, such as a test's name
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Bench {
    /// Copy the results into `docs/measurements` and update the README's figures
    #[arg(long)]
    pub(crate) record: bool,
    /// Measure nothing; copy this file of results, from another machine, into `docs/measurements`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "refresh"])]
    pub(crate) take: Option<PathBuf>,
    /// Measure nothing; remake pages and the README's figures from `docs/measurements`
    #[arg(long, conflicts_with = "record")]
    pub(crate) refresh: bool,
    /// Arguments of `train bench`; put `--record` before them
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Gpu {
    /// Run nothing; copy this file of `train gpu`, from another machine, into `docs/measurements`
    #[arg(long, value_name = "FILE")]
    pub(crate) take: Option<PathBuf>,
    /// Arguments of `train gpu`
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The new version, such as `0.2.0`
    pub(crate) version: String,
    /// Leave out the checks of `ci`, which have passed
    #[arg(long)]
    pub(crate) unchecked: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Ci {
    /// Run only this step; may be repeated
    #[arg(long, value_name = "STEP", value_enum)]
    pub(crate) only: Vec<CiStep>,
    /// Skip this step; may be repeated
    #[arg(long, value_name = "STEP", value_enum)]
    pub(crate) skip: Vec<CiStep>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Book {
    /// Folder for the books [default: `target/book` of the checkout]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Make nothing; note in each Japanese page that it translates the current English page
    #[arg(long, conflicts_with = "out")]
    pub(crate) stamp: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Dist {
    /// Folder for the results [default: `target/dist` of the checkout]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Wheel {
    /// Folder for the wheel [default: `target/wheel` of the checkout]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Also install it in a fresh virtual environment, and try it there
    #[arg(long)]
    pub(crate) check: bool,
    /// Build no programs; take `snug` and `snug-launcher` from this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
}

/// The steps of `cargo xtask ci`, in the order in which they run. Steps that need no
/// libtorch and take seconds come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiStep {
    /// `cargo fmt --check`
    Fmt,
    /// Check which crate depends on which (`docs/architecture.md`)
    Invariants,
    /// Check which code is in which file, and the pages of `docs`: lists, links, translations
    Sources,
    /// Check that the README and the pages of `docs/measurements` match its files
    Figures,
    /// Clippy on everything, with warnings as errors
    Clippy,
    /// Compile each of the eight combinations of `train`'s features
    Features,
    /// rustdoc, with warnings as errors
    Docs,
    /// The tests, as `cargo xtask test` runs them
    Tests,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Xtask::command().debug_assert();
    }

    fn train_args(line: &[&str]) -> Vec<OsString> {
        match Xtask::try_parse_from(line).unwrap().command {
            Command::Train(train) => train.args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn train_arguments_pass_untouched() {
        let args = [
            "--preset",
            "best-balance",
            "--data",
            "a b",
            "--help",
            "-h",
            "--",
            "--version",
        ];
        let line: Vec<&str> = ["xtask", "train"].into_iter().chain(args).collect();
        assert_eq!(train_args(&line), args);
        assert_eq!(train_args(&["xtask", "train"]), Vec::<OsString>::new());
    }

    #[test]
    fn cuda_and_cpu_exclude_each_other() {
        let error = Xtask::try_parse_from(["xtask", "setup", "--cuda", "--cpu"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
