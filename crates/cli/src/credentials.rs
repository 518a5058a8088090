//! Who we are at a registry.
//!
//! Secrets live in `config.json` (`auths`, base64 of `user:password`) or in a credential helper, a
//! program `docker-credential-NAME` that `credHelpers` names for one registry and `credsStore` for
//! all others. `DOCKER_AUTH_CONFIG` holds read-only ones that win over both.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use api::auth::Auth;
use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::{Failure, words};

/// The name under which credentials for Docker Hub are kept.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";
/// What a helper calls the user when the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Credentials that come with the environment.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// What it may hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Environment {
    #[serde(default)]
    auths: BTreeMap<String, EnvironmentEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentEntry {
    auth: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperEntry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// The registry that an image name lives at, as credentials name it.
pub(crate) fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            canonical(host)
        }
        _ => HUB,
    }
}

/// The name under which a server's credentials are kept.
pub(crate) fn canonical(server: &str) -> &str {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    match host {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB,
        host => host,
    }
}

/// Finds the credentials for a registry; none is not an error.
pub(crate) fn find(config: &Config, registry: &str) -> Result<Option<Auth>, Failure> {
    if let Some(text) = environment() {
        match from_environment(&text, registry) {
            Ok(Some(auth)) => return Ok(Some(auth)),
            Ok(None) => {}
            // As docker: what is kept elsewhere may do.
            Err(why) => complain(&format!("Failed to create credential store from {VARIABLE}:  {why}")),
        }
    }
    if let Some(helper) = helper_for(config, registry) {
        return helper_get(&helper, registry);
    }
    // What is wrong with an entry has been told by now.
    Ok(config.member_of("auths", registry).and_then(|entry| from_entry(entry).ok()))
}

fn environment() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())
}

fn complain(text: &str) {
    // To nobody, if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whoever logs in or out is told why nothing changes by it.
pub(crate) fn warn_of_environment() {
    if environment().is_some() {
        complain(&format!(
            "\n Warn -> {VARIABLE} is set and takes precedence.\n         Unset {VARIABLE} to restore the CLI auth behaviour.\n         "
        ));
    }
}

/// All of it is looked at, whichever registry is meant.
fn from_environment(text: &str, registry: &str) -> Result<Option<Auth>, String> {
    // A list would pass for a document without its names.
    if !text.trim_start().starts_with('{') {
        return Err("it is not an object".to_owned());
    }
    let document: Environment = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut found = None;
    for (name, entry) in document.auths {
        let auth = entry
            .auth
            .filter(|auth| !auth.is_empty())
            .ok_or_else(|| format!("{VARIABLE} environment variable is missing key `auth` for {name}"))?;
        let auth = from_entry(&json!({ "auth": auth })).map_err(|failure| failure.message)?;
        if name == registry {
            found = Some(auth);
        }
    }
    Ok(found)
}

/// Keeps credentials. Returns the file, when they lie there unencrypted.
pub(crate) fn store(config: &mut Config, registry: &str, credentials: &Auth) -> Result<bool, Failure> {
    if let Some(helper) = helper_for(config, registry) {
        let (username, secret) = if credentials.identitytoken.is_empty() {
            (credentials.username.clone(), credentials.password.clone())
        } else {
            (TOKEN_USER.to_owned(), credentials.identitytoken.clone())
        };
        let entry = HelperEntry { server_url: registry.to_owned(), username, secret };
        let input = serde_json::to_string(&entry).map_err(|error| Failure::new(error.to_string()))?;
        call_helper(&helper, "store", &input).map_err(|refusal| refusal.to("storing"))?;
        config.set_of("auths", registry, json!({}));
        config.save()?;
        return Ok(false);
    }
    let auth = STANDARD.encode(format!("{}:{}", credentials.username, credentials.password));
    let mut entry = json!({ "auth": auth });
    if !credentials.identitytoken.is_empty() {
        entry = json!({ "auth": STANDARD.encode(format!("{}:", credentials.username)), "identitytoken": credentials.identitytoken });
    }
    config.set_of("auths", registry, entry);
    config.save()?;
    Ok(true)
}

/// Forgets credentials.
pub(crate) fn erase(config: &mut Config, registry: &str) -> Result<(), Failure> {
    if let Some(helper) = helper_for(config, registry) {
        call_helper(&helper, "erase", registry).map_err(|refusal| refusal.to("erasing"))?;
    }
    config.unset_of("auths", registry);
    config.save()
}

/// The credentials to send along with a request about an image.
pub(crate) fn for_image(config: &Config, reference: &str) -> Result<Auth, Failure> {
    let registry = registry_of(reference);
    let auth = find(config, registry)?.unwrap_or_default();
    Ok(Auth { serveraddress: registry.to_owned(), ..auth })
}

/// The same for those who go on without any: a registry may ask for none.
pub(crate) fn offered(config: &Config, reference: &str) -> Auth {
    let registry = registry_of(reference);
    for_image(config, reference)
        .unwrap_or_else(|_| Auth { serveraddress: registry.to_owned(), ..Auth::default() })
}

fn helper_for(config: &Config, registry: &str) -> Option<String> {
    let store = || Some(config.text("credsStore")).filter(|name| !name.is_empty());
    config.text_of("credHelpers", registry).or_else(store)
}

fn from_entry(entry: &Value) -> Result<Auth, Failure> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut credentials = Auth {
        username: text("username"),
        password: text("password"),
        identitytoken: text("identitytoken"),
        registrytoken: text("registrytoken"),
        ..Auth::default()
    };
    let auth = text("auth");
    if !auth.is_empty() {
        (credentials.username, credentials.password) = decode(&auth).map_err(Failure::new)?;
    }
    Ok(credentials)
}

