//! `system prune`: all prunes in one.

use std::io::Write as _;

use api::filters::Filters;
use client::Query;

use crate::commands::image::prune as images;
use crate::commands::prune_filters;
use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch, typed};
use crate::format::natural;
use crate::needs::since;
use crate::prompt;
use crate::session::Session;
use crate::tree::Spec;
use crate::units;
use crate::values::filter;

pub(crate) const SPEC: Spec = Spec::new(
    &["system prune"],
    &["[OPTIONS]"],
    "Remove everything that nothing needs",
    Count::None,
    flags,
    run,
)
.since(since(25))
.flags_since(&[("filter", since(28))]);

fn flags() -> Vec<clap::Arg> {
    vec![
        switch("all", "Remove all images without a container, not just those without a name").short('a'),
        typed(
            "filter",
            "filter",
            filter::argument,
            "Remove only these (for example \"label=<key>=<value>\")",
        )
        .action(clap::ArgAction::Append),
        switch("force", "Do not ask").short('f'),
        switch("volumes", "Remove anonymous volumes too"),
    ]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let (all, with_volumes) = (parsed.on("all"), parsed.on("volumes"));
    let filters = prune_filters(session, parsed)?;
    if with_volumes && filter::parse(&parsed.list("filter"))?.contains("until") {
        return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    if !parsed.on("force") && !prompt::confirm(&warning(all, with_volumes, &in_effect(&filters)))? {
        return Ok(0);
    }
    let client = session.client()?;
    let mut out = std::io::stdout();
    let mut space = 0;
    let mut block = |title: &str, names: Option<Vec<String>>| -> std::io::Result<()> {
        match names {
            Some(names) if !names.is_empty() => writeln!(out, "{title}:\n{}\n", names.join("\n")),
            _ => Ok(()),
        }
    };
    let report = client.prune_containers(&filters)?;
    space += report.space_reclaimed;
    block("Deleted Containers", report.containers_deleted)?;
    block("Deleted Networks", client.prune_networks(&filters)?.networks_deleted)?;
    if with_volumes {
        let report = client.prune_volumes(&filters)?;
        space += report.space_reclaimed;
        block("Deleted Volumes", report.volumes_deleted)?;
    }
    let report = client.prune_images(&images::filters(&filters, all)?)?;
    space += report.space_reclaimed;
    out.write_all(images::deleted(&report).as_bytes())?;
    space += prune_build_cache(session, &filters, all)?;
    writeln!(out, "Total reclaimed space: {}", units::decimal_size_long(space as f64))?;
    Ok(0)
}

/// An engine that does not build has no cache to prune, which is no failure.
fn prune_build_cache(session: &Session, filters: &str, all: bool) -> Result<u64, Failure> {
    let query = Query::new().set_if("all", all).set_filled("filters", filters);
    match session.client()?.prune_build_cache(&query) {
        Ok(report) => {
            let names = report.caches_deleted.unwrap_or_default();
            if !names.is_empty() {
                writeln!(std::io::stdout(), "Deleted build cache objects:\n{}\n", names.join("\n"))?;
            }
            Ok(report.space_reclaimed)
        }
        Err(error) if matches!(error.status(), Some(404 | 501)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The filters of a request as people write them, those of the configuration included.
fn in_effect(filters: &str) -> Vec<String> {
    let filters = Filters::parse(filters).unwrap_or_default();
    let told = |key: &'static str| filters.values(key).map(move |value| format!("{key}={value}"));
    let mut all: Vec<String> = ["label", "label!", "until"].into_iter().flat_map(told).collect();
    all.sort_by(|one, other| natural(one, other));
    all
}

fn warning(all: bool, volumes: bool, filters: &[String]) -> String {
    let mut text = String::from(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(match all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in filters {
            text.push_str(&format!("  - {filter}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_asked_sees_all_filters() {
        assert!(in_effect("").is_empty());
        let all = in_effect(r#"{"until":{"1h":true},"label!":{"keep":true},"label":{"b":true,"a=1":true}}"#);
        assert_eq!(all, ["label!=keep", "label=a=1", "label=b", "until=1h"]);
        assert!(
            warning(false, false, &all)
                .ends_with("with:\n  - label!=keep\n  - label=a=1\n  - label=b\n  - until=1h\n")
        );
    }
}
