//! Lists the public API of a crate from the pages that rustdoc has made of it: one line for each item, method, field and
//! implementation, with its signature. `./ci.sh api` compares the lists in `docs/api` with it.
//!
//! Usage: `api DOC CRATE`, where `DOC/CRATE/all.html` is. What is re-exported from another crate is one line.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), String> {
    let [doc, name] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("usage: api DOC CRATE".to_owned());
    };
    let folder = Path::new(doc).join(name);
    let mut lines = BTreeSet::new();
    for item in Item::all(name, &read(&folder.join("all.html"))?) {
        item.list(&read(&folder.join(&item.page))?, &mut lines);
    }
    let index = read(&folder.join("index.html"))?;
    for rest in index.split("id=\"reexport.").skip(1) {
        let code = between(rest, "<code>", "</code>").map(text).unwrap_or_default();
        lines.insert(format!("{name}: {code}"));
    }
    if lines.is_empty() {
        return Err(format!("no public items in {}: has rustdoc changed?", folder.display()));
    }
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A public item and its page.
struct Item {
    krate: String,
    path: String,
    page: String,
}

impl Item {
    /// What is listed on the page of all items, as `<li><a href="sim/struct.World.html">sim::World</a></li>`.
    fn all(krate: &str, page: &str) -> Vec<Self> {
        let items = page.split("<li><a href=\"").skip(1).filter_map(|rest| {
            let (page, rest) = rest.split_once("\">")?;
            let (path, _) = rest.split_once("</a></li>")?;
            let is_item = page.ends_with(".html") && path != "index.html";
            is_item.then(|| Self {
                krate: krate.to_owned(),
                path: format!("{krate}::{path}"),
                page: page.to_owned(),
            })
        });
        items.collect()
    }

    fn list(&self, page: &str, lines: &mut BTreeSet<String>) {
        let page = between(page, "<section id=\"main-content\"", "</main>").unwrap_or(page);
        let heading = page.split("<pre").next().unwrap_or("");
        if !heading.contains(&format!("/src/{}/", self.krate)) {
            // What is re-exported has its source elsewhere.
            lines.insert(format!("{}: re-exported", self.path));
            return;
        }
        let declaration = between(page, "<pre class=\"rust item-decl\">", "</pre>").unwrap_or("");
        let declaration = declared(declaration);
        if self.is("type") || self.is("fn") || self.is("constant") || self.is("static") {
            lines.insert(format!("{}: {declaration}", self.path));
            return;
        }
        // What is between the braces has lines of its own.
        let head = declaration.split(" {").next().unwrap_or("").trim_end_matches(';');
        lines.insert(format!("{}: {head}", self.path));
        self.list_parts(page, lines);
    }

    fn is(&self, kind: &str) -> bool {
        let file = self.page.rsplit('/').next().unwrap_or("");
        file.split('.').next() == Some(kind)
    }

    /// Variants, fields, methods and implementations: what has a place of its own on the page.
    fn list_parts(&self, page: &str, lines: &mut BTreeSet<String>) {
        let own = format!("impl {}", self.path.rsplit("::").next().unwrap_or(""));
        let (mut list, mut of) = ("", own.clone());
        for (at, _) in page.match_indices('<') {
            let rest = &page[at..];
            let Some(id) = between(rest.split('>').next().unwrap_or(""), " id=\"", "\"") else {
                continue;
            };
            if rest.starts_with("<h2") {
                (list, of) = (id, own.clone());
                continue;
            }
            let Some(mut signature) = signature(id, rest) else { continue };
            let kind = id.split(['.', '-']).next().unwrap_or("");
            match (list, kind) {
                (_, "impl") => of = signature.clone(),
                (_, "tymethod") => signature = format!("required {signature}"),
                (_, "variant") => {
                    if let Some(variant) = between(id, "variant.", ".field.") {
                        signature = format!("{variant}: {signature}");
                    }
                }
                _ if of != own => signature = format!("{of}: {signature}"),
                _ => {}
            }
            if is_listed(list, kind, &signature) {
                lines.insert(format!("{}: {signature}", self.path));
            }
        }
    }
}

/// What stands at the place of that name, where the rest of the page begins.
fn signature(id: &str, rest: &str) -> Option<String> {
    const HEADER: &str = "class=\"code-header\">";
    let kind = id.split(['.', '-']).next().unwrap_or("");
    let html = match kind {
        "structfield" => between(rest, "<code>", "</code>"),
        "variant" if id.contains(".field.") => between(rest, "<code>", "</code>"),
        "impl" | "variant" => between(rest, HEADER, "</h3>"),
        "method" | "tymethod" | "associatedtype" | "associatedconstant" => {
            between(rest, HEADER, "</h4>")
        }
        _ => None,
    };
    html.map(declared)
}

/// A declaration, without what rustdoc writes differently from version to version: the value of a constant, and
/// attributes other than `non_exhaustive`.
fn declared(html: &str) -> String {
    let mut text = text(html);
    while let Some((attribute, rest)) = text.split_once(']').filter(|_| text.starts_with("#[")) {
        if attribute == "#[non_exhaustive" {
            break;
        }
        text = rest.trim_start().to_owned();
    }
    match text.split_once(" = ") {
        Some((constant, _))
            if constant.trim_start_matches("pub ").starts_with("const ")
                && !constant.starts_with("pub const fn") =>
        {
            format!("{constant} = _")
        }
        _ => text,
    }
}

/// Whether it is the item's own, in that list of the page.
fn is_listed(list: &str, kind: &str, signature: &str) -> bool {
    match (list, kind) {
        // They follow from traits, and rustdoc repeats them on each page.
        ("blanket-implementations" | "implementors" | "foreign-impls", _) => false,
        ("synthetic-implementations", _) => {
            ["Send for", "Sync for"].iter().any(|name| signature.contains(name))
        }
        // All but the compiler's own. Methods are as the trait says.
        ("trait-implementations", "impl") => !signature.contains("Structural"),
        ("trait-implementations", "method") => false,
        // Its methods say what they are of.
        (_, "impl") => false,
        _ => true,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// The text of some HTML, in one line.
fn text(html: &str) -> String {
    let mut text = String::new();
    for (at, part) in html.split('<').enumerate() {
        if part.starts_with("div") {
            text.push('\n');
        }
        text.push_str(if at == 0 { part } else { part.split_once('>').map_or("", |it| it.1) });
    }
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
        (" ⓘ", ""),
        ("ⓘ", ""),
        ("( ", "("),
        (", )", ")"),
    ] {
        text = text.replace(from, to);
    }
    text.trim_end_matches(',').to_owned()
}
