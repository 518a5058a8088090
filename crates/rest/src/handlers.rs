//! One function per route, in files by noun, and the table that names them all.

mod archive;
mod containers;
mod elsewhere;
mod execs;
mod images;
mod networks;
mod streams;
mod system;
mod transfers;
mod volumes;

use std::pin::Pin;

use hyper::Method;

use crate::call::Call;
use crate::reply::Answer;
use crate::route::Route;

pub(crate) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// `routes! { GET "/path" => module::function; … }`
macro_rules! routes {
    ($($method:ident $pattern:literal => $handler:path;)*) => {
        &[$(Route { method: Method::$method, pattern: $pattern, handler: |call| Box::pin($handler(call)) }),*]
    };
}

pub(crate) const ROUTES: &[Route] = routes! {
    GET "/_ping" => system::ping;
    HEAD "/_ping" => system::ping_head;
    GET "/events" => system::events;
    GET "/info" => system::info;
    GET "/version" => system::version;
    GET "/system/df" => system::disk_usage;
    POST "/auth" => system::auth;

    HEAD "/containers/{name}/archive" => archive::stat;
    GET "/containers/json" => containers::list;
    GET "/containers/{name}/export" => archive::export;
    GET "/containers/{name}/changes" => containers::changes;
    GET "/containers/{name}/json" => containers::inspect;
    GET "/containers/{name}/top" => containers::top;
    GET "/containers/{name}/logs" => streams::logs;
    GET "/containers/{name}/stats" => streams::stats;
    GET "/containers/{name}/attach/ws" => streams::attach_websocket;
    GET "/containers/{name}/archive" => archive::get;
    GET "/containers/{name}/checkpoints" => elsewhere::checkpoints;
    GET "/exec/{name}/json" => execs::inspect;
    POST "/containers/create" => containers::create;
    POST "/containers/{name}/kill" => containers::kill;
    POST "/containers/{name}/pause" => containers::pause;
    POST "/containers/{name}/unpause" => containers::unpause;
    POST "/containers/{name}/restart" => containers::restart;
    POST "/containers/{name}/start" => containers::start;
    POST "/containers/{name}/stop" => containers::stop;
    POST "/containers/{name}/wait" => streams::wait;
    POST "/containers/{name}/resize" => containers::resize;
    POST "/containers/{name}/attach" => streams::attach;
    POST "/containers/{name}/exec" => execs::create;
    POST "/containers/{name}/checkpoints" => elsewhere::checkpoints;
    POST "/exec/{name}/start" => execs::start;
    POST "/exec/{name}/resize" => execs::resize;
    POST "/containers/{name}/rename" => containers::rename;
    POST "/containers/{name}/update" => containers::update;
    POST "/containers/prune" => containers::prune;
    POST "/commit" => containers::commit;
    PUT "/containers/{name}/archive" => archive::put;
    DELETE "/containers/{name}" => containers::remove;

    GET "/images/json" => images::list;
    GET "/images/search" => images::search;
    GET "/images/get" => transfers::save;
    GET "/images/{name}/get" => transfers::save_one;
    GET "/images/{name}/history" => images::history;
    GET "/images/{name}/json" => images::inspect;
    GET "/images/{name}/attestations" => images::attestations;
    POST "/images/load" => transfers::load;
    POST "/images/create" => transfers::create;
    POST "/images/{name}/push" => transfers::push;
    POST "/images/{name}/tag" => images::tag;
    POST "/images/prune" => images::prune;
    DELETE "/images/{name}" => images::remove;
    GET "/distribution/{name}/json" => images::distribution;

    GET "/networks" => networks::list;
    GET "/networks/" => networks::list;
    GET "/networks/{name}" => networks::inspect;
    POST "/networks/create" => networks::create;
    POST "/networks/{name}/connect" => networks::connect;
    POST "/networks/{name}/disconnect" => networks::disconnect;
    POST "/networks/prune" => networks::prune;
    DELETE "/networks/{name}" => networks::remove;

    GET "/volumes" => volumes::list;
    GET "/volumes/{name}" => volumes::inspect;
    POST "/volumes/create" => volumes::create;
    POST "/volumes/prune" => volumes::prune;
    PUT "/volumes/{name}" => elsewhere::volume_update;
    DELETE "/volumes/{name}" => volumes::remove;

    POST "/build" => elsewhere::build;
    POST "/build/prune" => elsewhere::build_prune;
    POST "/build/cancel" => elsewhere::build;
    POST "/session" => elsewhere::build;
    POST "/grpc" => elsewhere::build;

    GET "/plugins" => elsewhere::plugins;
    GET "/plugins/privileges" => elsewhere::plugins_unsupported;
    GET "/plugins/{name}/json" => elsewhere::plugin;
    DELETE "/plugins/{name}" => elsewhere::plugin;
    POST "/plugins/pull" => elsewhere::plugins_unsupported;
    POST "/plugins/create" => elsewhere::plugins_unsupported;
    POST "/plugins/{name}/enable" => elsewhere::plugin;
    POST "/plugins/{name}/disable" => elsewhere::plugin;
    POST "/plugins/{name}/push" => elsewhere::plugin;
    POST "/plugins/{name}/upgrade" => elsewhere::plugin;
    POST "/plugins/{name}/set" => elsewhere::plugin;

    POST "/swarm/init" => elsewhere::swarm_unsupported;
    POST "/swarm/join" => elsewhere::swarm_unsupported;
    POST "/swarm/leave" => elsewhere::swarm_leave;
    GET "/swarm" => elsewhere::swarm;
    GET "/swarm/unlockkey" => elsewhere::swarm;
    POST "/swarm/update" => elsewhere::swarm;
    POST "/swarm/unlock" => elsewhere::swarm;
    GET "/services" => elsewhere::swarm;
    GET "/services/{name}/logs" => elsewhere::swarm;
    GET "/services/{name}" => elsewhere::swarm;
    POST "/services/create" => elsewhere::swarm;
    POST "/services/{name}/update" => elsewhere::swarm;
    DELETE "/services/{name}" => elsewhere::swarm;
    GET "/nodes" => elsewhere::swarm;
    GET "/nodes/{name}" => elsewhere::swarm;
    DELETE "/nodes/{name}" => elsewhere::swarm;
    POST "/nodes/{name}/update" => elsewhere::swarm;
    GET "/tasks" => elsewhere::swarm;
    GET "/tasks/{name}/logs" => elsewhere::swarm;
    GET "/tasks/{name}" => elsewhere::swarm;
    GET "/secrets" => elsewhere::swarm;
    POST "/secrets/create" => elsewhere::swarm;
    DELETE "/secrets/{name}" => elsewhere::swarm;
    GET "/secrets/{name}" => elsewhere::swarm;
    POST "/secrets/{name}/update" => elsewhere::swarm;
    GET "/configs" => elsewhere::swarm;
    POST "/configs/create" => elsewhere::swarm;
    DELETE "/configs/{name}" => elsewhere::swarm;
    GET "/configs/{name}" => elsewhere::swarm;
    POST "/configs/{name}/update" => elsewhere::swarm;
};
