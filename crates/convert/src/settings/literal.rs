//! Values of Python literals, read from the syntax tree: what a script computes while it runs has none here.

use std::fmt;

use tree_sitter::Node;

/// Deeper values are not read, so that the recursion is bounded.
const MAX_DEPTH: usize = 64;

/// A value that a script writes out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Self>),
}

impl Value {
    /// The same value in TOML, which has no `None`.
    pub(super) fn to_toml(&self) -> Option<toml::Value> {
        Some(match self {
            Self::None => return None,
            Self::Bool(it) => toml::Value::Boolean(*it),
            Self::Int(it) => toml::Value::Integer(*it),
            Self::Float(it) => toml::Value::Float(*it),
            Self::Str(it) => toml::Value::String(it.clone()),
            Self::List(items) => {
                toml::Value::Array(items.iter().map(Self::to_toml).collect::<Option<_>>()?)
            }
        })
    }
}

impl fmt::Display for Value {
    /// As a word of a command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            other => match other.to_toml() {
                Some(toml) => write!(f, "{toml}"),
                None => f.write_str("none"),
            },
        }
    }
}

/// The value of an expression; `None` if the script computes it.
pub(super) fn value(node: Node<'_>, source: &str) -> Option<Value> {
    nested(node, source, 0)
}

/// The children that are not comments; what is not Python is among them.
pub(super) fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    let named = node.named_children(&mut cursor);
    named
        .filter(|child| child.is_error() || !child.is_extra())
        .collect()
}

pub(super) fn text<'a>(node: Node<'_>, source: &'a str) -> &'a str {
    source.get(node.byte_range()).unwrap_or_default()
}

fn nested(node: Node<'_>, source: &str, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH || node.has_error() {
        return None;
    }
    let inner = |node| nested(node, source, depth + 1);
    let written = text(node, source);
    match node.kind() {
        "none" => Some(Value::None),
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "integer" => integer(written),
        "float" => written.replace('_', "").parse().ok().map(Value::Float),
        "string" => string(written).map(Value::Str),
        "concatenated_string" => children(node)
            .into_iter()
            .map(|part| string(text(part, source)))
            .collect::<Option<String>>()
            .map(Value::Str),
        "tuple" | "list" => {
            let items = children(node).into_iter().map(inner);
            items.collect::<Option<_>>().map(Value::List)
        }
        "parenthesized_expression" => inner(*children(node).first()?),
        "unary_operator" => {
            let operand = inner(node.child_by_field_name("argument")?)?;
            match (node.child(0)?.kind(), operand) {
                ("-", Value::Int(it)) => it.checked_neg().map(Value::Int),
                ("-", Value::Float(it)) => Some(Value::Float(-it)),
                ("+", it @ (Value::Int(_) | Value::Float(_))) => Some(it),
                _ => None,
            }
        }
        "binary_operator" => {
            let operator = node.child_by_field_name("operator")?.kind();
            let left = inner(node.child_by_field_name("left")?)?;
            arithmetic(&left, operator, &inner(node.child_by_field_name("right")?)?)
        }
        // `torch.float16` is a name that means itself.
        "attribute" => written
            .starts_with("torch.")
            .then(|| Value::Str(written.to_owned())),
        "call" => {
            let function = text(node.child_by_field_name("function")?, source);
            let arguments = children(node.child_by_field_name("arguments")?);
            match (function, arguments.as_slice()) {
                ("Path" | "pathlib.Path" | "str", [path]) => {
                    inner(*path).filter(|it| matches!(it, Value::Str(_)))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn integer(written: &str) -> Option<Value> {
    let digits = written.replace('_', "").to_lowercase();
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (digits.as_str(), 10),
    };
    i64::from_str_radix(digits, radix).ok().map(Value::Int)
}

fn arithmetic(left: &Value, operator: &str, right: &Value) -> Option<Value> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => whole(*left, operator, *right),
        (Value::Str(left), Value::Str(right)) => match operator {
            "+" => Some(Value::Str(format!("{left}{right}"))),
            // Paths of `pathlib`.
            "/" => Some(Value::Str(format!("{left}/{right}"))),
            _ => None,
        },
        _ => real(number(left)?, operator, number(right)?).map(Value::Float),
    }
}

fn whole(left: i64, operator: &str, right: i64) -> Option<Value> {
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "//" if left >= 0 && right > 0 => left.checked_div(right),
        "**" if right >= 0 => left.checked_pow(u32::try_from(right).ok()?),
        _ => return real(left as f64, operator, right as f64).map(Value::Float),
    };
    result.map(Value::Int)
}

fn real(left: f64, operator: &str, right: f64) -> Option<f64> {
    let result = match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "**" => left.powf(right),
        _ => return None,
    };
    // Python raises an error instead.
    result.is_finite().then_some(result)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(it) => Some(*it as f64),
        Value::Float(it) => Some(*it),
        _ => None,
    }
}

/// The text of a string literal; `None` for bytes and for text that a script fills in.
fn string(written: &str) -> Option<String> {
    let start = written.find(['"', '\''])?;
    let (prefix, quoted) = written.split_at(start);
    let prefix = prefix.to_lowercase();
    let is_filled = prefix.contains(['f', 't']) && quoted.contains(['{', '}']);
    if prefix.contains('b') || is_filled {
        return None;
    }
    let long = quoted.get(..3).filter(|it| matches!(*it, "\"\"\"" | "'''"));
    let quote = long.or(quoted.get(..1))?;
    let content = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    if prefix.contains('r') {
        Some(content.to_owned())
    } else {
        unescaped(content)
    }
}

fn unescaped(content: &str) -> Option<String> {
    let mut result = String::new();
    let mut rest = content;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let escape = after.chars().next()?;
        let (meant, len) = match escape {
            '\n' => (None, 1),
            '\\' | '\'' | '"' => (Some(escape), 1),
            'n' => (Some('\n'), 1),
            't' => (Some('\t'), 1),
            'r' => (Some('\r'), 1),
            'a' => (Some('\u{7}'), 1),
            'b' => (Some('\u{8}'), 1),
            'f' => (Some('\u{c}'), 1),
            'v' => (Some('\u{b}'), 1),
            'x' => (Some(coded(after.get(1..3)?, 16)?), 3),
            'u' => (Some(coded(after.get(1..5)?, 16)?), 5),
            'U' => (Some(coded(after.get(1..9)?, 16)?), 9),
            'N' => return None,
            '0'..='7' => {
                let digits = after.bytes().take(3);
                let len = digits.take_while(|it| matches!(it, b'0'..=b'7')).count();
                (Some(coded(after.get(..len)?, 8)?), len)
            }
            // Python keeps the backslash of an escape that it does not know, as in `D:\manga`.
            _ => (Some('\\'), 0),
        };
        result.extend(meant);
        rest = after.get(len..)?;
    }
    result.push_str(rest);
    Some(result)
}

fn coded(digits: &str, radix: u32) -> Option<char> {
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}
