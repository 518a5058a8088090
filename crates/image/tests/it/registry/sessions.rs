//! Sessions: being let in, being sent elsewhere, being lied to.

use std::sync::Arc;
use std::time::Duration;

use image::registry::{Access, Credentials, Error, Kind, Options, Registries, Session, first_answer};
use oci::digest::Digest;
use oci::image::{Descriptor, media_type};
use oci::reference::Reference;

use super::fake::{Fake, Fault, Guard};

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;

pub(crate) fn registries() -> Registries {
    Registries::new(Options {
        stall_timeout: Duration::from_secs(4),
        certificates: Vec::new(),
        ..Options::default()
    })
}

pub(crate) fn password() -> Credentials {
    Credentials::Password { username: "me".into(), password: "secret".into() }
}

async fn with<T, F>(
    name: &str,
    credentials: Credentials,
    ask: impl FnMut(Arc<Session>) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let name: Reference = name.parse().unwrap();
    let sessions = registries().sessions(&name, &credentials, Access::Pull).await?;
    first_answer(sessions, ask).await
}

async fn manifest(name: &str, credentials: Credentials) -> Result<Vec<u8>, Error> {
    with(name, credentials, |session| async move { Ok(session.manifest("latest").await?.content) }).await
}

async fn fake() -> Fake {
    let fake = Fake::start().await;
    fake.manifest("app", "latest", media_type::OCI_MANIFEST, MANIFEST);
    fake
}

