//! Listings: rows of texts as a table, as JSON lines, or through a template.

use std::collections::BTreeMap;
use std::io::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

use crate::failure::{Failure, Outcome};
use crate::template::{Labels, Prepared, Value};

/// A field of a row: its name in templates and JSON, and the header of its column.
pub(crate) type Field = (&'static str, &'static str);

/// What a listing can show.
pub(crate) struct Listing<'a> {
    /// All fields; every row has a text for each, in this order.
    pub(crate) fields: &'a [Field],
    /// The columns of the built-in table.
    pub(crate) table: &'a [&'static str],
    /// The field that `--quiet` shows.
    pub(crate) quiet: &'static str,
    /// What Docker's source calls a row, as messages about templates do.
    pub(crate) kind: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) texts: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Fields that are no texts to templates and in JSON.
    pub(crate) typed: Vec<(&'static str, Value)>,
}

/// How to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Style {
    Table,
    TableTemplate(String),
    Json,
    Template(String),
    Quiet,
}

impl Style {
    /// The style that flags and configuration ask for. Words count only as they are; spaces around a template do not.
    pub(crate) fn choose(format: &str, configured: &str, quiet: bool) -> Style {
        let format = if format.is_empty() { configured } else { format };
        match format {
            "" | "table" if quiet => Style::Quiet,
            "" | "table" => Style::Table,
            "json" | "{{json .}}" | "{{ json . }}" => Style::Json,
            text => match text.strip_prefix("table") {
                Some(template) => Style::TableTemplate(unescape(template.trim_matches(' '))),
                None => Style::Template(unescape(text.trim_matches(' '))),
            },
        }
    }

    /// `raw` stands for a template that each list has of its own.
    pub(crate) fn or_raw(self, template: &str) -> Style {
        match self {
            Style::Template(text) if text == "raw" => Style::Template(template.to_owned()),
            style => style,
        }
    }

    /// Whether a template may show a field; the built-in styles do not count.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        match self {
            Style::TableTemplate(text) | Style::Template(text) => text.contains(&format!(".{field}")),
            Style::Json => true,
            Style::Table | Style::Quiet => false,
        }
    }
}

impl Listing<'_> {
    /// Prints the rows on standard output.
    pub(crate) fn print(&self, style: &Style, rows: &[Row]) -> Outcome {
        std::io::stdout().write_all(self.render(style, rows)?.as_bytes())?;
        Ok(0)
    }

    pub(crate) fn render(&self, style: &Style, rows: &[Row]) -> Result<String, Failure> {
        match style {
            Style::Quiet => Ok(rows.iter().map(|row| format!("{}\n", self.text(row, self.quiet))).collect()),
            Style::Table => {
                let header = self.table.iter().map(|name| self.header(name).to_owned()).collect();
                let body = rows
                    .iter()
                    .map(|row| self.table.iter().map(|name| self.text(row, name).to_owned()).collect());
                Ok(align(&std::iter::once(header).chain(body).collect::<Vec<Vec<String>>>()))
            }
            Style::Json => {
                Ok(rows.iter().map(|row| format!("{}\n", escaped(&self.value(row).to_json()))).collect())
            }
            Style::Template(text) => {
                let prepared = Prepared::parse(text)?;
                let mut result = String::new();
                for row in rows {
                    result.push_str(&prepared.render(&self.value(row))?);
                    result.push('\n');
                }
                Ok(result)
            }
            Style::TableTemplate(text) => {
                let prepared = Prepared::parse(text)?;
                let mut lines = vec![prepared.render_headers(&self.headers())?];
                for row in rows {
                    lines.push(prepared.render(&self.value(row))?);
                }
                let cells: Vec<Vec<String>> =
                    lines.iter().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
                Ok(align(&cells))
            }
        }
    }

    fn text<'r>(&self, row: &'r Row, name: &str) -> &'r str {
        let at = self.fields.iter().position(|(field, _)| *field == name);
        at.and_then(|at| row.texts.get(at)).map_or("", String::as_str)
    }

    fn header(&self, name: &str) -> &'static str {
        self.fields.iter().find(|(field, _)| *field == name).map_or("", |(_, header)| header)
    }

    /// A row as templates and JSON see it.
    pub(crate) fn value(&self, row: &Row) -> Value {
        let fields = self.fields.iter().zip(&row.texts).map(|((name, _), text)| {
            let typed = row.typed.iter().find(|(field, _)| field == name);
            let value = typed.map_or_else(|| Value::text(text.as_str()), |(_, value)| value.clone());
            ((*name).to_owned(), value)
        });
        Value::object(fields, Labels::Of(row.labels.clone())).called(self.kind)
    }

    fn headers(&self) -> Value {
        let fields = self.fields.iter().map(|(name, header)| ((*name).to_owned(), Value::text(*header)));
        Value::object(fields, Labels::Headers).called(self.kind)
    }
}

/// Backslash escapes that a shell leaves as they are, so that `\t` can be typed. Only lists know them.
fn unescape(text: &str) -> String {
    text.replace(r"\t", "\t").replace(r"\n", "\n")
}

/// JSON as Go writes it, which may stand in a web page.
pub(crate) fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Cells under each other: at least ten wide, three spaces between, nothing after the last.
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    align_from(lines, 10)
}

/// The same for process lists, whose columns are at least twenty wide.
pub(crate) fn align_wide(lines: &[Vec<String>]) -> String {
    align_from(lines, 20)
}

