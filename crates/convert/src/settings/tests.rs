use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// Everything that a person reads of a conversion.
fn rendered(converted: &[Converted]) -> String {
    let mut text = String::new();
    for it in converted {
        let toml = it.toml.strip_prefix("schema_version = 1\n").unwrap();
        let toml = toml.trim_end().replace('\n', "\n    ");
        writeln!(
            text,
            "line {}: {}\n    {toml}",
            it.line,
            it.command.join(" ")
        )
        .unwrap();
        for note in &it.notes {
            writeln!(text, "  {note}").unwrap();
        }
    }
    text
}

fn converted(text: &str, name: &str) -> String {
    rendered(&settings(text, name).unwrap())
}

fn refused(text: &str, name: &str) -> String {
    let error = settings(text, name).unwrap_err();
    format!("{error}\nhint: {}", error.hint().unwrap())
}

#[test]
fn the_guides_blocks() {
    insta::assert_snapshot!(converted(
        include_str!("fixtures/guide.md"),
        "docs/guide.md"
    ));
}

#[test]
fn a_whole_script() {
    insta::assert_snapshot!(converted(include_str!("fixtures/script.py"), "script.py"));
}

#[test]
fn command_lines() {
    let text = "# My runs\n\
                python train_unet_split.py --root \"D:\\my manga\" --batch 8 --epochs 100 --lr 1e-4 \\\n  \
                --run-name 007 --img-size 384 512 --no-amp --patience -1 -j 4 | tee log\n\
                py train_unet_split.py extra --root=pages --resume --dataset '' --device cuda:1 --channels-last off\n";
    insta::assert_snapshot!(converted(text, "runs.sh"));
}

