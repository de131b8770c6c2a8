//! Turns outlines into class masks. The rules differ between formats: each module here is one
//! program's rule, so that masks equal those of the format's own tools pixel by pixel.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "sides are at most `MAX_SIDE`, coordinates at most `MAX_COORDINATE`"
)]

mod canvas;
mod circle;
mod coco;
mod columns;
mod ellipse;
mod opencv;
mod pillow;
mod runs;
mod scan;
#[cfg(test)]
mod tests;
mod work;

use canvas::Canvas;
pub(super) use work::work;

use super::{AnnotatedImage, Label, Outline, Rule, Shape, Uncertain};

pub use crate::masks::IGNORE;

/// The mask of `image`, `[H, W]`: 0 is background, and class `c` has the value `c + 1`. Later
/// shapes cover earlier ones, and what lies outside the image is cut off.
/// [`read`](super::read) limits the work to a few seconds for any image.
pub fn rasterise(image: &AnnotatedImage, uncertain: Uncertain) -> Vec<u8> {
    paint(image, uncertain).0
}

/// The mask as of [`rasterise`], and how many pixels of shapes later ones of another value cover.
pub(crate) fn paint(image: &AnnotatedImage, uncertain: Uncertain) -> (Vec<u8>, usize) {
    let mut canvas = Canvas::new(image.size);
    for shape in &image.shapes {
        canvas.value = value(shape, uncertain);
        match &shape.outline {
            Outline::Polygons { rings, rule } => {
                let fill = match rule {
                    Rule::Coco => coco::fill,
                    Rule::Pillow => pillow::fill,
                    Rule::OpenCv => opencv::fill,
                };
                for ring in rings {
                    fill(ring, &mut canvas);
                }
            }
            Outline::Circle { bounds } => circle::fill(*bounds, &mut canvas),
            Outline::Ellipse(ellipse) => ellipse::fill(ellipse, &mut canvas),
            Outline::Runs(runs) => runs::fill(runs, &mut canvas),
        }
    }
    (canvas.pixels, canvas.covered)
}

fn value(shape: &Shape, uncertain: Uncertain) -> u8 {
    match (shape.label, uncertain) {
        (Label::Void, Uncertain::Ignore) => IGNORE,
        (Label::Class(_), Uncertain::Ignore) if shape.is_crowd => IGNORE,
        (Label::Class(class), _) => u8::try_from(class + 1).unwrap_or(IGNORE),
        (Label::Background | Label::Void, _) => 0,
    }
}
