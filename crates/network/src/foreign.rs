//! Other people's firewalls: a packet passes only if every table lets it pass.
//!
//! Where Docker, or an administrator, has set the policy of iptables' FORWARD chain to DROP, containers of ours would
//! have no network. An accept in our table cannot change that. So, for each bridge, two rules (packets from it, packets
//! to it) are put at the head of `DOCKER-USER`, or of `FORWARD` where there is no such chain. This is the only place
//! outside its own table where the engine writes; the rules bear a comment, go with their bridge, and may be removed
//! by hand (they come back when the engine starts, unless its firewall is switched off).
//!
//! Any other chain that drops what is forwarded by default is left alone and named in a warning. Limits: rules of the
//! old iptables (`iptables-legacy`) cannot be seen here.

use linux::netlink::Socket;
use linux::nftables::expression::{Expression as E, from_interface, to_interface};
use linux::nftables::{self, Batch, Chain, Hook, Policy, TableFamily, Verdict};

/// How a rule's user data says that a comment follows (libnftnl's `NFTNL_UDATA_RULE_COMMENT`).
const COMMENT: u8 = 0;

/// A chain that would drop what containers send, and whether it is one where the exception goes.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle<'a> {
    /// Rules go to the head of this chain.
    Exception {
        family: TableFamily,
        table: &'a str,
        chain: &'a str,
    },
    Warning(String),
}

/// Bring the exceptions in line with the bridges that there are. What cannot be helped is returned, for the log.
pub(crate) fn update(socket: &mut Socket, own_table: &str, bridges: &[&str]) -> linux::Result<Vec<String>> {
    let chains = nftables::chains(socket)?;
    let mut warnings = Vec::new();
    for obstacle in obstacles(&chains) {
        match obstacle {
            Obstacle::Warning(warning) => warnings.push(warning),
            Obstacle::Exception { family, table, chain } => {
                // Somebody else's chain may go while we look at it; the engine's own work does not fail with that.
                if let Err(error) = except(socket, own_table, bridges, (family, table, chain)) {
                    let name = family.name();
                    warnings.push(format!("cannot let containers through {name} {table} {chain}: {error}"));
                }
            }
        }
    }
    Ok(warnings)
}

fn obstacles<'a>(chains: &'a [Chain]) -> Vec<Obstacle<'a>> {
    let drops =
        |chain: &&Chain| chain.hook == Some(Hook::Forward as u32) && chain.policy == Some(Policy::Drop);
    let obstacle = |chain: &'a Chain| {
        let is_iptables =
            chain.table == "filter" && chain.name == "FORWARD" && chain.family != TableFamily::Inet;
        if !is_iptables {
            let Chain { table, name, family, .. } = chain;
            let family = family.name();
            return Obstacle::Warning(format!(
                "the chain {family} {table} {name} drops forwarded packets unless a rule of its own accepts them: containers may have no network"
            ));
        }
        let has_user_chain = chains.iter().any(|other| {
            other.family == chain.family && other.table == chain.table && other.name == "DOCKER-USER"
        });
        let name = if has_user_chain { "DOCKER-USER" } else { &chain.name };
        Obstacle::Exception { family: chain.family, table: &chain.table, chain: name }
    };
    chains.iter().filter(drops).filter(|chain| !is_own(chain)).map(obstacle).collect()
}

/// Tables of other engines of this kind: they forward everything that is not theirs, or were told not to.
fn is_own(chain: &Chain) -> bool {
    chain.family == TableFamily::Inet && (chain.table == "wharf" || chain.table.starts_with("wharf-"))
}

fn except(
    socket: &mut Socket,
    own_table: &str,
    bridges: &[&str],
    (family, table, chain): (TableFamily, &str, &str),
) -> linux::Result<()> {
    let ours = format!("{own_table} ");
    let mut present = Vec::new();
    let mut batch = Batch::new(family, table);
    for rule in nftables::rules(socket, family, table, chain)? {
        let Some(bridge) = comment(&rule.mark).and_then(|comment| comment.strip_prefix(&ours)) else {
            continue;
        };
        if bridges.contains(&bridge) {
            present.push(bridge.to_owned());
        } else {
            batch.delete_rule(chain, rule.handle);
        }
    }
    for bridge in bridges.iter().filter(|bridge| !present.iter().any(|other| other == *bridge)) {
        let mark = mark(&format!("{ours}{bridge}"));
        for side in [from_interface(bridge), to_interface(bridge)] {
            let mut rule = side.to_vec();
            rule.extend([E::Counter, E::Do(Verdict::Accept)]);
            batch.insert_rule(chain, &rule, &mark);
        }
    }
    batch.commit(socket)
}

fn mark(comment: &str) -> Vec<u8> {
    let mut mark = vec![COMMENT, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    mark.extend_from_slice(comment.as_bytes());
    mark.push(0);
    mark
}

fn comment(mark: &[u8]) -> Option<&str> {
    let [COMMENT, length, text @ ..] = mark else { return None };
    let text = text.get(..usize::from(*length))?;
    std::str::from_utf8(text.strip_suffix(&[0])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: TableFamily, table: &str, name: &str, policy: Option<Policy>) -> Chain {
        let hook = policy.map(|_| Hook::Forward as u32);
        Chain { family, table: table.into(), name: name.into(), hook, policy }
    }

    #[test]
    fn only_policies_that_drop_are_obstacles() {
        use TableFamily::{Inet, Ip, Ip6};
        let chains = [
            chain(Ip, "filter", "FORWARD", Some(Policy::Drop)),
            chain(Ip, "filter", "DOCKER-USER", None),
            chain(Ip6, "filter", "FORWARD", Some(Policy::Drop)),
            chain(Inet, "firewall", "forward", Some(Policy::Drop)),
            chain(Inet, "other", "forward", Some(Policy::Accept)),
            chain(Inet, "wharf-12345678", "forward", Some(Policy::Drop)),
        ];
        let obstacles = obstacles(&chains);
        assert_eq!(obstacles.len(), 3, "{obstacles:?}");
        assert_eq!(obstacles[0], Obstacle::Exception { family: Ip, table: "filter", chain: "DOCKER-USER" });
        assert_eq!(obstacles[1], Obstacle::Exception { family: Ip6, table: "filter", chain: "FORWARD" });
        assert!(matches!(&obstacles[2], Obstacle::Warning(text) if text.contains("inet firewall forward")));
    }

    #[test]
    fn comments_are_found_again() {
        assert_eq!(comment(&mark("wharf wharf0")), Some("wharf wharf0"));
        assert_eq!(comment(&[0, 9, b'x']), None);
        assert_eq!(comment(&[]), None);
    }
}
