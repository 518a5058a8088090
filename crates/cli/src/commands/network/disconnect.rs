//! `network disconnect`.

use api::network::DisconnectRequest;

use crate::failure::{Failure, Outcome};
use crate::flags::{Count, Parsed, switch};
use crate::session::Session;
use crate::tree::{Names, Spec};

pub(crate) const SPEC: Spec = Spec::new(
    &["network disconnect"],
    &["[OPTIONS] NETWORK CONTAINER"],
    "Disconnect a container from a network",
    Count::Exactly(2),
    flags,
    run,
)
.names(Names::NetworkAndContainer);

fn flags() -> Vec<clap::Arg> {
    vec![switch("force", "Disconnect it even if something goes wrong").short('f')]
}

fn run(session: &Session, parsed: &Parsed) -> Outcome {
    let [name, container] = parsed.arguments() else {
        return Err(Failure::new("a network and a container are required"));
    };
    let request = DisconnectRequest { container: container.clone(), force: parsed.on("force") };
    session.client()?.disconnect_network(name, &request)?;
    Ok(0)
}
