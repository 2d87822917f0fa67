//! What a file is, by the end of its name, and in which encodings a client takes it.

use std::ffi::OsStr;
use std::path::Path;

use hyper::header::HeaderValue;

/// The media type of a file. What is not known is bytes, which browsers save and do not run.
pub(super) fn of(name: &OsStr) -> &'static str {
    let extension = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    known.map_or("application/octet-stream", |(_, media)| media)
}

/// How a file was compressed by whoever has put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    /// Its name in HTTP.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The end of the names of such files.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

/// The encodings that a client takes, the one that it likes best first (RFC 9110, 12.5.3).
pub(super) fn encodings<'a>(
    accepted: impl IntoIterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = Encoding> {
    let mut weights = [(None, Encoding::Brotli), (None, Encoding::Gzip)];
    let mut others = 0;
    let texts = accepted.into_iter().filter_map(|value| value.to_str().ok());
    for element in texts.flat_map(|text| text.split(',')) {
        let (name, parameter) = element.split_once(';').unwrap_or((element, ""));
        let weight = weight(parameter.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "br" => weights[0].0 = Some(weight),
            "gzip" | "x-gzip" => weights[1].0 = Some(weight),
            "*" => others = weight,
            _ => {}
        }
    }
    let mut weights = weights.map(|(weight, encoding)| (weight.unwrap_or(others), encoding));
    // Of two that are liked as much, Brotli is shorter.
    weights.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weights.into_iter().filter(|(weight, _)| *weight > 0).map(|(_, encoding)| encoding)
}

/// In thousandths; what cannot be read is not wanted.
fn weight(parameter: &str) -> u32 {
    if parameter.is_empty() {
        return 1_000;
    }
    let digits = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    let quality = digits.and_then(|digits| digits.parse::<f32>().ok());
    let quality = quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0);
    (quality * 1_000.0) as u32
}

const TYPES: [(&str, &str); 51] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("jsonld", "application/ld+json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("xml", "application/xml"),
    ("xhtml", "application/xhtml+xml"),
    ("rss", "application/rss+xml"),
    ("atom", "application/atom+xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("apng", "image/apng"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/x-icon"),
    ("bmp", "image/bmp"),
    ("tiff", "image/tiff"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("m4a", "audio/mp4"),
    ("flac", "audio/flac"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says() {
        for (name, media) in [
            ("index.html", "text/html; charset=utf-8"),
            ("APP.JS", "text/javascript; charset=utf-8"),
            ("a.b.css", "text/css; charset=utf-8"),
            ("x.wasm", "application/wasm"),
            ("photo.jpeg", "image/jpeg"),
            ("html", "application/octet-stream"),
            ("run.exe", "application/octet-stream"),
        ] {
            assert_eq!(of(OsStr::new(name)), media, "{name}");
        }
        let is_once = |(at, (name, _)): (usize, &(&str, &str))| {
            TYPES.iter().position(|(other, _)| other == name) == Some(at)
        };
        assert!(TYPES.iter().enumerate().all(is_once));
    }

    #[test]
    fn a_client_gets_the_encoding_that_it_likes_best() {
        use Encoding::{Brotli, Gzip};
        for (accepted, expected) in [
            (&[][..], &[][..]),
            (&["gzip, deflate, br"], &[Brotli, Gzip]),
            (&["gzip"], &[Gzip]),
            (&["gzip;q=1.0, br;q=0.5"], &[Gzip, Brotli]),
            (&["br;q=0, gzip"], &[Gzip]),
            (&["br;q=0.000"], &[]),
            (&["*"], &[Brotli, Gzip]),
            (&["*;q=0.5, br;q=0"], &[Gzip]),
            (&["identity"], &[]),
            (&["BR"], &[Brotli]),
            (&["gzip", "br"], &[Brotli, Gzip]),
            (&["br;q=2"], &[]),
            (&["br;q=NaN"], &[]),
            (&["br; q=0.9"], &[Brotli]),
        ] {
            let values: Vec<HeaderValue> =
                accepted.iter().map(|text| HeaderValue::from_static(text)).collect();
            let found: Vec<_> = encodings(&values).collect();
            assert_eq!(found, expected, "{accepted:?}");
        }
    }
}
