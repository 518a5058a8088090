//! The specification's filter in the kernel's terms.

use linux::seccomp::{Action, Architecture, Compare, Condition, Filter, Flags, Program, Rule, supports};
use oci::runtime::{Seccomp, SeccompAction, SeccompArgument, SeccompFlag, SeccompOperator, SeccompRule};

use crate::{Error, Result};

/// A compiled filter and how it is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) flags: Flags,
}

/// Nothing where the section says nothing.
pub(crate) fn compile(seccomp: &Seccomp) -> Result<Option<Compiled>> {
    let Some(default) = seccomp.default_action else {
        return match seccomp.syscalls.is_empty() {
            true => Ok(None),
            false => Err(Error::invalid("seccomp: defaultAction is missing")),
        };
    };
    let mut filter = Filter {
        default: action(default, seccomp.default_errno_ret)?,
        architectures: architectures(&seccomp.architectures)?,
        rules: Vec::with_capacity(seccomp.syscalls.len()),
    };
    if filter.default == Action::Notify {
        return Err(Error::invalid("SCMP_ACT_NOTIFY cannot be used as default action"));
    }
    for rule in &seccomp.syscalls {
        if rule.names.iter().any(String::is_empty) {
            return Err(Error::invalid("seccomp: empty string is not a valid syscall"));
        }
        let action = action(rule.action, rule.errno_ret)?;
        // A rule that says what happens anyway would only cost.
        if action != filter.default {
            filter.rules.extend(rules(rule, action)?);
        }
    }
    let notifies = filter.rules.iter().any(|rule| rule.action == Action::Notify);
    if filter.rules.iter().any(|rule| rule.action == Action::Notify && rule.calls.contains(&"write")) {
        return Err(Error::invalid("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    }
    if notifies && seccomp.listener_path.is_empty() {
        return Err(Error::invalid("seccomp: SCMP_ACT_NOTIFY is used but listenerPath is not set"));
    }
    let program = filter.compile().map_err(|error| Error::invalid(format_args!("seccomp: {error}")))?;
    Ok(Some(Compiled { program, flags: flags(seccomp.flags.as_deref(), notifies)? }))
}

/// Machines that no kernel of ours answers for: a profile for all the world names them, and no call can come from them.
#[rustfmt::skip]
const ELSEWHERE: &[&str] = &[
    "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB",
];

/// Every architecture that a filter may name.
pub(crate) fn architecture_names() -> Vec<&'static str> {
    let ours = Architecture::all();
    let mut names: Vec<_> = ours.iter().map(|own| own.name()).chain(ELSEWHERE.iter().copied()).collect();
    names.sort_unstable();
    names
}

fn architectures(names: &[String]) -> Result<Vec<Architecture>> {
    let mut architectures = Vec::with_capacity(names.len());
    for name in names {
        match Architecture::parse(name) {
            Some(architecture) => architectures.push(architecture),
            None if ELSEWHERE.contains(&name.as_str()) => {}
            None => {
                return Err(Error::invalid(format_args!("seccomp: architecture {name} is not known")));
            }
        }
    }
    Ok(architectures)
}

/// The flags that may be named, and of them those that this kernel takes with any filter. One is for filters that ask
/// somebody, and only for those.
pub(crate) fn flag_names() -> (Vec<&'static str>, Vec<&'static str>) {
    let nothing = Flags::default();
    let all = [
        ("SECCOMP_FILTER_FLAG_TSYNC", Flags { all_threads: true, ..nothing }),
        ("SECCOMP_FILTER_FLAG_LOG", Flags { log: true, ..nothing }),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flags { allow_speculation: true, ..nothing }),
        ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", Flags { wait_killable: true, ..nothing }),
    ];
    let supported = all.iter().filter(|(_, flags)| supports(*flags)).map(|(name, _)| *name).collect();
    (all.iter().map(|(name, _)| *name).collect(), supported)
}

/// Two conditions on one argument have always meant "either", which is a rule for each.
fn rules(rule: &SeccompRule, action: Action) -> Result<Vec<Rule<'_>>> {
    let calls: Vec<&str> = rule.names.iter().map(String::as_str).collect();
    let conditions = rule.args.iter().map(condition).collect::<Result<Vec<_>>>()?;
    let repeats = (0..6).any(|index| rule.args.iter().filter(|argument| argument.index == index).count() > 1);
    if repeats {
        let single = |condition| Rule { calls: calls.clone(), action, conditions: vec![condition] };
        return Ok(conditions.into_iter().map(single).collect());
    }
    Ok(vec![Rule { calls, action, conditions }])
}

