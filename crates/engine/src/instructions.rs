//! Dockerfile lines that change an image's configuration without a build: `commit --change`, `import --change`.

use oci::image::{Config, Empty, Healthcheck};

use crate::duration;
use crate::error::{Error, Result};

/// Applies lines such as `CMD ["sh"]` and `ENV A=1 B=2`, in order.
pub(crate) fn apply(config: &mut Config, lines: &[String]) -> Result<()> {
    let mut command_set = false;
    for line in lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let word = word.to_ascii_uppercase();
        let before = config.cmd.clone();
        instruction(config, &word, rest.trim())?;
        match word.as_str() {
            "CMD" => command_set = true,
            // A command that these lines have set themselves was written for the new entrypoint.
            "ENTRYPOINT" if command_set => config.cmd = before,
            _ => {}
        }
    }
    Ok(())
}

fn instruction(config: &mut Config, word: &str, rest: &str) -> Result<()> {
    match word {
        "CMD" | "ENTRYPOINT" | "ENV" | "LABEL" | "EXPOSE" | "VOLUME" | "USER" | "WORKDIR" | "STOPSIGNAL"
        | "ONBUILD" | "HEALTHCHECK"
            if rest.is_empty() =>
        {
            return Err(Error::invalid(format!("{word} requires at least one argument")));
        }
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(config, rest));
            // A command was written for the entrypoint that it stood behind.
            config.cmd = None;
        }
        "ENV" => {
            for (key, value) in pairs(word, rest)? {
                config.env.retain(|entry| entry.split('=').next() != Some(&key));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(word, rest)?),
        "EXPOSE" => {
            for port in words(rest)? {
                crate::container::check_exposed(&port)?;
                let port = if port.contains('/') { port } else { format!("{port}/tcp") };
                config.exposed_ports.insert(port, Empty {});
            }
        }
        "VOLUME" => {
            let paths = list(rest).map_or_else(|| words(rest), Ok)?;
            config.volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => config.user = rest.to_owned(),
        "WORKDIR" => config.working_dir = directory(&config.working_dir, rest),
        "STOPSIGNAL" => {
            if linux::signal::parse(rest).is_none() {
                return Err(Error::invalid(format!("invalid signal: {rest}")));
            }
            config.stop_signal = rest.to_owned();
        }
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "HEALTHCHECK" => config.healthcheck = Some(health(rest)?),
        other => return Err(Error::invalid(format!("{other} is not a valid change command"))),
    }
    Ok(())
}

/// A JSON list as it stands; anything else is a line for the shell.
fn command(config: &Config, rest: &str) -> Vec<String> {
    list(rest).unwrap_or_else(|| {
        let shell = config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
        shell.into_iter().chain([rest.to_owned()]).collect()
    })
}

fn list(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest).ok()
}

/// `A=1 B="2 3"`, or the older `A 1`.
fn pairs(word: &str, rest: &str) -> Result<Vec<(String, String)>> {
    let all = words(rest)?;
    if all.first().is_some_and(|first| !first.contains('=')) {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::invalid(format!("{word} must have two arguments")))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    all.into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::invalid(format!(
                "Syntax error - can't find = in {pair:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}

/// Words separated by spaces; quotes and backslashes keep a space in a word.
fn words(text: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut within = false;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.extend(characters.next());
                within = true;
            }
            (character, Some(open)) if character == open => quote = None,
            (character, Some(_)) => word.push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                within = true;
            }
            (character, None) if character.is_whitespace() => {
                if within {
                    all.push(std::mem::take(&mut word));
                }
                within = false;
            }
            (character, None) => {
                word.push(character);
                within = true;
            }
        }
    }
    if quote.is_some() {
        return Err(Error::invalid(format!("unterminated quote in {text:?}")));
    }
    if within {
        all.push(word);
    }
    Ok(all)
}

fn directory(before: &str, next: &str) -> String {
    if next.starts_with('/') {
        crate::container::clean(next)
    } else {
        crate::container::clean(&format!("{before}/{next}"))
    }
}

fn health(rest: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    if rest.eq_ignore_ascii_case("NONE") {
        check.test = vec!["NONE".into()];
        return Ok(check);
    }
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let invalid = || Error::invalid(format!("invalid HEALTHCHECK flag --{flag}"));
        match name {
            "interval" => check.interval = duration::nanoseconds(value).ok_or_else(invalid)?,
            "timeout" => check.timeout = duration::nanoseconds(value).ok_or_else(invalid)?,
            "start-period" => check.start_period = duration::nanoseconds(value).ok_or_else(invalid)?,
            "start-interval" => check.start_interval = duration::nanoseconds(value).ok_or_else(invalid)?,
            "retries" => check.retries = value.parse().map_err(|_| invalid())?,
            _ => return Err(invalid()),
        }
        rest = after.trim_start();
    }
    let (word, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !word.eq_ignore_ascii_case("CMD") || line.is_empty() {
        return Err(Error::invalid(format!("Unknown type {word:?} in HEALTHCHECK (try CMD)")));
    }
    check.test = match list(line.trim()) {
        Some(arguments) => std::iter::once("CMD".to_owned()).chain(arguments).collect(),
        None => vec!["CMD-SHELL".into(), line.trim().to_owned()],
    };
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> Result<Config> {
        let mut config = Config { env: vec!["A=old".into()], ..Config::default() };
        apply(&mut config, &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())?;
        Ok(config)
    }

    #[test]
    fn lines_change_what_they_name() {
        let config = applied(&[
            "CMD [\"sh\", \"-c\", \"true\"]",
            "env A=1 B=\"two words\"",
            "LABEL tier front",
            "EXPOSE 80 53/udp",
            "WORKDIR /srv",
            "WORKDIR www/../app",
            "VOLUME [\"/data\"]",
            "HEALTHCHECK --interval=5s CMD curl localhost",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "true"]);
        assert_eq!(config.env, ["A=1", "B=two words"]);
        assert_eq!(config.labels["tier"], "front");
        assert!(config.exposed_ports.contains_key("80/tcp") && config.exposed_ports.contains_key("53/udp"));
        assert_eq!(config.working_dir, "/srv/app");
        let check = config.healthcheck.unwrap();
        assert_eq!(
            (check.interval, check.test.join(" ").as_str()),
            (5_000_000_000, "CMD-SHELL curl localhost")
        );
    }

    #[test]
    fn a_line_without_brackets_is_for_the_shell() {
        assert_eq!(applied(&["ENTRYPOINT top -b"]).unwrap().entrypoint.unwrap(), ["/bin/sh", "-c", "top -b"]);
    }

    #[test]
    fn other_instructions_are_refused() {
        assert_eq!(applied(&["RUN true"]).unwrap_err().message(), "RUN is not a valid change command");
        assert!(applied(&["CMD"]).is_err());
        assert!(applied(&["ENV A"]).is_err());
        assert!(applied(&["ENV A=\"x"]).is_err());
    }
}
