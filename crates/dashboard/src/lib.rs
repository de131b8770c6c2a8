//! The live view of a training run in a terminal.
//!
//! A [`Dashboard`] owns a thread that draws and reads keys. The training loop only sends [`Update`]s and
//! polls [`Command`]s, and neither ever waits. This crate measures nothing and knows no trainer: whoever
//! sends an update knows what it means. It is no log either, because what it shows is gone when it ends.
//!
//! ```no_run
//! use config::Language;
//! use dashboard::{Colors, Command, Dashboard, Keys, State, Update, View};
//!
//! let state = State { title: "cats".to_owned(), num_epochs: 50, ..State::default() };
//! let view = View::new(Language::English, Colors::from_env(), Keys::default());
//! let dashboard = Dashboard::start(state, view)?;
//! dashboard.send(Update::EpochStarted { epoch: 1, done: 0, num_images: 800 });
//! dashboard.send(Update::Batch { done: 8, loss: Some(0.69) });
//! if dashboard.commands().any(|command| command == Command::StopNow) {
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
pub use draw::draw;
pub use screen::{is_wanted, leave, wants};
pub use state::{Epoch, Event, EventKind, Memory, Phase, Picture, Prediction, State};
pub use thread::Dashboard;
pub use update::Update;
pub use view::{Command, Keys, View};
