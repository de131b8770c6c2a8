//! Every word that is shown, in each language.

use config::Language;

use crate::state::{EventKind, Phase};
use crate::view::{Command, Panel};

/// The words of a language.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) epoch: &'static str,
    pub(crate) images: &'static str,
    pub(crate) images_per_second: &'static str,
    pub(crate) eta: &'static str,
    pub(crate) elapsed: &'static str,
    pub(crate) loss: &'static str,
    pub(crate) train_loss: &'static str,
    pub(crate) val_loss: &'static str,
    pub(crate) waits: fn(&str) -> String,
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
        match language {
            Language::English => &ENGLISH,
            Language::Japanese => &JAPANESE,
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

const ENGLISH: Words = Words {
    epoch: "epoch",
    images: "images",
    images_per_second: "images/s",
    eta: "ETA",
    elapsed: "elapsed",
    loss: "loss",
    train_loss: "training",
    val_loss: "validation",
    waits: |share| format!("waiting for data {share}"),
    memory: "memory",
    peak: "peak",
    predicted_peak: "predicted",
    limit: "limit",
    unknown: "unknown",
    events: "events",
    no_events: "nothing has happened yet",
    no_epoch: "the first epoch is not done yet",
    no_data: "nothing measured yet",
    no_prediction: "no prediction yet",
    no_colors: "a picture needs a terminal with 256 colours",
    image: "image",
    mask: "mask",
    answer: "prediction",
    too_small: "window too small: 60x16 is needed",
    help: "help",
    key_panel: "next panel",
    key_scroll: "scroll the events",
    key_redraw: "draw everything again",
    key_help: "open or close this help",
    yes_or_no: "y: yes   n: no",
    phases: ["preparing", "training", "validating", "saving"],
    kinds: ["note", "warning"],
    panels: [
        "IoU and Dice",
        "last prediction",
        "images per second",
        "loss in this epoch",
    ],
    commands: [
        [
            "stop after this epoch",
            "Stop after this epoch? It is validated, and the results are kept.",
            "stops after this epoch",
        ],
        [
            "stop now",
            "Stop now? A snapshot is saved, from which the run can resume.",
            "stops after this step",
        ],
    ],
};

const JAPANESE: Words = Words {
    epoch: "エポック",
    images: "枚",
    images_per_second: "枚/秒",
    eta: "残り時間",
    elapsed: "経過",
    loss: "損失",
    train_loss: "学習損失",
    val_loss: "検証損失",
    waits: |share| format!("データ待ち {share}"),
    memory: "メモリ",
    peak: "最大",
    predicted_peak: "予測",
    limit: "上限",
    unknown: "不明",
    events: "イベント",
    no_events: "イベントはまだありません",
    no_epoch: "最初のエポックの完了を待っています",
    no_data: "まだ計測値がありません",
    no_prediction: "予測画像はまだありません",
    no_colors: "画像の表示には 256 色対応の端末が必要です",
    image: "画像",
    mask: "正解マスク",
    answer: "予測",
    too_small: "ウィンドウが小さすぎます（60x16 以上が必要）",
    help: "ヘルプ",
    key_panel: "パネルを切り替える",
    key_scroll: "イベントをスクロールする",
    key_redraw: "画面を描き直す",
    key_help: "ヘルプを開く・閉じる",
    yes_or_no: "y: はい   n: いいえ",
    phases: ["準備中", "学習中", "検証中", "保存中"],
    kinds: ["情報", "警告"],
    panels: [
        "IoU と Dice",
        "最新の予測",
        "処理速度（枚/秒）",
        "エポック内の損失",
    ],
    commands: [
        [
            "このエポックで終了",
            "このエポックが終わったら停止しますか？検証を行い、結果を保存します。",
            "このエポックの後に停止します",
        ],
        [
            "今すぐ停止",
            "今すぐ停止しますか？スナップショットを保存するので、後で再開できます。",
            "このステップの後に停止します",
        ],
    ],
};