#[tokio::test]
async fn an_open_registry_over_plain_http() {
    let fake = fake().await;
    assert_eq!(manifest(&fake.name("app"), Credentials::Anonymous).await.unwrap(), MANIFEST);
    assert!(fake.log().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn passwords() {
    let fake = fake().await;
    fake.guard(Guard::Basic("me:secret".into()));
    assert_eq!(manifest(&fake.name("app"), password()).await.unwrap(), MANIFEST);

    let error = manifest(&fake.name("app"), Credentials::Anonymous).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoCredentials);
    let url = fake.url("/v2/app/manifests/latest");
    assert_eq!(error.to_string(), format!("Get \"{url}\": no basic auth credentials"));

    let wrong = Credentials::Password { username: "me".into(), password: "wrong".into() };
    let error = manifest(&fake.name("app"), wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
}

#[tokio::test]
async fn tokens_with_a_password() {
    let fake = fake().await;
    fake.guard(Guard::Bearer { realm: fake.url("/token"), password: Some("me:secret".into()) });
    assert_eq!(manifest(&fake.name("app"), password()).await.unwrap(), MANIFEST);
    let asked = fake.log().into_iter().find(|request| request.path.starts_with("/token")).unwrap();
    assert!(asked.path.contains("scope=repository%3Aapp%3Apull"), "{}", asked.path);
    assert!(asked.path.contains("account=me") && asked.path.contains("service=fake"), "{}", asked.path);

    let error = manifest(&fake.name("app"), Credentials::Anonymous).await.unwrap_err();
    let url = fake.url("/v2/app/manifests/latest");
    assert_eq!(error.to_string(), format!("Get \"{url}\": unauthorized: incorrect username or password"));
}

#[tokio::test]
async fn tokens_with_an_identity_token() {
    let fake = fake().await;
    fake.guard(Guard::Bearer { realm: fake.url("/token"), password: Some("me:secret".into()) });
    let remembered = Credentials::IdentityToken { username: "me".into(), token: "remembered".into() };
    assert_eq!(manifest(&fake.name("app"), remembered).await.unwrap(), MANIFEST);
    let asked = fake.log().into_iter().find(|request| request.path.starts_with("/token")).unwrap();
    assert_eq!(asked.method, "POST");
    let body = String::from_utf8(asked.body).unwrap();
    assert!(body.contains("grant_type=refresh_token"), "{body}");
}

#[tokio::test]
async fn a_stale_token_is_renewed_once() {
    let fake = fake().await;
    fake.guard(Guard::Bearer { realm: fake.url("/token"), password: None });
    let name = fake.name("app");
    let content = with(&name, Credentials::Anonymous, |session| {
        let fake = fake.clone();
        async move {
            session.manifest("latest").await?;
            let challenge = format!("Bearer realm=\"{}\",service=\"fake\"", fake.url("/token"));
            let stale = Fault::Answer(401, vec![("WWW-Authenticate", challenge)], String::new());
            fake.fault("GET /v2/app/manifests", stale);
            Ok(session.manifest("latest").await?.content)
        }
    })
    .await
    .unwrap();
    assert_eq!(content, MANIFEST);
    assert_eq!(fake.count("/token"), 2);
}

#[tokio::test]
async fn a_registry_that_is_never_satisfied() {
    let fake = fake().await;
    fake.guard(Guard::Bearer { realm: fake.url("/token"), password: None });
    for _ in 0..4 {
        let challenge = format!("Bearer realm=\"{}\"", fake.url("/token"));
        fake.fault("/manifests/", Fault::Answer(401, vec![("WWW-Authenticate", challenge)], String::new()));
    }
    let error = manifest(&fake.name("app"), Credentials::Anonymous).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    assert_eq!(fake.count("/manifests/"), 2);
}

#[tokio::test]
async fn credentials_stay_at_home_when_redirected() {
    let (home, away) = (fake().await, Fake::start().await);
    home.guard(Guard::Basic("me:secret".into()));
    let content = b"a layer";
    let digest = away.blob(content);
    let location = away.url(&format!("/v2/x/blobs/{digest}"));
    home.fault("/blobs/", Fault::Answer(307, vec![("Location", location)], String::new()));
    let descriptor = Descriptor::new(media_type::OCI_LAYER, digest, content.len() as u64);
    let found = with(&home.name("app"), password(), |session| {
        let descriptor = descriptor.clone();
        async move { session.document(&descriptor, 100).await }
    })
    .await
    .unwrap();
    assert_eq!(found, content);
    assert!(home.log().iter().any(|request| request.header("authorization").is_some()));
    assert!(!away.log().is_empty());
    assert!(away.log().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn redirects_without_end() {
    let fake = fake().await;
    for _ in 0..20 {
        let location = vec![("Location", "/v2/app/manifests/latest".to_owned())];
        fake.fault("GET /v2/app/manifests/latest", Fault::Answer(302, location, String::new()));
    }
    let error = manifest(&fake.name("app"), Credentials::Anonymous).await.unwrap_err();
    assert!(error.to_string().ends_with("stopped after 10 redirects"), "{error}");
}

#[tokio::test]
async fn answers_that_are_none() {
    let fake = fake().await;
    let name = fake.name("app");
    let html = || vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
    let ask = |fault| {
        fake.fault("GET /v2/app/manifests", fault);
        manifest(&name, Credentials::Anonymous)
    };

    let error = ask(Fault::Answer(200, html(), "<html>sign in</html>".into())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.to_string().contains("sign in"), "{error}");

    let error = ask(Fault::Answer(404, html(), "<html>none</html>".into())).await.unwrap_err();
    assert!(error.to_string().starts_with("error parsing HTTP 404 response body: "), "{error}");

    let error = ask(Fault::Answer(500, Vec::new(), "oops".into())).await.unwrap_err();
    assert_eq!(error.to_string(), "received unexpected HTTP status: 500 Internal Server Error");
    assert!(error.is_retryable());

    let wait = vec![("Retry-After", "7".to_owned())];
    let error =
        ask(Fault::Answer(429, wait, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#.into())).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(error.to_string(), "toomanyrequests: too many requests");

    let large = Fault::Answer(200, Vec::new(), "x".repeat(5 << 20));
    assert!(ask(large).await.unwrap_err().to_string().contains("is larger than"));

    let error = ask(Fault::Mute).await.unwrap_err();
    assert!(error.to_string().ends_with("timeout awaiting response headers"), "{error}");

    let error = ask(Fault::Stall(3)).await.unwrap_err();
    assert!(error.to_string().starts_with("no data received for"), "{error}");

    assert_eq!(ask(Fault::Cut(3)).await.unwrap_err().to_string(), "unexpected EOF");
}

#[tokio::test]
async fn manifests_are_what_their_digest_says() {
    let fake = fake().await;
    let digest = Digest::sha256_of(MANIFEST);
    fake.fault(digest.hex(), Fault::Corrupt);
    let error = with(&fake.name("app"), Credentials::Anonymous, |session| {
        let digest = digest.clone();
        async move { session.manifest(digest.as_str()).await }
    })
    .await
    .unwrap_err();
    assert_eq!(error.kind(), Kind::Mismatch);
    assert_eq!(error.to_string(), format!("manifest verification failed for digest {digest}"));
}

#[tokio::test]
async fn nobody_there() {
    // Bound and dropped: nothing listens there any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = manifest(&format!("127.0.0.1:{port}/app"), Credentials::Anonymous).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Get \"http://127.0.0.1:{port}/v2/\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        )
    );

    let error = manifest("registry.invalid/app", Credentials::Anonymous).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid: "),
        "{error}"
    );
}

#[tokio::test]
async fn logins() {
    let fake = fake().await;
    fake.guard(Guard::Bearer { realm: fake.url("/token"), password: Some("me:secret".into()) });
    let server = fake.address.to_string();
    let login = registries().login(&server, &password()).await.unwrap();
    assert_eq!(login.identity_token.as_deref(), Some("remembered"));

    let wrong = Credentials::Password { username: "me".into(), password: "x".into() };
    let error = registries().login(&server, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    let url = fake.url("/v2/");
    assert_eq!(error.to_string(), format!("Get \"{url}\": unauthorized: incorrect username or password"));

    fake.guard(Guard::Basic("me:secret".into()));
    assert_eq!(registries().login(&server, &password()).await.unwrap().identity_token, None);
    let error = registries().login(&server, &wrong).await.unwrap_err();
    assert_eq!(error.to_string(), format!("login attempt to {url} failed with status: 401 Unauthorized"));
}
