//! Registries as the API knows them: pull, push, inspect, log in.
//!
//! The work is done by `image::pull`; here requests are parsed, credentials unpacked, and progress becomes the lines
//! that clients know. A client that reads slowly loses positions of progress bars and nothing else; one that hangs up
//! drops the call, and with it the work, unless another call waits for the same layers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::auth::{Auth, AuthResponse};
use api::event::kind;
use api::image::{Descriptor, Distribution, Platform as ApiPlatform};
use api::progress::{Detail, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::pull::{Limits, Pulls, Request, Retry};
use image::registry::{Credentials, Insecure, Options, Proxies, Registries, parse_mirror};
use image::{Progress, Sink, Step};
use oci::digest::Digest;
use oci::platform::Platform;
use oci::reference::Reference;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};
use crate::{Engine, RegistryConfig};

/// Messages that wait for a slow client before positions are dropped. The others are few: some ten per layer.
const BACKLOG: usize = 256;

/// `POST /images/create?fromImage=…`
#[derive(Debug, Clone)]
pub struct PullRequest {
    pub name: String,
    /// A tag or a digest; empty, with a name that has neither, asks for all tags.
    pub tag: String,
    pub platform: Option<String>,
    pub auth: Auth,
}

/// `POST /images/{name}/push`
#[derive(Debug, Clone)]
pub struct PushRequest {
    pub name: String,
    /// Empty, with a name that has none, pushes all tags.
    pub tag: String,
    /// What the image must run on.
    pub platform: Option<ApiPlatform>,
    pub auth: Auth,
}

/// The way to the registries under the newest configuration.
#[derive(Default)]
pub(crate) struct Registry {
    current: Mutex<Option<(RegistryConfig, Proxies, Pulls)>>,
}

impl Engine {
    /// Fetches an image, or all images of a repository.
    pub async fn image_pull(&self, request: PullRequest, lines: mpsc::Sender<Message>) -> Result<()> {
        let reference = with_tag(&request.name, &request.tag)?;
        let platform = request.platform.as_deref().map(str::parse::<Platform>).transpose();
        let platform = platform.map_err(|error| Error::invalid(error.to_string()))?;
        let credentials = credentials(&request.auth);
        let pulls = self.pulls()?;
        telling(lines, |sink| async move {
            let references = if reference.is_name_only() {
                let tags = pulls.tags(&reference, &credentials).await?;
                let tagged = tags.iter().map(|tag| reference.with_tag(tag).map_err(invalid_reference));
                tagged.collect::<Result<Vec<_>>>()?
            } else {
                vec![reference]
            };
            for reference in references {
                let (platform, credentials) = (platform.clone(), credentials.clone());
                let request = Request { reference: reference.clone(), platform, credentials };
                let pulled = pulls.pull(request, sink.clone()).await?;
                self.transfer_event("pull", &reference, &pulled.image);
            }
            Ok(())
        })
        .await
        .map_err(refused)
    }

    /// Sends an image, or all images of a name.
    pub async fn image_push(&self, request: PushRequest, lines: mpsc::Sender<Message>) -> Result<()> {
        let reference = with_tag(&request.name, &request.tag)?;
        if request.platform.is_some() {
            self.image_for(&reference.familiar(), request.platform)?;
        }
        let credentials = credentials(&request.auth);
        let pulls = self.pulls()?;
        telling(lines, |sink| async move {
            pulls.push(&reference, &credentials, sink).await?;
            if let Ok(image) = self.images().resolve(&reference.to_string()) {
                self.transfer_event("push", &reference, &image);
            }
            Ok(())
        })
        .await
    }

    /// What a registry has under a name.
    pub async fn distribution_inspect(&self, name: &str, auth: Auth) -> Result<Distribution> {
        let reference = Reference::parse_normalized(name).map_err(invalid_reference)?;
        let remote = self.pulls()?.inspect(&reference, &credentials(&auth)).await?;
        let oci::image::Descriptor { media_type, digest, size, .. } = remote.descriptor;
        let descriptor = Descriptor {
            media_type,
            digest: digest.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            ..Descriptor::default()
        };
        Ok(Distribution { descriptor, platforms: remote.platforms.into_iter().map(api_platform).collect() })
    }

    /// Tries credentials at a registry.
    pub async fn auth_check(&self, auth: Auth) -> Result<AuthResponse> {
        let pulls = self.pulls()?;
        let login = pulls.registries().login(&auth.serveraddress, &credentials(&auth)).await;
        let login = login.map_err(image::Error::from)?;
        Ok(AuthResponse {
            identity_token: login.identity_token.unwrap_or_default(),
            status: "Login Succeeded".into(),
        })
    }

