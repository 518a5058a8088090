//! `system events`.

use std::io::Write as _;

use api::event::Message;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text, typed};
use crate::session::Session;
use crate::template::{self, Member, Prepared, Value};
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
        "json" => Some(Prepared::parse("{{json .}}")?),
        text => {
            let prepared = Prepared::parse(text).map_err(misfit)?;
            // What no event has is said before the first one comes.
            prepared.render(&fields(NO_EVENT)?).map_err(misfit)?;
            Some(prepared)
        }
    };
    let moment = |flag: &str| match parsed.text(flag) {
        "" => Ok(String::new()),
        text => units::parse_moment(text).map_err(Failure::new),
    };
    let filters = filter::to_query(&parsed.list("filter"))?;
    let mut events = session.client()?.events(&moment("since")?, &moment("until")?, &filters)?;
    let mut out = std::io::stdout();
    while let Some(raw) = events.next_raw()? {
        let raw = String::from_utf8_lossy(&raw);
        let line = match &format {
            Some(prepared) => prepared.render(&fields(&raw)?)?,
            None => line(
                &api::json::from_slice(raw.as_bytes()).map_err(|error| Failure::new(error.to_string()))?,
            ),
        };
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(0)
}

/// What every event has.
const NO_EVENT: &str = r#"{"Type":"","Action":"","Actor":{"ID":"","Attributes":{}}}"#;

/// Docker's exit code for a template that cannot be used.
fn misfit(fault: template::Fault) -> Failure {
    Failure::new(format!("Error parsing format: {fault}")).with_code(64)
}

/// An event with the names that templates know: those of JSON begin in lower case where theirs do
/// not. JSON shows what the engine sent.
fn fields(raw: &str) -> Result<Value, Failure> {
    let Value::Struct(event) = template::read(raw)? else {
        return Err(Failure::new("the engine's event cannot be understood: it is no object"));
    };
    let mut event = (*event).clone();
    event.kind = "*events.Message";
    for member in &mut event.members {
        if member.name == "Actor" {
            member.value = member.value.clone().called("events.Actor");
        }
    }
    for (json, name, absent) in [
        ("status", "Status", Value::text("")),
        ("id", "ID", Value::text("")),
        ("from", "From", Value::text("")),
        ("scope", "Scope", Value::text("")),
        ("time", "Time", Value::Int(0)),
        ("timeNano", "TimeNano", Value::Int(0)),
    ] {
        let value = event.get(json).cloned().unwrap_or(absent);
        event.members.push(Member { name: name.to_owned(), value, sent: false });
    }
    Ok(Value::Struct(event.into()))
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
    let zoned = timestamp.to_zoned(crate::zone::local());
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
        let text = prepared.render(&fields(EVENT).unwrap()).unwrap();
        assert_eq!(text, "ab 1700000000000000001 n");
    }
}
