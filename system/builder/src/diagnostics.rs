//! What is wrong with a description, shown with the line that it stands in.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use crate::files;

/// Width of a rendered diagnostic in columns.
const WIDTH: usize = 100;

/// A text file and the name that people know it by.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path as it is shown: relative to the workspace, if it lies there.
    pub name: String,
    /// What the file holds.
    pub text: String,
    /// A file whose byte offsets continue after this one's: its first byte is at the length of `text` + 1. So the
    /// checks of one description can point into two files.
    pub appended: Option<Arc<Source>>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// The problem that it cannot be read.
    pub fn read(path: &Path, root: &Path) -> Result<Arc<Self>, Problem> {
        let name = path
            .strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string();
        match files::read_text(path, files::MAX_TEXT) {
            Ok(text) => Ok(Arc::new(Self {
                name,
                text,
                appended: None,
            })),
            Err(error) => Err(Problem::nowhere(format!(
                "`{name}` cannot be read: {error}"
            ))),
        }
    }
}

impl Source {
    /// Returns the offset of the appended file's first byte.
    pub(crate) fn base(&self) -> usize {
        self.text.len() + 1
    }

    /// Returns the line of a place, from 1.
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one sentence.
    pub message: String,
    /// The file that it is wrong in, if there is one.
    pub source: Option<Arc<Source>>,
    /// Byte ranges of the file and what to say of each; the first is the place of the problem.
    pub labels: Vec<(Range<usize>, String)>,
    /// What would be right.
    pub help: Option<String>,
}

impl Problem {
    /// A problem that has no place in a file.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
            labels: Vec::new(),
            help: None,
        }
    }

    /// A problem at a place in a file.
    pub fn at(source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            source: Some(source.clone()),
            labels: vec![(span, String::new())],
            ..Self::nowhere(message)
        }
    }

    /// Says something of the place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some((_, label)) = self.labels.first_mut() {
            *label = text.into();
        }
        self
    }

    /// Points at a further place in the same file.
    #[must_use]
    pub fn and(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Says what would be right.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Attributes places after the end of this file to the appended file. If both files have places, those in the first
    /// file stay, and the help names the others.
    fn located(mut self) -> Self {
        let Some(source) = &self.source else {
            return self;
        };
        let (Some(appended), base) = (source.appended.clone(), source.base()) else {
            return self;
        };
        let far = |(span, _): &(Range<usize>, String)| span.start >= base;
        let (far, near): (Vec<_>, Vec<_>) = self.labels.into_iter().partition(far);
        let shifted = far
            .into_iter()
            .map(|(span, text)| (span.start - base..span.end - base, text));
        if near.is_empty() {
            self.labels = shifted.collect();
            self.source = Some(appended);
            return self;
        }
        self.labels = near;
        for (span, text) in shifted {
            let place = format!("{}:{}", appended.name, appended.line(span.start));
            let more = match text.is_empty() {
                true => format!("see {place}"),
                false => format!("{text} ({place})"),
            };
            self.help = Some(match self.help {
                Some(help) => format!("{more}\n{help}"),
                None => more,
            });
        }
        self
    }

    /// Line and column of the place, from 1; the column counts characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        let (source, (span, _)) = (self.source.as_ref()?, self.labels.first()?);
        let before = source.text.get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        ))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl miette::Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.labels.iter().enumerate().map(|(index, (span, text))| {
            let text = (!text.is_empty()).then(|| text.clone());
            if index == 0 {
                LabeledSpan::new_primary_with_span(text, span.clone())
            } else {
                LabeledSpan::new_with_span(text, span.clone())
            }
        });
        Some(Box::new(labels))
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

/// Everything that is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics {
    /// The problems, by file and place; at least one.
    pub problems: Vec<Problem>,
}

impl Diagnostics {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        let mut problems: Vec<Problem> = problems.into_iter().map(Problem::located).collect();
        problems.sort_by_key(|problem| {
            let name = problem.source.as_ref().map(|source| source.name.clone());
            (name, problem.labels.first().map(|(span, _)| span.start))
        });
        problems.dedup();
        Self { problems }
    }

    /// The problems as text for a terminal.
    pub fn render(&self, color: bool) -> String {
        let theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(WIDTH)
            .with_links(false)
            .with_context_lines(1);
        let mut text = String::new();
        for problem in &self.problems {
            let mut one = String::new();
            // Writing into a string does not fail.
            let _ = handler.render_report(&mut one, problem);
            text += one.trim_end();
            text += "\n\n";
        }
        let count = self.problems.len();
        let problems = if count == 1 { "problem" } else { "problems" };
        text += &format!("{count} {problems}; nothing was built.\n");
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The candidate that a misspelt name most likely stands for.
pub(crate) fn near<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean …?" where a candidate is near, and otherwise all candidates.
pub(crate) fn suggest<'a>(
    name: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match near(name, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", listed(candidates)),
    }
}

/// Names in backquotes, separated by commas.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
