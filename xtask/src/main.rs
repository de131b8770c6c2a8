//! The commands of a checkout: `cargo xtask setup | train | test | bench | gpu | ci | book |
//! dist | wheel | release`.
//!
//! This file only dispatches. xtask never links libtorch: it installs libtorch, so it
//! must build without it.

mod bench;
mod book;
mod ci;
mod console;
mod dist;
mod error;
mod files;
mod flags;
mod gpu;
mod release;
mod run;
mod setup;
mod test;
mod train;
mod wheel;
mod workspace;

use std::process::ExitCode;

use clap::Parser;
use locale::Language;

use crate::console::Console;
use crate::error::Error;
use crate::flags::{Command, Xtask};
use crate::workspace::Checkout;

fn main() -> ExitCode {
    Language::asked().speak();
    let console = Console::default();
    let flags = match Xtask::try_parse() {
        Ok(flags) => flags,
        Err(usage) => {
            // `--help` arrives here too. If stdout is closed, there is nothing to do.
            usage.print().ok();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    dispatch(flags.command, &console).unwrap_or_else(|error| {
        console.error(&error);
        ExitCode::from(error.exit_code())
    })
}

fn dispatch(command: Command, console: &Console) -> Result<ExitCode, Error> {
    let workspace = Checkout::find();
    match command {
        Command::Setup(flags) => setup::run(&workspace, &flags, console),
        Command::Train(flags) => train::run(&workspace, &flags, console),
        Command::Test(flags) => test::run(&workspace, &flags, console),
        Command::Bench(flags) => bench::run(&workspace, &flags, console),
        Command::Gpu(flags) => gpu::run(&workspace, &flags, console),
        Command::Book(flags) => book::run(&workspace, &flags, console),
        Command::Ci(flags) => ci::run(&workspace, &flags, console),
        Command::Dist(flags) => dist::run(&workspace, &flags, console),
        Command::Wheel(flags) => wheel::run(&workspace, &flags, console),
        Command::Release(flags) => release::run(&workspace, &flags, console),
    }
}
