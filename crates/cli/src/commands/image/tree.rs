//! `images --tree`: each image with all of its names, what it takes, and whether a container uses it.
//!
//! Docker draws the platforms of an image below it. Here, as in Docker's own store, an image has one platform, so that
//! the tree is a table whose first column takes what the terminal leaves.

use std::fmt::Write as _;
use std::io::Write as _;

use api::image::Summary;
use client::Query;

use crate::failure::{Failure, Outcome};
use crate::flags::Parsed;
use crate::format::{ellipsis, shown_id, width as width_of};
use crate::session::Session;
use crate::terminal;
use crate::units;

/// Of an output that is no terminal.
const USUAL_WIDTH: usize = 80;
const SPACING: usize = 3;
/// When names would have less room than this, columns on the right are left out.
const LEAST_FOR_NAMES: usize = 12;

const WARNING: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
const HEADER: &str = "\x1b[39m\x1b[1m";
const NAME: &str = "\x1b[34m\x1b[1m";
const NAMELESS: &str = "\x1b[39m\x1b[2m";
const TEXT: &str = "\x1b[39m";
const CHIP: &str = "\x1b[38;5;0m\x1b[48;5;14m";
const RESET: &str = "\x1b[0m";

/// The columns behind the names.
const COLUMNS: [Column; 4] = [
    Column { title: "ID", width: 12, right: false },
    Column { title: "DISK USAGE", width: 10, right: true },
    Column { title: "CONTENT SIZE", width: 12, right: true },
    Column { title: "EXTRA", width: 5, right: false },
];

struct Column {
    title: &'static str,
    width: usize,
    right: bool,
}

pub(super) fn run(session: &Session, parsed: &Parsed, filters: &str) -> Outcome {
    for (flag, name) in
        [("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest"), ("format", "format")]
    {
        let given = if flag == "format" { !parsed.text(flag).is_empty() } else { parsed.on(flag) };
        if given {
            return Err(Failure::new(format!("--{name} is not yet supported with --tree")));
        }
    }
    let all = parsed.on("all");
    let query = Query::new().set_if("all", all).set_filled("filters", filters).set_if("manifests", true);
    let mut images = session.client()?.list_images(&query)?;
    if !all {
        images.retain(|image| !names(image).is_empty());
    }
    let colour = terminal::stdout_is_terminal();
    let width = terminal::columns().filter(|_| colour).unwrap_or(USUAL_WIDTH);
    let mut out = std::io::stdout().lock();
    out.write_all(draw(&images, width, colour).as_bytes())?;
    out.flush()?;
    Ok(0)
}

fn names(image: &Summary) -> Vec<&str> {
    image.repo_tags.iter().flatten().map(String::as_str).filter(|name| *name != "<none>:<none>").collect()
}

fn draw(images: &[Summary], width: usize, colour: bool) -> String {
    let longest = images.iter().map(|image| match names(image)[..] {
        [] => "<untagged>".len(),
        ref names => names.iter().map(|name| width_of(name)).max().unwrap_or(0),
    });
    let longest = longest.chain(["IMAGE".len()]).max().unwrap_or(0);
    let (columns, left) = fitting(width);
    let first = left.min(longest);
    let mut text = legend(width, colour);
    let mut header = vec![painted(true, HEADER, "IMAGE", first, false)];
    for column in columns {
        header.push(painted(true, HEADER, column.title, column.width.min(column.title.len()), false));
    }
    // Titles are as wide as their columns but for the first two, which are filled up.
    if let Some(id) = header.get_mut(1) {
        id.push_str(&" ".repeat(COLUMNS[0].width - COLUMNS[0].title.len()));
    }
    push_line(&mut text, &header);
    for image in images {
        draw_image(&mut text, image, (first, width), columns, colour);
    }
    text
}

/// The columns for which there is room, and what they leave.
fn fitting(width: usize) -> (&'static [Column], usize) {
    let mut left = width;
    for (at, column) in COLUMNS.iter().enumerate() {
        match left.checked_sub(column.width + SPACING) {
            Some(rest) if rest >= LEAST_FOR_NAMES => left = rest,
            _ => return (&COLUMNS[..at], left),
        }
    }
    (&COLUMNS, left)
}

fn legend(width: usize, colour: bool) -> String {
    let (warning, shown, length) = match colour {
        true => (
            format!("\x1b[93m{WARNING}{RESET}"),
            format!(
                "\x1b[1m\x1b[106m\x1b[30mi{RESET}{RESET} \x1b[96mInfo → {RESET}{RESET} {CHIP} U {RESET} In Use "
            ),
            width_of("i Info →   U  In Use "),
        ),
        false => (WARNING.to_owned(), "Info ->  U In Use ".to_owned(), "Info ->  U In Use ".len()),
    };
    format!("{warning}\n{}{shown}\n\n", " ".repeat(width.saturating_sub(length)))
}

