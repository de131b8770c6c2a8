//! The two pages: what is on them. The templates say where.

mod compare;
mod cost;
mod curves;
mod events;
mod first;
mod language;
mod quality;

use std::time::Duration;

use config::Bytes;
use figures::numbers;
use locale::Language;
use minijinja::value::Serde;
use minijinja::{Environment, HtmlEscape, UndefinedBehavior};
use serde_json::{Value, json};

use crate::Run;
pub(crate) use compare::comparison;

const TEMPLATES: [(&str, &str); 5] = [
    ("base.html", include_str!("../../templates/base.html")),
    ("parts.html", include_str!("../../templates/parts.html")),
    ("run.html", include_str!("../../templates/run.html")),
    ("compare.html", include_str!("../../templates/compare.html")),
    ("style.css", include_str!("../../templates/style.css")),
];

/// What begins a name that a user gave.
const NAME: &str = "<span translate=\"no\">";

/// Everything on the page of a run.
pub(crate) fn contents(run: &Run) -> Value {
    let report = &run.report;
    let (changed, kept): (Vec<_>, Vec<_>) = report
        .settings
        .iter()
        .partition(|it| it.by != "default" || it.from.is_some() || it.why.is_some());
    json!({
        "title": run.title(),
        "name": run.name,
        "is_reported": report.schema_version > 0,
        "outcome": first::outcome(run),
        "what": first::what(run),
        "data": first::data(run),
        "scores": first::scores(run),
        "facts": first::facts(run),
        "curves": curves::of_run(run),
        "quality": quality::figures(run),
        "confusion": quality::confusion(run),
        "classes": quality::classes(run),
        "pictures": run.pictures,
        "is_binary": run.is_binary(),
        "legend": quality::legend(run),
        "memory": cost::memory(run),
        "time": cost::time(run),
        "changed": changed,
        "kept": kept,
        "config": run.config,
        "events": events::in_words(run),
        "environment": report.environment,
        "usage": report.r#use,
    })
}

/// Renders a template in `language`.
///
/// # Panics
/// Never with the templates of this crate: they are compiled in, each of their variables is in the contents,
/// and the tests render all of them.
pub(crate) fn rendered(template: &str, contents: &Value, language: Language) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("bytes", |it: Option<u64>| said(it.map(Bytes)));
    environment.add_filter("score", |it: Option<f64>| said(it.map(score)));
    environment.add_filter("percent", |it: Option<f64>| said(it.map(numbers::percent)));
    environment.add_filter("code", move |it: &str| {
        with_quoted(&language.say(it), ["<code>", "</code>"])
    });
    environment.add_filter("names", move |it: &str| {
        with_quoted(&language.say(it), [NAME, "</span>"])
    });
    environment.add_filter("count", |it: Option<u64>| said(it.map(count)));
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the templates are part of the program");
    }
    let page = environment
        .get_template(template)
        .and_then(|it| it.render(Serde(contents)))
        .expect("every variable of a template is in its contents");
    language::translated(&page, language)
}

/// A dash stands for what is not known.
fn said(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |it| it.to_string())
}

/// A score with three digits.
fn score(value: f64) -> String {
    format!("{value:.3}")
}

/// A whole number with a comma after each thousand.
fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time, to the second.
fn duration(seconds: f64) -> String {
    numbers::duration(Duration::try_from_secs_f64(seconds.round()).unwrap_or_default())
}

/// A measured number of bytes beside a predicted one.
fn against(measured: u64, predicted: u64) -> String {
    let percent = 100.0 * (measured as f64 / predicted.max(1) as f64 - 1.0);
    let predicted = Bytes(predicted);
    if percent.abs() < 0.05 {
        format!("as predicted ({predicted})")
    } else if percent < 0.0 {
        format!("{:.1} % below the predicted {predicted}", percent.abs())
    } else {
        format!("{percent:.1} % above the predicted {predicted}")
    }
}

/// A number of things, in words.
fn plural(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A fragment as a sentence.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let first = letters.next().map(char::to_uppercase);
    let rest = letters.as_str().trim_end_matches('.');
    let start: String = first.into_iter().flatten().collect();
    format!("{start}{rest}.")
}

/// A name that a user gave, in a text that is going to be translated: it stays. On the page, [`NAME`] or a drawing takes
/// the place of the quotes.
pub(crate) fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

/// Text whose parts between backticks are elements.
fn with_quoted(text: &str, [open, close]: [&str; 2]) -> minijinja::Value {
    let escaped = HtmlEscape(text).to_string();
    let mut html = String::new();
    for (index, part) in escaped.split('`').enumerate() {
        html += match index {
            0 => "",
            _ if index % 2 == 1 => open,
            _ => close,
        };
        html += part;
    }
    if escaped.matches('`').count() % 2 == 1 {
        html += close;
    }
    minijinja::Value::from_safe_string(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [999, 1000, 1_234_567].map(count),
            ["999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [f64::NAN, -1.0, 2.6, 150.0].map(duration),
            ["0s", "0s", "3s", "2m30s"]
        );
        assert_eq!(against(103, 100), "3.0 % above the predicted 100 B");
    }
}
