//! News about a long operation, one variant per message that Docker's clients know.
//!
//! The sink is called from whatever thread works; it must not block for long. What becomes of a message (a line of JSON, a bar)
//! is the caller's business.

use oci::digest::Digest;

/// Where messages go.
pub trait Sink: Fn(Progress) + Send + Sync {}

impl<F: Fn(Progress) + Send + Sync> Sink for F {}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A line of its own: `Pulling from library/alpine`, `Digest: sha256:…`, `Status: …`; `id` is the tag, where one belongs to it.
    Status { id: Option<String>, status: String },
    /// Something about one layer, named by twelve digits.
    Layer { id: String, step: Step },
    /// A layer that a registry took from another of its repositories.
    Mounted { id: String, from: String },
    /// Text for the `stream` field: what `load` has loaded.
    Stream(String),
    /// The final word of a push.
    Pushed { tag: String, digest: Digest, size: u64 },
    /// The id of an image that was made.
    Made(Digest),
}

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    PullingFsLayer,
    Waiting,
    Downloading { current: u64, total: u64 },
    Retrying { seconds: u64 },
    VerifyingChecksum,
    DownloadComplete,
    Extracting { current: u64, total: u64 },
    PullComplete,
    AlreadyExists,
    Preparing,
    Pushing { current: u64, total: u64 },
    Pushed,
    LayerAlreadyExists,
    Loading { current: u64, total: u64 },
    Importing { current: u64, total: u64 },
}

impl Step {
    /// Docker's words.
    pub fn text(&self) -> String {
        match self {
            Self::PullingFsLayer => "Pulling fs layer".into(),
            Self::Waiting => "Waiting".into(),
            Self::Downloading { .. } => "Downloading".into(),
            Self::Retrying { seconds: 1 } => "Retrying in 1 second".into(),
            Self::Retrying { seconds } => format!("Retrying in {seconds} seconds"),
            Self::VerifyingChecksum => "Verifying Checksum".into(),
            Self::DownloadComplete => "Download complete".into(),
            Self::Extracting { .. } => "Extracting".into(),
            Self::PullComplete => "Pull complete".into(),
            Self::AlreadyExists => "Already exists".into(),
            Self::Preparing => "Preparing".into(),
            Self::Pushing { .. } => "Pushing".into(),
            Self::Pushed => "Pushed".into(),
            Self::LayerAlreadyExists => "Layer already exists".into(),
            Self::Loading { .. } => "Loading layer".into(),
            Self::Importing { .. } => "Importing".into(),
        }
    }

    /// How far it is, in bytes: (current, total).
    pub fn position(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Downloading { current, total }
            | Self::Extracting { current, total }
            | Self::Pushing { current, total }
            | Self::Loading { current, total }
            | Self::Importing { current, total } => Some((current, total)),
            _ => None,
        }
    }
}

impl Progress {
    pub fn status(status: impl Into<String>) -> Self {
        Self::Status { id: None, status: status.into() }
    }

    pub fn layer(digest: &Digest, step: Step) -> Self {
        Self::Layer { id: digest.short().to_owned(), step }
    }
}

/// Lets a stream of small steps through at most once per this many bytes: a bar does not need a message per read.
pub const STRIDE: u64 = 512 << 10;
