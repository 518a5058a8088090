//! `man`: writes the manual pages, for those who package this program.
//!
//! There is a page for the program, for each group and for each command, in the macros of man(7).
//! All they say comes from the tree of commands, so they never tell of another program than this.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::failure::{Outcome, doing};
use crate::flags::{self, Count, Parsed};
use crate::session::{self, Session};
use crate::tree::{self, Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["man"],
    &["DIRECTORY"],
    "Write the manual pages into a directory",
    Count::Exactly(1),
    Vec::new,
    run,
)
.hidden()
.names(Names::Files);

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let directory = Path::new(parsed.first());
    fs::create_dir_all(directory).map_err(doing("could not make", directory.display()))?;
    for (name, page) in pages(session.program) {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, page).map_err(doing("could not write", path.display()))?;
    }
    Ok(0)
}

/// All pages by their names: `wharf`, `wharf-container`, `wharf-container-run`, and `wharf-run`,
/// which says where to read on.
fn pages(program: &str) -> Vec<(String, String)> {
    let mut pages = vec![(program.to_owned(), of_program(program))];
    for group in tree::GROUPS {
        pages.push((format!("{program}-{}", group.name), of_group(program, group)));
    }
    for spec in crate::commands::ALL.iter().filter(|spec| !spec.hidden) {
        let [home, others @ ..] = spec.spellings else { continue };
        let name = page_name(program, home);
        for other in others {
            pages.push((page_name(program, other), format!(".so man1/{name}.1\n")));
        }
        pages.push((name, of_command(program, home, spec)));
    }
    pages
}

fn page_name(program: &str, command: &str) -> String {
    format!("{program}-{}", command.replace(' ', "-"))
}

fn head(program: &str, name: &str, summary: &str) -> String {
    format!(
        ".TH {} 1 \"\" \"Wharf {}\" \"{} manual\"\n.SH NAME\n{} \\- {}\n",
        plain(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        plain(program),
        plain(name),
        plain(summary),
    )
}

fn of_program(program: &str) -> String {
    let mut page = head(program, program, "run containers");
    let _ = write!(page, ".SH SYNOPSIS\n.B {0}\n[OPTIONS] COMMAND [ARG...]\n.SH COMMANDS\n", plain(program));
    for group in tree::GROUPS {
        entry(&mut page, &page_name(program, group.name), group.summary);
    }
    for (name, spec) in tree::tops() {
        entry(&mut page, &page_name(program, name), spec.summary);
    }
    page.push_str(".SH OPTIONS\n");
    options(&mut page, session::global_flags());
    page.push_str(".SH ENVIRONMENT\n");
    for (name, about) in ENVIRONMENT {
        let _ = write!(page, ".TP\n.B {}\n{}\n", plain(name), plain(about));
    }
    page
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("DOCKER_HOST, WHARF_HOST", "Socket of the engine to talk to"),
    ("DOCKER_CONTEXT", "Context whose engine to talk to"),
    ("DOCKER_CONFIG", "Directory of the client's configuration files"),
    ("DOCKER_API_VERSION", "Version of the interface to speak"),
    ("DOCKER_CERT_PATH", "Directory of ca.pem, cert.pem and key.pem"),
    ("DOCKER_TLS, DOCKER_TLS_VERIFY", "Talk TLS; check who the server is"),
    ("DOCKER_DEFAULT_PLATFORM", "Platform of images, for commands that take one"),
    ("DOCKER_AUTH_CONFIG", "Credentials for registries, as JSON"),
    ("DOCKER_CUSTOM_HEADERS", "Headers to send with each request"),
];

fn of_group(program: &str, group: &tree::Group) -> String {
    let mut page = head(program, &page_name(program, group.name), group.summary);
    let _ = write!(page, ".SH SYNOPSIS\n.B {} {}\nCOMMAND\n.SH COMMANDS\n", plain(program), group.name);
    for (name, spec) in tree::members(group.name) {
        entry(&mut page, &page_name(program, &format!("{} {name}", group.name)), spec.summary);
    }
    page
}

fn of_command(program: &str, home: &str, spec: &Spec) -> String {
    let mut page = head(program, &page_name(program, home), spec.summary);
    page.push_str(".SH SYNOPSIS\n");
    for usage in spec.usage {
        let _ = write!(page, ".B {} {home}\n{}\n.br\n", plain(program), plain(usage));
    }
    let details = if spec.details.is_empty() { spec.summary } else { spec.details };
    page.push_str(".SH DESCRIPTION\n.nf\n");
    for line in details.lines() {
        let _ = writeln!(page, "{}", plain(line));
    }
    page.push_str(".fi\n");
    if spec.spellings.len() > 1 {
        let spellings: Vec<String> =
            spec.spellings.iter().map(|spelling| plain(&format!("{program} {spelling}"))).collect();
        let _ = write!(page, ".PP\nAlso called: {}\n", spellings.join(", "));
    }
    let flags = (spec.flags)();
    if !flags.is_empty() {
        page.push_str(".SH OPTIONS\n");
        options(&mut page, flags);
    }
    let _ = write!(page, ".SH SEE ALSO\n.BR {} (1)\n", plain(program));
    page
}

fn entry(page: &mut String, name: &str, summary: &str) {
    let _ = write!(page, ".TP\n.BR {} (1)\n{}\n", plain(name), plain(summary));
}

fn options(page: &mut String, flags: Vec<clap::Arg>) {
    let command = flags::command(flags, false);
    let mut flags: Vec<&clap::Arg> =
        command.get_arguments().filter(|arg| arg.get_long().is_some() && !arg.is_hide_set()).collect();
    flags.sort_by_key(|arg| arg.get_long());
    for flag in flags {
        let long = plain(&format!("--{}", flag.get_long().unwrap_or_default()));
        let short = flag.get_short().map(|letter| format!("\\fB\\-{letter}\\fR, ")).unwrap_or_default();
        let kind = match flag.get_value_names() {
            Some([kind]) if !kind.is_empty() => format!(" \\fI{}\\fR", plain(kind)),
            _ => String::new(),
        };
        let about = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, ".TP\n{short}\\fB{long}\\fR{kind}\n{}\n", plain(&about));
    }
}

/// A text in which nothing is an instruction: hyphens are those of options, and a line begins with
/// neither a dot nor a quote.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_every_command_and_spelling() {
        let pages = pages("wharf");
        let page = |name: &str| {
            let found = pages.iter().find(|(known, _)| known == name);
            found.map(|(_, page)| page.as_str()).unwrap_or_default()
        };
        assert!(page("wharf").contains(".BR wharf\\-run (1)\nCreate a container and run it\n"));
        assert!(page("wharf-container").contains(".BR wharf\\-container\\-ls (1)"));
        assert!(page("wharf-container-ls").contains("\\fB\\-a\\fR, \\fB\\-\\-all\\fR\n"));
        assert_eq!(page("wharf-ps"), ".so man1/wharf-container-ls.1\n");
        let mut names: Vec<&String> = pages.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), pages.len());
    }

    #[test]
    fn no_line_is_an_instruction_by_chance() {
        for (name, page) in pages("wharf") {
            for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
                let known = [".TH ", ".SH ", ".TP", ".B ", ".BR ", ".PP", ".br", ".nf", ".fi", ".so "];
                assert!(known.iter().any(|macro_| line.starts_with(macro_)), "{name}: {line}");
            }
        }
    }
}
