//! From a seccomp profile, which speaks of capabilities, architectures and kernel versions, to the filter of one
//! container, which does not: rules whose conditions do not hold are left out.
//!
//! The profile format is Docker's, so that existing profiles work. The default one is `data/seccomp.json`, where
//! each group of calls carries its reason.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use oci::runtime::{Seccomp, SeccompAction, SeccompArgument, SeccompFlag, SeccompRule};
use serde::Deserialize;

use crate::error::{Error, Result};

/// Larger profiles are refused: Docker's own is 15 KB, and each is kept in its container's record.
const MAX_PROFILE: usize = 1 << 20;

static BUILTIN: LazyLock<Profile> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/seccomp.json"))
        .expect("the built-in profile is tested to parse")
});

/// What conditions are checked against.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// In Go's words (`amd64`).
    pub(crate) architecture: &'a str,
    /// Major and minor version.
    pub(crate) kernel: (u32, u32),
    /// The container's bounding set.
    pub(crate) capabilities: &'a [String],
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    default_action: SeccompAction,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<Architecture>>,
    #[serde(default)]
    flags: Option<Vec<SeccompFlag>>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// The older form: one name per rule.
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: SeccompAction,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<SeccompArgument>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Profile {
    pub(crate) fn builtin() -> &'static Profile {
        &BUILTIN
    }

    /// A profile that somebody wrote.
    pub(crate) fn parse(text: &str) -> Result<Profile> {
        if text.len() > MAX_PROFILE {
            return Err(Error::invalid(format!("seccomp profile is larger than {MAX_PROFILE} bytes")));
        }
        let profile: Profile = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("decoding seccomp profile failed: {error}")))?;
        if profile.architectures.is_some() && profile.arch_map.is_some() {
            return Err(Error::invalid(
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
            ));
        }
        for rule in profile.syscalls.iter().flatten() {
            if !rule.name.is_empty() && rule.names.as_ref().is_some_and(|names| !names.is_empty()) {
                return Err(Error::invalid(
                    "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
                ));
            }
        }
        Ok(profile)
    }

    /// The filter for one container.
    pub(crate) fn expand(&self, facts: &Facts<'_>) -> Seccomp {
        let capabilities: BTreeSet<&str> = facts.capabilities.iter().map(String::as_str).collect();
        let holds = |rule: &&Rule| {
            rule.includes.as_ref().is_none_or(|condition| condition.holds(facts, &capabilities))
                && !rule.excludes.as_ref().is_some_and(|condition| condition.touches(facts, &capabilities))
        };
        Seccomp {
            default_action: Some(self.default_action),
            default_errno_ret: self.default_errno_ret,
            architectures: self.architectures_for(facts.architecture),
            flags: self.flags.clone(),
            listener_path: self.listener_path.clone(),
            listener_metadata: self.listener_metadata.clone(),
            syscalls: self.syscalls.iter().flatten().filter(holds).map(Rule::plain).collect(),
        }
    }

    /// The native architecture and those whose calls the same kernel answers.
    fn architectures_for(&self, architecture: &str) -> Vec<String> {
        if let Some(listed) = &self.architectures {
            return listed.clone();
        }
        let native = seccomp_architecture(architecture);
        let mapped = self.arch_map.iter().flatten().find(|entry| Some(entry.architecture.as_str()) == native);
        match mapped {
            Some(entry) => std::iter::once(entry.architecture.clone())
                .chain(entry.sub_architectures.iter().flatten().cloned())
                .collect(),
            None => Vec::new(),
        }
    }
}

impl Condition {
    /// All parts hold: every capability, one of the architectures, the kernel.
    fn holds(&self, facts: &Facts<'_>, capabilities: &BTreeSet<&str>) -> bool {
        let architecture = self
            .arches
            .as_deref()
            .is_none_or(|list| list.is_empty() || list.iter().any(|name| name == facts.architecture));
        let held = self.caps.iter().flatten().all(|name| capabilities.contains(name.as_str()));
        let kernel = self.min_kernel.as_deref().and_then(version).is_none_or(|least| facts.kernel >= least);
        architecture && held && kernel
    }

    /// Any part holds.
    fn touches(&self, facts: &Facts<'_>, capabilities: &BTreeSet<&str>) -> bool {
        self.arches.iter().flatten().any(|name| name == facts.architecture)
            || self.caps.iter().flatten().any(|name| capabilities.contains(name.as_str()))
            || self.min_kernel.as_deref().and_then(version).is_some_and(|least| facts.kernel >= least)
    }
}

impl Rule {
    fn plain(&self) -> SeccompRule {
        let mut names = self.names.clone().unwrap_or_default();
        if !self.name.is_empty() {
            names.push(self.name.clone());
        }
        SeccompRule {
            names,
            action: self.action,
            errno_ret: self.errno_ret,
            args: self.args.clone().unwrap_or_default(),
        }
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Go's name of an architecture in libseccomp's words.
fn seccomp_architecture(architecture: &str) -> Option<&'static str> {
    Some(match architecture {
        "amd64" => "SCMP_ARCH_X86_64",
        "386" => "SCMP_ARCH_X86",
        "arm64" => "SCMP_ARCH_AARCH64",
        "arm" => "SCMP_ARCH_ARM",
        "riscv64" => "SCMP_ARCH_RISCV64",
        "s390x" => "SCMP_ARCH_S390X",
        "ppc64le" => "SCMP_ARCH_PPC64LE",
        "loong64" => "SCMP_ARCH_LOONGARCH64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn facts(capabilities: &[String]) -> Facts<'_> {
        Facts { architecture: "amd64", kernel: (6, 1), capabilities }
    }

    fn rules<'a>(filter: &'a Seccomp, name: &str) -> Vec<&'a SeccompRule> {
        filter.syscalls.iter().filter(|rule| rule.names.iter().any(|known| known == name)).collect()
    }

