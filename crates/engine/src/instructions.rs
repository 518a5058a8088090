//! Dockerfile lines that change an image's configuration without a build: `commit --change`, `import --change`.

use oci::image::{Config, Empty, Healthcheck};

use crate::error::{Error, Result};

mod words;

/// The least that a probe waits.
const SHORTEST: i64 = 1_000_000;

/// The instructions that say what an image is, not how it is made.
const KNOWN: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies lines such as `CMD ["sh"]` and `ENV A=1 B=$A`, in order. A line that ends with a backslash goes on in the
/// next one.
pub(crate) fn apply(config: &mut Config, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let lines = whole_lines(&lines.join("\n"));
    let lines: Vec<(String, &str)> = lines.iter().map(|line| parted(line)).collect();
    if lines.is_empty() {
        return Err(Error::invalid("file with no instructions"));
    }
    if let Some((word, _)) = lines.iter().find(|(word, _)| !KNOWN.contains(&word.as_str())) {
        return Err(Error::invalid(format!("{word} is not a valid change command")));
    }
    let mut command_set = false;
    for (word, rest) in lines {
        let before = config.cmd.clone();
        instruction(config, &word, rest)?;
        match word.as_str() {
            "CMD" => command_set = true,
            // A command that these lines have set themselves was written for the new entrypoint.
            "ENTRYPOINT" if command_set => config.cmd = before,
            _ => {}
        }
    }
    Ok(())
}

/// Lines without comments and empty ones, those that go on put together.
fn whole_lines(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut begun = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(line) => begun.push_str(line),
            None => all.push(std::mem::take(&mut begun) + line),
        }
    }
    all.extend((!begun.is_empty()).then_some(begun));
    all
}

/// The instruction of a line, and what it is told.
fn parted(line: &str) -> (String, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word.to_ascii_uppercase(), rest.trim())
}

fn instruction(config: &mut Config, word: &str, rest: &str) -> Result<()> {
    if rest.is_empty() && !matches!(word, "CMD" | "ENTRYPOINT") {
        let wanted = match word {
            "USER" | "WORKDIR" | "STOPSIGNAL" => "exactly one argument",
            _ => "at least one argument",
        };
        return Err(Error::invalid(format!("{word} requires {wanted}")));
    }
    let expand = |text: &str| words::expand(text, &config.env);
    match word {
        "CMD" if rest.is_empty() => config.cmd = Some(shell(config)),
        "CMD" => config.cmd = command(config, rest)?,
        "ENTRYPOINT" => {
            config.entrypoint = if rest.is_empty() { None } else { command(config, rest)? };
            // A command was written for the entrypoint that it stood behind.
            config.cmd = None;
        }
        "ENV" => {
            for (key, value) in pairs(word, rest, &config.env)? {
                let said = format!("{key}={value}");
                match config.env.iter_mut().find(|entry| entry.split('=').next() == Some(&key)) {
                    Some(entry) => *entry = said,
                    None => config.env.push(said),
                }
            }
        }
        "LABEL" => config.labels.extend(pairs(word, rest, &config.env)?),
        "EXPOSE" => {
            let ports: Result<Vec<String>> = rest.split_whitespace().map(expand).collect();
            for port in ports? {
                let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
                crate::container::check_exposed(&port)
                    .map_err(|_| Error::invalid(misread_port(number, protocol)))?;
                let (first, last) = number.split_once('-').unwrap_or((number, number));
                let one = |port: &str| {
                    port.parse::<u16>().map_err(|_| Error::invalid(misread_port(number, protocol)))
                };
                for port in one(first)?..=one(last)? {
                    config.exposed_ports.insert(format!("{port}/{protocol}"), Empty {});
                }
            }
        }
        "VOLUME" => {
            let paths = list(rest)?;
            let paths = paths.unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            let paths: Result<Vec<String>> = paths.iter().map(|path| expand(path)).collect();
            for path in paths? {
                if path.trim().is_empty() {
                    return Err(Error::invalid("VOLUME specified can not be an empty string"));
                }
                config.volumes.insert(path.trim().to_owned(), Empty {});
            }
        }
        "USER" => config.user = expand(rest)?,
        "WORKDIR" => config.working_dir = directory(&config.working_dir, &expand(rest)?),
        "STOPSIGNAL" => {
            let signal = expand(rest)?;
            if linux::signal::parse_wish(&signal).is_none() {
                return Err(Error::invalid(format!("invalid signal: {signal}")));
            }
            config.stop_signal = signal;
        }
        "ONBUILD" => config.on_build.push(trigger(rest)?),
        "HEALTHCHECK" => config.healthcheck = Some(health(rest)?),
        other => return Err(Error::invalid(format!("{other} is not a valid change command"))),
    }
    Ok(())
}

