//! Go templates for `--format`.
//!
//! ```text
//! text ─ lexer ─▶ words ─ parser ─▶ tree ─┐
//! engine's JSON ─ document ─▶ value ──────┴ evaluate ─▶ text
//! ```
//!
//! Users, scripts and other tools bring templates that were written for Go's `text/template`, and
//! read what comes out: the values, the order of members in `{{json .}}`, `<nil>` and `map[]`, and
//! the messages of errors. All of the language is here: pipelines, variables, blocks, `range` with
//! `break`, definitions, comparison, `printf`; and the functions that Docker adds.
//!
//! Limits: types are known as far as [`document`] knows them, so an error does not name the Go type
//! it is about, and a pointer to a struct is shown as the struct, not as an address.

mod document;
mod evaluate;
mod functions;
mod lexer;
mod parser;
mod print;
mod value;

pub(crate) use document::read;
pub(crate) use value::{Kind, Labels, Member, Value};

use crate::failure::Failure;

/// A template that was understood.
#[derive(Debug)]
pub(crate) struct Prepared {
    source: String,
    tree: parser::Tree,
}

impl Prepared {
    pub(crate) fn parse(source: &str) -> Result<Prepared, Fault> {
        let tree = lexer::tokens(source).and_then(|tokens| parser::parse(tokens, source.len()));
        let tree = tree.map_err(|(at, why)| {
            let line = source[..at.min(source.len())].matches('\n').count() + 1;
            Fault(format!("template: :{line}: {why}"))
        })?;
        Ok(Prepared { source: source.to_owned(), tree })
    }

    pub(crate) fn render(&self, value: &Value) -> Result<String, Fault> {
        evaluate::run(&self.tree, &self.source, value, false).map_err(Fault)
    }

    /// The same over the names of columns.
    pub(crate) fn render_headers(&self, value: &Value) -> Result<String, Fault> {
        evaluate::run(&self.tree, &self.source, value, true).map_err(Fault)
    }

    /// Renders over the engine's own document.
    pub(crate) fn render_document(&self, raw: &str) -> Result<String, Failure> {
        Ok(self.render(&document::read(raw)?)?)
    }
}

/// What is wrong with a template, told the way Go tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault(String);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::new(format!("template parsing error: {fault}"))
    }
}

/// Backslash escapes that a shell leaves as they are, so that `\t` can be typed.
pub(crate) fn unescape(text: &str) -> String {
    text.replace(r"\t", "\t").replace(r"\n", "\n")
}

#[cfg(test)]
mod tests;