/// The last of the names shares its line with the rest; the others have lines of their own.
fn draw_image(
    text: &mut String,
    image: &Summary,
    (first, width): (usize, usize),
    columns: &[Column],
    colour: bool,
) {
    let names = names(image);
    let last = match names.split_last() {
        None => painted(colour, NAMELESS, "<untagged>", first, false),
        Some((last, others)) => {
            for name in others {
                let whole = if colour { ellipsis(name, width) } else { (*name).to_owned() };
                let _ = writeln!(text, "{}", painted(colour, NAME, &whole, 0, false));
            }
            painted(colour, NAME, &ellipsis(last, first), first, false)
        }
    };
    let used = image.containers > 0;
    let texts = [
        shown_id(&image.id, false),
        units::decimal_size(image.size as f64),
        units::decimal_size(0.0),
        // What is drawn in colour has room around it.
        match (used, colour) {
            (false, _) => String::new(),
            (true, false) => "U".to_owned(),
            (true, true) => " U ".to_owned(),
        },
    ];
    let mut cells = vec![last];
    for (column, content) in columns.iter().zip(&texts) {
        let paint = if column.title == "EXTRA" { CHIP } else { TEXT };
        cells.push(painted(colour && !content.is_empty(), paint, content, column.width, column.right));
    }
    push_line(text, &cells);
}

/// A text of this width at least; the colour ends with the text itself.
fn painted(colour: bool, paint: &str, content: &str, width: usize, right: bool) -> String {
    let fill = " ".repeat(width.saturating_sub(width_of(content)));
    let content = if colour { format!("{paint}{content}{RESET}") } else { content.to_owned() };
    if right { format!("{fill}{content}") } else { format!("{content}{fill}") }
}

fn push_line(text: &mut String, cells: &[String]) {
    text.push_str(&cells.join(&" ".repeat(SPACING)));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str], containers: i64) -> Summary {
        Summary {
            id: format!("sha256:{}", "d441c9ccd4bb".repeat(6)),
            repo_tags: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            size: 1_982_922,
            containers,
            ..Summary::default()
        }
    }

    /// Without the lines above the header.
    fn table(images: &[Summary], width: usize, colour: bool) -> Vec<String> {
        draw(images, width, colour).lines().skip(3).map(str::to_owned).collect()
    }

    #[test]
    fn as_docker_draws_it() {
        let long = "edges-a-quite-long-name.example/with/path:sometag";
        let images = [
            image(&[long], 0),
            image(&[], 0),
            image(&["a-quite-long-name-that-is-printed/whole:x", "b:y"], 1),
        ];
        assert_eq!(
            table(&images, 80, false)[1..],
            [
                "edges-a-quite-long-name.exam…   d441c9ccd4bb       1.98MB             0B        ",
                "<untagged>                      d441c9ccd4bb       1.98MB             0B        ",
                "a-quite-long-name-that-is-printed/whole:x",
                "b:y                             d441c9ccd4bb       1.98MB             0B   U    ",
            ]
        );
        assert_eq!(
            table(&[image(&["busybox:latest"], 1)], 90, true)[1],
            "\x1b[34m\x1b[1mbusybox:latest\x1b[0m   \x1b[39md441c9ccd4bb\x1b[0m       \x1b[39m1.98MB\x1b[0m             \
             \x1b[39m0B\x1b[0m   \x1b[38;5;0m\x1b[48;5;14m U \x1b[0m  "
        );
        assert_eq!(
            table(&[], 80, false)[0],
            "\x1b[39m\x1b[1mIMAGE\x1b[0m   \x1b[39m\x1b[1mID\x1b[0m             \x1b[39m\x1b[1mDISK USAGE\x1b[0m   \
             \x1b[39m\x1b[1mCONTENT SIZE\x1b[0m   \x1b[39m\x1b[1mEXTRA\x1b[0m"
        );
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        let lines = table(&[image(&["wharf-bench:latest"], 1)], 60, false);
        assert_eq!(lines[1], "wharf-bench:late…   d441c9ccd4bb       1.98MB             0B");
        assert!(!lines[0].contains("EXTRA"));
        assert_eq!(table(&[image(&["x:y"], 0)], 5, false)[1], "x:y  ");
        assert!(draw(&[], 80, false).contains(&format!("\n{}Info ->  U In Use \n\n", " ".repeat(62))));
    }
}
