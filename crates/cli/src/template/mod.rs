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
//! Limits: types are known as far as [`document`] knows them, so an error names the Go type that it is
//! about only at the top of a document, and a pointer to a struct is shown as the struct, not as an
//! address.

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
use evaluate::Over;

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
        evaluate::run(&self.tree, &self.source, value, Over::Typed).map_err(Fault)
    }

    /// The same over the names of columns.
    pub(crate) fn render_headers(&self, value: &Value) -> Result<String, Fault> {
        evaluate::run(&self.tree, &self.source, value, Over::Headers).map_err(Fault)
    }

    /// Renders over the engine's own document: as something of Go's types, or, where these cannot
    /// answer, as the JSON that it is. Of what has a name here Docker keeps no JSON.
    pub(crate) fn render_document(&self, raw: &str, kind: &'static str) -> Result<String, Failure> {
        match self.render(&document::read(raw)?.called(kind)) {
            Err(_) if kind.is_empty() => {}
            rendered => return Ok(rendered?),
        }
        let untyped = document::read_untyped(raw)?;
        Ok(evaluate::run(&self.tree, &self.source, &untyped, Over::Raw).map_err(Fault)?)
    }
}

/// What is wrong with a template, told the way Go tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault(String);

impl Fault {
    /// As of a template that has a name.
    pub(crate) fn of(&self, name: &str) -> String {
        let text = self.0.replacen("template: :", &format!("template: {name}:"), 1);
        text.replacen("executing \"\"", &format!("executing {name:?}"), 1)
    }
}

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

#[cfg(test)]
mod tests;
