//! Splits PEM files into sections (RFC 7468), strictly.
//!
//! Readers of PEM usually skip what they do not recognise: two files joined without a line break, or a byte order
//! mark, then silently cost a certificate, and the loss shows up as `UnknownIssuer` at every peer. Here, text between
//! sections is skipped, but anything that looks like a part of a section and is not one makes the whole file invalid. A
//! damaged BEGIN line leaves an END line without a BEGIN line, a damaged END line is not base64, and if both are damaged or
//! missing, the base64 between them is outside a section. So each of these is detected.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The content between a BEGIN line and its END line.
pub(crate) struct Section<'a> {
    pub(crate) label: &'a str,
    pub(crate) der: Vec<u8>,
}

pub(crate) const ENCRYPTED: &str =
    "the private key is encrypted, which is not supported; decrypt it with `openssl pkey -in KEY -out PLAIN`";

/// Some editors and PowerShell write it at the start of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Returns all sections. An error contains the number of the invalid section, counted from 1.
pub(crate) fn sections(text: &[u8]) -> Result<Vec<Section<'_>>, String> {
    if text.contains(&0) {
        return Err("contains NUL bytes, so it is not PEM; save UTF-16 as UTF-8, convert DER to PEM".into());
    }
    let mut sections = Vec::new();
    let mut open: Option<(&str, Vec<u8>)> = None;
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
        let error = |problem: &str| Err(format!("section {}: {problem}", sections.len() + 1));
        match (Line::classify(line), open.take()) {
            (Line::Malformed, _) => {
                return error("a BEGIN or END line is malformed or shares its line with other text");
            }
            (Line::Begin(label), None) => open = Some((label, Vec::new())),
            (Line::Begin(_), Some(_)) => return error("another section begins before it ends"),
            (Line::End(_), None) => return error("END without BEGIN"),
            (Line::End(end), Some((label, _))) if end != label => {
                return error(&format!("begins as {label:?} and ends as {end:?}"));
            }
            (Line::End(_), Some((label, base64))) => match STANDARD.decode(base64) {
                Ok(der) if der.is_empty() => return error("is empty"),
                Ok(der) => sections.push(Section { label, der }),
                Err(_) => return error("invalid base64"),
            },
            // The header of PEM before PKCS #8 (RFC 1421).
            (Line::Text, Some(_)) if line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED") => {
                return error(ENCRYPTED);
            }
            (Line::Text, Some((label, mut base64))) => {
                base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
                open = Some((label, base64));
            }
            (Line::Text, None) if starts_with_base64(line) => {
                return error("base64 outside of a section; the BEGIN line is missing or malformed");
            }
            (Line::Text, None) => {}
        }
    }
    match open {
        Some((label, _)) => Err(format!("section {}: {label:?} has no END line", sections.len() + 1)),
        None => Ok(sections),
    }
}

/// Encodes a section in the strict form of RFC 7468, which every parser accepts.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

enum Line<'a> {
    Begin(&'a str),
    End(&'a str),
    /// Looks like a BEGIN or END line and is not valid.
    Malformed,
    Text,
}

impl<'a> Line<'a> {
    fn classify(line: &'a [u8]) -> Self {
        let label = |prefix: &[u8]| -> Option<&str> {
            let label = str::from_utf8(line.strip_prefix(prefix)?.strip_suffix(b"-----")?).ok()?;
            let valid = !label.contains("--")
                && label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
                && label.starts_with(|first: char| first.is_ascii_graphic() && first != '-');
            valid.then_some(label)
        };
        if let Some(label) = label(b"-----BEGIN ") {
            Self::Begin(label)
        } else if let Some(label) = label(b"-----END ") {
            Self::End(label)
        } else if is_like_a_boundary(line) {
            Self::Malformed
        } else {
            Self::Text
        }
    }
}

/// BEGIN or END before one of these labels is meant as a boundary even if the dashes are wrong or missing. Word processors
/// replace them by other dashes.
const LABELS: [&str; 7] = [
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
];

/// Returns whether BEGIN or END is directly after dashes or directly before a label. Text between sections may contain
/// either word, and lines of dashes.
fn is_like_a_boundary(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let upper = text.to_ascii_uppercase();
    ["BEGIN", "END"].iter().any(|word| {
        upper.contains(&format!("----{word}"))
            || text
                .match_indices(&format!("{word} "))
                .any(|(at, found)| LABELS.iter().any(|label| text[at + found.len()..].starts_with(label)))
    })
}

/// Returns whether the first word is the start of a section's content, or of a whole file in base64, as printed by `kubectl
/// get secret`.
fn starts_with_base64(line: &[u8]) -> bool {
    let word = line.split(|byte| matches!(byte, b' ' | b'\t' | b'=')).next().unwrap_or_default();
    // The base64 of a DER SEQUENCE, or of five dashes.
    let begins = word.starts_with(b"M") || word.starts_with(b"LS0tLS");
    begins && word.len() >= 40 && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
}