fn misread_port(number: &str, protocol: &str) -> String {
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "udp" | "sctp" => format!("Invalid containerPort: {number}"),
        _ => format!("Invalid proto: {protocol}"),
    }
}

/// A line for the build of another image on this one.
fn trigger(line: &str) -> Result<String> {
    match parted(line).0.as_str() {
        "ONBUILD" => Err(Error::invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
        word @ ("MAINTAINER" | "FROM") => {
            Err(Error::invalid(format!("{word} isn't allowed as an ONBUILD trigger")))
        }
        _ => Ok(line.to_owned()),
    }
}

/// A JSON list as it stands, and an empty one is none; anything else is a line for the shell.
fn command(config: &Config, rest: &str) -> Result<Option<Vec<String>>> {
    let words = match list(rest)? {
        Some(words) => words,
        None => shell(config).into_iter().chain([rest.to_owned()]).collect(),
    };
    Ok((!words.is_empty()).then_some(words))
}

fn shell(config: &Config) -> Vec<String> {
    config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()])
}

/// `None`: it is no JSON list.
fn list(rest: &str) -> Result<Option<Vec<String>>> {
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else { return Ok(None) };
    let text = |item: serde_json::Value| item.as_str().map(str::to_owned);
    let words: Option<Vec<String>> = items.into_iter().map(text).collect();
    let only = "when using JSON array syntax, arrays must be comprised of strings only";
    words.map(Some).ok_or_else(|| Error::invalid(only))
}