fn align_from(lines: &[Vec<String>], least: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![least; columns];
    for line in lines {
        for (at, cell) in line.iter().enumerate().take(line.len().saturating_sub(1)) {
            widths[at] = widths[at].max(width(cell) + 3);
        }
    }
    let mut text = String::new();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < line.len() {
                text.extend(std::iter::repeat_n(' ', widths[at] - width(cell)));
            }
        }
        text.push('\n');
    }
    text
}

/// The order in which people count: `web2` comes before `web10`.
pub(crate) fn natural(one: &str, other: &str) -> std::cmp::Ordering {
    let (mut left, mut right) = (one.as_bytes(), other.as_bytes());
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    while let (Some(first), Some(second)) = (left.first(), right.first()) {
        let (count, others) = (digits(left), digits(right));
        if count > 0 && others > 0 {
            let number = |text: &[u8]| {
                let zeros = text.iter().take_while(|byte| **byte == b'0').count();
                (text.len() - zeros, text[zeros..].to_vec())
            };
            let order = number(&left[..count]).cmp(&number(&right[..others]));
            if order.is_ne() {
                return order;
            }
            (left, right) = (&left[count..], &right[others..]);
        } else if first != second {
            return first.cmp(second);
        } else {
            (left, right) = (&left[1..], &right[1..]);
        }
    }
    left.len().cmp(&right.len()).then_with(|| one.cmp(other))
}

/// The columns that a text takes on a terminal: a letter of Chinese takes two, an accent by itself none.
pub(crate) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text cut to a number of columns, with an ellipsis as the last.
pub(crate) fn ellipsis(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let mut left = limit.saturating_sub(1);
    let fits = |letter: &char| match left.checked_sub(letter.width().unwrap_or(0)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// The short form of an id.
pub(crate) fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// An id as `--no-trunc` decides.
pub(crate) fn shown_id(id: &str, whole: bool) -> String {
    if whole { id.to_owned() } else { short_id(id).to_owned() }
}

/// `k=v,k=v` of labels.
pub(crate) fn label_list(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: Listing<'static> = Listing {
        fields: &[("ID", "ID"), ("Name", "LONG NAME"), ("Size", "SIZE")],
        table: &["ID", "Name"],
        quiet: "ID",
        kind: "*formatter.thing",
    };

    fn rows() -> Vec<Row> {
        let row = |id: &str, name: &str| Row {
            texts: vec![id.to_owned(), name.to_owned(), "1B".to_owned()],
            labels: BTreeMap::from([("x.y-z".to_owned(), format!("of {name}"))]),
            ..Row::default()
        };
        vec![row("1", "a"), row("2", "a longer name")]
    }

    fn shown(format: &str, quiet: bool) -> String {
        LISTING.render(&Style::choose(format, "", quiet), &rows()).unwrap_or_else(|failure| failure.message)
    }

    #[test]
    fn tables_are_aligned() {
        assert_eq!(shown("", false), "ID        LONG NAME\n1         a\n2         a longer name\n");
        assert_eq!(
            shown("table {{.Name}}\\t{{.Size}}", false),
            "LONG NAME       SIZE\na               1B\na longer name   1B\n"
        );
        assert_eq!(shown("table {{.Label \"x.y-z\"}}", false), "y z\nof a\nof a longer name\n");
    }

    #[test]
    fn letters_take_the_columns_that_they_take() {
        let lines = [["世界", "a"], ["e\u{301}", "b"], ["four four", "c"]];
        let lines: Vec<Vec<String>> = lines.iter().map(|line| line.map(str::to_owned).to_vec()).collect();
        assert_eq!(align(&lines), "世界        a\ne\u{301}           b\nfour four   c\n");
    }

    #[test]
    fn other_styles() {
        assert_eq!(shown("", true), "1\n2\n");
        assert_eq!(shown("{{.Name}}\\t{{.ID}}", false), "a\t1\na longer name\t2\n");
        assert_eq!(shown("json", false).lines().next(), Some(r#"{"ID":"1","Name":"a","Size":"1B"}"#));
        assert_eq!(shown("{{json .}}", false).lines().next(), Some(r#"{"ID":"1","Name":"a","Size":"1B"}"#));
        assert!(shown("{{.Nothing}}", false).contains("Nothing"));
        assert!(Style::choose("{{.Size}}", "", false).mentions("Size"));
        assert_eq!(Style::choose("", "table {{.ID}}", false), Style::TableTemplate("{{.ID}}".to_owned()));
    }

    #[test]
    fn a_format_is_read_to_the_letter() {
        assert_eq!(shown("table{{.ID}}", false), "ID\n1\n2\n");
        assert_eq!(shown("table ", false), "\n\n\n");
        assert_eq!(shown(" table {{.ID}} ", false), "table 1\ntable 2\n");
        assert_eq!(shown(" ", false), "\n\n");
        assert_eq!(shown(" json", false), "json\njson\n");
        assert_eq!(shown("\t{{.ID}}\\n", false), "\t1\n\n\t2\n\n");
    }

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["web10", "web2", "web02", "b", "web", "web2a"];
        names.sort_by(|one, other| natural(one, other));
        assert_eq!(names, ["b", "web", "web02", "web2", "web2a", "web10"]);
    }

    #[test]
    fn texts_are_cut_with_an_ellipsis() {
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
        assert_eq!(
            (ellipsis("世界世", 6), ellipsis("世界世界", 6)),
            ("世界世".to_owned(), "世界…".to_owned())
        );
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
