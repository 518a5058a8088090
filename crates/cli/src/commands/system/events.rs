//! `system events`.

use std::io::Write as _;

use api::event::Message;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text, typed};
use crate::session::Session;
use crate::template::{self, Prepared};
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec = Spec::new(
    &["system events", "events"],
    &["[OPTIONS]"],
    "Print what happens in the engine, as it happens",
    Count::None,
    flags,
    run,
);

fn flags() -> Vec<clap::Arg> {
    vec![
        typed("filter", "filter", filter::argument, "Print only events that match")
            .short('f')
            .action(clap::ArgAction::Append),
        text("format", "string", crate::commands::inspect::FORMAT),
        text("since", "string", "Begin with what happened since a time"),
        text("until", "string", "End at a time"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let format = match parsed.text("format") {
        "" => None,
        "json" => Some(("{{json .}}".to_owned(), Prepared::parse("{{json .}}")?)),
        text => {
            let text = template::unescape(text);
            let prepared = Prepared::parse(&text)?;
            Some((text, prepared))
        }
    };
    let moment = |flag: &str| match parsed.text(flag) {
        "" => Ok(String::new()),
        text => units::parse_moment(text)
            .map_err(|why| Failure::new(format!("invalid value for {flag:?}: {why}"))),
    };
    let filters = filter::to_query(&parsed.list("filter"))?;
    let mut events = session.client()?.events(&moment("since")?, &moment("until")?, &filters)?;
    let mut out = std::io::stdout();
    while let Some(raw) = events.next_raw()? {
        let raw = String::from_utf8_lossy(&raw);
        let line = match &format {
            Some((text, prepared)) => template::render_document(text, prepared, &fields(&raw)?)?,
            None => line(
                &api::json::from_slice(raw.as_bytes()).map_err(|error| Failure::new(error.to_string()))?,
            ),
        };
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(0)
}

/// The names that templates know: those of JSON begin in lower case where theirs do not.
fn fields(raw: &str) -> Result<String, Failure> {
    let failed =
        |error: serde_json::Error| Failure::new(format!("the engine's event cannot be understood: {error}"));
    let mut event: serde_json::Value = serde_json::from_str(raw).map_err(failed)?;
    let Some(members) = event.as_object_mut() else { return Ok(raw.to_owned()) };
    for (json, name) in [
        ("status", "Status"),
        ("id", "ID"),
        ("from", "From"),
        ("scope", "Scope"),
        ("time", "Time"),
        ("timeNano", "TimeNano"),
    ] {
        let value = members.get(json).cloned().unwrap_or_default();
        members.entry(name).or_insert(value);
    }
    Ok(event.to_string())
}

/// `TIME TYPE ACTION ID (key=value, …)`
fn line(event: &Message) -> String {
    let time = match (event.time_nano, event.time) {
        (0, 0) => String::new(),
        (0, seconds) => format!("{} ", local(i128::from(seconds) * 1_000_000_000)),
        (nanoseconds, _) => format!("{} ", local(i128::from(nanoseconds))),
    };
    let attributes: Vec<String> =
        event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{time}{} {} {}{attributes}", event.kind, event.action, event.actor.id)
}

fn local(nanoseconds: i128) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_nanosecond(nanoseconds) else { return String::new() };
    let zoned = timestamp.to_zoned(jiff::tz::TimeZone::system());
    let zone = zoned.strftime("%:z").to_string();
    let zone = if zone == "+00:00" { "Z".to_owned() } else { zone };
    format!("{}{zone}", zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"status":"start","id":"ab","from":"i","Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"image":"i","name":"n"}},"scope":"local","time":1700000000,"timeNano":1700000000000000001}"#;

    #[test]
    fn an_event_is_a_line() {
        let text = line(&serde_json::from_str(EVENT).unwrap());
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "container start ab (image=i, name=n)");
        assert!(time.contains(".000000001"), "{time}");
    }

    #[test]
    fn templates_know_the_fields_by_their_names() {
        let prepared = Prepared::parse("{{.ID}} {{.TimeNano}} {{.Actor.Attributes.name}}").unwrap();
        let text = template::render_document("", &prepared, &fields(EVENT).unwrap()).unwrap();
        assert_eq!(text, "ab 1700000000000000001 n");
    }
}
