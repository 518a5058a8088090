//! `login`.

use std::io::{Read as _, Write as _};

use api::auth::Auth;

use crate::credentials::{self, HUB};
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, text};
use crate::session::Session;
use crate::tree::Spec;
use crate::{prompt, terminal};

pub(crate) const SPEC: Spec =
    Spec::new(&["login"], &["[OPTIONS] [SERVER]"], "Log in to a registry", Count::AtMost(1), flags, run)
        .details("Log in to a registry: to Docker Hub if no server is named.");

/// A token beyond this is none.
const SECRET_LIMIT: u64 = 1024 * 1024;

fn flags() -> Vec<clap::Arg> {
    vec![
        text("password", "string", "Password or personal access token").short('p'),
        switch("password-stdin", "Read the password or token from standard input"),
        text("username", "string", "User").short('u'),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    credentials::warn_of_environment();
    let server = parsed.first();
    let registry = if server.is_empty() { HUB } else { credentials::canonical(server) };
    let mut config = session.config()?.clone();
    let auth = Auth { serveraddress: registry.to_owned(), ..ask(parsed, &config, registry)? };
    let answer = session.client()?.check_credentials(&auth)?;
    let auth = if answer.identity_token.is_empty() {
        auth
    } else {
        // The registry gave a token in place of the password: that is what is kept.
        Auth { password: String::new(), identitytoken: answer.identity_token, ..auth }
    };
    let in_the_clear = credentials::store(&mut config, registry, &auth)?;
    if in_the_clear {
        writeln!(
            std::io::stderr(),
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nA credential helper (\"credsStore\" in that file) would keep them safe.\n",
            config.path().display()
        )?;
    }
    let status = if answer.status.is_empty() { "Login Succeeded" } else { &answer.status };
    writeln!(std::io::stdout(), "{status}")?;
    Ok(0)
}

fn ask(parsed: &Parsed, config: &crate::config::Config, registry: &str) -> Result<Auth, Failure> {
    let mut username = parsed.text("username").to_owned();
    let mut password = parsed.text("password").to_owned();
    for flag in ["username", "password"] {
        if parsed.given(flag) == Some("") {
            return Err(Failure::new(format!("{flag} is empty")));
        }
    }
    if parsed.on("password-stdin") {
        if parsed.given("password").is_some() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        if username.is_empty() {
            return Err(Failure::new("the --password-stdin option requires --username to be set"));
        }
        std::io::stdin().lock().take(SECRET_LIMIT).read_to_string(&mut password)?;
        password.truncate(password.trim_end_matches(['\n', '\r']).len());
    } else if parsed.given("password").is_some() {
        writeln!(
            std::io::stderr(),
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin."
        )?;
    }
    // A helper that fails knows nobody.
    let known = credentials::find(config, registry).ok().flatten().unwrap_or_default();
    if username.is_empty()
        && password.is_empty()
        && !(known.username.is_empty() && known.identitytoken.is_empty())
    {
        writeln!(
            std::io::stderr(),
            "Authenticating with existing credentials... [Username: {}]",
            known.username
        )?;
        return Ok(known);
    }
    if (username.is_empty() || password.is_empty()) && !terminal::stdin_is_terminal() {
        return Err(Failure::new("Error: Cannot perform an interactive login from a non TTY device"));
    }
    if username.is_empty() {
        let default =
            if known.username.is_empty() { String::new() } else { format!(" ({})", known.username) };
        username = prompt::line(&format!("Username{default}: "))?;
        if username.is_empty() {
            username = known.username;
        }
    }
    if username.is_empty() {
        return Err(Failure::new("username is required"));
    }
    if password.is_empty() {
        password = prompt::secret("Password: ")?;
    }
    if password.is_empty() {
        return Err(Failure::new("password is required"));
    }
    Ok(Auth { username, password, ..Auth::default() })
}
