//! Speech balloons: a body, a tail, an outline, text, and the mask of the whole.

use std::f32::consts::TAU;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tiny_skia::{Path, PathBuilder};

use super::canvas::{Canvas, INK, Rgb, WHITE, ellipse, polygon};
use super::figure::text;
use super::panel::{Panel, Style};

/// The position of a balloon, with half its width and height, in units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    x: f32,
    y: f32,
    rx: f32,
    ry: f32,
}

impl Body {
    fn overlaps(&self, other: &Self) -> bool {
        (self.x - other.x).abs() < (self.rx + other.rx) * 0.92
            && (self.y - other.y).abs() < (self.ry + other.ry) * 0.92
    }

    /// The point at `angle`, `reach` times as far out as the rim.
    fn rim(&self, angle: f32, reach: f32) -> (f32, f32) {
        (
            self.x + self.rx * reach * angle.cos(),
            self.y + self.ry * reach * angle.sin(),
        )
    }
}

/// Draws a balloon in `panel` or slightly over its edge, away from all of `placed`. Without
/// room it draws nothing.
pub(super) fn place(
    canvas: &mut Canvas,
    rng: &mut ChaCha8Rng,
    panel: &Panel,
    style: &Style,
    placed: &mut Vec<Body>,
) {
    const TRIES: usize = 12;
    let (across, down) = canvas.size();
    for _ in 0..TRIES {
        let rx = rng.random_range(0.11..0.20_f32).min(panel.width() * 0.46);
        let ry = (rx * rng.random_range(0.65..1.35)).min(panel.height() * 0.42);
        // Keeps a margin to the edge of the page.
        let (low_x, high_x) = (
            panel.left.max(0.0) + rx * 0.85,
            panel.right.min(across) - rx * 0.85,
        );
        let (low_y, high_y) = (
            panel.top.max(0.0) + ry * 0.85,
            panel.bottom.min(down) - ry * 1.15,
        );
        let x = rng.random_range(low_x.min(high_x)..=high_x.max(low_x));
        let y = rng.random_range(low_y.min(high_y)..=high_y.max(low_y));
        let body = Body {
            x: x.clamp(rx + 0.01, (across - rx - 0.01).max(rx + 0.01)),
            y: y.clamp(ry + 0.01, (down - ry - 0.01).max(ry + 0.01)),
            rx,
            ry,
        };
        if !placed.iter().any(|other| other.overlaps(&body)) {
            paint(canvas, rng, &body, style);
            placed.push(body);
            return;
        }
    }
}

fn paint(canvas: &mut Canvas, rng: &mut ChaCha8Rng, body: &Body, style: &Style) {
    // The tail points down or sideways, towards the speaker.
    let angle = rng.random_range(0.12 * TAU..0.38 * TAU);
    let (shape, tail) = match rng.random_range(0..10) {
        0..=3 => (
            ellipse(body.x, body.y, body.rx, body.ry),
            pointed(rng, body, angle),
        ),
        4..=6 => (rounded(rng, body), pointed(rng, body, angle)),
        7..=8 => (cloud(rng, body), bubbles(body, angle)),
        _ => (jagged(rng, body), pointed(rng, body, angle)),
    };
    let parts: Vec<Path> = [shape, tail].into_iter().flatten().collect();
    // All outlines come before all fillings, so that body and tail join.
    for part in &parts {
        canvas.stroke(part, INK, style.line * 2.0);
    }
    let paper = paper(rng, style);
    for part in &parts {
        canvas.fill(part, paper);
        canvas.mark(part);
    }
    let columns = body.ry > body.rx * 0.9 && rng.random_bool(0.7);
    let (w, h) = (body.rx * 0.62, body.ry * 0.6);
    text(
        canvas,
        rng,
        [body.x - w, body.y - h, body.x + w, body.y + h],
        columns,
    );
}

/// White, or sometimes a pale tint.
fn paper(rng: &mut ChaCha8Rng, style: &Style) -> Rgb {
    match rng.random_range(0..10) {
        0 if style.mono => [rng.random_range(205..=240); 3],
        0 => [255, 244, 190],
        1 if !style.mono => [214, 232, 255],
        2 if !style.mono => [255, 222, 226],
        _ => WHITE,
    }
}

/// Between an ellipse and a box: a superellipse.
fn rounded(rng: &mut ChaCha8Rng, body: &Body) -> Option<Path> {
    let power = 2.0 / rng.random_range(2.6..4.0_f32);
    let points: Vec<_> = (0_u8..64)
        .map(|i| {
            let (sin, cos) = (f32::from(i) * TAU / 64.0).sin_cos();
            let bend = |v: f32| v.abs().powf(power).copysign(v);
            (body.x + body.rx * bend(cos), body.y + body.ry * bend(sin))
        })
        .collect();
    polygon(&points)
}

/// Bumps all around: a thought.
fn cloud(rng: &mut ChaCha8Rng, body: &Body) -> Option<Path> {
    let bumps: u8 = rng.random_range(8..13);
    let at = |i: u8, reach| body.rim(f32::from(i) * TAU / f32::from(bumps) / 2.0, reach);
    let mut path = PathBuilder::new();
    let start = at(0, 0.9);
    path.move_to(start.0, start.1);
    for i in 0..bumps {
        let (control, end) = (at(2 * i + 1, 1.28), at(2 * i + 2, 0.9));
        path.quad_to(control.0, control.1, end.0, end.1);
    }
    path.close();
    path.finish()
}

/// Points all around: a shout.
fn jagged(rng: &mut ChaCha8Rng, body: &Body) -> Option<Path> {
    let spikes: u8 = rng.random_range(14..20);
    let points: Vec<_> = (0..spikes * 2)
        .map(|i| {
            let reach = if i % 2 == 0 {
                rng.random_range(1.0..1.2)
            } else {
                0.85
            };
            body.rim(f32::from(i) * TAU / f32::from(spikes * 2), reach)
        })
        .collect();
    polygon(&points)
}

/// A bent tail at `angle`.
fn pointed(rng: &mut ChaCha8Rng, body: &Body, angle: f32) -> Option<Path> {
    let half = rng.random_range(0.2..0.32);
    let (a, b) = (body.rim(angle - half, 0.85), body.rim(angle + half, 0.85));
    let tip = body.rim(
        angle + rng.random_range(-0.3..0.3),
        rng.random_range(1.3..1.65),
    );
    let bend = body.rim(angle, 1.1);
    let mut path = PathBuilder::new();
    path.move_to(a.0, a.1);
    path.quad_to(bend.0, bend.1, tip.0, tip.1);
    path.line_to(b.0, b.1);
    path.close();
    path.finish()
}

/// Two shrinking bubbles at `angle`.
fn bubbles(body: &Body, angle: f32) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (reach, size) in [(1.3, 0.17), (1.58, 0.1)] {
        let (x, y) = body.rim(angle, reach);
        path.push_circle(x, y, body.rx.min(body.ry) * size);
    }
    path.finish()
}
