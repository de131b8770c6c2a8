//! Memory over the operations of one step: the prediction as an area, limits and the measured peak as lines.

use std::fmt::Write as _;

use config::Bytes;
use figures::scale::Scale;
use figures::svg::{Anchor, Color, Font, Svg};

use super::{Figure, Frame, RIGHT, WIDTH};
use crate::wire::{Held, Moment};

/// Lines at most this many times as high as the area are drawn.
const MAX_ABOVE: f64 = 1.6;
/// Beyond this number of operations, tooltips would be narrower than a pixel.
const MAX_HINTS: usize = 400;

/// Draws the timeline, a `measured` step over it, and those `lines` that are not far above it.
pub(crate) fn memory(
    title: &str,
    timeline: &[Moment],
    measured: &[Held],
    lines: &[(String, u64)],
    caption: String,
) -> Option<Figure> {
    let highest = timeline.iter().max_by_key(|it| it.bytes)?;
    let near = |it: &&(String, u64)| it.1 as f64 <= MAX_ABOVE * highest.bytes as f64;
    let lines: Vec<_> = lines.iter().filter(near).collect();
    let most = lines
        .iter()
        .map(|it| it.1)
        .chain(measured.iter().map(|it| it.bytes))
        .fold(highest.bytes.max(1), u64::max);
    let (unit, label) = match most {
        0..Bytes::MIB => (Bytes::KIB, "memory of tensors, KiB"),
        Bytes::MIB..Bytes::GIB => (Bytes::MIB, "memory of tensors, MiB"),
        _ => (Bytes::GIB, "memory of tensors, GiB"),
    };
    let desc = format!(
        "Predicted memory over the {} operations of a step. The peak of {} is at {}.",
        timeline.len(),
        Bytes(highest.bytes),
        highest.at
    );
    let mut svg = Svg::inline([WIDTH, 268.0], title, &desc);
    let most = 1.12 * most as f64 / unit as f64;
    let (frame, y) = Frame::new([30.0, 210.0], |page| Scale::new((0.0, most), page));
    let x = Scale::new((0.0, timeline.len() as f64), (frame.left, RIGHT));
    let height = |bytes: u64| y.at(bytes as f64 / unit as f64);
    frame.y_axis(&mut svg, &y, label);
    let mut path = format!("M{:.1} {:.1}", frame.left, frame.bottom);
    for (index, moment) in timeline.iter().enumerate() {
        // Writing to a `String` cannot fail.
        let _ = write!(
            path,
            "V{:.1}H{:.1}",
            height(moment.bytes),
            x.at(index as f64 + 1.0)
        );
    }
    let _ = write!(path, "V{:.1}Z", frame.bottom);
    svg.area(&path, Color::LIGHT_BLUE, "");
    svg.path(&path, Color::BLUE, "stroke-width=\"1.2\"");
    if let Some(path) = over(timeline, measured, &x, &height) {
        svg.path(&path, Color::ORANGE, "stroke-width=\"1.4\"");
    }
    phases(&mut svg, &frame, &x, timeline);
    for (index, (_, bytes)) in lines.iter().enumerate() {
        let at = height(*bytes);
        let dash = if index == 0 { "7 4" } else { "2 3" };
        let style = format!("stroke-width=\"1.6\" stroke-dasharray=\"{dash}\"");
        svg.line([frame.left, at, RIGHT, at], Color::RED, &style);
    }
    // Lines can be close, so their notes are over all of them, side by side.
    for (index, (said, bytes)) in lines.into_iter().enumerate() {
        let (x, anchor) = match index {
            0 => (frame.left + 6.0, Anchor::Start),
            1 => (RIGHT - 6.0, Anchor::End),
            _ => (f64::midpoint(frame.left, RIGHT), Anchor::Middle),
        };
        let font = Font::SMALL.at(anchor);
        svg.text_over(x, height(*bytes) - 6.0, font, said);
    }
    if timeline.len() <= MAX_HINTS {
        for (index, Moment { at, bytes, .. }) in timeline.iter().enumerate() {
            let (left, right) = (x.at(index as f64), x.at(index as f64 + 1.0));
            let area = [left, frame.top, right, frame.bottom];
            svg.hint(area, &format!("{at}\n{}", Bytes(*bytes)));
        }
    }
    Some(Figure {
        title: title.to_owned(),
        svg: svg.finish(),
        caption,
    })
}

/// Whether a measured step has the phases of the predicted one, so that it can be drawn over it.
pub(crate) fn has_phases_of(measured: &[Held], timeline: &[Moment]) -> bool {
    let measured = measured.chunk_by(|a, b| a.phase == b.phase);
    let predicted = timeline.chunk_by(|a, b| a.phase == b.phase);
    let measured = measured.map(|it| &it[0].phase);
    measured.eq(predicted.map(|it| &it[0].phase))
}

/// The line of a measured step. Its operations are not those that were predicted, but its phases are, and each gets
/// the same place.
fn over(
    timeline: &[Moment],
    measured: &[Held],
    x: &Scale,
    height: &dyn Fn(u64) -> f64,
) -> Option<String> {
    let predicted = timeline.chunk_by(|a, b| a.phase == b.phase);
    let found = measured.chunk_by(|a, b| a.phase == b.phase);
    let mut points = Vec::new();
    let mut from = 0.0;
    for (predicted, found) in predicted.zip(found) {
        let width = predicted.len() as f64 / found.len() as f64;
        for held in found {
            from += width;
            points.push(format!(
                "{:.1} {:.1}",
                x.at(from - width / 2.0),
                height(held.bytes)
            ));
        }
    }
    (!points.is_empty()).then(|| format!("M{}", points.join("L")))
}

fn phases(svg: &mut Svg, frame: &Frame, x: &Scale, timeline: &[Moment]) {
    let mut from = 0;
    for phase in timeline.chunk_by(|a, b| a.phase == b.phase) {
        let (left, right) = (x.at(from as f64), x.at((from + phase.len()) as f64));
        from += phase.len();
        let Some(Moment { phase: name, .. }) = phase.first() else {
            continue;
        };
        let top = frame.bottom + 6.0;
        svg.rect(
            [left + 0.5, top, right - 0.5, top + 20.0],
            Color::SHADE,
            name,
        );
        if right - left >= Font::SMALL.width(name) {
            let font = Font::SMALL.at(Anchor::Middle);
            svg.text(f64::midpoint(left, right), top + 14.5, font, name);
        }
    }
    let font = Font::SMALL.at(Anchor::End);
    svg.text(
        RIGHT,
        frame.bottom + 46.0,
        font,
        "operations of one step, in order",
    );
}
