//! The pages in Japanese: no English is left on them, and what users named keeps its name.

use std::fs;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Value, json};

use super::fixture::{Folder, complete, config, interrupted, report, rows, summary};
use super::{run, text};
use crate::{compare, render};
use locale::Language;

/// Elements of code and of style.
const VERBATIM: [&str; 3] = ["code", "pre", "style"];
/// Attributes that are read to people.
const READ_OUT: [&str; 3] = ["alt", "aria-label", "title"];

/// The texts of a page that are no code and no names, and its attributes that are read to people.
fn listed(page: &str) -> Vec<String> {
    let mut reader = Reader::from_str(page);
    let mut open: Vec<bool> = Vec::new();
    let (mut texts, mut text) = (Vec::new(), String::new());
    loop {
        let event = reader.read_event().unwrap();
        let stays = open.last().is_some_and(|it| *it);
        match event {
            Event::Text(it) if !stays => text += &it,
            Event::GeneralRef(it) if !stays => text.extend(["&", &it, ";"]),
            Event::Start(tag) => {
                texts.push(std::mem::take(&mut text));
                let stays = stays || is_verbatim(&tag);
                read_out(&tag, stays, &mut texts);
                open.push(stays);
            }
            Event::Empty(tag) => {
                texts.push(std::mem::take(&mut text));
                read_out(&tag, stays || is_verbatim(&tag), &mut texts);
            }
            Event::End(_) => {
                texts.push(std::mem::take(&mut text));
                open.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let texts = texts
        .iter()
        .map(|it| unescape(it).unwrap().trim().to_owned());
    texts.filter(|it| !it.is_empty()).collect()
}

fn is_verbatim(tag: &BytesStart<'_>) -> bool {
    let is_name = |name: &str, value: &str| name == "translate" && value == "no";
    VERBATIM.contains(&tag.name().0)
        || tag
            .attributes()
            .flatten()
            .any(|it| is_name(it.key.0, &it.value))
}

fn read_out(tag: &BytesStart<'_>, stays: bool, texts: &mut Vec<String>) {
    let read = tag
        .attributes()
        .flatten()
        .filter(|it| !stays && READ_OUT.contains(&it.key.0));
    texts.extend(read.map(|it| it.value.clone().into_owned()));
}

/// Whether two English words or more are in a text.
fn is_english(text: &str) -> bool {
    let words =
        text.split(|it: char| it.is_whitespace() || ",.:;()".contains(it) || !it.is_ascii());
    let words = words.filter(|it| it.len() > 1 && it.bytes().all(|it| it.is_ascii_lowercase()));
    words.count() > 1
}

fn japanese(folder: &Folder) -> String {
    render(&run(folder), Language::Japanese)
}

/// Changes of the recipe, in the words of the ladder.
fn rungs() -> Vec<Value> {
    let rungs = [
        ("out of memory", "images at a time 8", "images at a time 4"),
        (
            "the memory of the GPU is nearly full, 1.2 GiB more than the guard allows",
            "checkpointing off",
            "checkpointing mixed",
        ),
        (
            "gradients overflow step after step, at a scale of 65536",
            "scale 65536",
            "scale 1024",
        ),
        (
            "gradients are not finite, step after step",
            "AMP fp16",
            "AMP off",
        ),
        ("the loss is not finite", "AMP fp16", "AMP bf16"),
        (
            "7 % of a step's time is not needed",
            "channels-last on",
            "channels-last off",
        ),
        (
            "a step cannot be recorded as a CUDA graph",
            "step failed",
            "step retried",
        ),
    ];
    let event = |(failure, from, to): (&str, &str, &str)| {
        let change = json!({"step": 12, "failure": failure, "from": from, "to": to});
        json!({"event": "fallback", "fallback": change, "bit_exact": false})
    };
    rungs.map(event).to_vec()
}

#[test]
fn one_class() {
    insta::assert_snapshot!("one_class_in_japanese", text::of(&japanese(&complete(1))));
}

#[test]
fn no_english_is_left() {
    let mut pages = vec![
        japanese(&complete(1)),
        japanese(&complete(5)),
        japanese(&interrupted()),
        japanese(&Folder::new("killed").with_lines("metrics.jsonl", &rows(3))),
        compare(
            &[complete(1), complete(5), interrupted()].map(|it| run(&it)),
            Language::Japanese,
        ),
    ];
    for status in ["early-stopped", "stopped", "emergency-stop", "failed", ""] {
        let finished = json!({"event": "finished", "status": status});
        let folder = complete(1).with_lines("events.jsonl", &[finished]);
        let folder = folder.with("summary.json", &summary(status, 1));
        pages.push(japanese(&folder));
        fs::remove_file(folder.path.join("last/snapshot.safetensors")).unwrap();
        pages.push(japanese(&folder));
    }
    let changes: [fn(&mut Value); 6] = [
        |it| it["memory"]["measured"] = Value::Null,
        |it| it["memory"]["predicted"]["peak_bytes"] = (140 << 20).into(),
        |it| it["memory"]["predicted"]["peak_bytes"] = (133 << 20).into(),
        |it| it["time"] = json!({"seconds": 100.0}),
        |it| it["thresholds"] = Value::Null,
        |it| it["images"]["scores"] = json!([{"iou": 0.3}]),
    ];
    for change in changes {
        let mut report = report(1);
        change(&mut report);
        let folder = complete(1).with("report.json", &report);
        pages.push(japanese(&folder.with_lines("metrics.jsonl", &rows(2))));
    }
    pages.push(japanese(&complete(1).with_lines("events.jsonl", &rungs())));
    for page in pages {
        let texts = listed(&page);
        let left: Vec<_> = texts.iter().filter(|it| is_english(it)).collect();
        assert!(left.is_empty(), "not Japanese: {left:#?}");
        assert!(!texts.iter().any(|it| it.contains('`')));
    }
}

#[test]
fn what_users_named_stays() {
    let mut report = report(1);
    report["title"] = "training loss".into();
    report["data"]["class_names"] = json!(["background", "image"]);
    report["images"]["shown"][0]["name"] = "validation images & masks".into();
    let folder = Folder::new("learning rate")
        .with("summary.json", &summary("completed", 1))
        .with("config.toml", &config(1).replace("auto", "default"))
        .with("report.json", &report)
        .with_lines("metrics.jsonl", &rows(4))
        .with_pictures();
    let page = japanese(&folder);
    for kept in [
        "<title translate=\"no\">training loss</title>",
        "<span translate=\"no\">training loss</span>",
        "<code>learning rate</code>",
        "1クラス（<span translate=\"no\">image</span>）",
        "<th scope=\"row\"><span translate=\"no\">image</span></th>",
        "<small translate=\"no\">validation images &amp; masks</small>",
        "alt=\"validation images &amp; masksの画像\"",
        // The name of the background is ours.
        "<th scope=\"row\">背景</th>",
    ] {
        assert!(page.contains(kept), "{kept}");
    }
    let run = run(&folder);
    let page = compare(&[run.clone(), run], Language::Japanese);
    for kept in [
        ">learning rate</text>",
        ">learning rate (2)</text>",
        "学習損失。learning rate: 1で",
        "最高値: <span translate=\"no\">learning rate</span> 0.800",
    ] {
        assert!(page.contains(kept), "{kept}");
    }
}
