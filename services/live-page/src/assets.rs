//! The files of the page, as they are embedded in the program.

/// A file.
pub(crate) struct Asset {
    /// Its path on the server.
    pub(crate) path: &'static str,
    /// Its `Content-Type`.
    pub(crate) kind: &'static str,
    /// Its text.
    pub(crate) text: &'static str,
}

/// The page itself.
pub(crate) const PAGE: &str = include_str!("../assets/index.html");

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal $kind:ident,)*) => {
        /// What the page loads.
        pub(crate) const ASSETS: &[Asset] = &[$(Asset {
            path: concat!("/page/", $name),
            kind: $kind,
            text: include_str!(concat!("../assets/", $name)),
        },)*];
    };
}

assets! {
    "style.css" CSS,
    "parts.css" CSS,
    "icon.svg" SVG,
    "main.js" JAVASCRIPT,
    "access.js" JAVASCRIPT,
    "address.js" JAVASCRIPT,
    "dom.js" JAVASCRIPT,
    "fleet.js" JAVASCRIPT,
    "grid.js" JAVASCRIPT,
    "colours.js" JAVASCRIPT,
    "head.js" JAVASCRIPT,
    "panels.js" JAVASCRIPT,
    "shard.js" JAVASCRIPT,
    "stream.js" JAVASCRIPT,
    "text.js" JAVASCRIPT,
    "timeline.js" JAVASCRIPT,
    "why.js" JAVASCRIPT,
    "workers.js" JAVASCRIPT,
}
