//! `container create`, and what `run` shares with it: pulling what is missing, the ID file.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use api::container::{CreateRequest, CreateResponse};

use super::{options, request};
use crate::commands::image::{pull, save};
use crate::credentials;
use crate::failure::{Failure, Outcome, doing};
use crate::flags::{Count, Parsed};
use crate::session::Session;
use crate::terminal;
use crate::tree::{Names, Spec};
use crate::values::reference;

pub(crate) const SPEC: Spec = Spec::new(
    &["container create", "create"],
    &["[OPTIONS] IMAGE [COMMAND] [ARG...]"],
    "Create a container without starting it",
    Count::AtLeast(1),
    options::flags,
    run,
)
.stop()
.names(Names::Images)
.flags_since(options::SINCE);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    request::refuse_windows(parsed)?;
    let request = request::build(parsed).map_err(|failure| usage_failure(session, "create", failure))?;
    let policy = PullPolicy::read(parsed).map_err(|failure| usage_failure(session, "create", failure))?;
    let created = create(session, parsed, request, policy)?;
    crate::print(&format!("{}\n", created.id))
}

/// A failure that the command line is to blame for.
pub(super) fn usage_failure(session: &Session, command: &str, failure: Failure) -> Failure {
    let program = session.program;
    let message = format!("{program}: {failure}\n\nRun '{program} {command} --help' for more information");
    Failure::new(message).with_code(125)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PullPolicy {
    Always,
    Missing,
    Never,
}

impl PullPolicy {
    pub(super) fn read(parsed: &Parsed) -> Result<PullPolicy, Failure> {
        match parsed.text("pull") {
            "always" => Ok(PullPolicy::Always),
            "missing" | "" => Ok(PullPolicy::Missing),
            "never" => Ok(PullPolicy::Never),
            word => Err(Failure::new(format!(
                "invalid pull option: '{word}': must be one of \"always\", \"missing\" or \"never\""
            ))),
        }
    }
}

/// Creates the container, pulling its image as the policy says.
pub(super) fn create(
    session: &Session,
    parsed: &Parsed,
    mut request: CreateRequest,
    policy: PullPolicy,
) -> Result<CreateResponse, Failure> {
    let id_file = IdFile::reserve(parsed.text("cidfile"))?;
    let image = request.config.image.clone();
    // An ID is no name; whether it is one of an image is the engine's to say.
    if !image.starts_with("sha256:") {
        reference::check(&image).map_err(Failure::new)?;
    }
    let platform = platform(parsed);
    if !platform.is_empty() {
        save::platform_json(&platform).map_err(|failure| {
            Failure::new(format!("error parsing specified platform: {}", failure.message))
        })?;
    }
    add_proxies(session, &mut request)?;
    if let Some(server) = own_host(request.host_config.dns.as_deref().unwrap_or_default()) {
        writeln!(std::io::stderr(), "WARNING: Localhost DNS ({server}) may fail in containers.")?;
    }
    if policy == PullPolicy::Always {
        fetch(session, &image, &platform, parsed)?;
    }
    let client = session.client()?;
    let name = parsed.text("name");
    let created = match client.create_container(name, &platform, &request) {
        Err(error) if error.is_not_found() && policy == PullPolicy::Missing && is_about_image(&error) => {
            if !parsed.on("quiet") {
                writeln!(std::io::stderr(), "Unable to find image '{}' locally", shown_name(&image))?;
            }
            fetch(session, &image, &platform, parsed)?;
            client.create_container(name, &platform, &request)?
        }
        result => result?,
    };
    for warning in &created.warnings {
        writeln!(std::io::stderr(), "WARNING: {warning}")?;
    }
    id_file.write(&created.id)?;
    Ok(created)
}

/// The first name server that means whoever asks it: in a container, the container.
fn own_host(servers: &[String]) -> Option<&str> {
    let is_own =
        |server: &&String| server.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    servers.iter().find(is_own).map(String::as_str)
}

/// A 404 may also be about a network or a volume's driver; pulling helps only the image.
fn is_about_image(error: &client::Error) -> bool {
    let text = error.to_string();
    // One of another platform is as good as none.
    text.contains("No such image") || text.contains("was found but its platform")
}

fn shown_name(image: &str) -> String {
    reference::with_default_tag(image)
}

fn fetch(session: &Session, image: &str, platform: &str, parsed: &Parsed) -> Result<(), Failure> {
    let fancy = terminal::stderr_is_terminal();
    let quiet = parsed.on("quiet");
    let auth = credentials::for_image(session.config()?, image)?;
    pull::fetch(session, &shown_name(image), platform, &auth, quiet, &mut std::io::stderr(), fancy)
}

/// The platform asked for, or the one that the environment sets for all commands.
pub(crate) fn platform(parsed: &Parsed) -> String {
    match parsed.given("platform") {
        Some(platform) => platform.to_owned(),
        None => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    }
}

/// Proxies that the configuration wants every container to know. What the user set stands.
fn add_proxies(session: &Session, request: &mut CreateRequest) -> Result<(), Failure> {
    let config = session.config()?;
    let host = session.host()?;
    let keys = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let entry = config.member_of("proxies", &host).or_else(|| config.member_of("proxies", "default"));
    let Some(entry) = entry else { return Ok(()) };
    let environment = request.config.env.get_or_insert_default();
    for (key, variable) in keys {
        let Some(value) = entry.get(key).and_then(|value| value.as_str()).filter(|value| !value.is_empty())
        else {
            continue;
        };
        for name in [variable.to_owned(), variable.to_lowercase()] {
            let known = environment.iter().any(|entry| entry.split('=').next() == Some(name.as_str()));
            if !known {
                environment.push(format!("{name}={value}"));
            }
        }
    }
    Ok(())
}

/// The file that is to hold the container's ID. It is made before the container, because nobody
/// wants a container whose ID could not be written; without a container it vanishes again.
struct IdFile {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl IdFile {
    fn reserve(path: &str) -> Result<IdFile, Failure> {
        if path.is_empty() {
            return Ok(IdFile { path: None, file: None });
        }
        if Path::new(path).exists() {
            return Err(Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file =
            File::create_new(path).map_err(doing("failed to create the container ID file: open", path))?;
        Ok(IdFile { path: Some(PathBuf::from(path)), file: Some(file) })
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        if let (Some(mut file), Some(path)) = (self.file.take(), self.path.take()) {
            file.write_all(id.as_bytes())
                .map_err(doing("failed to write the container ID to the file", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
    }
}
