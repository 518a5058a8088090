//! How an image came about, line by line, the youngest first.

use oci::digest::Digest;
use oci::reference::Reference;

use super::{Image, Images, timestamp};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The image that this step made, if that image is here.
    pub id: Option<Digest>,
    /// Seconds since the epoch; 0 when the step does not say.
    pub created: i64,
    pub created_by: String,
    pub comment: String,
    pub size: u64,
    pub tags: Vec<Reference>,
}

impl Images {
    pub fn history(&self, image: &Image) -> Vec<Line> {
        let mut sizes =
            image.diff_ids().iter().map(|diff_id| self.layers().get(diff_id).map_or(0, |l| l.size));
        let mut lines: Vec<Line> = (image.config.history.iter())
            .map(|step| Line {
                id: None,
                created: timestamp(step.created.as_deref()),
                created_by: step.created_by.clone(),
                comment: step.comment.clone(),
                size: if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) },
                tags: Vec::new(),
            })
            .collect();
        lines.reverse();
        // Parents stand for the steps below, one each, as far as they are known.
        let mut at = Some(image.id.clone());
        for line in &mut lines {
            let Some(id) = at else { break };
            line.tags = self.names_of(&id).tags;
            at = self.get(&id).and_then(|i| i.parent.clone());
            line.id = Some(id);
        }
        lines
    }
}