/// `A=1 B="2 3"`, or the older `A 1`. Variables have the values from before the line.
fn pairs(word: &str, rest: &str, environment: &[String]) -> Result<Vec<(String, String)>> {
    let expand = |text: &str| words::expand(text, environment);
    let all = words::split(rest)?;
    if all.first().is_some_and(|first| !first.contains('=')) {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::invalid(format!("{word} must have two arguments")))?;
        return Ok(vec![(expand(key)?, expand(value.trim())?)]);
    }
    all.iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((expand(key)?, expand(value)?)),
            _ => Err(Error::invalid(format!(
                "Syntax error - can't find = in {pair:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
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
    let mut seen = Vec::new();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        if flag.is_empty() {
            break;
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let target = match name {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            "retries" => &mut check.retries,
            _ => return Err(Error::invalid(format!("unknown flag: --{name}"))),
        };
        if seen.contains(&name) {
            return Err(Error::invalid(format!("duplicate flag specified: --{name}")));
        }
        seen.push(name);
        *target = match value {
            None => return Err(Error::invalid(format!("missing a value on flag: --{name}"))),
            Some("") => 0,
            Some(value) if name == "retries" => retries(value)?,
            Some(value) => pause(name, value)?,
        };
    }
    let (word, line) = parted(rest);
    check.test = match word.as_str() {
        "" => return Err(Error::invalid("HEALTHCHECK requires at least one argument")),
        // What flags say of a check that there is not counts for nothing.
        "NONE" if line.is_empty() => {
            return Ok(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() });
        }
        "NONE" => return Err(Error::invalid("HEALTHCHECK NONE takes no arguments")),
        "CMD" => probe(line)?,
        other => {
            return Err(Error::invalid(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")));
        }
    };
    Ok(check)
}

fn probe(line: &str) -> Result<Vec<String>> {
    let test: Vec<String> = match list(line)? {
        Some(arguments) => std::iter::once("CMD".to_owned()).chain(arguments).collect(),
        None => vec!["CMD-SHELL".into(), line.to_owned()],
    };
    if line.is_empty() || test == ["CMD"] {
        return Err(Error::invalid("Missing command after HEALTHCHECK CMD"));
    }
    Ok(test)
}

fn pause(name: &str, text: &str) -> Result<i64> {
    let pause = moment::duration::parse(text).map_err(Error::invalid)?;
    if pause != 0 && pause < SHORTEST {
        return Err(Error::invalid(format!("Interval {name:?} cannot be less than 1ms")));
    }
    Ok(pause)
}

fn retries(text: &str) -> Result<i64> {
    let count: i64 = api::number::parse(text, "ParseInt").map_err(Error::invalid)?;
    if count < 0 {
        return Err(Error::invalid(format!("--retries cannot be negative ({count})")));
    }
    Ok(count)
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
    fn commands_without_words() {
        let config = applied(&["CMD"]).unwrap();
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c"]);
        assert_eq!(applied(&["CMD [\"sh\"]", "CMD []"]).unwrap().cmd, None);
        for nothing in ["ENTRYPOINT", "ENTRYPOINT []"] {
            assert_eq!(applied(&["ENTRYPOINT [\"sh\"]", nothing]).unwrap().entrypoint, None);
        }
    }

    #[test]
    fn variables_are_those_of_the_image_so_far() {
        let config =
            applied(&["ENV B=$A C=${NONE:-x}\nENV D=\"$B\" \\\n E='$B'", "USER $A", "WORKDIR /$B"]).unwrap();
        assert_eq!(config.env, ["A=old", "B=old", "C=x", "D=old", "E=$B"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("old", "/old"));
        let config = applied(&["ENV B=1", "ENV A=new C=2 B=3"]).unwrap();
        assert_eq!(config.env, ["A=new", "B=3", "C=2"], "each stays where it is");
        let check = applied(&["HEALTHCHECK --retries=3 NONE"]).unwrap().healthcheck.unwrap();
        assert_eq!((check.test, check.retries), (vec!["NONE".to_owned()], 0));
    }

    #[test]
    fn a_line_without_brackets_is_for_the_shell() {
        assert_eq!(applied(&["ENTRYPOINT top -b"]).unwrap().entrypoint.unwrap(), ["/bin/sh", "-c", "top -b"]);
    }

    #[test]
    fn other_instructions_are_refused() {
        assert_eq!(applied(&["RUN true"]).unwrap_err().message(), "RUN is not a valid change command");
        assert!(applied(&["ENV A"]).is_err());
        assert!(applied(&["ENV A=\"x"]).is_err());
        for (line, message) in [
            ("", "file with no instructions"),
            ("USER", "USER requires exactly one argument"),
            ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
            ("EXPOSE x", "Invalid containerPort: x"),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            ("HEALTHCHECK x", "Unknown type \"X\" in HEALTHCHECK (try CMD)"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK --interval=x CMD y", "time: invalid duration \"x\""),
            ("HEALTHCHECK --interval=1 CMD y", "time: missing unit in duration \"1\""),
            ("HEALTHCHECK --interval=-1s CMD y", "Interval \"interval\" cannot be less than 1ms"),
            ("HEALTHCHECK --interval CMD y", "missing a value on flag: --interval"),
            ("HEALTHCHECK --retries=1 --retries=2 CMD y", "duplicate flag specified: --retries"),
            ("HEALTHCHECK --retries=1", "HEALTHCHECK requires at least one argument"),
            ("HEALTHCHECK --bogus=1 CMD y", "unknown flag: --bogus"),
            ("HEALTHCHECK NONE y", "HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
            ("CMD [\"a\",1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ] {
            assert_eq!(applied(&[line]).unwrap_err().message(), message, "{line}");
        }
    }
}
