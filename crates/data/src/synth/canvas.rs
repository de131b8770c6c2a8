//! The canvas of a page: tiny-skia, in units of the page's shorter side.

use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Mask, Paint, Path,
    PathBuilder, Pixmap, Point, Rect, SpreadMode, Stroke, Transform,
};

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

/// Almost black, for lines.
pub(super) const INK: Rgb = [16, 14, 18];
pub(super) const WHITE: Rgb = [255, 255, 255];

/// A page and its mask while they are drawn.
pub(super) struct Canvas {
    pixmap: Pixmap,
    mask: Mask,
    clip: Option<Mask>,
    units: Transform,
    size: (f32, f32),
}

impl Canvas {
    /// # Panics
    /// If a side is 0 or too large for tiny-skia.
    pub(super) fn new(height: u32, width: u32) -> Self {
        let made = Pixmap::new(width, height).zip(Mask::new(width, height));
        let Some((pixmap, mask)) = made else {
            unreachable!("callers check the size of a page");
        };
        let unit = height.min(width) as f32;
        Self {
            pixmap,
            mask,
            clip: None,
            units: Transform::from_scale(unit, unit),
            size: (width as f32 / unit, height as f32 / unit),
        }
    }

    /// The size (across, down) in units; the shorter side is 1.
    pub(super) fn size(&self) -> (f32, f32) {
        self.size
    }

    pub(super) fn clear(&mut self, colour: Rgb) {
        self.pixmap.fill(opaque(colour));
    }

    /// Paints only inside `path` until [`Self::unclip`].
    pub(super) fn clip(&mut self, path: &Path) {
        let mut clip = Mask::new(self.pixmap.width(), self.pixmap.height());
        if let Some(clip) = &mut clip {
            clip.fill_path(path, FillRule::Winding, true, self.units);
        }
        self.clip = clip;
    }

    pub(super) fn unclip(&mut self) {
        self.clip = None;
    }

    pub(super) fn fill(&mut self, path: &Path, colour: Rgb) {
        self.pixmap.fill_path(
            path,
            &ink(colour),
            FillRule::Winding,
            self.units,
            self.clip.as_ref(),
        );
    }

    /// Fills with a gradient from `top` to `bottom` between two points.
    pub(super) fn fill_gradient(&mut self, path: &Path, ends: [Point; 2], colours: [Rgb; 2]) {
        let stops = vec![
            GradientStop::new(0.0, opaque(colours[0])),
            GradientStop::new(1.0, opaque(colours[1])),
        ];
        let shader = LinearGradient::new(
            ends[0],
            ends[1],
            stops,
            SpreadMode::Pad,
            Transform::identity(),
        );
        let Some(shader) = shader else {
            return self.fill(path, colours[0]);
        };
        let paint = Paint {
            shader,
            anti_alias: true,
            ..Paint::default()
        };
        self.pixmap.fill_path(
            path,
            &paint,
            FillRule::Winding,
            self.units,
            self.clip.as_ref(),
        );
    }

    /// Draws rounded lines, `width` units wide.
    pub(super) fn stroke(&mut self, path: &Path, colour: Rgb, width: f32) {
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        self.pixmap
            .stroke_path(path, &ink(colour), &stroke, self.units, self.clip.as_ref());
    }

    pub(super) fn fill_and_stroke(&mut self, path: &Path, colour: Rgb, width: f32) {
        self.fill(path, colour);
        self.stroke(path, INK, width);
    }

    /// Marks `path` as foreground, without partial pixels.
    pub(super) fn mark(&mut self, path: &Path) {
        self.mask
            .fill_path(path, FillRule::Winding, false, self.units);
    }

    /// The image `[H, W, 3]` and the mask `[H, W]`.
    pub(super) fn into_bytes(self) -> (Vec<u8>, Vec<u8>) {
        // Every pixel is opaque, so premultiplied and plain colours are equal.
        let (pixels, _) = self.pixmap.data().as_chunks::<4>();
        let image = pixels
            .iter()
            .flat_map(|&[red, green, blue, _]| [red, green, blue])
            .collect();
        let mask = self
            .mask
            .data()
            .iter()
            .map(|&value| u8::from(value > 127))
            .collect();
        (image, mask)
    }
}

fn opaque([red, green, blue]: Rgb) -> Color {
    Color::from_rgba8(red, green, blue, 255)
}

fn ink(colour: Rgb) -> Paint<'static> {
    let mut paint = Paint {
        anti_alias: true,
        ..Paint::default()
    };
    paint.set_color(opaque(colour));
    paint
}

/// A closed polygon, if its points enclose an area.
pub(super) fn polygon(points: &[(f32, f32)]) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    path.close();
    path.finish()
}

/// An ellipse about (`x`, `y`).
pub(super) fn ellipse(x: f32, y: f32, rx: f32, ry: f32) -> Option<Path> {
    PathBuilder::from_oval(Rect::from_ltrb(x - rx, y - ry, x + rx, y + ry)?)
}

/// An upright rectangle.
pub(super) fn rectangle(left: f32, top: f32, right: f32, bottom: f32) -> Option<Path> {
    Some(PathBuilder::from_rect(Rect::from_ltrb(
        left, top, right, bottom,
    )?))
}

/// Separate lines, as one path.
pub(super) fn lines(lines: impl IntoIterator<Item = [(f32, f32); 2]>) -> Option<Path> {
    let mut path = PathBuilder::new();
    for [(x0, y0), (x1, y1)] in lines {
        path.move_to(x0, y0);
        path.line_to(x1, y1);
    }
    path.finish()
}
