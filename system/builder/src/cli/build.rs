//! `selkie build`: from a description to bootable files.

use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::make::{Built, Event, Request, make};
use super::setup::{self, Scope};
use super::ui::{self, Step, Ui};
use super::{BoardOptions, BuildOptions, Context};
use crate::settings::{Configuration, Settings};

impl BuildOptions {
    /// Returns the build request, with the defaults of `microkit.toml`.
    ///
    /// # Errors
    /// When the board cannot have the requested amount of memory.
    pub(super) fn request(&self, settings: &Settings) -> anyhow::Result<Request> {
        let short = match (self.debug, self.release) {
            (true, _) => Some(Configuration::Debug),
            (_, true) => Some(Configuration::Release),
            _ => None,
        };
        let configuration = short.or(self.config);
        let board = self.on.name(settings);
        self.memory.check(&board)?;
        Ok(Request {
            system: self.system.clone(),
            board,
            configuration: configuration.unwrap_or(settings.configuration),
            memory: self.memory.mib,
        })
    }
}

impl BoardOptions {
    /// The board that is meant.
    pub(super) fn name(&self, settings: &Settings) -> String {
        self.board.clone().unwrap_or_else(|| settings.board.clone())
    }
}

/// Builds a system.
pub(super) fn command(context: &Context, options: &BuildOptions) -> anyhow::Result<ExitCode> {
    let request = options.request(&context.settings()?)?;
    setup::ensure(context, Scope::Build, &[&request.board])?;
    let built = build_showing(context, &request)?;
    for note in &built.notes {
        context.ui.say(note);
    }
    context.ui.result(format!(
        "built {} for {}: {} (boot image {})",
        built.name,
        built.board,
        built.folder.display(),
        ui::bytes(built.image_size)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Builds a system and shows the progress.
pub(super) fn build_showing(context: &Context, request: &Request) -> anyhow::Result<Built> {
    let progress = Progress::new(&context.ui);
    let built = make(&context.root, request, &|event| progress.event(event));
    if built.is_err() {
        progress.failed();
    }
    built
}

/// Shows a build's events.
struct Progress<'a> {
    ui: &'a Ui,
    step: Mutex<Option<Step>>,
}

impl<'a> Progress<'a> {
    fn new(ui: &'a Ui) -> Self {
        Self {
            ui,
            step: Mutex::default(),
        }
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: Event<'_>) {
        let mut step = self.step();
        match event {
            Event::Begin(what) => *step = Some(self.ui.step(what)),
            Event::At(detail) => step.iter().for_each(|step| step.at(detail)),
            Event::Done(outcome) => {
                if let Some(step) = step.take() {
                    step.done(outcome);
                }
            }
        }
    }

    fn failed(&self) {
        if let Some(step) = self.step().take() {
            step.failed("");
        }
    }
}
