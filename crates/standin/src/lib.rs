//! A GPU for tests on machines without one: libtorch's own CUDA half runs on a stand-in for the
//! CUDA runtime, cuDNN and NVML.
//!
//! Real are libtorch's dispatcher, its caching allocator with its statistics and its refusals at the
//! card's capacity, autograd's device threads, autocast, events, streams and pinned memory: bytes and
//! control flow. Not real are kernels, which are accepted and not run, and hence values and times;
//! and what NVIDIA's libraries do by themselves, except for the workspaces that cuDNN asks for.
//! Nothing that runs here is a measurement, and the card's name says so.

pub mod emulated;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every card's name ends with, so that no output is taken for a measurement.
pub const MARK: &str = "(stand-in)";

/// A card to stand in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PretendedCard {
    /// The name, without [`MARK`].
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// A machine with these cards, for a program that a test starts.
#[derive(Debug, Clone, Default)]
pub struct StandIn {
    cards: Vec<PretendedCard>,
    settings: Vec<(&'static str, String)>,
}

/// The path of the stand-in library.
///
/// # Errors
/// The reason for which a test that needs it is skipped.
pub fn library() -> Result<&'static Path, &'static str> {
    match option_env!("SNUG_STANDIN_LIBRARY") {
        Some(path) => Ok(Path::new(path)),
        None => Err(option_env!("SNUG_STANDIN_MISSING").unwrap_or("it was not built")),
    }
}

impl StandIn {
    /// A machine with one card.
    pub fn with(card: PretendedCard) -> Self {
        Self::default().and(card)
    }

    /// Adds a card.
    #[must_use]
    pub fn and(mut self, card: PretendedCard) -> Self {
        self.cards.push(card);
        self
    }

    fn set(mut self, key: &'static str, value: &dyn ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    /// Bytes that a context takes as soon as a program uses a card.
    #[must_use]
    pub fn context(self, bytes: u64) -> Self {
        self.set("context", &bytes)
    }

    /// A file with the bytes that other programs hold on the first card. It is read at each
    /// question, so a test can write to it while the program runs.
    #[must_use]
    pub fn others(self, file: &Path) -> Self {
        self.set("others", &file.display())
    }

    /// The version of CUDA that the driver knows, such as 12080; libtorch needs 13000.
    #[must_use]
    pub fn driver(self, version: u32) -> Self {
        self.set("driver", &version)
    }

    /// A driver that cannot map memory into ranges of addresses, so that no segment expands.
    #[must_use]
    pub fn without_virtual_memory(self) -> Self {
        self.set("virtual-memory", &"off")
    }

    /// A device for which each wait takes this long.
    #[must_use]
    pub fn slow(self, milliseconds: u32) -> Self {
        self.set("slow", &milliseconds)
    }

    /// A device that cannot record what a stream does.
    #[must_use]
    pub fn without_graphs(self) -> Self {
        self.set("graphs", &"off")
    }

    /// Refuses device allocations number `first` (from 1) and the `count - 1` after it.
    #[must_use]
    pub fn refuse_allocations(self, first: u64, count: u64) -> Self {
        self.set("fail-allocation", &first)
            .set("fail-count", &count)
    }

    /// What [`Self::crowd`] and [`Self::reads`] say happens after replay number `first` of a graph (from 1) and the
    /// `count - 1` after it, each time until the next replay or until the graph is dropped.
    #[must_use]
    pub fn after_replays(self, first: u64, count: u64) -> Self {
        self.set("replay-first", &first).set("replay-count", &count)
    }

    /// Other programs hold this many bytes of the first card.
    #[must_use]
    pub fn crowd(self, bytes: u64) -> Self {
        self.set("crowd", &bytes)
    }

    /// The host reads `number` wherever it reads one float, and `pair` for each of two integers.
    #[must_use]
    pub fn reads(self, number: f32, pair: i64) -> Self {
        self.set("number-read", &number).set("pair-read", &pair)
    }

    /// Breaks the device at this kernel launch, from 1: every later call reports an illegal address.
    #[must_use]
    pub fn break_at_launch(self, number: u64) -> Self {
        self.set("break-at-launch", &number)
    }

    /// A file to which each allocation, release, refusal and convolution is appended.
    #[must_use]
    pub fn journal(self, file: &Path) -> Self {
        self.set("journal", &file.display())
    }

    /// Lets uploads arrive and our own CUDA kernels run, by emulation, on at most 1 MiB. libtorch's do not, so what they would compute is
    /// whatever was in memory before.
    #[must_use]
    pub fn with_values(self) -> Self {
        self.set("values", &"on")
    }

    /// As [`Self::with_values`], but our kernels do not run.
    #[must_use]
    pub fn with_wrong_values(self) -> Self {
        self.set("values", &"wrong")
    }

    /// A file with the engines and workspaces of convolutions, as `runtime/cudnn.cpp` describes.
    #[must_use]
    pub fn workspaces(self, file: &Path) -> Self {
        self.set("workspaces", &file.display())
    }

    /// Lets a program run on this machine.
    ///
    /// # Errors
    /// As [`library`].
    pub fn run(&self, command: &mut Command) -> Result<(), &'static str> {
        let library = library()?;
        let folder = library.parent().map(PathBuf::from).unwrap_or_default();
        command.env("LD_PRELOAD", library);
        command.env("LD_LIBRARY_PATH", folder);
        command.env("SNUG_STANDIN", self.to_setting());
        command.env_remove("CUDA_VISIBLE_DEVICES");
        if self.settings.iter().all(|(key, _)| *key != "values") {
            // Our kernels would not pass.
            command.env("SNUG_KERNELS_TRIAL", "off");
        }
        count();
        Ok(())
    }

    fn to_setting(&self) -> String {
        let cards = self.cards.iter().map(|card| {
            let (major, minor) = card.capability;
            format!(
                "card={} {MARK}|{major}.{minor}|{}",
                card.name, card.memory_bytes
            )
        });
        let settings = self
            .settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        cards.chain(settings).collect::<Vec<_>>().join(";")
    }
}

/// Adds the running test, after which its thread is named, to the file that `cargo xtask test` counts.
fn count() {
    let Some(file) = std::env::var_os("SNUG_STANDIN_TESTS") else {
        return;
    };
    let thread = std::thread::current();
    let line = format!("{}\n", thread.name().unwrap_or("unnamed"));
    let file = OpenOptions::new().create(true).append(true).open(file);
    // One write, so that lines of several tests do not mix; a count is worth no failure.
    drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_one_variable() {
        let card = PretendedCard {
            name: "NVIDIA GeForce RTX 3060".to_owned(),
            capability: (8, 6),
            memory_bytes: 12 << 30,
        };
        let machine = StandIn::with(card)
            .context(1 << 20)
            .refuse_allocations(3, 2);
        assert_eq!(
            machine.to_setting(),
            "card=NVIDIA GeForce RTX 3060 (stand-in)|8.6|12884901888;context=1048576;\
             fail-allocation=3;fail-count=2"
        );
    }
}
