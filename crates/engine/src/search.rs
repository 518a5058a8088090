//! Searching a registry for images: which of what it found is told.

use api::auth::Auth;
use api::filters::{Filters, InvalidFilter};
use api::image::SearchResult;
use image::registry::Hit;

use crate::Engine;
use crate::error::Result;
use crate::pulls::credentials;

/// `GET /images/search`
#[derive(Debug, Clone)]
pub struct SearchRequest {
    pub term: String,
    /// Zero asks for the usual number.
    pub limit: i64,
    pub filters: Filters,
    pub auth: Auth,
}

/// What a result must be to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    official: Option<bool>,
    stars: Option<i64>,
}

impl Engine {
    /// Asks the registry that the term names, or Docker Hub.
    pub async fn image_search(&self, request: SearchRequest) -> Result<Vec<SearchResult>> {
        let Some(wanted) = wanted(&request.filters)? else { return Ok(Vec::new()) };
        let registries = self.pulls()?;
        let found =
            registries.registries().search(&request.term, request.limit, &credentials(&request.auth)).await;
        let found = found.map_err(image::Error::from)?;
        Ok(found.into_iter().filter(|hit| wanted.has(hit)).map(told).collect())
    }
}

impl Wanted {
    fn has(&self, hit: &Hit) -> bool {
        self.official.is_none_or(|official| official == hit.is_official)
            && self.stars.is_none_or(|stars| hit.star_count >= stars)
    }
}

/// None when nothing can match: registries no longer say truthfully what was built automatically.
fn wanted(filters: &Filters) -> Result<Option<Wanted>> {
    filters.check(&["is-automated", "is-official", "stars"])?;
    if filters.flag("is-automated")? == Some(true) {
        return Ok(None);
    }
    let official = filters.flag("is-official")?;
    let stars = filters.values("stars").map(|text| {
        let number = api::number::parse::<i64>(text, "Atoi");
        number.map_err(|reason| InvalidFilter::because("stars", text, reason))
    });
    let stars = stars.collect::<std::result::Result<Vec<_>, _>>()?.into_iter().max();
    Ok(Some(Wanted { official, stars }))
}

fn told(hit: Hit) -> SearchResult {
    SearchResult {
        star_count: hit.star_count,
        is_official: hit.is_official,
        name: hit.name,
        is_automated: false,
        description: hit.description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str) -> Filters {
        Filters::parse(text).unwrap()
    }

    #[test]
    fn filters_choose() {
        let hit = |name: &str, star_count, is_official| Hit {
            name: name.into(),
            description: String::new(),
            star_count,
            is_official,
        };
        let all = [hit("a", 12, true), hit("b", 2, false)];
        let names = |text: &str| {
            let wanted = wanted(&filters(text)).unwrap();
            let hits = all.iter().filter(|hit| wanted.as_ref().is_some_and(|wanted| wanted.has(hit)));
            hits.map(|hit| hit.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["a", "b"]);
        assert_eq!(names(r#"{"stars":["1","3"]}"#), ["a"]);
        assert_eq!(names(r#"{"is-official":["false"]}"#), ["b"]);
        assert_eq!(names(r#"{"is-automated":["false"]}"#), ["a", "b"]);
        assert!(names(r#"{"is-automated":["true"]}"#).is_empty());
    }

    #[test]
    fn wrong_filters_are_named() {
        let error = |text: &str| wanted(&filters(text)).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"stars":["x"]}"#),
            "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(error(r#"{"is-official":["x"]}"#), "invalid filter 'is-official=[x]'");
        assert_eq!(error(r#"{"foo":["x"]}"#), "invalid filter 'foo'");
    }
}
