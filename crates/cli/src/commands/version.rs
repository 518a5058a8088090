//! `version`.

use std::fmt::Write as _;
use std::io::Write as _;

use api::system::Version;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, text};
use crate::session::{RELEASE, Session};
use crate::template::{self, Prepared};
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

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let template = match parsed.text("format") {
        "" | "json" => None,
        text => {
            let text = template::unescape(text);
            let prepared = Prepared::parse(&text)?;
            Some((text, prepared))
        }
    };
    let (server, failure) =
        match session.client().and_then(|client| client.server_version().map_err(Failure::from)) {
            Ok(server) => (Some(server), None),
            Err(failure) => (None, Some(failure)),
        };
    let client = client_part(session, server.as_ref())?;
    let document = json!({ "Client": client, "Server": server });
    let mut out = std::io::stdout();
    match &template {
        Some((text, prepared)) => match failure {
            // A template that asks the engine has no answer without it.
            Some(failure) if text.contains(".Server") => return Err(failure),
            _ => writeln!(out, "{}", template::render_document(text, prepared, &document.to_string())?)?,
        },
        None if parsed.text("format") == "json" => writeln!(out, "{document}")?,
        None => out.write_all(table(&client, server.as_ref()).as_bytes())?,
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(0),
    }
}

fn client_part(session: &Session, server: Option<&Version>) -> Result<Value, Failure> {
    let spoken = match server {
        Some(_) => session.client()?.version()?,
        None => api::version::NEWEST,
    };
    Ok(json!({
        "Version": RELEASE,
        "ApiVersion": spoken.to_string(),
        "DefaultAPIVersion": api::version::NEWEST.to_string(),
        "GitCommit": format!("wharf-{}", env!("CARGO_PKG_VERSION")),
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "Context": session.context()?,
    }))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn table(client: &Value, server: Option<&Version>) -> String {
    let mut text = String::new();
    let mut line = |indent: usize, name: &str, value: &str| {
        if !value.is_empty() {
            let _ =
                writeln!(text, "{:indent$}{:<width$} {value}", "", format!("{name}:"), width = 19 - indent);
        }
    };
    let of = |name: &str| client.get(name).and_then(Value::as_str).unwrap_or_default();
    let spoken = match (of("ApiVersion"), of("DefaultAPIVersion")) {
        (spoken, newest) if spoken == newest => spoken.to_owned(),
        (spoken, newest) => format!("{spoken} (downgraded from {newest})"),
    };
    line(1, "Version", of("Version"));
    line(1, "API version", &spoken);
    line(1, "Git commit", of("GitCommit"));
    line(1, "OS/Arch", &format!("{}/{}", of("Os"), of("Arch")));
    line(1, "Context", of("Context"));
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
