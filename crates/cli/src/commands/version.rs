//! `version`.

use std::fmt::Write as _;
use std::io::Write as _;

use api::system::Version;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::session::{RELEASE, Session};
use crate::template::{self, Member, Prepared, Value};
use crate::tree::Spec;

pub(crate) const SPEC: Spec = Spec::new(
    &["version"],
    &["[OPTIONS]"],
    "Show the versions of client and engine",
    Count::None,
    flags,
    run,
);

fn flags() -> Vec<clap::Arg> {
    vec![text("format", "string", crate::commands::inspect::FORMAT).short('f')]
}

/// What `--version` prints. Under Docker's name it has Docker's form, because scripts read it.
pub(crate) fn one_line(program: &str) -> String {
    match program {
        "docker" => format!("Docker version {RELEASE}, build wharf-{}", env!("CARGO_PKG_VERSION")),
        _ => format!("Wharf version {}, Docker API {}", env!("CARGO_PKG_VERSION"), api::version::NEWEST),
    }
}

/// The client's half, in the order and with the names that JSON shows.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientPart {
    version: &'static str,
    api_version: String,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: String,
    git_commit: String,
    os: &'static str,
    arch: &'static str,
    context: String,
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let template = match parsed.text("format") {
        "" | "json" => None,
        text => Some(Prepared::parse(text).map_err(misfit)?),
    };
    let (raw, failure) =
        match session.client().and_then(|client| client.server_version_raw().map_err(Failure::from)) {
            Ok(raw) => (Some(raw), None),
            Err(failure) => (None, Some(failure)),
        };
    let client = client_part(session, raw.is_some())?;
    let mut out = std::io::stdout();
    if parsed.text("format").is_empty() {
        let server = match &raw {
            Some(raw) => Some(api::json::from_slice(raw).map_err(|error| Failure::new(error.to_string()))?),
            None => None,
        };
        out.write_all(table(&client, server.as_ref()).as_bytes())?;
    } else {
        let server = raw.map_or_else(|| "null".to_owned(), |raw| String::from_utf8_lossy(&raw).into_owned());
        let client = serde_json::to_string(&client).map_err(|error| Failure::new(error.to_string()))?;
        let document = format!("{{\"Client\":{client},\"Server\":{}}}", server.trim());
        let shown = match (&template, &failure) {
            (None, _) => document,
            // A template that asks the engine has no answer without it.
            (Some(_), Some(_)) if parsed.text("format").contains(".Server") => String::new(),
            (Some(prepared), _) => prepared.render(&named(template::read(&document)?)).map_err(|fault| {
                // The line that was begun ends before the message.
                println!();
                Failure::new(fault.of("version"))
            })?,
        };
        writeln!(out, "{shown}")?;
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(0),
    }
}

fn misfit(fault: template::Fault) -> Failure {
    Failure::new(format!("template parsing error: {fault}")).with_code(64)
}

/// Templates know a version under another name than JSON.
fn named(document: Value) -> Value {
    let Value::Struct(document) = document else { return document };
    let mut document = (*document).clone();
    document.kind = "system.versionInfo";
    for half in &mut document.members {
        if let Value::Struct(part) = &half.value
            && let Some(version) = part.get("ApiVersion")
        {
            let version = Member { name: "APIVersion".to_owned(), value: version.clone(), sent: false };
            let mut part = (**part).clone();
            part.kind = if half.name == "Client" { "system.clientVersion" } else { "*types.Version" };
            part.members.push(version);
            half.value = Value::Struct(part.into());
        }
    }
    Value::Struct(document.into())
}

fn client_part(session: &Session, connected: bool) -> Result<ClientPart, Failure> {
    let spoken = match connected {
        true => session.client()?.version()?,
        false => api::version::NEWEST,
    };
    Ok(ClientPart {
        version: RELEASE,
        api_version: spoken.to_string(),
        default_api_version: api::version::NEWEST.to_string(),
        git_commit: format!("wharf-{}", env!("CARGO_PKG_VERSION")),
        os: "linux",
        arch: architecture(),
        context: session.context()?,
    })
}

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn table(client: &ClientPart, server: Option<&Version>) -> String {
    let mut text = String::new();
    let mut line = |indent: usize, name: &str, value: &str| {
        if !value.is_empty() {
            let _ =
                writeln!(text, "{:indent$}{:<width$} {value}", "", format!("{name}:"), width = 19 - indent);
        }
    };
    let spoken = match (&client.api_version, &client.default_api_version) {
        (spoken, newest) if spoken == newest => spoken.clone(),
        (spoken, newest) => format!("{spoken} (downgraded from {newest})"),
    };
    line(1, "Version", client.version);
    line(1, "API version", &spoken);
    line(1, "Git commit", &client.git_commit);
    line(1, "OS/Arch", &format!("{}/{}", client.os, client.arch));
    line(1, "Context", &client.context);
    let mut text = format!("Client:\n{text}");
    let Some(server) = server else { return text };
    let platform =
        if server.platform.name.is_empty() { String::new() } else { format!(" {}", server.platform.name) };
    let _ = writeln!(text, "\nServer:{platform}");
    for component in &server.components {
        let _ = writeln!(text, " {}:", component.name);
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "  {:<17} {value}", format!("{name}:"));
            }
        };
        line("Version", &component.version);
        if component.name == "Engine" {
            line(
                "API version",
                &format!("{} (minimum version {})", server.api_version, server.min_api_version),
            );
            line("Git commit", &server.git_commit);
            line("Built", &server.build_time);
            line("OS/Arch", &format!("{}/{}", server.os, server.arch));
            line("Experimental", if server.experimental { "true" } else { "false" });
        } else {
            for (name, value) in &component.details {
                line(name, value);
            }
        }
    }
    text
}
