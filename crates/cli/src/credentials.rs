//! Who we are at a registry.
//!
//! Secrets live in `config.json` (`auths`, base64 of `user:password`) or in a credential helper, a
//! program `docker-credential-NAME` that `credHelpers` names for one registry and `credsStore` for
//! all others. `DOCKER_AUTH_CONFIG` holds read-only ones that win over both.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use api::auth::Auth;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::Failure;

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
    config.member_of("auths", registry).map(from_entry).transpose()
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
        call_helper(&helper, "store", &input)?.map_err(Failure::new)?;
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
        call_helper(&helper, "erase", registry)?.map_err(Failure::new)?;
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
        let decoded = STANDARD.decode(&auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (username, password) = pair.ok_or_else(|| {
            Failure::new("invalid auth configuration file: an \"auth\" is not base64 of user:password")
        })?;
        credentials.username = username.to_owned();
        credentials.password = password.trim_end_matches('\0').to_owned();
    }
    Ok(credentials)
}

fn helper_get(helper: &str, registry: &str) -> Result<Option<Auth>, Failure> {
    match call_helper(helper, "get", registry)? {
        Err(message) if message.contains("credentials not found") => Ok(None),
        Err(message) => {
            Err(Failure::new(format!("error getting credentials - docker-credential-{helper}: {message}")))
        }
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

/// Calls a helper: the outer error is ours, the inner one the helper's own words.
fn call_helper(helper: &str, action: &str, input: &str) -> Result<Result<String, String>, Failure> {
    let program = format!("docker-credential-{helper}");
    // A name with a slash would run a file of somebody's choice.
    if helper.contains('/') {
        return Err(Failure::new(format!("invalid credential helper name {helper:?}")));
    }
    let failed = |error| crate::failure::doing("could not run", &program)(error);
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A helper that fails early may not read its input; its exit status tells.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if output.status.success() { Ok(text) } else { Err(text) })
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
        assert!(read(json!({"auth": "%%%"})).unwrap_err().contains("base64"));
    }
}
