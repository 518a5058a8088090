//! Containers on networks: addresses, ports, names, and an engine that comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use api::container::{CreateRequest, PortBinding};
use api::filters::Filters;
use api::network::{ConnectRequest, DisconnectRequest, EndpointSettings};
use engine::ErrorKind;

use crate::world::{PATIENCE, World, in_a_world};

/// Serves `/data/given`.
const SERVER: &str = "exec busybox httpd -f -p 80 -h /data";

fn on(network: &str) -> impl FnOnce(&mut CreateRequest) + use<> {
    let network = network.to_owned();
    move |request| request.host_config.network_mode = network
}

fn publishing(network: &str, host_port: &str) -> impl FnOnce(&mut CreateRequest) + use<> {
    let binding = PortBinding { host_ip: String::new(), host_port: host_port.to_owned() };
    let network = network.to_owned();
    move |request| {
        request.host_config.network_mode = network;
        request.host_config.port_bindings = Some([("80/tcp".to_owned(), Some(vec![binding]))].into());
    }
}

/// What an HTTP server says, once it is there.
fn fetch(address: SocketAddr) -> String {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(text) = try_fetch(address) {
            return text;
        }
        assert!(std::time::Instant::now() < deadline, "nobody answers at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn try_fetch(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /given HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.contains("from the image").then_some(text)
}

async fn settings(world: &World, id: &str, network: &str) -> EndpointSettings {
    let shown = world.engine().container_inspect(id, false).await.unwrap();
    shown.network_settings.networks[network].clone()
}

async fn port(world: &World, id: &str) -> u16 {
    let shown = world.engine().container_inspect(id, false).await.unwrap();
    let ports = shown.network_settings.ports.unwrap();
    let bindings = ports["80/tcp"].clone().unwrap();
    assert_eq!(bindings.iter().map(|one| one.host_ip.as_str()).collect::<Vec<_>>(), ["0.0.0.0", "::"]);
    bindings[0].host_port.parse().unwrap()
}

async fn create_network(world: &World, name: &str) -> String {
    let request = api::network::CreateRequest { name: name.into(), ..Default::default() };
    world.engine().network_create(request).await.unwrap().id
}

/// The last line that a script in a new container prints.
async fn says(world: &World, network: &str, name: &str, script: &str) -> String {
    let id = world.run(name, script, on(network)).await;
    world.wait(&id).await;
    let log = world.logs(&id, false).await;
    world.engine().container_remove(&id, Default::default()).await.unwrap();
    log.trim_end().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn the_default_bridge_gives_an_address_and_publishes_ports() {
    in_a_world(async |world| {
        let id = world.run("web", SERVER, publishing("bridge", "")).await;
        let got = settings(world, &id, "bridge").await;
        let network = world.engine().network_inspect("bridge").await.unwrap();
        assert_eq!(network.containers[&id].ipv4_address, format!("{}/{}", got.ip_address, got.ip_prefix_len));
        assert_eq!(got.network_id, network.id);
        let port = port(world, &id).await;
        for host in ["127.0.0.1", "::1", got.gateway.as_str()] {
            fetch(SocketAddr::new(host.parse().unwrap(), port));
        }
        fetch(SocketAddr::new(got.ip_address.parse().unwrap(), 80));
        let refused = world.create("other", "true", publishing("bridge", &port.to_string())).await;
        let error = world.engine().container_start(&refused).await.unwrap_err().to_string();
        assert!(error.starts_with("failed to set up container networking: driver failed programming external connectivity on endpoint other ("), "{error}");
        assert!(
            error.ends_with(&format!("Bind for 0.0.0.0:{port} failed: port is already allocated")),
            "{error}"
        );

        world.engine().container_stop(&id, None, Some(0)).await.unwrap();
        let left =
            world.until(&id, |shown| shown.network_settings.networks["bridge"].ip_address.is_empty()).await;
        assert!(left.network_settings.ports.is_none_or(|ports| ports.is_empty()));
        assert!(try_fetch(SocketAddr::new("127.0.0.1".parse().unwrap(), port)).is_none());
        // The port is free again.
        world.engine().container_start(&refused).await.unwrap();
    });
}

#[test]
fn names_are_known_on_user_defined_networks() {
    in_a_world(async |world| {
        let engine = world.engine();
        let network = create_network(world, "backend").await;
        let id = world
            .run("web", SERVER, |request| {
                on("backend")(request);
                let wish = EndpointSettings { aliases: Some(vec!["www".into()]), ..Default::default() };
                let config = [("backend".to_owned(), Some(wish))].into();
                request.networking_config =
                    Some(api::container::NetworkingConfig { endpoints_config: config });
            })
            .await;
        let got = settings(world, &id, "backend").await;
        assert_eq!(got.dns_names.unwrap(), ["web", "www", &id[..12]]);
        for name in ["web", "www", &id[..12], "web.backend"] {
            let script = format!("busybox wget -qO- http://{name}/given");
            assert_eq!(says(world, "backend", "client", &script).await, "from the image", "{name}");
        }
        engine.container_rename("web", "site").await.unwrap();
        assert_eq!(
            says(world, "backend", "client", "busybox wget -qO- http://site/given").await,
            "from the image"
        );
        // Another network knows nothing of it, and does not reach it.
        let script = format!("busybox nc -w 2 {} 80 </dev/null || echo unreachable", got.ip_address);
        assert_eq!(says(world, "bridge", "client", &script).await, "unreachable");

        let error = engine.network_remove("backend").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert!(
            error.to_string().starts_with(
                "error while removing network: network backend has active endpoints (name:\"site\""
            ),
            "{error}"
        );
        let error = engine.network_remove("bridge").await.unwrap_err();
        assert_eq!(error.to_string(), "bridge is a pre-defined network and cannot be removed");
        engine
            .container_remove(&id, engine::RemoveOptions { force: true, ..Default::default() })
            .await
            .unwrap();
        engine.network_remove(&network[..12]).await.unwrap();
        assert_eq!(engine.network_inspect(&network).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_running_container_joins_and_leaves() {
    in_a_world(async |world| {
        let engine = world.engine();
        create_network(world, "backend").await;
        let web = world.run("web", SERVER, on("backend")).await;
        let client = world.run("client", "while :; do sleep 0.1; done", on("bridge")).await;
        let connect = ConnectRequest { container: "client".into(), endpoint_config: None };
        engine.network_connect("backend", connect.clone()).await.unwrap();
        let error = engine.network_connect("backend", connect).await.unwrap_err();
        assert_eq!(error.to_string(), "endpoint with name client already exists in network backend");
        let script = "busybox wget -qO- http://web/given && busybox ip -4 -o addr show eth1";
        let output = exec(world, &client, script).await;
        assert!(output.contains("from the image"), "{output}");
        assert!(output.contains(&settings(world, &client, "backend").await.ip_address), "{output}");

        let disconnect = DisconnectRequest { container: "client".into(), force: false };
        engine.network_disconnect("backend", disconnect.clone()).await.unwrap();
        let output = exec(world, &client, "busybox ip -o link; cat /etc/resolv.conf").await;
        assert!(!output.contains("eth1") && output.contains("eth0"), "{output}");
        assert!(!output.contains("127.0.0.11"), "{output}");
        let error = engine.network_disconnect("backend", disconnect).await.unwrap_err();
        assert_eq!(error.to_string(), format!("container {client} is not connected to network backend"));
        // The way out goes over another network when the first is left.
        let other = ConnectRequest { container: client.clone(), endpoint_config: None };
        engine.network_connect("backend", other).await.unwrap();
        engine
            .network_disconnect("bridge", DisconnectRequest { container: client.clone(), force: false })
            .await
            .unwrap();
        let output = exec(world, &client, "busybox ip route").await;
        let gateway = settings(world, &client, "backend").await.gateway;
        assert!(output.contains(&format!("default via {gateway}")), "{output}");
        for id in [web, client] {
            engine
                .container_remove(&id, engine::RemoveOptions { force: true, ..Default::default() })
                .await
                .unwrap();
        }
        let report = engine.network_prune(Filters::default()).await.unwrap();
        assert_eq!(report.networks_deleted, Some(vec!["backend".to_owned()]));
    });
}

/// Runs a script beside a container's process and returns what it prints.
async fn exec(world: &World, id: &str, script: &str) -> String {
    use std::os::unix::net::UnixStream;
    let request = api::exec::CreateRequest {
        cmd: Some(vec!["sh".into(), "-c".into(), format!("{{ {script}; }} 2>&1")]),
        attach_stdout: true,
        attach_stderr: true,
        ..Default::default()
    };
    let exec = world.engine().exec_create(id, request).await.unwrap();
    let ticket =
        world.engine().exec_start(exec.as_str(), Default::default()).await.unwrap().expect("it is attached");
    let (client, socket) = UnixStream::pair().unwrap();
    ticket.deliver(crate::world::client_of(socket)).await.unwrap();
    crate::world::unframed(&crate::world::read_bytes(client).await)
}

#[test]
fn an_engine_that_comes_back_knows_addresses_ports_and_names() {
    in_a_world(async |world| {
        create_network(world, "backend").await;
        let id = world
            .run("web", SERVER, |request| {
                publishing("backend", "")(request);
                // Nothing of its run is in the records.
                request.host_config.auto_remove = true;
            })
            .await;
        let before = settings(world, &id, "backend").await;
        let number = port(world, &id).await;
        let at = SocketAddr::new("127.0.0.1".parse().unwrap(), number);
        fetch(at);
        world.close().await;
        fetch(at);
        fetch(SocketAddr::new("::1".parse().unwrap(), number));
        world.open().await;
        fetch(at);
        assert_eq!(settings(world, &id, "backend").await, before);
        assert_eq!(port(world, &id).await, number);
        let refused = world.create("other", "true", publishing("backend", &number.to_string())).await;
        let error = world.engine().container_start(&refused).await.unwrap_err().to_string();
        assert!(error.contains("port is already allocated"), "{error}");
        assert_eq!(
            says(world, "backend", "client", "busybox wget -qO- http://web/given").await,
            "from the image"
        );
        world.engine().container_stop(&id, None, Some(0)).await.unwrap();
        assert_eq!(
            says(world, "backend", "client", "busybox nslookup web >&- 2>&- || echo unknown").await,
            "unknown"
        );
        world.engine().container_start(&refused).await.unwrap();
    });
}

#[test]
fn wishes_are_kept_or_refused() {
    in_a_world(async |world| {
        let engine = world.engine();
        let pool = api::network::IpamPool { subnet: "10.213.77.0/24".into(), ..Default::default() };
        let ipam = api::network::Ipam { config: Some(vec![pool]), ..Default::default() };
        let request =
            api::network::CreateRequest { name: "fixed".into(), ipam: Some(ipam), ..Default::default() };
        engine.network_create(request.clone()).await.unwrap();
        let again = engine.network_create(request.clone()).await.unwrap_err();
        assert_eq!(
            (again.kind(), again.to_string()),
            (ErrorKind::Conflict, "network with name fixed already exists".into())
        );
        let overlapping = api::network::CreateRequest { name: "more".into(), ..request };
        assert_eq!(engine.network_create(overlapping).await.unwrap_err().kind(), ErrorKind::Forbidden);
        let wish = |address: &str| {
            let ipam = api::network::EndpointIpam { ipv4_address: address.into(), ..Default::default() };
            let wish = EndpointSettings { ipam_config: Some(ipam), ..Default::default() };
            let config = [("fixed".to_owned(), Some(wish))].into();
            move |request: &mut CreateRequest| {
                on("fixed")(request);
                request.networking_config =
                    Some(api::container::NetworkingConfig { endpoints_config: config });
            }
        };
        let script = "busybox ip -4 -o addr show eth0; while :; do sleep 0.1; done";
        let id = world.run("one", script, wish("10.213.77.99")).await;
        assert_eq!(settings(world, &id, "fixed").await.ip_address, "10.213.77.99");
        let taken = world.create("two", "true", wish("10.213.77.99")).await;
        let error = engine.container_start(&taken).await.unwrap_err().to_string();
        assert!(error.ends_with("Address already in use"), "{error}");
        // A restart keeps the wish.
        engine.container_restart(&id, None, Some(0)).await.unwrap();
        assert_eq!(settings(world, &id, "fixed").await.ip_address, "10.213.77.99");
        let missing = world.create("three", "true", on("nowhere")).await;
        let error = engine.container_start(&missing).await.unwrap_err();
        assert_eq!(error.to_string(), "failed to set up container networking: network nowhere not found");
        engine
            .container_remove(&id, engine::RemoveOptions { force: true, ..Default::default() })
            .await
            .unwrap();
        engine.network_remove("fixed").await.unwrap();
    });
}
