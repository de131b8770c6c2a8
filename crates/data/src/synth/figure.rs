//! Everything in a panel other than balloons. Much of it is white on purpose.

use std::f32::consts::TAU;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tiny_skia::{Path, PathBuilder};

use super::canvas::{Canvas, INK, Rgb, WHITE, ellipse, lines, polygon, rectangle};
use super::panel::{Panel, Style};

fn fill_and_stroke(canvas: &mut Canvas, path: Option<Path>, colour: Rgb, width: f32) {
    if let Some(path) = path {
        canvas.fill_and_stroke(&path, colour, width);
    }
}

fn fill(canvas: &mut Canvas, path: Option<Path>, colour: Rgb) {
    if let Some(path) = path {
        canvas.fill(&path, colour);
    }
}

/// Often white, otherwise a tone.
fn cloth(rng: &mut ChaCha8Rng, style: &Style) -> Rgb {
    if rng.random_bool(0.5) {
        WHITE
    } else {
        style.colour(rng, 30, 220)
    }
}

/// Head, hair, face and shoulders.
pub(super) fn person(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let r = panel.height().min(panel.width()) * rng.random_range(0.13..0.24);
    let x = rng.random_range(panel.left..panel.right);
    let y = panel.bottom - panel.height() * rng.random_range(0.25..0.6);
    let line = style.line * 0.7;
    let shoulders = r * rng.random_range(1.3..2.0);
    let body = polygon(&[
        (x - r * 0.4, y + r * 0.8),
        (x + r * 0.4, y + r * 0.8),
        (x + shoulders, y + r * 1.7),
        (x + shoulders * 1.1, panel.bottom + r),
        (x - shoulders * 1.1, panel.bottom + r),
        (x - shoulders, y + r * 1.7),
    ]);
    fill_and_stroke(canvas, body, cloth(rng, style), line);
    let seam = lines([
        [(x - r * 0.3, y + r), (x, y + r * 1.8)],
        [(x + r * 0.3, y + r), (x, y + r * 1.8)],
        [(x, y + r * 1.8), (x, panel.bottom)],
    ]);
    if let Some(seam) = seam {
        canvas.stroke(&seam, INK, line);
    }
    let hair = if rng.random_bool(0.75) {
        style.colour(rng, 10, 110)
    } else {
        style.colour(rng, 150, 240)
    };
    fill_and_stroke(
        canvas,
        ellipse(x, y - r * 0.15, r * 1.15, r * 1.15),
        hair,
        line,
    );
    let skin = if style.mono {
        [rng.random_range(225..=255); 3]
    } else {
        skin(rng)
    };
    fill_and_stroke(
        canvas,
        ellipse(x, y + r * 0.15, r * 0.85, r * 0.92),
        skin,
        line,
    );
    let fringe = polygon(&[
        (x - r, y - r * 0.1),
        (x - r * 0.9, y - r * 0.7),
        (x, y - r * 1.1),
        (x + r * 0.9, y - r * 0.7),
        (x + r, y - r * 0.1),
        (x + r * 0.45, y - r * 0.45),
        (x + r * 0.1, y),
        (x - r * 0.4, y - r * 0.45),
    ]);
    fill(canvas, fringe, hair);
    for side in [-0.36, 0.36] {
        fill(
            canvas,
            ellipse(x + side * r, y + r * 0.25, r * 0.12, r * 0.2),
            INK,
        );
    }
    let mouth = lines([[(x - r * 0.2, y + r * 0.7), (x + r * 0.2, y + r * 0.7)]]);
    if let Some(mouth) = mouth {
        canvas.stroke(&mouth, INK, line);
    }
}

fn skin(rng: &mut ChaCha8Rng) -> Rgb {
    let tones = [
        [250, 224, 200],
        [236, 196, 160],
        [196, 144, 108],
        [120, 82, 60],
    ];
    tones[rng.random_range(0..tones.len())]
}

/// Houses with windows, some of them lit.
pub(super) fn buildings(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let mut left = panel.left + panel.width() * rng.random_range(0.0..0.4);
    for _ in 0..rng.random_range(1..4) {
        let right = left + rng.random_range(0.10..0.22);
        let top = panel.bottom - panel.height() * rng.random_range(0.4..0.85);
        let wall = style.colour(rng, 60, 210);
        fill_and_stroke(
            canvas,
            rectangle(left, top, right, panel.bottom),
            wall,
            style.line * 0.6,
        );
        let pane = if rng.random_bool(0.6) {
            WHITE
        } else {
            style.colour(rng, 20, 90)
        };
        let (w, h) = ((right - left) * 0.26, rng.random_range(0.03..0.05));
        let mut y = top + h * 0.6;
        while y + h < panel.bottom {
            for x in [left + w * 0.6, left + w * 2.2] {
                fill_and_stroke(
                    canvas,
                    rectangle(x, y, x + w, y + h),
                    pane,
                    style.line * 0.3,
                );
            }
            y += h * 1.8;
        }
        left = right + rng.random_range(0.0..0.05);
    }
}

