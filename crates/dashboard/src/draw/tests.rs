//! Whole windows, as a person sees them.

use std::time::Duration;

use config::Bytes;
use locale::Language;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::colors::Colors;
use crate::state::{Epoch, EventKind, Memory, Phase, Picture, Prediction};
use crate::update::Update;

const NORMAL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (160, 50);

fn drawn(state: &State, view: &View, (columns, rows): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, state, view)).unwrap();
    terminal.backend().buffer().clone()
}

/// The window as text: a wide character hides the cell after it.
fn shown(state: &State, view: &View, size: (u16, u16)) -> String {
    let buffer = drawn(state, view, size);
    let mut text = String::new();
    for y in 0..size.1 {
        let mut row = String::new();
        let mut x = 0;
        while x < size.0 {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            x += u16::try_from(symbol.width().max(1)).unwrap();
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn japanese() -> View {
    View::new(Language::Japanese, Colors::Off)
}

fn pressed(mut view: View, keys: &[KeyCode]) -> View {
    for key in keys {
        view.press((*key).into(), 100);
    }
    view
}

fn nothing_yet() -> State {
    State {
        title: "cats".to_owned(),
        device: "NVIDIA H200".to_owned(),
        recipe: "AMP bf16, channels-last, batch 8".to_owned(),
        num_epochs: 50,
        ..State::default()
    }
}

/// A run in which `done` epochs are done, and half of the next.
fn running(done: u32) -> State {
    let mut state = nothing_yet();
    state.memory = Memory {
        peak: Some(Bytes::from_mib(6_100)),
        predicted: Some(Bytes::from_mib(7_300)),
        limit: Some(Bytes::from_mib(8_192)),
    };
    state.num_epochs = 2 * done.max(1);
    for epoch in 1..=done + 1 {
        state.apply(Update::EpochStarted {
            epoch,
            done: 0,
            num_images: 200,
        });
        for images in (20..=if epoch > done { 100_u32 } else { 200 }).step_by(20) {
            state.elapsed += Duration::from_secs(2);
            let at = f64::from(epoch - 1) + f64::from(images) / 200.0;
            state.apply(Update::Batch {
                done: images.into(),
                loss: Some(loss(at, done)),
            });
        }
        if epoch <= done {
            state.elapsed += Duration::from_secs(5);
            state.apply(Update::EpochDone(scored(epoch, done)));
            state.apply(Update::DataWait(0.42));
        }
    }
    state.apply(Update::Temperature(Some(71)));
    state
}

fn loss(at: f64, num: u32) -> f64 {
    0.05 + 0.65 * (-5.0 * at / f64::from(num.max(1))).exp()
}

fn scored(epoch: u32, num: u32) -> Epoch {
    let loss = loss(f64::from(epoch), num);
    Epoch {
        epoch,
        train_loss: loss,
        val_loss: 1.2 * loss + 0.02,
        iou: 0.95 - loss,
        dice: 0.99 - loss,
    }
}

fn with_events(mut state: State) -> State {
    for (kind, text) in [
        (EventKind::Note, "CUDA graph: on"),
        (
            EventKind::Warning,
            "the loss is 12 times what it was at first; `--lr` is probably too high for this run",
        ),
        (EventKind::Warning, "out of memory: batch 8 becomes 4 x 2"),
        (
            EventKind::Warning,
            "`漫画/第01巻/とても長い名前のページ_見開き_左右_カラー_最終版_修正済み_0001.png` を含むステップを中断しました",
        ),
    ] {
        let text = text.to_owned();
        state.apply(Update::Event { kind, text });
    }
    state
}

fn predicted() -> Prediction {
    let picture = |value: u8| Picture::new(8, vec![[value; 3]; 64]).unwrap();
    Prediction {
        name: "ページ_001.png".to_owned(),
        image: picture(90),
        mask: picture(0),
        answer: picture(255),
    }
}

#[test]
fn before_the_first_step() {
    let state = nothing_yet();
    insta::assert_snapshot!("nothing_yet", shown(&state, &View::default(), NORMAL));
    insta::assert_snapshot!("nothing_yet_ja", shown(&state, &japanese(), NORMAL));
}

#[test]
fn one_epoch() {
    let state = with_events(running(1));
    insta::assert_snapshot!("one_epoch", shown(&state, &View::default(), NORMAL));
    insta::assert_snapshot!("one_epoch_ja", shown(&state, &japanese(), NORMAL));
}

#[test]
fn many_epochs_in_a_large_window() {
    let mut state = with_events(running(500));
    state.title = "漫画ページの領域分割、とても長い名前の実験".repeat(5);
    state.prediction = Some(predicted());
    insta::assert_snapshot!("large", shown(&state, &View::default(), LARGE));
    let view = View::new(Language::Japanese, Colors::Indexed);
    insta::assert_snapshot!("large_ja", shown(&state, &view, LARGE));
}

#[test]
fn a_loss_that_is_nan_leaves_a_gap() {
    let mut state = running(40);
    for epoch in &mut state.epochs[10..20] {
        epoch.train_loss = f64::NAN;
        epoch.val_loss = f64::INFINITY;
    }
    insta::assert_snapshot!("nan", shown(&state, &View::default(), NORMAL));
    for epoch in &mut state.epochs {
        epoch.train_loss = f64::NAN;
        epoch.val_loss = f64::NAN;
    }
    let text = shown(&state, &View::default(), NORMAL);
    assert!(text.contains("train loss NaN"), "{text}");
}

#[test]
fn help_questions_and_small_windows() {
    let state = with_events(running(3));
    let help = |view| pressed(view, &[KeyCode::Char('?')]);
    let stop = |view| pressed(view, &[KeyCode::Char('q')]);
    insta::assert_snapshot!("help", shown(&state, &help(View::default()), NORMAL));
    insta::assert_snapshot!("help_ja", shown(&state, &help(japanese()), NORMAL));
    insta::assert_snapshot!("stop", shown(&state, &stop(View::default()), SMALLEST));
    insta::assert_snapshot!("stop_ja", shown(&state, &stop(japanese()), SMALLEST));
    insta::assert_snapshot!("small", shown(&state, &View::default(), (40, 12)));
    insta::assert_snapshot!("small_ja", shown(&state, &stop(japanese()), (40, 12)));
    let given = pressed(stop(View::default()), &[KeyCode::Char('y')]);
    assert!(shown(&state, &given, NORMAL).contains("stops after this step"));
}

#[test]
fn every_panel_has_its_turn() {
    let mut state = running(3);
    state.prediction = Some(predicted());
    let mut view = View::default();
    for title in [
        "IoU and Dice",
        "last prediction",
        "images per second",
        "loss in this epoch",
    ] {
        let text = shown(&state, &view, NORMAL);
        assert!(text.contains(title), "{title} is not in\n{text}");
        view = pressed(view, &[KeyCode::Tab]);
    }
    view = View::default();
    let text = shown(&state, &view, LARGE);
    assert!(text.contains("needs a terminal with 256 colours"), "{text}");
    view.colors = Colors::True;
    assert!(shown(&state, &view, LARGE).contains('▀'));
}

#[test]
fn events_scroll() {
    let mut state = nothing_yet();
    for at in 0..100 {
        let (kind, text) = (EventKind::Note, format!("event {at}."));
        state.apply(Update::Event { kind, text });
    }
    let text = shown(&state, &View::default(), NORMAL);
    assert!(text.contains("event 99.") && !text.contains("event 89."));
    let up = pressed(View::default(), &[KeyCode::PageUp]);
    let text = shown(&state, &up, NORMAL);
    assert!(text.contains("event 89.") && !text.contains("event 90."));
    let top = pressed(View::default(), &[KeyCode::Home]);
    assert!(shown(&state, &top, NORMAL).contains("event 0."));
}

#[test]
fn colours_are_left_out_on_request() {
    let mut state = with_events(running(5));
    state.prediction = Some(predicted());
    let view = pressed(View::default(), &[KeyCode::Tab]);
    for cell in drawn(&state, &view, LARGE).content() {
        let reset = ratatui::style::Color::Reset;
        assert_eq!((cell.fg, cell.bg), (reset, reset));
    }
}

fn colors() -> impl Strategy<Value = Colors> {
    prop::sample::select(vec![
        Colors::Off,
        Colors::Named,
        Colors::Indexed,
        Colors::True,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_state_fits_any_window(
        size in (1_u16..=200, 1_u16..=60),
        title in "\\PC{0,80}",
        texts in prop::collection::vec("\\PC{0,120}", 0..12),
        losses in prop::collection::vec(any::<f64>(), 0..30),
        picture in (1_usize..40, 1_usize..40),
        memory in any::<[Option<u64>; 3]>(),
        colors in colors(),
        is_japanese: bool,
        keys in "[?hsqyn]{0,4}",
        tabs in 0_usize..5,
    ) {
        let mut state = with_events(running(1));
        state.title = title;
        state.phase = Phase::Validating;
        for text in texts {
            state.apply(Update::Event { kind: EventKind::Warning, text });
        }
        for (epoch, loss) in (3..).zip(losses) {
            state.losses.push((epoch.into(), loss));
            state.apply(Update::EpochDone(Epoch { train_loss: loss, ..scored(epoch, 5) }));
        }
        let [peak, predicted_peak, limit] = memory.map(|it| it.map(Bytes));
        state.memory = Memory { peak, predicted: predicted_peak, limit };
        let pixels = vec![[7; 3]; picture.0 * picture.1];
        let answer = Picture::new(picture.0, pixels).unwrap();
        state.prediction = Some(Prediction { answer, ..predicted() });
        let language = if is_japanese { Language::Japanese } else { Language::English };
        let view = View::new(language, colors);
        let keys: Vec<_> = keys.chars().map(KeyCode::Char).collect();
        let view = pressed(pressed(view, &vec![KeyCode::Tab; tabs]), &keys);
        let buffer = drawn(&state, &view, size);
        for y in 0..size.1 {
            for x in 0..size.0 {
                let width = buffer[(x, y)].symbol().width();
                prop_assert!(usize::from(x) + width <= usize::from(size.0), "column {x}, row {y}");
            }
        }
    }
}