    #[test]
    fn without_capabilities_clone3_does_not_exist() {
        let filter = Profile::builtin().expand(&facts(&[]));
        let clone3 = rules(&filter, "clone3");
        assert_eq!(clone3.len(), 1);
        assert_eq!((clone3[0].action, clone3[0].errno_ret), (SeccompAction::Errno, Some(38)));
        assert!(rules(&filter, "mount").is_empty());
        assert_eq!(rules(&filter, "clone")[0].args.len(), 1);
        assert_eq!(rules(&filter, "socket").len(), 3);
        assert_eq!(filter.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    }

    #[test]
    fn a_capability_opens_its_calls() {
        let filter = Profile::builtin().expand(&facts(&["CAP_SYS_ADMIN".into()]));
        assert_eq!(rules(&filter, "mount").len(), 1);
        assert_eq!(rules(&filter, "clone3")[0].action, SeccompAction::Allow);
    }

    #[test]
    fn rules_of_other_machines_and_newer_kernels_are_left_out() {
        let filter =
            Profile::builtin().expand(&Facts { architecture: "arm64", kernel: (4, 4), capabilities: &[] });
        assert!(rules(&filter, "arch_prctl").is_empty());
        assert!(!rules(&filter, "cacheflush").is_empty());
        assert!(rules(&filter, "ptrace").is_empty());
    }

    /// What becomes of every call that a filter mentions, however its rules are grouped: an unconditional rule decides alone,
    /// the first of them; conditional ones are alternatives.
    fn verdicts(filter: &Seccomp) -> BTreeMap<&str, Vec<String>> {
        let mut verdicts: BTreeMap<&str, Vec<(bool, String)>> = BTreeMap::new();
        for rule in &filter.syscalls {
            let verdict = format!("{:?} {:?} {:?}", rule.action, rule.errno_ret, rule.args);
            for name in &rule.names {
                verdicts.entry(name).or_default().push((rule.args.is_empty(), verdict.clone()));
            }
        }
        let decide = |rules: Vec<(bool, String)>| {
            let mut all: Vec<String> = match rules.iter().find(|(always, _)| *always) {
                Some((_, verdict)) => vec![verdict.clone()],
                None => rules.into_iter().map(|(_, verdict)| verdict).collect(),
            };
            all.sort();
            all
        };
        verdicts.into_iter().map(|(name, rules)| (name, decide(rules))).collect()
    }

    /// On every architecture, on old and new kernels, with every capability alone, with none and with all.
    #[test]
    fn each_call_meets_the_fate_it_meets_in_docker() {
        let docker = Profile::parse(include_str!("../../tests/data/docker-seccomp.json")).unwrap();
        let conditions = docker.syscalls.iter().flatten().flat_map(|rule| [&rule.includes, &rule.excludes]);
        let named = conditions.flatten().filter_map(|condition| condition.caps.clone()).flatten();
        let all: Vec<String> = named.collect::<BTreeSet<_>>().into_iter().collect();
        let mut sets: Vec<Vec<String>> = all.iter().map(|name| vec![name.clone()]).collect();
        sets.extend([Vec::new(), all]);
        for architecture in ["amd64", "386", "arm64", "arm", "s390x", "ppc64le", "riscv64", "loong64"] {
            for kernel in [(3, 10), (4, 7), (4, 8), (6, 18)] {
                for capabilities in &sets {
                    let facts = Facts { architecture, kernel, capabilities };
                    let (ours, theirs) = (Profile::builtin().expand(&facts), docker.expand(&facts));
                    assert_eq!(verdicts(&ours), verdicts(&theirs), "{facts:?}");
                    assert_eq!(
                        (ours.default_action, ours.default_errno_ret, &ours.architectures, &ours.flags),
                        (
                            theirs.default_action,
                            theirs.default_errno_ret,
                            &theirs.architectures,
                            &theirs.flags
                        ),
                        "{facts:?}"
                    );
                }
            }
        }
    }

    /// Whoever reads the profile learns why each group is as it is.
    #[test]
    fn every_group_has_its_reason() {
        let json: serde_json::Value = serde_json::from_str(include_str!("../data/seccomp.json")).unwrap();
        for group in json["syscalls"].as_array().unwrap() {
            let reason = group["comment"].as_str().unwrap_or_default();
            assert!(reason.len() > 4, "{group}");
        }
    }

    #[test]
    fn contradictory_profiles_are_refused() {
        let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":[],"archMap":[]}"#;
        assert!(
            Profile::parse(both).unwrap_err().message().contains("use either 'architectures' or 'archMap'")
        );
        assert!(Profile::parse("{").unwrap_err().message().starts_with("decoding seccomp profile failed"));
        assert!(Profile::parse(r#"{"defaultAction":"SCMP_ACT_DANCE"}"#).is_err());
    }

    #[test]
    fn the_older_form_has_one_name_per_rule() {
        let text =
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mkdir","action":"SCMP_ACT_ERRNO"}]}"#;
        let filter = Profile::parse(text).unwrap().expand(&facts(&[]));
        assert_eq!(filter.syscalls[0].names, ["mkdir"]);
    }
}
