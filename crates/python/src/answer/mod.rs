//! Answers to requests, as JSON. Nothing here panics on bad input: a refusal is an answer too.

use advisor::{Advice, Request, Target, advise, explain, place, to_json};
use config::cli::console::as_snug;
use machine::Device;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::request::{self, PredictRequest, SuggestRequest};
use crate::stages;
use crate::words::Words;

/// The arguments of each function that the program calls otherwise.
const SUGGEST: Words = Words(&[("batch", "target_batch")]);
const PREDICT: Words = Words(&[]);
const PLAN: Words = Words(&[("batch", "target_batch"), ("vram", "memory")]);

/// Recommends a recipe: the object of `snug suggest --json` under `answer`.
pub fn suggest(request: &str) -> String {
    answer(SUGGEST, |notes| {
        let request: SuggestRequest = request::parse(request)?;
        let device = request.device(notes)?;
        let (target, advice) = advice(&device, &request.request()?, notes)?;
        Ok(to_json(&device, &target, &advice))
    })
}

/// Predicts the memory of a step: the object of `snug explain --json` under `answer`.
pub fn predict_memory(request: &str) -> String {
    answer(PREDICT, |notes| {
        let request: PredictRequest = request::parse(request)?;
        let config = request.config()?;
        let device = request.device(notes)?;
        let target = tuned(&device, notes);
        let (on, memory) = explain::On::predict(&config, &device, &target)?;
        Ok(explain::to_json(&config, &on, &memory))
    })
}

/// Recommends a recipe for a training loop in PyTorch, which runs libtorch's own operators on whole concatenations, and says
/// what each stage keeps.
pub fn plan(request: &str) -> String {
    answer(PLAN, |notes| {
        let request: SuggestRequest = request::parse(request)?;
        let device = request.device(notes)?;
        let request = Request {
            exact_kernels: true,
            ..request.request()?
        };
        let (target, advice) = advice(&device, &request, notes)?;
        let fit = advice.recommended.as_ref().ok_or(Error::NothingFits {
            budget_bytes: target.budget(),
        })?;
        Ok(json!({
            "suggestion": to_json(&device, &target, &advice),
            "precision": target.precision(&fit.config).as_str(),
            "stages": stages::of(&fit.config),
        }))
    })
}

fn advice(device: &Device, request: &Request, notes: &mut Vec<String>) -> Result<(Target, Advice)> {
    let target = tuned(device, notes);
    let advice = advise(device, &target, request)?;
    Ok((target, advice))
}

fn tuned(device: &Device, notes: &mut Vec<String>) -> Target {
    let (target, found) = place::tuned(device);
    notes.extend(found);
    target
}

/// `answer` and the program's `notes`, or the `error` with its hint, which name arguments. Commands are those of `snug`.
fn answer(words: Words, find: impl FnOnce(&mut Vec<String>) -> Result<Value>) -> String {
    let mut notes = Vec::new();
    let value = match find(&mut notes) {
        Ok(value) => json!({ "answer": value, "notes": notes }),
        Err(error) => json!({
            "error": {
                "message": words.of_python(&error.to_string()),
                "hint": error.hint().map(|hint| words.of_python(&hint)),
            },
        }),
    };
    as_snug(&value.to_string())
}

#[cfg(test)]
mod tests;
