//! Draws a benchmark as memory against speed, with the Pareto fronts.

use config::{Bytes, Precision};
use figures::numbers::{median, short};
use figures::scatter::{self, Better, Group, Mark, Scatter};
use figures::{Color, Language};

use crate::case::Implementation;
use crate::results::{Results, Row, Status};

/// The point of a recipe. All points are of the same work.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The implementation.
    pub implementation: Implementation,
    /// The precision.
    pub precision: Precision,
    /// The recipe, in a few words.
    pub label: String,
    /// The peak of tensor bytes.
    pub bytes: u64,
    /// Images per second.
    pub speed: f64,
}

/// One point for each recipe among the rows of the most common work. A recipe in several groups
/// gets the median of its speeds.
pub fn points(results: &Results) -> Vec<Point> {
    let ok: Vec<&Row> = results
        .rows
        .iter()
        .filter(|row| row.status == Status::Ok)
        .collect();
    let work = |row: &Row| (row.img_size, row.width, row.batch);
    let count = |key| ok.iter().filter(|row| work(row) == key).count();
    let Some(key) = ok.iter().map(|row| work(row)).max_by_key(|key| count(*key)) else {
        return Vec::new();
    };
    let mut points: Vec<(Point, Vec<f64>)> = Vec::new();
    for row in ok.into_iter().filter(|row| work(row) == key) {
        let (Some(bytes), Some(speed)) = (row.peak_allocated_bytes, row.images_per_second) else {
            continue;
        };
        let label = label(row);
        match points.iter_mut().find(|(point, _)| point.label == label) {
            Some((_, speeds)) => speeds.push(speed),
            None => points.push((
                Point {
                    implementation: row.implementation,
                    precision: row.precision,
                    label,
                    bytes,
                    speed,
                },
                vec![speed],
            )),
        }
    }
    points
        .into_iter()
        .map(|(point, speeds)| Point {
            speed: median(&speeds).unwrap_or(point.speed),
            ..point
        })
        .collect()
}

fn label(row: &Row) -> String {
    let recipe = row.recipe().replace(" channels-last", "");
    match row.implementation {
        Implementation::Snug => recipe,
        Implementation::SnugGraph => format!("{recipe} graph"),
        other => format!(
            "{} {}",
            other.name().trim_start_matches("pytorch-"),
            row.precision
        ),
    }
}

/// Draws the picture.
pub fn svg(results: &Results) -> String {
    let points = points(results);
    let (ours, theirs): (Vec<Point>, Vec<Point>) = points
        .iter()
        .cloned()
        .partition(|point| !point.implementation.is_pytorch());
    let mut groups = vec![Group {
        front: "Snug's front: no recipe is better in both".to_owned(),
        marks: Some("Snug".to_owned()),
        mark: Mark::Disc,
        points: ours.iter().map(place).collect(),
    }];
    if !theirs.is_empty() {
        groups.push(Group {
            front: "PyTorch's front".to_owned(),
            marks: Some("PyTorch".to_owned()),
            mark: Mark::Square,
            points: theirs.iter().map(place).collect(),
        });
    }
    let precisions = [
        Precision::Fp32,
        Precision::Tf32,
        Precision::Fp16,
        Precision::Bf16,
    ];
    let is_drawn = |it: &Precision| points.iter().any(|point| point.precision == *it);
    let precisions = precisions.into_iter().filter(is_drawn);
    let scatter = Scatter {
        title: title(&groups[0].points),
        subtitle: subtitle(results, &points),
        axis: "images per second".to_owned(),
        better: Better::More,
        colors: precisions
            .map(|it| (color(it), it.as_str().to_owned()))
            .collect(),
        groups,
        room_bytes: None,
    };
    scatter.to_svg(Language::English)
}

/// The two ends of Snug's front.
fn title(ours: &[scatter::Point]) -> String {
    let said = |point: &scatter::Point| {
        let label = point.label.as_deref().unwrap_or_default();
        let mib = short(Bytes(point.bytes).as_mib());
        format!("{label}, {mib} MiB at {} img/s", short(point.value))
    };
    match scatter::front(ours, Better::More).as_slice() {
        [smallest, .., fastest] => {
            format!("fastest: {}; smallest: {}", said(fastest), said(smallest))
        }
        [only] => format!("fastest and smallest: {}", said(only)),
        [] => "memory against speed of a training step".to_owned(),
    }
}

fn subtitle(results: &Results, points: &[Point]) -> String {
    let row = results.rows.iter().find(|row| {
        let bytes = row.peak_allocated_bytes;
        row.status == Status::Ok && points.iter().any(|point| Some(point.bytes) == bytes)
    });
    row.map_or_else(String::new, |row| {
        format!(
            "measured: a training step of a U-Net of width {}, {} images of {}, on {}, {}",
            row.width,
            row.batch,
            row.size(),
            results.device.name,
            results.date
        )
    })
}

const fn color(precision: Precision) -> Color {
    match precision {
        Precision::Fp32 => Color::BLUE,
        Precision::Tf32 => Color::GREEN,
        Precision::Fp16 => Color::ORANGE,
        Precision::Bf16 => Color::RED,
    }
}

fn place(point: &Point) -> scatter::Point {
    scatter::Point {
        hint: format!(
            "{} {}: {:.0} MiB, {:.2} img/s",
            point.implementation.name(),
            point.label,
            Bytes(point.bytes).as_mib(),
            point.speed
        ),
        label: Some(point.label.clone()),
        bytes: point.bytes,
        value: point.speed,
        color: color(point.precision),
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    use super::*;

    #[test]
    fn every_recipe_of_the_same_work_has_its_mark_and_name() {
        let results = fixture::results(64, 1.0);
        let points = points(&results);
        // A row in two groups becomes one point; a row that ran out of memory becomes none.
        assert_eq!(points.len(), 8);
        let drawn = svg(&results);
        // There are six points, two precisions in the legend, and the legend's mark for Snug.
        assert_eq!(drawn.matches("<circle ").count(), 6 + 2 + 1);
        for point in &points {
            assert!(
                drawn.contains(&format!(">{}</text>", point.label)),
                "{}",
                point.label
            );
        }
        assert!(!drawn.contains("NaN"));
        let nothing = Results {
            rows: Vec::new(),
            ..results
        };
        assert!(!svg(&nothing).contains("NaN"));
    }
}
