//! The tables that are printed at the end.

use std::fmt;
use std::time::Duration;

/// One kind of work, measured.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) wharf: f64,
    pub(crate) peer: Option<f64>,
    /// What the kernel alone takes for it.
    pub(crate) floor: Option<f64>,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{row}");
        self.rows.push(row);
    }
}

/// The middle of the samples, in milliseconds.
pub(crate) fn median(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1000.0
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
        // Of a rate more is better, of all else less.
        let ratio = self.peer.map_or("–".to_owned(), |peer| match self.unit {
            "1/s" | "MB/s" => format!("{:.1}", self.wharf / peer),
            _ => format!("1/{:.1}", peer / self.wharf),
        });
        write!(
            f,
            "| {} | {} | {:.1} | {} | {} | {} |",
            self.name,
            self.unit,
            self.wharf,
            number(self.peer),
            ratio,
            number(self.floor)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| work | unit | Wharf | peer | ratio | floor |")?;
        writeln!(f, "|---|---|---:|---:|---:|---:|")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

/// The same work by several, ours first.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// A value for each column; none of those who can't do it.
    pub(crate) values: Vec<Option<f64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Comparisons {
    /// Who is compared.
    pub(crate) columns: Vec<String>,
    rows: Vec<Comparison>,
}

impl Comparisons {
    pub(crate) fn add(&mut self, row: Comparison) {
        eprintln!("{row}");
        self.rows.push(row);
    }
}

impl fmt::Display for Comparison {
    /// Each value, and what part of it ours is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} |", self.name, self.unit)?;
        let digits = if self.unit == "ms" { 1 } else { 0 };
        let ours = self.values.first().copied().flatten();
        for (number, value) in self.values.iter().enumerate() {
            match (value, ours) {
                (Some(value), Some(ours)) if number > 0 => {
                    write!(f, " {value:.digits$} (1/{:.1}) |", value / ours)?;
                }
                (Some(value), _) => write!(f, " {value:.digits$} |")?,
                (None, _) => write!(f, " – |")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Comparisons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "| work | unit | {} |", self.columns.join(" | "))?;
        writeln!(f, "|---|---|{}", "---:|".repeat(self.columns.len()))?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}
