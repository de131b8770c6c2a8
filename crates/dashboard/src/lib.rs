//! The live view of a training run in a terminal.
//!
//! A [`Dashboard`] owns a thread that draws and reads keys. The training loop only sends [`Update`]s, which
//! never waits, and the thread passes each confirmed [`Command`] to a function of the program. This crate
//! measures nothing and knows no trainer: whoever sends an update knows what it means. It is no log either,
//! because what it shows is gone when it ends.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! use locale::Language;
//! use dashboard::{Colors, Command, Dashboard, State, Update, View};
//!
//! let state = State { title: "cats".to_owned(), num_epochs: 50, ..State::default() };
//! let view = View::new(Language::English, Colors::from_env());
//! let must_stop = Arc::new(AtomicBool::new(false));
//! let flag = Arc::clone(&must_stop);
//! let dashboard = Dashboard::start(state, view, move |command| match command {
//!     Command::StopNow => flag.store(true, Ordering::SeqCst),
//!     Command::StopAfterEpoch => {}
//! })?;
//! dashboard.send(Update::EpochStarted { epoch: 1, done: 0, num_images: 800 });
//! dashboard.send(Update::Batch { done: 8, loss: Some(0.69) });
//! if must_stop.load(Ordering::SeqCst) {
//!     // Save a snapshot and leave the loop.
//! }
//! dashboard.finish();
//! # Ok::<(), std::io::Error>(())
//! ```

mod colors;
mod draw;
mod screen;
mod state;
mod thread;
mod update;
mod view;
mod words;

pub use colors::Colors;
pub use screen::{is_wanted, leave};
pub use state::{Epoch, Event, EventKind, Memory, Phase, Picture, Prediction, State};
pub use thread::Dashboard;
pub use update::Update;
pub use view::{Command, View};