fn condition(argument: &SeccompArgument) -> Result<Condition> {
    let value = argument.value;
    let compare = match argument.op {
        SeccompOperator::NotEqual => Compare::NotEqual(value),
        SeccompOperator::Less => Compare::Less(value),
        SeccompOperator::LessOrEqual => Compare::LessOrEqual(value),
        SeccompOperator::Equal => Compare::Equal(value),
        SeccompOperator::GreaterOrEqual => Compare::GreaterOrEqual(value),
        SeccompOperator::Greater => Compare::Greater(value),
        SeccompOperator::MaskedEqual => Compare::Masked { mask: value, value: argument.value_two },
    };
    match u8::try_from(argument.index) {
        Ok(index) if index < 6 => Ok(Condition { argument: index, compare }),
        _ => Err(Error::invalid(format_args!("seccomp: argument index {} is above 5", argument.index))),
    }
}

fn action(action: SeccompAction, errno: Option<u32>) -> Result<Action> {
    /// `EPERM`, when a rule names none.
    const DEFAULT: u32 = 1;
    /// libseccomp takes no greater one. The kernel has 4095, and answers with that for all that are greater.
    const GREATEST: u16 = 4094;
    let number = |limit: u16| {
        let number = errno.unwrap_or(DEFAULT);
        u16::try_from(number)
            .ok()
            .filter(|number| *number <= limit)
            .ok_or_else(|| Error::invalid(format_args!("seccomp: errnoRet {number} is too large")))
    };
    Ok(match action {
        SeccompAction::Kill | SeccompAction::KillThread => Action::KillThread,
        SeccompAction::KillProcess => Action::KillProcess,
        SeccompAction::Trap => Action::Trap,
        SeccompAction::Errno => Action::Errno(number(GREATEST)?),
        SeccompAction::Trace => Action::Trace(number(u16::MAX)?),
        SeccompAction::Allow => Action::Allow,
        SeccompAction::Log => Action::Log,
        SeccompAction::Notify => Action::Notify,
    })
}

/// Where the configuration has no list of flags, the filter leaves speculation alone where the kernel can: its mitigation costs every
/// program far more than the filter.
fn flags(named: Option<&[SeccompFlag]>, listener: bool) -> Result<Flags> {
    let mut flags = Flags { listener, ..Flags::default() };
    for flag in named.unwrap_or_default() {
        match flag {
            // A container's first process has one thread.
            SeccompFlag::Tsync => {}
            SeccompFlag::Log => flags.log = true,
            SeccompFlag::SpecAllow => flags.allow_speculation = true,
            // Of waiting for whoever is asked. The kernel refuses it where nobody is.
            SeccompFlag::WaitKillableRecv => flags.wait_killable = listener,
        }
    }
    if named.is_none() {
        flags.allow_speculation = true;
        flags.allow_speculation = supports(flags);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Seccomp {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases = [
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "default action"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_PDP11"]}"#, "SCMP_ARCH_PDP11"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["open"],"action":"SCMP_ACT_NOTIFY"}]}"#,
                "listenerPath",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["open"],"action":"SCMP_ACT_ALLOW",
                    "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
                "above 5",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["open",""],"action":"SCMP_ACT_LOG"}]}"#,
                "empty string is not a valid syscall",
            ),
            (r#"{"syscalls":[{"names":["open"],"action":"SCMP_ACT_LOG"}]}"#, "defaultAction is missing"),
        ];
        for (text, expected) in cases {
            let error = compile(&parse(text)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_default_has_an_errno_too() {
        let with = |field: &str| {
            compile(&parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO"{field}}}"#))).unwrap().unwrap()
        };
        assert_eq!(with("").program, with(r#","defaultErrnoRet":1"#).program);
        assert_ne!(with("").program, with(r#","defaultErrnoRet":38"#).program);
        for large in [4095, 65536] {
            let seccomp =
                parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":{large}}}"#));
            assert!(compile(&seccomp).unwrap_err().to_string().contains(&format!("errnoRet {large}")));
        }
    }

    #[test]
    fn a_section_that_says_nothing_is_no_filter() {
        assert!(compile(&parse("{}")).unwrap().is_none());
    }

    #[test]
    fn conditions_on_one_argument_are_alternatives() {
        let seccomp = parse(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["personality"],"action":"SCMP_ACT_ALLOW",
                "args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        assert_eq!(rules(&seccomp.syscalls[0], Action::Allow).unwrap().len(), 2);
    }
}