    /// What pulls and pushes share, made anew when the configuration of registries has changed.
    pub(crate) fn pulls(&self) -> Result<Pulls> {
        let config = self.config();
        let mut current =
            self.shared().images.registry.current.lock().unwrap_or_else(PoisonError::into_inner);
        let proxies = Proxies {
            http: config.proxies.http.clone(),
            https: config.proxies.https.clone(),
            none: config.proxies.none.clone(),
        };
        if let Some((of, through, pulls)) = &*current
            && *of == config.registry
            && *through == proxies
        {
            return Ok(pulls.clone());
        }
        let options = Options { proxies: proxies.clone(), ..options(&config.registry)? };
        let registries = Registries::new(options);
        let pulls = Pulls::new(registries, self.images().clone(), limits(&config.registry));
        *current = Some((config.registry.clone(), proxies, pulls.clone()));
        Ok(pulls)
    }

    fn transfer_event(&self, action: &str, reference: &Reference, image: &image::Image) {
        let mut attributes = image.config.config.labels.clone();
        attributes.insert("name".into(), reference.familiar_name());
        self.events_bus().publish(kind::IMAGE, action, &reference.familiar(), attributes);
    }
}

/// Whether a mirror's URL is one; the error is dockerd's.
pub fn check_mirror(text: &str) -> Result<()> {
    parse_mirror(text).map(drop).map_err(|error| Error::invalid(error.to_string()))
}

/// Whether an entry of `insecure-registries` is a registry or a network.
pub fn check_insecure_registry(text: &str) -> Result<()> {
    Insecure::parse([text]).map(drop).map_err(|error| Error::invalid(error.to_string()))
}

fn options(config: &RegistryConfig) -> Result<Options> {
    let invalid = |error: image::registry::Error| Error::invalid(error.to_string());
    let mirrors = config.mirrors.iter().map(|mirror| parse_mirror(mirror).map_err(invalid));
    Ok(Options {
        insecure: Insecure::parse(config.insecure.iter().map(String::as_str)).map_err(invalid)?,
        mirrors: mirrors.collect::<Result<_>>()?,
        certificates: vec![config.certificates.clone()],
        ..Options::default()
    })
}

fn limits(config: &RegistryConfig) -> Limits {
    let attempts = u32::try_from(config.download_attempts).unwrap_or(u32::MAX);
    let retry = Retry { attempts, pause: Duration::from_secs(5) };
    Limits {
        downloads: config.concurrent_downloads,
        uploads: config.concurrent_uploads,
        retry,
        ..Limits::default()
    }
}

/// A pull that a registry refuses, by Docker's statuses: what is denied may just as well not exist, and missing
/// credentials are no 401, which would be about the client's own and make it ask for them.
fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unauthorized => Error::system(error.to_string()),
        ErrorKind::Forbidden => Error::not_found(error.to_string()),
        _ => error,
    }
}

fn invalid_reference(error: oci::reference::InvalidReference) -> Error {
    Error::invalid(error.to_string())
}

/// A name with what stands beside it in the request: a tag or a digest, which wins over one in the name.
fn with_tag(name: &str, tag: &str) -> Result<Reference> {
    let reference = Reference::parse_normalized(name).map_err(invalid_reference)?;
    if tag.is_empty() {
        return Ok(reference);
    }
    match tag.parse::<Digest>() {
        Ok(digest) => Ok(reference.with_digest(digest)),
        Err(_) => reference.with_tag(tag).map_err(invalid_reference),
    }
}

pub(crate) fn credentials(auth: &Auth) -> Credentials {
    if !auth.registrytoken.is_empty() {
        return Credentials::RegistryToken(auth.registrytoken.clone());
    }
    if !auth.identitytoken.is_empty() {
        return Credentials::IdentityToken {
            username: auth.username.clone(),
            token: auth.identitytoken.clone(),
        };
    }
    if !auth.username.is_empty() {
        return Credentials::Password { username: auth.username.clone(), password: auth.password.clone() };
    }
    let both = STANDARD.decode(&auth.auth).ok().and_then(|both| String::from_utf8(both).ok());
    match both.as_deref().and_then(|both| both.split_once(':')) {
        Some((username, password)) => {
            Credentials::Password { username: username.to_owned(), password: password.to_owned() }
        }
        None => Credentials::Anonymous,
    }
}

/// The platform that a request names, as it is compared with those of images.
pub(crate) fn wanted_platform(platform: ApiPlatform) -> Platform {
    let ApiPlatform { architecture, os, os_version, os_features, variant } = platform;
    Platform { architecture, os, os_version, os_features, variant }
}

fn api_platform(platform: Platform) -> ApiPlatform {
    ApiPlatform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version,
        os_features: platform.os_features,
        variant: platform.variant,
    }
}

