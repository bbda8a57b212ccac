//! What fuzz targets of text formats share: edits of a correct document.
//!
//! Arbitrary bytes are hardly ever a document that gets past the first line of a parser. Edits of a correct one are,
//! right and wrong alike.

/// What there is to choose from when a document is edited.
pub struct Seed {
    /// A correct document.
    pub document: &'static str,
    /// Values, to stand between quotation marks.
    pub values: &'static [&'static str],
    /// Lines, to be inserted anywhere.
    pub lines: &'static [&'static str],
}

/// Most edits of a document: more make wrong ones only.
const MOST_EDITS: usize = 12;

impl Seed {
    /// The document after the edits that the input says. An input that begins with 255 is itself the document.
    pub fn edited(&self, input: &[u8]) -> String {
        if let [255, text @ ..] = input {
            return String::from_utf8_lossy(text).into_owned();
        }
        let mut input = Input(input);
        let mut lines: Vec<String> = self.document.lines().map(str::to_owned).collect();
        for _ in 0..MOST_EDITS {
            let Some(choice) = input.byte() else {
                break;
            };
            self.edit(&mut lines, choice, &mut input);
        }
        lines.join("\n")
    }

    fn edit(&self, lines: &mut Vec<String>, choice: u8, input: &mut Input<'_>) {
        let Some(at) = input.index(lines.len()) else {
            return;
        };
        match choice % 8 {
            0 => drop(lines.remove(at)),
            1 => {
                let line = lines[at].clone();
                let to = input.index(lines.len()).unwrap_or(at);
                lines.insert(to, line);
            }
            2 => {
                let other = input.index(lines.len()).unwrap_or(at);
                lines.swap(at, other);
            }
            3 => {
                if let Some(index) = input.index(self.lines.len()) {
                    lines.insert(at, self.lines[index].to_owned());
                }
            }
            4 => {
                let value = input
                    .index(self.values.len())
                    .map(|index| self.values[index]);
                replace_value(&mut lines[at], value.unwrap_or_default(), input);
            }
            5 => {
                // Another value of the document: names that fit and names that are taken.
                let from = input.index(lines.len()).unwrap_or(at);
                let spans = values(&lines[from]);
                if let Some(index) = input.index(spans.len()) {
                    let value = lines[from][spans[index].clone()].to_owned();
                    replace_value(&mut lines[at], &value, input);
                }
            }
            6 => {
                let text = input.text();
                replace_value(&mut lines[at], &text, input);
            }
            _ => {
                let text = input.text();
                let line = &mut lines[at];
                let places: Vec<usize> = line.char_indices().map(|(place, _)| place).collect();
                let start = input.index(places.len()).map_or(0, |index| places[index]);
                let length = usize::from(input.byte().unwrap_or(0) % 8);
                let end = places
                    .iter()
                    .copied()
                    .find(|&place| place >= start + length);
                line.replace_range(start..end.unwrap_or(line.len()), &text);
            }
        }
    }
}

fn replace_value(line: &mut String, value: &str, input: &mut Input<'_>) {
    let spans = values(line);
    if let Some(index) = input.index(spans.len()) {
        line.replace_range(spans[index].clone(), value);
    }
}

/// What stands between quotation marks.
fn values(line: &str) -> Vec<std::ops::Range<usize>> {
    let marks: Vec<usize> = line.match_indices('"').map(|(place, _)| place).collect();
    marks
        .chunks_exact(2)
        .map(|pair| pair[0] + 1..pair[1])
        .collect()
}

/// The fuzzer's bytes, taken from the front.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An index below `length`; none where there is nothing to choose from.
    fn index(&mut self, length: usize) -> Option<usize> {
        let (high, low) = (self.byte().unwrap_or(0), self.byte().unwrap_or(0));
        usize::from(u16::from_be_bytes([high, low])).checked_rem(length)
    }

    /// A few bytes as text.
    fn text(&mut self) -> String {
        let length = usize::from(self.byte().unwrap_or(0) % 24).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}
