//! Plays a made-up run, to look at the dashboard in a real terminal:
//!
//! ```sh
//! cargo run -p dashboard --example demo -- [SECONDS] [ja] [panic]
//! ```
//!
//! With `panic` it panics in the middle, as a check that the terminal is given back.

use std::time::{Duration, Instant};

use config::cli::console;
use config::{Bytes, Language};
use dashboard::{
    Colors, Command, Dashboard, Epoch, EventKind, Keys, Memory, Phase, Picture, Prediction, State,
    Update, View,
};

const NUM_EPOCHS: u32 = 40;
const NUM_IMAGES: u64 = 200;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let seconds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(60);
    let language = if has("ja") {
        Language::Japanese
    } else {
        Language::English
    };
    let view = View::new(language, Colors::from_env(), Keys::default());
    let state = State {
        title: "漫画ページの領域分割 (demo)".to_owned(),
        device: "Made-up card".to_owned(),
        recipe: "AMP bf16, channels-last, batch 8 x 2, 384x512".to_owned(),
        num_epochs: NUM_EPOCHS,
        memory: Memory {
            peak: None,
            predicted: Some(Bytes::from_mib(7_300)),
            limit: Some(Bytes::from_mib(8_192)),
        },
        ..State::default()
    };
    let dashboard = Dashboard::start(state, view)?;
    let pace = Duration::from_secs(seconds) / NUM_EPOCHS;
    let ended = (1..=NUM_EPOCHS).find_map(|epoch| {
        if epoch == NUM_EPOCHS / 2 && has("panic") {
            let nothing: Option<u8> = std::hint::black_box(None);
            nothing.expect("this panic was asked for");
        }
        play(&dashboard, epoch, pace)
    });
    dashboard.finish();
    console::note(&format!("the demo is over: {ended:?}"));
    Ok(())
}

/// One epoch; returns the command that ended it.
fn play(dashboard: &Dashboard, epoch: u32, pace: Duration) -> Option<Command> {
    let loss = |at: f64| 0.7 * (-at / 12.0).exp() + 0.05 + 0.02 * (at * 7.0).sin();
    let progress = |done: u64| f64::from(epoch - 1) + done as f64 / NUM_IMAGES as f64;
    dashboard.send(Update::EpochStarted {
        epoch,
        done: 0,
        num_images: NUM_IMAGES,
    });
    let started = Instant::now();
    let mut is_last = false;
    for done in (8..=NUM_IMAGES).step_by(8) {
        let until = pace.mul_f64(done as f64 / NUM_IMAGES as f64);
        std::thread::sleep(until.saturating_sub(started.elapsed()));
        let update = Update::Batch {
            done,
            loss: Some(loss(progress(done))),
        };
        dashboard.send(update);
        dashboard.send(Update::MemoryPeak(Bytes::from_mib(6_000 + done % 50)));
        for command in dashboard.commands() {
            match command {
                Command::StopNow => return Some(command),
                Command::StopAfterEpoch => is_last = true,
                Command::Validate => console::note("a validation was asked for"),
            }
        }
    }
    dashboard.send(Update::Phase(Phase::Validating));
    let end = progress(NUM_IMAGES);
    let iou = 0.95 - loss(end);
    dashboard.send(Update::EpochDone(Epoch {
        epoch,
        train_loss: loss(end),
        val_loss: loss(end) * 1.1,
        iou,
        dice: 2.0 * iou / (1.0 + iou),
    }));
    dashboard.send(Update::DataWait(0.42 / f64::from(epoch)));
    dashboard.send(Update::Temperature(Some(60 + epoch % 20)));
    dashboard.send(Update::Prediction(Box::new(prediction(iou))));
    match epoch % 8 {
        3 => console::note(&format!("epoch {epoch}: a note")),
        5 => console::warn(&format!(
            "epoch {epoch}: この警告は終了後にもう一度表示されます"
        )),
        7 => dashboard.send(Update::Event {
            kind: EventKind::Rung,
            text: "out of memory: batch 8 becomes 4 x 2".to_owned(),
        }),
        _ => {}
    }
    is_last.then_some(Command::StopAfterEpoch)
}

/// A disc, its mask, and an answer that becomes rounder with `iou`.
fn prediction(iou: f64) -> Prediction {
    const SIDE: i32 = 96;
    let picture = |color: &dyn Fn(f64, f64) -> [u8; 3]| {
        let pixels = (0..SIDE * SIDE).map(|at| {
            let [x, y] = [at % SIDE, at / SIDE].map(|it| f64::from(2 * it) / f64::from(SIDE) - 1.0);
            color(x, y)
        });
        Picture::new(96, pixels.collect()).expect("rows are whole")
    };
    let white = |is_inside: bool| if is_inside { [255; 3] } else { [0; 3] };
    Prediction {
        name: "ページ_001.png".to_owned(),
        image: picture(&|x, y| {
            if x.hypot(y) < 0.7 {
                [230, 120, 60]
            } else {
                [40, 70, 160]
            }
        }),
        mask: picture(&|x, y| white(x.hypot(y) < 0.7)),
        answer: picture(&|x, y| white(x.hypot(y) < 0.7 + (1.0 - iou) * (9.0 * x).sin() * y)),
    }
}
