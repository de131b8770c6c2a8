//! Panels: their layout, and the picture behind their balloons.

use std::f32::consts::TAU;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tiny_skia::{PathBuilder, Point};

use super::canvas::{Canvas, INK, Rgb, WHITE, lines, polygon, rectangle};
use super::figure;

/// The style that all panels of a page share.
#[derive(Debug)]
pub(super) struct Style {
    /// Gray tones only, as in manga.
    pub(super) mono: bool,
    pub(super) gutter: Rgb,
    /// Width of outlines in units.
    pub(super) line: f32,
}

impl Style {
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mono = rng.random_bool(0.5);
        let gutter = match rng.random_range(0..10) {
            0 => INK,
            1 | 2 => [244, 238, 224],
            _ => WHITE,
        };
        Self {
            mono,
            gutter,
            line: rng.random_range(0.006..0.010),
        }
    }

    /// A colour with channels roughly between `low` and `high`.
    pub(super) fn colour(&self, rng: &mut ChaCha8Rng, low: u8, high: u8) -> Rgb {
        if self.mono {
            [rng.random_range(low..=high); 3]
        } else {
            [(); 3].map(|()| rng.random_range(low..=high))
        }
    }
}

/// A quadrilateral, clockwise from its top left corner, in units.
#[derive(Debug)]
pub(super) struct Panel {
    corners: [(f32, f32); 4],
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Panel {
    fn new(corners: [(f32, f32); 4]) -> Self {
        let [(x0, top), (x1, _), (x2, bottom), (x3, _)] = corners;
        Self {
            corners,
            left: x0.min(x3),
            top,
            right: x1.max(x2),
            bottom,
        }
    }

    pub(super) fn width(&self) -> f32 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> f32 {
        self.bottom - self.top
    }
}

/// Rows of panels on a page of `across` x `down` units. Borders between the panels of a row
/// may be slanted.
pub(super) fn layout(rng: &mut ChaCha8Rng, across: f32, down: f32) -> Vec<Panel> {
    let margin = rng.random_range(0.02..0.045);
    let gutter = rng.random_range(0.018..0.035);
    let mut panels = Vec::new();
    for (top, bottom) in cuts(rng, margin, down - margin, gutter) {
        let columns = cuts(rng, margin, across - margin, gutter);
        let (mut lean_left, last) = (0.0, columns.len() - 1);
        for (i, &(left, right)) in columns.iter().enumerate() {
            let may_lean = i < last && rng.random_bool(0.4);
            let lean = if may_lean {
                rng.random_range(-0.04..0.04)
            } else {
                0.0
            };
            panels.push(Panel::new([
                (left + lean_left, top),
                (right + lean, top),
                (right - lean, bottom),
                (left - lean_left, bottom),
            ]));
            lean_left = lean;
        }
    }
    panels
}

/// Cuts a length into pieces of different sizes with `gutter` between them.
fn cuts(rng: &mut ChaCha8Rng, from: f32, to: f32, gutter: f32) -> Vec<(f32, f32)> {
    /// More pieces would only make a long page slow.
    const MAX_PIECES: f32 = 12.0;
    let length = to - from;
    let pieces = (length / rng.random_range(0.34..0.75))
        .round()
        .clamp(1.0, MAX_PIECES);
    let mut weights = Vec::new();
    while (weights.len() as f32) < pieces {
        weights.push(rng.random_range(0.8_f32..1.3));
    }
    let unit = (length - gutter * (pieces - 1.0)) / weights.iter().sum::<f32>();
    let mut start = from;
    weights
        .into_iter()
        .map(|weight| {
            let piece = (start, start + weight * unit);
            start = piece.1 + gutter;
            piece
        })
        .collect()
}

/// Draws the background, figures, distractors and frame of a panel.
pub(super) fn paint(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let Some(outline) = polygon(&panel.corners) else {
        return;
    };
    canvas.clip(&outline);
    background(canvas, rng, panel, style);
    if rng.random_bool(0.35) {
        figure::buildings(canvas, rng, panel, style);
    }
    for _ in 0..[0, 1, 1, 1, 2][rng.random_range(0..5)] {
        figure::person(canvas, rng, panel, style);
    }
    if rng.random_bool(0.25) {
        figure::moon(canvas, rng, panel, style);
    }
    if rng.random_bool(0.35) {
        figure::burst(canvas, rng, panel, style);
    }
    if rng.random_bool(0.4) {
        figure::caption(canvas, rng, panel, style);
    }
    canvas.unclip();
    // Some panels have no frame, and their picture extends into the gutter.
    if rng.random_bool(0.92) {
        canvas.stroke(&outline, INK, style.line * 1.2);
    }
}

fn background(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let Panel {
        left,
        top,
        right,
        bottom,
        ..
    } = *panel;
    let Some(all) = rectangle(left, top, right, bottom) else {
        return;
    };
    match rng.random_range(0..8) {
        0 => canvas.fill(&all, style.colour(rng, 90, 225)),
        1 | 2 => {
            let ends = [Point::from_xy(left, top), Point::from_xy(left, bottom)];
            let colours = [style.colour(rng, 40, 255), style.colour(rng, 120, 255)];
            canvas.fill_gradient(&all, ends, colours);
        }
        3 => {
            canvas.fill(&all, style.colour(rng, 215, 255));
            let tone = style.colour(rng, 60, 180);
            dots(canvas, rng, panel, tone);
        }
        4 => {
            canvas.fill(&all, style.colour(rng, 235, 255));
            speed_lines(canvas, rng, panel);
        }
        5 => {
            canvas.fill(&all, style.colour(rng, 180, 250));
            hatching(canvas, rng, panel, style);
        }
        6 => {
            canvas.fill(&all, style.colour(rng, 15, 70));
            dots(canvas, rng, panel, WHITE);
        }
        _ => canvas.fill(&all, WHITE),
    }
    // The ground.
    if rng.random_bool(0.4) {
        let horizon = bottom - panel.height() * rng.random_range(0.15..0.4);
        if let Some(ground) = rectangle(left, horizon, right, bottom) {
            canvas.fill_and_stroke(&ground, style.colour(rng, 70, 230), style.line * 0.5);
        }
    }
}

/// A halftone screen that thins out downwards.
fn dots(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, colour: Rgb) {
    let pitch = rng.random_range(0.018..0.035_f32);
    let radius = pitch * rng.random_range(0.2..0.42);
    let fades = rng.random_bool(0.5);
    let mut path = PathBuilder::new();
    let (mut y, mut odd) = (panel.top, false);
    while y < panel.bottom {
        let depth = (y - panel.top) / panel.height();
        let radius = if fades {
            radius * (1.0 - 0.8 * depth)
        } else {
            radius
        };
        let mut x = panel.left + if odd { pitch / 2.0 } else { 0.0 };
        while x < panel.right {
            path.push_circle(x, y, radius);
            x += pitch;
        }
        (y, odd) = (y + pitch * 0.87, !odd);
    }
    if let Some(path) = path.finish() {
        canvas.fill(&path, colour);
    }
}

/// Lines from the rim towards a point: speed, or a shock.
fn speed_lines(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel) {
    let x = rng.random_range(panel.left..panel.right);
    let y = rng.random_range(panel.top..panel.bottom);
    let far = panel.width() + panel.height();
    let mut rays = PathBuilder::new();
    let mut angle = 0.0_f32;
    while angle < TAU {
        angle += rng.random_range(0.03..0.14);
        let near = rng.random_range(0.12..0.24);
        let thick = rng.random_range(0.004..0.02);
        let at = |angle: f32, r: f32| (x + r * angle.cos(), y + r * angle.sin());
        let (tip, a, b) = (
            at(angle, near),
            at(angle - thick, far),
            at(angle + thick, far),
        );
        rays.move_to(tip.0, tip.1);
        rays.line_to(a.0, a.1);
        rays.line_to(b.0, b.1);
        rays.close();
    }
    if let Some(path) = rays.finish() {
        canvas.fill(&path, INK);
    }
}

/// Parallel lines at a slope.
fn hatching(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let slope = rng.random_range(-0.8..0.8_f32);
    let pitch = rng.random_range(0.015..0.05);
    let mut y = panel.top - panel.width();
    let mut hatches = Vec::new();
    while y < panel.bottom + panel.width() {
        hatches.push([(panel.left, y), (panel.right, y + slope * panel.width())]);
        y += pitch * rng.random_range(0.8..1.2);
    }
    if let Some(path) = lines(hatches) {
        let colour = style.colour(rng, 40, 160);
        canvas.stroke(&path, colour, pitch * 0.18);
    }
}
