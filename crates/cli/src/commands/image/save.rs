//! `image save`.

use crate::commands::output;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, list, text};
use crate::needs::since;
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["image save", "save"],
    &["[OPTIONS] IMAGE [IMAGE...]"],
    "Write images as a tar archive",
    Count::AtLeast(1),
    flags,
    run,
)
.names(Names::Images)
.flags_since(&[("platform", since(48))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        text("output", "string", "File to write instead of standard output").short('o'),
        list("platform", "strings", "Platform to write, for images with several"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let target = output::Target::choose(parsed.text("output"), "save", "image")?;
    let platform = match &parsed.comma_list("platform")[..] {
        [] => String::new(),
        [platform] => invalid(platform_json(platform))?,
        _ => {
            return Err(Failure::new(
                "unsupported flag --platform: only one platform can be saved at a time",
            ));
        }
    };
    target.write(&mut session.client()?.save_images(parsed.arguments(), &platform)?)
}

/// Most commands say first what they could not read.
pub(crate) fn invalid(json: Result<String, Failure>) -> Result<String, Failure> {
    json.map_err(|failure| Failure::new(format!("invalid platform: {}", failure.message)))
}

/// What may be the whole of a platform.
const SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];
const ARCHITECTURES: [&str; 8] = ["amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x", "loong64"];

/// `os/architecture[/variant]` as the object that newer endpoints take.
pub(crate) fn platform_json(text: &str) -> Result<String, Failure> {
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts[..] {
        [os] if SYSTEMS.contains(&os) => (os, crate::commands::version::architecture(), ""),
        [architecture] if ARCHITECTURES.contains(&architecture) => ("linux", architecture, ""),
        [_] => {
            let why = "unknown operating system or architecture: invalid argument";
            return Err(Failure::new(format!("{text:?}: {why}")));
        }
        [os, architecture] => (os, architecture, ""),
        [os, architecture, variant] => (os, architecture, variant),
        _ => {
            return Err(Failure::new(format!("{text:?}: cannot parse platform specifier: invalid argument")));
        }
    };
    let mut platform = serde_json::json!({ "os": os, "architecture": architecture });
    if !variant.is_empty() {
        platform["variant"] = variant.into();
    }
    Ok(platform.to_string())
}
