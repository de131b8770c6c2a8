//! How well 1 to 64 GPUs train together, over every link that has a name.

use std::fmt::Write as _;

use config::Bytes;
use estimator::Link;
use figures::Table;
use figures::numbers::short;
use machine::{Device, Hardware};
use serde_json::{Value, json};

use crate::fit::Fit;
use crate::ranks::{Gpus, Speeds, advise_together};
use crate::recommend::AdviceError;
use crate::report::describe;
use crate::request::Request;
use crate::target::Target;

/// The numbers of GPUs.
const NUMS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];
/// The most GPUs of one machine.
const PER_MACHINE: u32 = 8;
/// The cards of the page.
const CARDS: [&str; 5] = [
    "RTX 3060",
    "RTX 4090",
    "Tesla T4",
    "A100-SXM4-80GB",
    "H100 80GB HBM3",
];

/// How links are used.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Inside one machine.
    Inside,
    /// Between machines that have one GPU each.
    Single,
    /// Between machines of [`PER_MACHINE`] GPUs, which the card's own link connects.
    Full,
}

impl Place {
    const fn words(self) -> &'static str {
        match self {
            Self::Inside => "in one machine",
            Self::Single => "1 GPU in each machine",
            Self::Full => "8 GPUs in each machine",
        }
    }

    fn gpus(self, num: u32, link: Link) -> Option<Gpus> {
        let (is_possible, per_machine) = match self {
            Self::Inside => (num <= PER_MACHINE, PER_MACHINE),
            Self::Single => (true, 1),
            Self::Full => (num > PER_MACHINE, PER_MACHINE),
        };
        let links = vec![link];
        is_possible.then_some(Gpus {
            num,
            per_machine: Some(per_machine),
            links,
        })
    }
}

/// The efficiencies of one card.
#[derive(Clone, Debug)]
pub struct Scale {
    /// What one of two GPUs runs.
    recipe: Option<Fit>,
    rows: Vec<(Link, Place, Vec<Option<Speeds>>)>,
}

impl Scale {
    /// Predicts the speeds of the recommended recipe.
    ///
    /// # Errors
    /// As [`advise_together`].
    pub fn of(device: &Device, target: &Target) -> Result<Self, AdviceError> {
        let request = Request::default();
        let mut recipes = Vec::new();
        for num in NUMS {
            let gpus = Gpus {
                num,
                per_machine: Some(1),
                links: Vec::new(),
            };
            let (advice, _) = advise_together(device, target, &request, &gpus)?;
            recipes.push(advice.recommended);
        }
        let mut rows = Vec::new();
        for place in [Place::Inside, Place::Single, Place::Full] {
            let links = Link::named()
                .iter()
                .filter(|link| link.is_network != (place == Place::Inside));
            for link in links {
                let mut row = Vec::new();
                for (num, fit) in NUMS.into_iter().zip(&recipes) {
                    row.push(match (place.gpus(num, *link), fit) {
                        (Some(gpus), Some(fit)) => {
                            let together = gpus.together(device, &fit.config)?;
                            Some(together.speeds(&fit.config, &fit.prediction))
                        }
                        _ => None,
                    });
                }
                rows.push((*link, place, row));
            }
        }
        Ok(Self {
            recipe: recipes.swap_remove(1),
            rows,
        })
    }

    /// The table, with a cell at the `end` of each row if there is one.
    fn table(&self, end: Option<&str>) -> Table {
        let nums = NUMS.map(|num| num.to_string());
        let heading = ["link".to_owned(), "used".to_owned()]
            .into_iter()
            .chain(nums);
        let heading: Vec<String> = heading.chain(end.map(str::to_owned)).collect();
        let mut table = Table::new(&heading);
        for (link, place, row) in &self.rows {
            let cells = row.iter().map(|cell| match cell {
                Some(it) => format!(
                    "{:.0}/{:.0}",
                    100.0 * it.efficiency,
                    100.0 * it.overlapped_efficiency
                ),
                None => "-".to_owned(),
            });
            let name = [link.to_string(), place.words().to_owned()];
            table.row(name.into_iter().chain(cells).chain(end.map(str::to_owned)));
        }
        table
    }