/// A plain white disc, as round as a balloon.
pub(super) fn moon(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let r = rng.random_range(0.03..0.07);
    let x = rng.random_range(panel.left..panel.right);
    let y = panel.top + panel.height() * rng.random_range(0.1..0.5);
    let colour = if style.mono { WHITE } else { [255, 250, 222] };
    match ellipse(x, y, r, r) {
        Some(disc) if rng.random_bool(0.5) => canvas.fill(&disc, colour),
        disc => fill_and_stroke(canvas, disc, colour, style.line * 0.6),
    }
}

/// A sound effect: a star with one heavy sign in it.
pub(super) fn burst(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let r = rng.random_range(0.08..0.15);
    let x = rng.random_range(panel.left..panel.right);
    let y = rng.random_range(panel.top..panel.bottom);
    let spikes: u8 = rng.random_range(7..11);
    let points: Vec<_> = (0..spikes * 2)
        .map(|i| {
            let angle = f32::from(i) * TAU / f32::from(spikes * 2);
            let reach = if i % 2 == 0 {
                rng.random_range(0.85..1.15)
            } else {
                0.45
            };
            (x + r * reach * angle.cos(), y + r * reach * angle.sin())
        })
        .collect();
    let colour = if style.mono || rng.random_bool(0.5) {
        WHITE
    } else {
        [255, 226, 90]
    };
    fill_and_stroke(canvas, polygon(&points), colour, style.line);
    let s = r * 0.38;
    let mut sign = PathBuilder::new();
    sign.move_to(x - s, y - s * 0.6);
    sign.line_to(x + s * 0.3, y - s * 0.8);
    sign.line_to(x - s * 0.4, y + s * 0.7);
    sign.line_to(x + s, y + s * 0.5);
    if let Some(sign) = sign.finish() {
        canvas.stroke(&sign, INK, r * 0.16);
    }
}

/// The narrator's box in a corner: white, outlined and with text like a balloon, but
/// rectangular and without a tail.
pub(super) fn caption(canvas: &mut Canvas, rng: &mut ChaCha8Rng, panel: &Panel, style: &Style) {
    let width = panel.width() * rng.random_range(0.4..0.7);
    let height = rng.random_range(0.06..0.11_f32).min(panel.height() * 0.4);
    let left = if rng.random_bool(0.5) {
        panel.left
    } else {
        panel.right - width
    };
    let top = if rng.random_bool(0.7) {
        panel.top
    } else {
        panel.bottom - height
    };
    let (right, bottom) = (left + width, top + height);
    let paper = if rng.random_bool(0.7) {
        WHITE
    } else {
        style.colour(rng, 205, 250)
    };
    fill_and_stroke(
        canvas,
        rectangle(left, top, right, bottom),
        paper,
        style.line * 0.8,
    );
    text(
        canvas,
        rng,
        [left + 0.02, top + 0.018, right - 0.02, bottom - 0.015],
        false,
    );
}

/// Rows or columns of signs in a box (left, top, right, bottom).
pub(super) fn text(canvas: &mut Canvas, rng: &mut ChaCha8Rng, bounds: [f32; 4], columns: bool) {
    let [left, top, right, bottom] = bounds;
    let size = rng.random_range(0.013..0.02_f32);
    let (pitch, gap) = (size * 1.75, size * 0.45);
    let (across, along) = if columns {
        ([left, right], [top, bottom])
    } else {
        ([top, bottom], [left, right])
    };
    let mut signs = Vec::new();
    let mut line = across[0] + size * 0.5;
    while line <= across[1] {
        // Lines are centred and have uneven ends.
        let inset = (along[1] - along[0]) * rng.random_range(0.0..0.18);
        let mut at = along[0] + inset;
        while at + size * 0.5 <= along[1] - inset {
            let length = size * rng.random_range(0.4..1.0_f32);
            let end = (at + length).min(along[1] - inset);
            signs.push(if columns {
                [(line, at), (line, end)]
            } else {
                [(at, line), (end, line)]
            });
            at = end + gap + size * 0.35;
        }
        line += pitch;
    }
    if let Some(path) = lines(signs) {
        canvas.stroke(&path, INK, size * 0.62);
    }
}
