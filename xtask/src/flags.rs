//! The command line: every flag of every command, and nothing that acts on it.

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
    /// Train: `cargo xtask train --preset best-balance` (runs `setup` when needed)
    ///
    /// Every argument goes to `train fit` untouched, and its exit code comes back.
    Train(Train),
    /// Run every test (runs `setup` when needed)
    Test(Test),
    /// Run every check that a change has to pass
    Ci(Ci),
    /// Measure training steps and epochs, beside PyTorch with `--against-pytorch` (runs `setup` when
    /// needed)
    ///
    /// Every other argument goes to `train bench` untouched; `train bench --help` lists them.
    Bench(Bench),
    /// Make a folder and an archive that run without a checkout (runs `setup` when needed)
    ///
    /// The programs in it need a libtorch 2.11.0 and find it by themselves: in `LIBTORCH`, in the
    /// active Python or beside them.
    Dist(Dist),
}

#[derive(Debug, Default, Args)]
pub(crate) struct Setup {
    /// Install what CUDA needs as well, whether or not a GPU is seen
    #[arg(long, conflicts_with = "cpu")]
    pub(crate) cuda: bool,
    /// Leave CUDA out, even if a GPU is seen
    #[arg(long)]
    pub(crate) cpu: bool,
    /// Use this libtorch 2.11.0: the folder that holds `lib` and `include`
    #[arg(long, value_name = "DIR")]
    pub(crate) libtorch: Option<PathBuf>,
}

// `train fit` has a `--help` of its own, and so xtask claims none.
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
    /// Take the results into `docs/measurements`, and their figures into the README
    #[arg(long)]
    pub(crate) record: bool,
    /// Measure nothing: take this file of results, from another machine, into `docs/measurements`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "refresh"])]
    pub(crate) take: Option<PathBuf>,
    /// Measure nothing: make pages and the README's figures anew from `docs/measurements`
    #[arg(long, conflicts_with = "record")]
    pub(crate) refresh: bool,
    /// Arguments of `train bench`; `--record` comes before them
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// Run only this step (may be repeated)
    #[arg(long, value_name = "STEP", value_enum)]
    pub(crate) only: Vec<Step>,
    /// Leave this step out (may be repeated)
    #[arg(long, value_name = "STEP", value_enum)]
    pub(crate) skip: Vec<Step>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Dist {
    /// Where to put them [default: `target/dist` of the checkout]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// The steps of `cargo xtask ci`, in the order in which they run: those that
/// need no libtorch and take seconds come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// `cargo fmt --check`
    Fmt,
    /// What may depend on what (`docs/architecture.md`)
    Invariants,
    /// What may stand in which file (`docs/architecture.md`)
    Sources,
    /// Whether the README and the pages of `docs/measurements` are what its files make
    Figures,
    /// Clippy on everything, warnings refused
    Clippy,
    /// Each of the eight combinations of `train`'s features
    Features,
    /// rustdoc, warnings refused
    Docs,
    /// The tests, as `cargo xtask test` runs them
    Tests,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
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
