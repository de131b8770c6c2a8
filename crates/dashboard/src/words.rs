//! Every word that is shown.

use std::sync::LazyLock;

use locale::Language;

use crate::state::{EventKind, Phase};
use crate::view::{Command, Panel};

/// The words of a language.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) epoch: &'static str,
    pub(crate) images_per_second: &'static str,
    pub(crate) eta: &'static str,
    pub(crate) elapsed: &'static str,
    pub(crate) loss: &'static str,
    pub(crate) train_loss: &'static str,
    pub(crate) val_loss: &'static str,
    pub(crate) waits: &'static str,
    pub(crate) memory: &'static str,
    pub(crate) peak: &'static str,
    pub(crate) predicted_peak: &'static str,
    pub(crate) limit: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) events: &'static str,
    pub(crate) no_events: &'static str,
    pub(crate) no_epoch: &'static str,
    pub(crate) no_data: &'static str,
    pub(crate) no_prediction: &'static str,
    pub(crate) no_colors: &'static str,
    pub(crate) image: &'static str,
    pub(crate) mask: &'static str,
    pub(crate) answer: &'static str,
    pub(crate) too_small: &'static str,
    pub(crate) help: &'static str,
    pub(crate) key_panel: &'static str,
    pub(crate) key_scroll: &'static str,
    pub(crate) key_redraw: &'static str,
    pub(crate) key_help: &'static str,
    pub(crate) yes_or_no: &'static str,
    phases: [&'static str; 4],
    kinds: [&'static str; 2],
    panels: [&'static str; 4],
    /// What a command's key does, the question before it, and what follows once it was given.
    commands: [[&'static str; 3]; 2],
}

impl Words {
    pub(crate) fn of(language: Language) -> &'static Self {
        static ENGLISH: LazyLock<Words> = LazyLock::new(|| Words::by(|it| it));
        static JAPANESE: LazyLock<Words> =
            LazyLock::new(|| Words::by(|it| Language::Japanese.word("dashboard", it)));
        match language {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
        }
    }

    fn by(say: fn(&'static str) -> &'static str) -> Self {
        Self {
            epoch: say("epoch"),
            images_per_second: say("images/s"),
            eta: say("ETA"),
            elapsed: say("elapsed"),
            loss: say("loss"),
            train_loss: say("train loss"),
            val_loss: say("val loss"),
            waits: say("waiting for data"),
            memory: say("memory"),
            peak: say("peak"),
            predicted_peak: say("predicted"),
            limit: say("limit"),
            unknown: say("unknown"),
            events: say("events"),
            no_events: say("nothing has happened yet"),
            no_epoch: say("the first epoch is not done yet"),
            no_data: say("nothing measured yet"),
            no_prediction: say("no prediction yet"),
            no_colors: say("a picture needs a terminal with 256 colours"),
            image: say("image"),
            mask: say("mask"),
            answer: say("prediction"),
            too_small: say("window too small: 60x16 is needed"),
            help: say("help"),
            key_panel: say("next panel"),
            key_scroll: say("scroll the events"),
            key_redraw: say("draw everything again"),
            key_help: say("open or close this help"),
            yes_or_no: say("y: yes   n: no"),
            phases: [
                say("preparing"),
                say("training"),
                say("validating"),
                say("saving"),
            ],
            kinds: [say("note"), say("warning")],
            panels: [
                say("IoU and Dice"),
                say("last prediction"),
                say("images per second"),
                say("loss in this epoch"),
            ],
            commands: [
                [
                    say("stop after this epoch"),
                    say("Stop after this epoch? It is validated, and the results are kept."),
                    say("stops after this epoch"),
                ],
                [
                    say("stop now"),
                    say("Stop now? A snapshot is saved, from which the run can resume."),
                    say("stops after this step"),
                ],
            ],
        }
    }

    pub(crate) fn phase(&self, phase: Phase) -> &'static str {
        self.phases[phase as usize]
    }

    pub(crate) fn kind(&self, kind: EventKind) -> &'static str {
        self.kinds[kind as usize]
    }

    /// All kinds, for a column that fits each.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.into_iter()
    }

    pub(crate) fn panel(&self, panel: Panel) -> &'static str {
        self.panels[panel as usize]
    }

    /// What the key of `command` does.
    pub(crate) fn key(&self, command: Command) -> &'static str {
        self.commands[command as usize][0]
    }

    /// What is asked before `command` is given.
    pub(crate) fn question(&self, command: Command) -> &'static str {
        self.commands[command as usize][1]
    }

    /// What will happen now that `command` was given.
    pub(crate) fn given(&self, command: Command) -> &'static str {
        self.commands[command as usize][2]
    }
}
