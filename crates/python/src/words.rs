//! The words of Python for what the program says: arguments instead of flags.

/// How a function calls what the program calls otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words(pub(crate) &'static [(&'static str, &'static str)]);

impl Words {
    /// The text with its flags as arguments: `--gpu RTX 30` becomes `gpu="RTX 30"`.
    pub(crate) fn of_python(self, text: &str) -> String {
        // Every second piece stands in backticks.
        let pieces = text.split('`').enumerate().map(|(number, piece)| {
            if number % 2 == 0 {
                piece.to_owned()
            } else {
                self.argument(piece)
            }
        });
        pieces.collect::<Vec<_>>().join("`")
    }

    fn argument(self, code: &str) -> String {
        let Some(flag) = code.strip_prefix("--") else {
            return self.name(code).to_owned();
        };
        match flag.split_once(' ') {
            Some(("amp", "off")) => "use_amp=False".to_owned(),
            Some(("amp", dtype)) => format!("amp_dtype={dtype:?}"),
            Some(("grad-checkpoint", "off")) => "use_grad_checkpoint=False".to_owned(),
            Some(("grad-checkpoint", policy)) => {
                format!("use_grad_checkpoint=True, grad_checkpoint_policy={policy:?}")
            }
            Some((name, value)) => format!("{}={value:?}", self.name(&name.replace('-', "_"))),
            None => self.name(&flag.replace('-', "_")).to_owned(),
        }
    }

    fn name(self, name: &str) -> &str {
        let known = self.0.iter().find(|(of_program, _)| *of_program == name);
        known.map_or(name, |(_, of_python)| of_python)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_arguments() {
        let words = Words(&[("vram", "memory"), ("batch", "target_batch")]);
        for (said, expected) in [
            ("`--gpu RTX 30` matches", r#"`gpu="RTX 30"` matches"#),
            (
                "`--vram 8GiB` or `--vram`",
                r#"`memory="8GiB"` or `memory`"#,
            ),
            (
                "`--amp off`, or `--amp bf16`",
                r#"`use_amp=False`, or `amp_dtype="bf16"`"#,
            ),
            ("a smaller `--img-size`", "a smaller `img_size`"),
            (
                "`batch` must be; no `--batch",
                "`target_batch` must be; no `target_batch",
            ),
            (
                "pass `--grad-checkpoint auto` or `--grad-checkpoint off`",
                "pass `use_grad_checkpoint=True, grad_checkpoint_policy=\"auto\"` or `use_grad_checkpoint=False`",
            ),
        ] {
            assert_eq!(words.of_python(said), expected);
        }
    }
}
