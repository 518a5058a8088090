//! A file that is named by its address alone: no registry, no credentials, nothing to check it against.

use reqwest::{Method, StatusCode, Url};

use super::response::{read_limited, status_line};
use super::session::Download;
use super::transport::Outgoing;
use super::{Error, Kind, Registries};

/// Of what a server says beside its refusal.
const MAX_REASON: usize = 64 << 10;

impl Registries {
    /// Begins to fetch what an `http` or `https` address names.
    pub async fn fetch(&self, address: &str) -> Result<Download, Error> {
        let url = parse(address)?;
        let trust = self.transport.trust(&url).await;
        let response = self.transport.send(Outgoing::new(Method::GET, url), trust).await?;
        let (status, stall) = (response.status(), self.options().stall_timeout);
        if status.is_success() {
            return Ok(Download::whole(response, stall));
        }
        // What cannot be read is not shown.
        let body = read_limited(response, MAX_REASON, stall).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&body);
        let message = format!("failed to GET {address} with status {}: {}", status_line(status), said.trim());
        let kind = match status {
            StatusCode::BAD_REQUEST => Kind::Invalid,
            StatusCode::UNAUTHORIZED => Kind::Unauthorized,
            StatusCode::FORBIDDEN => Kind::Denied,
            StatusCode::NOT_FOUND => Kind::NotFound,
            _ => Kind::Other,
        };
        Err(Error::new(kind, message))
    }
}

fn parse(address: &str) -> Result<Url, Error> {
    let url = Url::parse(address).map_err(|error| match address.split_once("://") {
        Some((scheme, "")) => {
            Error::new(Kind::Other, format!("Get \"{scheme}:\": http: no Host in request URL"))
        }
        _ => Error::new(Kind::Invalid, format!("parse {address:?}: {error}")),
    })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => {
            Err(Error::new(Kind::Other, format!("Get \"{url}\": unsupported protocol scheme \"{other}\"")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_nothing_can_be_had_from() {
        let error = |address: &str| parse(address).unwrap_err().to_string();
        assert_eq!(error("ftp://host/x"), "Get \"ftp://host/x\": unsupported protocol scheme \"ftp\"");
        assert_eq!(error("http://"), "Get \"http:\": http: no Host in request URL");
        assert!(error("http:// x").starts_with("parse \"http:// x\": "));
        assert!(parse("https://host/x?y").is_ok());
    }
}
