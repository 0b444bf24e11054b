//! The style sheet, the module and the icon: in the binary, under names that change with their content.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

/// A name of another content is another name.
const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

pub(super) struct Asset {
    /// Where it is served.
    pub(super) path: String,
    content: &'static [u8],
    content_type: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", include_bytes!("../../assets/console.css"), "text/css; charset=utf-8")
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", include_bytes!("../../assets/console.js"), "text/javascript; charset=utf-8")
});
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", include_bytes!("../../assets/icon.svg"), "image/svg+xml"));

impl Asset {
    fn new(name: &str, extension: &str, content: &'static [u8], content_type: &'static str) -> Self {
        let hash = Sha256::digest(content);
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/assets/{name}-{hash}.{extension}"), content, content_type }
    }
}

impl Asset {
    pub(super) fn response(&self) -> Response {
        ([(header::CONTENT_TYPE, self.content_type)], self.content).into_response()
    }
}

/// `GET /assets/{name}`
pub(super) async fn get(Path(name): Path<String>) -> Response {
    let assets = [&*STYLE, &*SCRIPT, &*ICON];
    match assets.into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&name)) {
        Some(asset) => ([(header::CACHE_CONTROL, CACHE_CONTROL)], asset.response()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