/// Runs `work` with a sink whose messages become lines. All of them are out, or nobody reads, when this returns.
pub(crate) async fn telling<F>(
    lines: mpsc::Sender<Message>,
    work: impl FnOnce(Arc<dyn Sink>) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let (queue, mut backlog) = mpsc::unbounded_channel::<Option<Progress>>();
    let waiting = Arc::new(AtomicUsize::new(0));
    let sink = {
        let (queue, waiting) = (queue.clone(), waiting.clone());
        move |progress: Progress| {
            if waiting.load(Ordering::Relaxed) >= BACKLOG && is_position(&progress) {
                return;
            }
            waiting.fetch_add(1, Ordering::Relaxed);
            // Nobody forwards any more: then nobody reads either.
            let _ = queue.send(Some(progress));
        }
    };
    let work = async {
        let result = work(Arc::new(sink)).await;
        let _ = queue.send(None);
        result
    };
    let forward = async {
        while let Some(Some(progress)) = backlog.recv().await {
            waiting.fetch_sub(1, Ordering::Relaxed);
            for message in messages(progress) {
                if lines.send(message).await.is_err() {
                    return;
                }
            }
        }
    };
    let (result, ()) = tokio::join!(work, forward);
    result
}

/// Whether a later message makes this one worthless.
fn is_position(progress: &Progress) -> bool {
    matches!(progress, Progress::Layer { step, .. } if step.position().is_some())
}

/// A message in the words of the API.
fn messages(progress: Progress) -> Vec<Message> {
    let line = match progress {
        Progress::Status { id, status } => Message { id: id.unwrap_or_default(), ..Message::status(status) },
        Progress::Layer { id, step } => layer(id, step),
        Progress::Mounted { id, from } => Message::step(id, format!("Mounted from {from}")),
        Progress::Stream(text) => Message::stream(text),
        Progress::Made(digest) => Message::status(digest.to_string()),
        Progress::Pushed { tag, digest, size } => {
            let aux = serde_json::json!({"Tag": tag, "Digest": digest, "Size": size});
            let aux =
                Message { progress_detail: Some(Detail::default()), aux: Some(aux), ..Message::default() };
            return vec![Message::status(format!("{tag}: digest: {digest} size: {size}")), aux];
        }
    };
    vec![line]
}

fn layer(id: String, step: Step) -> Message {
    let mut message = Message::step(id, step.text());
    if let Some((current, total)) = step.position() {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        message.progress_detail =
            Some(Detail { current: number(current), total: number(total), ..Detail::default() });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_beside_names() {
        let text = |name: &str, tag: &str| with_tag(name, tag).map(|reference| reference.familiar());
        assert_eq!(text("x", "").unwrap(), "x");
        assert_eq!(text("x:1", "2").unwrap(), "x:2");
        let digest = Digest::sha256_of(b"x");
        assert_eq!(text("x", digest.as_str()).unwrap(), format!("x@{digest}"));
        assert_eq!(
            text("X", "").unwrap_err().message(),
            "invalid reference format: repository name (library/X) must be lowercase"
        );
        assert_eq!(text("x", "-").unwrap_err().message(), "invalid tag format");
    }

    #[test]
    fn credentials_in_all_forms() {
        let password = Credentials::Password { username: "u".into(), password: "p:q".into() };
        assert_eq!(credentials(&Auth { auth: STANDARD.encode("u:p:q"), ..Auth::default() }), password);
        assert_eq!(
            credentials(&Auth { username: "u".into(), password: "p:q".into(), ..Auth::default() }),
            password
        );
        assert_eq!(credentials(&Auth { auth: "%".into(), ..Auth::default() }), Credentials::Anonymous);
        assert!(matches!(
            credentials(&Auth { username: "u".into(), identitytoken: "t".into(), ..Auth::default() }),
            Credentials::IdentityToken { .. }
        ));
    }

    #[tokio::test]
    async fn a_slow_client_loses_positions_only() {
        let (lines, mut received) = mpsc::channel(1);
        let work = telling(lines, |sink| async move {
            for current in 0..10_000 {
                sink(Progress::Layer { id: "a".into(), step: Step::Downloading { current, total: 10_000 } });
            }
            sink(Progress::Layer { id: "a".into(), step: Step::PullComplete });
            Ok(())
        });
        let read = async {
            let mut all = Vec::new();
            while let Some(message) = received.recv().await {
                all.push(message);
            }
            all
        };
        let (result, all) = tokio::join!(work, read);
        result.unwrap();
        assert_eq!(all.len(), BACKLOG + 1);
        assert_eq!(all.last().unwrap().status, "Pull complete");
    }

    #[test]
    fn the_end_of_a_push_is_said_twice() {
        let digest = Digest::sha256_of(b"x");
        let said = messages(Progress::Pushed { tag: "v1".into(), digest: digest.clone(), size: 7 });
        assert_eq!(said[0].status, format!("v1: digest: {digest} size: 7"));
        assert_eq!(said[1].aux.as_ref().unwrap()["Size"], 7);
    }
}