/// The user and the password.
fn decode(auth: &str) -> Result<(String, String), String> {
    let bytes = STANDARD.decode(auth).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => auth.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let (user, password) = text.split_once(':').ok_or("Invalid auth configuration file")?;
    Ok((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// What is wrong with the credentials in a configuration.
pub(crate) fn complaint(document: &Value) -> Option<String> {
    let entries = document.get("auths")?.as_object()?;
    entries.values().find_map(|entry| {
        let auth = entry.get("auth")?.as_str().filter(|auth| !auth.is_empty())?;
        decode(auth).err()
    })
}

fn helper_get(helper: &str, registry: &str) -> Result<Option<Auth>, Failure> {
    match call_helper(helper, "get", registry) {
        Err(refusal) if refusal.said.contains("credentials not found") => Ok(None),
        Err(refusal) => Err(refusal.to("getting")),
        Ok(output) => {
            let entry: HelperEntry = serde_json::from_str(&output).map_err(|error| {
                Failure::new(format!("docker-credential-{helper} answered nonsense: {error}"))
            })?;
            Ok(Some(if entry.username == TOKEN_USER {
                Auth { identitytoken: entry.secret, ..Auth::default() }
            } else {
                Auth { username: entry.username, password: entry.secret, ..Auth::default() }
            }))
        }
    }
}

/// Why a helper did not help, and what it said itself.
struct Refusal {
    why: String,
    said: String,
}

impl Refusal {
    fn to(self, act: &str) -> Failure {
        Failure::new(format!("error {act} credentials - err: {}, out: `{}`", self.why, self.said))
    }
}

fn call_helper(helper: &str, action: &str, input: &str) -> Result<String, Refusal> {
    let program = format!("docker-credential-{helper}");
    // A name with a slash would run a file of somebody's choice.
    let started = match helper.contains('/') {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Command::new(&program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn(),
    };
    let failed = |error: io::Error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            _ => words(&error),
        };
        Refusal { why: format!("exec: {program:?}: {why}"), said: String::new() }
    };
    let mut child = started.map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A helper that fails early may not read its input; its exit status tells.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match (output.status.success(), output.status.code()) {
        (true, _) => Ok(said),
        (_, Some(code)) => Err(Refusal { why: format!("exit status {code}"), said }),
        (_, None) => Err(Refusal { why: output.status.to_string(), said }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_read_off_image_names() {
        assert_eq!(registry_of("alpine"), HUB);
        assert_eq!(registry_of("library/alpine:3"), HUB);
        assert_eq!(registry_of("docker.io/library/alpine"), HUB);
        assert_eq!(registry_of("localhost/x"), "localhost");
        assert_eq!(registry_of("host:5000/x@sha256:00"), "host:5000");
        assert_eq!(registry_of("ghcr.io/a/b"), "ghcr.io");
        assert_eq!(canonical("https://ghcr.io/v2/"), "ghcr.io");
        assert_eq!(canonical("docker.io"), HUB);
    }

    #[test]
    fn entries_are_understood() {
        let read = |value: Value| from_entry(&value).map_err(|failure| failure.message);
        let plain = read(json!({"auth": STANDARD.encode("me:pass:word")})).unwrap();
        assert_eq!((plain.username.as_str(), plain.password.as_str()), ("me", "pass:word"));
        let token = read(json!({"auth": STANDARD.encode("me:"), "identitytoken": "t"})).unwrap();
        assert_eq!(token.identitytoken, "t");
        assert_eq!(read(json!({"auth": "%%%"})).unwrap_err(), "illegal base64 data at input byte 0");
        let known = json!({"auths": {"x": {"auth": STANDARD.encode("nobody")}, "y": {"auth": ""}}});
        assert_eq!(complaint(&known).unwrap(), "Invalid auth configuration file");
    }
}