    /// What each GPU runs.
    fn recipe(&self, target: &Target) -> String {
        let Some(fit) = &self.recipe else {
            return "nothing fits".to_owned();
        };
        let (config, prediction) = (&fit.config, &fit.prediction);
        let policy = format!("policy {}", config.checkpointing());
        let step = format!(
            "{}, {}, {policy}",
            config.workload(),
            target.precision(config)
        );
        format!(
            "each GPU, {} ms a step: {step}",
            short(1e3 * prediction.step_seconds)
        )
    }

    /// The table for a terminal.
    pub fn to_text(&self, device: &Device, target: &Target) -> String {
        let mut text = String::new();
        for line in describe(device, target)
            .into_iter()
            .chain([self.recipe(target), String::new()])
        {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text.push_str(
            "efficiency in % of 1 to 64 GPUs, without overlap/at most with full overlap:\n\n",
        );
        // The last column is aligned as words are.
        text.push_str(&self.table(Some("")).to_text(2));
        text.push('\n');
        for line in assumptions(device) {
            let _ = writeln!(text, "assumed: {line}");
        }
        text
    }

    /// The object that `advisor scale --json` prints, schema 1.
    pub fn to_json(&self, device: &Device, target: &Target) -> Value {
        let mut rows = Vec::new();
        for (link, place, row) in &self.rows {
            for (num, speeds) in NUMS.into_iter().zip(row) {
                let Some(speeds) = speeds else { continue };
                let images = target.speed_is_known().then_some(speeds.images_per_second);
                rows.push(json!({
                    "link": link.name,
                    "bytes_per_second": link.bytes_per_second,
                    "place": place.words(),
                    "gpus": num,
                    "images_per_second": images,
                    "efficiency": speeds.efficiency,
                    "efficiency_with_full_overlap": speeds.overlapped_efficiency,
                }));
            }
        }
        json!({
            "schema_version": 1,
            "device": crate::json::describe(device, target),
            "assumptions": assumptions(device),
            "rows": rows,
        })
    }
}

/// What the figures of every card rest on, as sentences without a period.
const ASSUMPTIONS: [&str; 4] = [
    "times of steps are predicted, and nothing was measured on several GPUs",
    "a ring reaches the bandwidth that is shown: others measured it on nvlink4, nvlink3 and pcie5",
    "a network reaches 90 % of its line rate",
    "no GPU waits for its images",
];

/// What the figures of machines with several GPUs rest on.
fn machines_of(device: &Device) -> String {
    let inside = Link::of_card(device.name().as_deref());
    format!(
        "in machines of 8 GPUs, {inside} connects the GPUs, and each machine has one network link"
    )
}

fn assumptions(device: &Device) -> Vec<String> {
    let all = ASSUMPTIONS.map(str::to_owned);
    all.into_iter().chain([machines_of(device)]).collect()
}

/// The page of the documentation, in Markdown, for several cards.
///
/// # Errors
/// As [`Scale::of`].
pub fn page() -> Result<String, AdviceError> {
    let mut text = "# Predicted efficiency of several GPUs\n\n\
        Made by `cargo xtask bench --refresh`: do not edit. Not a measurement: `advisor scale --gpu NAME` predicts it.\n\n\
        Efficiency is the speed of all GPUs as a share of what as many single ones reach together: in %, without overlap of\n\
        backward and communication (`--reduce after`) and, after the slash, at most with full overlap. The link of a row\n\
        connects the GPUs of one machine, or machines that have one or eight GPUs each. All of it is assumed:\n\n"
        .to_owned();
    for line in ASSUMPTIONS {
        let _ = writeln!(text, "- {line}");
    }
    for card in CARDS.iter().filter_map(|name| Hardware::lookup(name)) {
        let memory: Bytes = card.memory;
        let device = Device::Given {
            memory,
            card: Some(card),
        };
        let target = Target::of(&device);
        let scale = Scale::of(&device, &target)?;
        let _ = writeln!(text, "\n## {}\n", card.name);
        let (recipe, machines) = (scale.recipe(&target), machines_of(&device));
        let _ = writeln!(text, "{recipe};\n{machines}.\n");
        text.push_str(&scale.table(None).to_markdown());
    }
    Ok(text)
}
