//! Pull and push: progress of work that is shared between equal requests.