#[test]
fn errors() {
    let cases = [
        ("x = 1\n", "empty.py"),
        ("---\n-- batch 8\npython other.py --verbose\n", "other.txt"),
        (
            "a = 1\nCFG = {\n  \"BATCH\": 8\n  \"LR\": 1e-4,\n}\n",
            "comma.py",
        ),
        ("a = 1\nCFG = {\n  \"BATCH\": 8,\n", "cut.py"),
        (
            "\nCFG = dict(classes=3, class_names=[\"paper\", \"ink\"])\n",
            "classes.py",
        ),
    ];
    let all = cases.map(|(text, name)| refused(text, name));
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn the_last_block_of_a_script_counts() {
    let text = "CFG = dict(batch=4, epochs=3)\nCFG = dict(batch=8)\n";
    let [only] = settings(text, "x.py").unwrap().try_into().unwrap();
    assert_eq!(only.toml, "schema_version = 1\nbatch = 8\n");
}

#[test]
fn settings_are_found_wherever_they_stand() {
    let texts = [
        "\u{feff}CFG = {\r\n  'batch': 8,\r\n}\r\n",
        "- as in\n\n  ```python\n  CFG = {\n    'batch': 8,\n  }\n  ```\n",
        "def main():\n    config = dict(batch=4)\n    config['batch'] = 8\n",
        "f(GradScaler(init_scale=2.0))\nCFG = {'batch': 8}",
        "def f():\n    config = {'retries': 3}\n\nCFG = {'batch': 8}\n",
        "!python3 a\\train.py --batch-size=8",
        "--batch 8",
    ];
    for text in texts {
        let [only] = settings(text, "-").unwrap().try_into().unwrap();
        assert!(only.toml.contains("batch = 8\n"), "{text}");
        assert_eq!(
            only.toml.contains("init_scale"),
            text.contains("init_scale")
        );
        assert_eq!(only.file, "converted.toml");
    }
}

#[test]
fn deep_nesting_and_many_statements_are_read() {
    let deep = "(".repeat(100_000);
    assert!(settings(&format!("CFG = {{'batch': {deep}"), "x.py").is_err());
    let closed = format!(
        "CFG = {{'epochs': 2, 'batch': {deep}1{}}}",
        ")".repeat(100_000)
    );
    let [only] = settings(&closed, "x.py").unwrap().try_into().unwrap();
    assert_eq!(only.toml, "schema_version = 1\nepochs = 2\n");
    let many = format!("CFG = {{}}\n{}", "CFG['batch'] = 8\n".repeat(2_000));
    assert_eq!(settings(&many, "x.py").unwrap().len(), 1);
}

#[test]
fn reading_the_settings_changes_nothing() {
    let read = "CFG = {'batch': 8}\nsteps = CFG['batch'] * 10\nCFG['batch'] and 1\nCFG['a']['b'] < 3\n\
                for x in CFG['list']:\n    y[CFG['batch']] = x\n";
    assert!(!converted(read, "x.py").contains("may change"));
    let changes = [
        "CFG['a']['b'] = 1",
        "CFG['a'].b += 1",
        "x, CFG['batch'] = 1, 2",
        "for CFG['batch'] in range(3): pass",
        "del CFG['a'], CFG['batch']",
    ];
    for change in changes {
        let said = converted(&format!("CFG = {{'batch': 8}}\n{change}\n"), "x.py");
        let note = format!("line 2: `{change}`: this may change the settings");
        assert!(said.contains(&note), "{said}");
    }
}

#[test]
fn what_a_page_leaves_out_is_noted() {
    let page = "```\nCFG = {'batch' 8}\n```\n```\nCFG = {\n  'batch': 8, ...\n}\n```\n```\n'epochs': 9,\n... the rest ...\n'lr': 1e-3, \u{2026}\n\
                ```\n```\nCFG = dict(classes=3, class_names=['ink', 'paper'])\n```\n";
    insta::assert_snapshot!(converted(page, "page.md"));
}

#[test]
fn a_file_has_a_name_that_is_no_flag() {
    let file = |name: &str| settings("--batch 8", name).unwrap()[0].file.clone();
    let files = ["--line", "a/-x.py", "-", ".py", "a-b.py"].map(file);
    let expected = ["line", "x", "converted", "converted", "a-b"];
    assert_eq!(files, expected.map(|it| format!("{it}.toml")));
}

/// The value of `literal` in a block.
fn value_of(literal: &str) -> Option<Value> {
    let block = python::read(&format!("CFG = {{'key': {literal}}}"))
        .unwrap()
        .unwrap();
    block.settings.into_iter().next().unwrap().value
}

#[test]
fn literals_as_python_reads_them() {
    // Values were compared with Python 3.11's `eval`; `None` is what is not read.
    let cases = [
        (
            r#"'D:\manga' "\x41\101\u0042" r'\n'"#,
            Some(Value::Str(r"D:\mangaAAB\n".to_owned())),
        ),
        ("'''a\\\nb'''", Some(Value::Str("ab".to_owned()))),
        ("Path('a') / 'b'", Some(Value::Str("a/b".to_owned()))),
        ("7 // 2", Some(Value::Int(3))),
        ("-7 // 2", None),
        ("-2 ** 2", Some(Value::Int(-4))),
        ("2 ** -1", Some(Value::Float(0.5))),
        ("6 / 3", Some(Value::Float(2.0))),
        ("(0b11 + 0o7) * 0xF", Some(Value::Int(150))),
        (
            "[1, # one\n 2,]",
            Some(Value::List(vec![Value::Int(1), Value::Int(2)])),
        ),
        ("1 / 0", None),
        ("1 // 0", None),
        ("2 ** 63", None),
        ("10 ** 400 * 1.0", None),
        ("f'{x}'", None),
        ("b'x'", None),
        ("not True", None),
        ("{'a': 1}", None),
    ];
    for (literal, expected) in cases {
        assert_eq!(value_of(literal), expected, "{literal}");
    }
}

/// A value as Python writes it.
fn python_text(value: &Value) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(it) => if *it { "True" } else { "False" }.to_owned(),
        Value::Int(it) => it.to_string(),
        Value::Float(it) => format!("{it:?}"),
        Value::Str(text) => {
            let escaped = |c: char| match c {
                '\'' | '\\' => format!("\\{c}"),
                c if c.is_control() || !c.is_ascii() => format!("\\U{:08x}", u32::from(c)),
                c => c.to_string(),
            };
            format!("'{}'", text.chars().map(escaped).collect::<String>())
        }
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(python_text).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        // The digits of the smallest number are too large for a positive one.
        (-i64::MAX..=i64::MAX).prop_map(Value::Int),
        proptest::num::f64::NORMAL.prop_map(Value::Float),
        any::<String>().prop_map(Value::Str),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        proptest::collection::vec(inner, 0..4).prop_map(Value::List)
    })
}

proptest! {
    #[test]
    fn literals_round_trip(value in any_value()) {
        prop_assert_eq!(value_of(&python_text(&value)), Some(value));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String, name in "[a-z/]{0,3}(\\.py|\\.md|\\.sh|)") {
        drop(settings(&text, &name));
    }

    #[test]
    fn any_script_is_read_or_refused(words in proptest::collection::vec(
        prop_oneof![
            "CFG|batch|=|\\||\\[|\\]|\\{|\\}|\\(|\\)|\"|'|:|,|\n|\n    |\\\\|-|\\*\\*|//|%|#|```\n|~~~",
            "[0-9]{1,20}|0x[0-9a-f]|1e-?[0-9]{1,3}|True|None|[rbfu]\"x\"|dict|update|del |if |--batch|x\\.py| ",
        ],
        0..40,
    )) {
        for name in ["x.py", "x.md", "x"] {
            for converted in settings(&words.concat(), name).unwrap_or_default() {
                prop_assert!(config::Overrides::from_toml(&converted.toml).is_ok());
            }
        }
    }
}
