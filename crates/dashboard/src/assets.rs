//! The files that pages load, in the binary. Their names change with their content, so that browsers keep them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use http::Response;

use crate::response::{self, Body};

/// A file.
struct Asset {
    name: &'static str,
    ending: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const STYLE: Asset = Asset {
    name: "site",
    ending: "css",
    content_type: "text/css; charset=utf-8",
    bytes: include_bytes!("assets/site.css"),
};
const SCRIPT: Asset = Asset {
    name: "site",
    ending: "js",
    content_type: "text/javascript; charset=utf-8",
    bytes: include_bytes!("assets/site.js"),
};
const LOGO: Asset =
    Asset { name: "logo", ending: "svg", content_type: "image/svg+xml", bytes: include_bytes!("assets/logo.svg") };

static FILES: LazyLock<[(String, Asset); 3]> =
    LazyLock::new(|| [STYLE, SCRIPT, LOGO].map(|asset| (asset.file_name(), asset)));

impl Asset {
    fn file_name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        format!("{}-{:016x}.{}", self.name, hasher.finish(), self.ending)
    }
}

/// Name of the style sheet, below `assets/`.
pub fn style() -> &'static str {
    &FILES[0].0
}

/// Name of the script.
pub fn script() -> &'static str {
    &FILES[1].0
}

/// Name of the icon.
pub fn logo() -> &'static str {
    &FILES[2].0
}

/// The file of this name.
pub fn file(name: &str) -> Option<Response<Body>> {
    let (_, asset) = FILES.iter().find(|(known, _)| known == name)?;
    Some(response::asset(asset.content_type, asset.bytes))
}
