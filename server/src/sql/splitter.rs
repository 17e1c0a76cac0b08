//! Splits a text into statements at each `;` that separates them.
//!
//! It knows the parts of the language that matter here, as the tokenizer of DataFusion's SQL does: quoted text and
//! names, escapes, dollar quotes, quotes with a delimiter of their own, comments.

use std::mem;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, from its first word on and without the `;`.
    pub text: String,
    /// The line that it starts on, from 1.
    pub line: usize,
}

/// The text ended inside a quote or comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What is not closed, such as "a comment".
    pub what: &'static str,
    /// The line that it starts on, from 1.
    pub line: usize,
}

/// Splits a text into statements, piece by piece.
#[derive(Debug)]
pub struct Splitter {
    inside: Inside,
    /// The line on which `inside` began.
    inside_since: usize,
    /// The statement so far; empty until its first word.
    text: String,
    text_since: usize,
    line: usize,
}

#[derive(Debug)]
enum Inside {
    /// Nothing special.
    Plain,
    /// `-- …` up to the end of the line.
    LineComment,
    /// `/* … */`, so many levels deep.
    Comment(usize),
    /// `'…'`, `"…"` or a name in backticks. A doubled quote ends it and starts it again, which has the same effect.
    Quoted(char),
    /// `E'…'`, where a backslash removes the special meaning of the next character.
    Escaped,
    /// `q'[…]'`, up to this end.
    Delimited(String),
    /// `$tag$…$tag$`, up to this end.
    Dollar(String),
}

impl Default for Splitter {
    fn default() -> Self {
        Self { inside: Inside::Plain, inside_since: 1, text: String::new(), text_since: 1, line: 1 }
    }
}

impl Splitter {
    /// Takes the next piece of the text and returns the statements that it completes.
    ///
    /// A piece ends at the end of a line or of the text, so that no word or sign is cut in two.
    pub fn push(&mut self, piece: &str) -> Vec<Statement> {
        let mut complete = Vec::new();
        let mut rest = piece;
        while let Some(ch) = rest.chars().next() {
            if ch == ';' && matches!(self.inside, Inside::Plain) {
                rest = &rest[1..];
                complete.extend(self.take());
                continue;
            }
            let started = self.in_comment();
            let (token, after) = rest.split_at(self.advance(rest, ch));
            rest = after;
            // Text before the first word is not part of the statement: a comment alone is not a statement.
            let blank = started || self.in_comment() || ch.is_whitespace();
            if self.text.is_empty() && !blank {
                self.text_since = self.line;
            }
            if !self.text.is_empty() || !blank {
                self.text.push_str(token);
            }
            self.line += token.matches('\n').count();
        }
        complete
    }

    /// The last statement, if the text did not end with `;`.
    ///
    /// # Errors
    /// [`Unfinished`] if a quote or comment has no end.
    pub fn finish(mut self) -> Result<Option<Statement>, Unfinished> {
        let what = match self.inside {
            Inside::Plain | Inside::LineComment => return Ok(self.take()),
            Inside::Comment(_) => "a comment",
            Inside::Quoted('\'') | Inside::Escaped | Inside::Delimited(_) => "a text in quotes",
            Inside::Quoted(_) => "a name in quotes",
            Inside::Dollar(_) => "a text in dollar quotes",
        };
        Err(Unfinished { what, line: self.inside_since })
    }

    /// The line that the next piece continues, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Bytes of the statement so far.
    pub fn pending(&self) -> usize {
        self.text.len()
    }

    fn in_comment(&self) -> bool {
        matches!(self.inside, Inside::LineComment | Inside::Comment(_))
    }

    fn take(&mut self) -> Option<Statement> {
        let text = mem::take(&mut self.text);
        let text = text.trim_end();
        (!text.is_empty()).then(|| Statement { text: text.to_owned(), line: self.text_since })
    }

    /// Goes on by one sign or word and returns its bytes, which are at least one character.
    fn advance(&mut self, rest: &str, ch: char) -> usize {
        let one = ch.len_utf8();
        match &mut self.inside {
            Inside::Plain => {
                let (inside, length) = plain(rest, ch);
                if !matches!(inside, Inside::Plain) {
                    self.inside_since = self.line;
                }
                self.inside = inside;
                return length;
            }
            Inside::LineComment if ch == '\n' => self.inside = Inside::Plain,
            Inside::Comment(depth) if rest.starts_with("/*") => {
                *depth += 1;
                return 2;
            }
            Inside::Comment(depth) if rest.starts_with("*/") => {
                *depth -= 1;
                if *depth == 0 {
                    self.inside = Inside::Plain;
                }
                return 2;
            }
            Inside::Quoted(quote) if ch == *quote => self.inside = Inside::Plain,
            Inside::Escaped if ch == '\\' => {
                return one + rest[one..].chars().next().map_or(0, char::len_utf8);
            }
            Inside::Escaped if rest.starts_with("''") => return 2,
            Inside::Escaped if ch == '\'' => self.inside = Inside::Plain,
            Inside::Delimited(end) | Inside::Dollar(end) if rest.starts_with(end.as_str()) => {
                let length = end.len();
                self.inside = Inside::Plain;
                return length;
            }
            _ => {}
        }
        one
    }
}

/// What starts at the beginning of `rest`, outside of quotes and comments, and how many bytes its start has.
fn plain(rest: &str, ch: char) -> (Inside, usize) {
    if rest.starts_with("--") {
        return (Inside::LineComment, 2);
    }
    if rest.starts_with("/*") {
        return (Inside::Comment(1), 2);
    }
    match ch {
        '\'' | '"' | '`' => (Inside::Quoted(ch), 1),
        '$' => match dollar_quote(rest) {
            Some(tag) => (Inside::Dollar(tag.to_owned()), tag.len()),
            None => (Inside::Plain, 1),
        },
        _ if is_word(ch) => {
            let length = rest.find(|ch| !is_word(ch)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let mut after = after.chars();
            if after.next() != Some('\'') {
                return (Inside::Plain, length);
            }
            // A word right before a quote says how the text is written.
            match word.to_ascii_lowercase().as_str() {
                "e" => (Inside::Escaped, length + 1),
                "q" | "nq" => match after.next() {
                    Some(start) => (Inside::Delimited(delimiter_end(start)), length + 1 + start.len_utf8()),
                    None => (Inside::Quoted('\''), length + 1),
                },
                _ => (Inside::Plain, length),
            }
        }
        _ => (Inside::Plain, ch.len_utf8()),
    }
}

/// Whether words, names and numbers can continue with this character, which includes `$`.
fn is_word(ch: char) -> bool {
    ch.is_alphanumeric() || matches!(ch, '_' | '@' | '#' | '$')
}

/// The opening `$tag$`, if there is one; `$1` is a parameter.
fn dollar_quote(rest: &str) -> Option<&str> {
    let tag = rest[1..].find(|ch: char| !(ch.is_alphanumeric() || ch == '_'))?;
    let end = tag + 1;
    rest[end..].starts_with('$').then(|| &rest[..=end])
}

/// What ends a text whose delimiter is `start`.
fn delimiter_end(start: char) -> String {
    let end = match start {
        '[' => ']',
        '{' => '}',
        '(' => ')',
        '<' => '>',
        other => other,
    };
    format!("{end}'")
}
