//! A strict reading of the HTML that pages write: a tokeniser that accepts no error, and knows no element that pages do not
//! have.

const VOID: [&str; 6] = ["meta", "link", "input", "br", "hr", "img"];
const ELEMENTS: [&str; 68] = [
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "button", "details", "summary",
    "div", "form", "input", "fieldset", "legend", "main", "dialog", "h1", "h2", "h3", "dl", "dt", "dd", "kbd", "p",
    "pre", "code", "label", "span", "table", "thead", "tbody", "tr", "th", "td", "progress", "meter", "time", "ul",
    "ol", "li", "section", "svg", "path", "circle", "rect", "line", "text", "select", "option", "br", "hr", "img",
    "strong", "em", "small", "caption", "footer", "b", "i", "polyline", "g", "datalist", "textarea", "output",
];
const ATTRIBUTES: [&str; 71] = [
    "lang",
    "charset",
    "name",
    "content",
    "rel",
    "type",
    "href",
    "src",
    "defer",
    "id",
    "class",
    "title",
    "role",
    "tabindex",
    "hidden",
    "method",
    "action",
    "value",
    "for",
    "autocomplete",
    "autocapitalize",
    "spellcheck",
    "required",
    "autofocus",
    "enterkeyhint",
    "inputmode",
    "placeholder",
    "scope",
    "max",
    "min",
    "datetime",
    "viewBox",
    "width",
    "height",
    "d",
    "cx",
    "cy",
    "r",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "rx",
    "text-anchor",
    "aria-hidden",
    "aria-label",
    "aria-current",
    "aria-pressed",
    "aria-sort",
    "aria-invalid",
    "aria-describedby",
    "data-up",
    "data-live",
    "data-state",
    "data-look",
    "data-key",
    "data-complete",
    "open",
    "colspan",
    "checked",
    "disabled",
    "selected",
    "points",
    "preserveAspectRatio",
    "maxlength",
    "minlength",
    "pattern",
    "low",
    "high",
];

/// An element's begin.
#[derive(Debug, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// All elements in their order, of a text that is well-formed.
pub fn elements(text: &str) -> Result<Vec<Element>, String> {
    let mut rest = text.strip_prefix("<!DOCTYPE html>").ok_or("no document type")?;
    let (mut open, mut found): (Vec<String>, Vec<Element>) = (Vec::new(), Vec::new());
    while let Some(place) = rest.find('<') {
        plain(&rest[..place])?;
        rest = &rest[place + 1..];
        let end = rest.find('>').ok_or("a tag without an end")?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop().ok_or_else(|| format!("</{name}> without a begin"))?;
            if last != name {
                return Err(format!("</{name}> where {last} is open"));
            }
            continue;
        }
        let element = element(tag)?;
        if !VOID.contains(&element.name.as_str()) {
            open.push(element.name.clone());
        }
        found.push(element);
    }
    plain(rest)?;
    if open.is_empty() { Ok(found) } else { Err(format!("{open:?} have no end")) }
}

fn element(tag: &str) -> Result<Element, String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    if !ELEMENTS.contains(&name) {
        return Err(format!("<{name}> is no element of pages"));
    }
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !ATTRIBUTES.contains(&name) {
            return Err(format!("{name} is no attribute of pages: {tag}"));
        }
        let mut value = "";
        rest = after;
        if let Some(quoted) = after.strip_prefix("=\"") {
            let end = quoted.find('"').ok_or_else(|| format!("a value without an end: {tag}"))?;
            (value, rest) = (&quoted[..end], &quoted[end + 1..]);
            plain(value)?;
        }
        if attributes.iter().any(|(known, _)| known == name) {
            return Err(format!("{name} twice: {tag}"));
        }
        attributes.push((name.to_owned(), value.to_owned()));
        rest = match rest.strip_prefix(' ') {
            Some(next) => next,
            None if rest.is_empty() => rest,
            None => return Err(format!("no blank between attributes: {tag}")),
        };
    }
    Ok(Element { name: name.to_owned(), attributes })
}

/// Text, within a page or a value: no character that HTML does not allow, and every `&` begins what stands for another.
fn plain(text: &str) -> Result<(), String> {
    if let Some(bad) = text.chars().find(|character| character.is_control() && !matches!(character, '\n' | '\t')) {
        return Err(format!("the character {:04x}", u32::from(bad)));
    }
    if text.contains('>') {
        return Err(format!("`>` in the text {text}"));
    }
    for after in text.split('&').skip(1) {
        let name = after.split_once(';').map_or("", |(name, _)| name);
        if !matches!(name, "amp" | "lt" | "gt" | "quot") {
            return Err(format!("`&` in the text {text}"));
        }
    }
    Ok(())
}

/// What every page keeps: one script, nothing from elsewhere, nothing that a strict policy refuses.
pub fn check(text: &str) -> Vec<Element> {
    let elements = elements(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    let scripts = elements.iter().filter(|element| element.name == "script").count();
    assert_eq!(scripts, 1, "{text}");
    for element in &elements {
        for place in ["href", "src", "action"].iter().filter_map(|name| element.attribute(name)) {
            let is_relative =
                place.starts_with('#') || !place.split(['/', '?', '#']).next().unwrap_or_default().contains(':');
            assert!(is_relative && !place.starts_with('/'), "{place} leads elsewhere");
        }
    }
    let mut ids: Vec<&str> = elements.iter().filter_map(|element| element.attribute("id")).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "each id once");
    elements
}

#[test]
fn what_is_wrong_is_found() {
    let page = |body: &str| elements(&format!("<!DOCTYPE html><html><body>{body}</body></html>"));
    assert!(page("<p title=\"a &lt; b\">text<br>text</p>").is_ok());
    for wrong in [
        "<p>",
        "</p>",
        "<p></div>",
        "<iframe></iframe>",
        "<p onclick=\"x\"></p>",
        "<p style=\"x\"></p>",
        "a & b",
        "a > b",
        "<p title=\"a\"\"></p>",
        "<p title=\"a\" title=\"b\"></p>",
        "\u{0}",
        "<!-- a -->",
    ] {
        assert!(page(wrong).is_err(), "{wrong}");
    }
}
