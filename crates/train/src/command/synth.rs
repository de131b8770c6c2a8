//! `train synth`: the built-in pages as files.

use std::path::PathBuf;

use clap::Args;
use config::ImageSize;

use super::console;
use crate::error::Result;
use data::synth::{Counts, write_dataset};

#[derive(Debug, Args)]
pub(super) struct SynthArgs {
    /// Folder to write to: new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Size of the pages, height x width
    #[arg(long, value_name = "HxW", default_value = "512x512")]
    img_size: ImageSize,
    /// Pages for training
    #[arg(long, value_name = "N", default_value_t = 80)]
    train: usize,
    /// Pages for validation
    #[arg(long, value_name = "N", default_value_t = 20)]
    val: usize,
    /// Pages for testing
    #[arg(long, value_name = "N", default_value_t = 0)]
    test: usize,
    /// Seed of the pages
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(args: &SynthArgs) -> Result<()> {
    let counts = Counts {
        train: args.train,
        val: args.val,
        test: args.test,
    };
    let size = (args.img_size.height, args.img_size.width);
    write_dataset(&args.out, counts, size, args.seed, |_, _| ())?;
    console::print(&format!(
        "wrote {} train, {} val and {} test pages of {} to {}",
        args.train,
        args.val,
        args.test,
        args.img_size,
        args.out.display()
    ));
    Ok(())
}
