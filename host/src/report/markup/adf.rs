//! Atlassian Document Format: a JSON document. Its text is never markup, but each kind of node is
//! allowed only inside certain other nodes.

use serde_json::{Value, json};

use super::document::{Block, Document, Inline};

/// The node that contains a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Document,
    /// A quote cannot contain headings, rules and other quotes.
    Quote,
    /// A list item cannot contain headings, rules and quotes.
    Item,
}

pub(super) fn render(document: &Document) -> String {
    let content = blocks(&document.blocks, Place::Document);
    json!({ "version": 1, "type": "doc", "content": content }).to_string()
}

fn blocks(all: &[Block], place: Place) -> Vec<Value> {
    all.iter().flat_map(|it| block(it, place)).collect()
}

fn block(block: &Block, place: Place) -> Vec<Value> {
    let one = match block {
        Block::Heading(level, inlines) if place == Place::Document => json!({
            "type": "heading", "attrs": { "level": level }, "content": line(inlines, &[]),
        }),
        Block::Heading(_, inlines) => paragraph(line(inlines, &[json!({ "type": "strong" })])),
        Block::Paragraph(inlines) => paragraph(line(inlines, &[])),
        Block::Code(text) if text.is_empty() => json!({ "type": "codeBlock", "content": [] }),
        Block::Code(text) => {
            json!({ "type": "codeBlock", "content": [{ "type": "text", "text": text }] })
        }
        Block::Quote(inner) if place == Place::Document => {
            json!({ "type": "blockquote", "content": not_empty(blocks(inner, Place::Quote)) })
        }
        Block::Quote(inner) => return blocks(inner, place),
        Block::List(None, items) => json!({ "type": "bulletList", "content": list(items) }),
        Block::List(Some(first), items) => json!({
            "type": "orderedList", "attrs": { "order": first }, "content": list(items),
        }),
        Block::Rule if place == Place::Document => json!({ "type": "rule" }),
        Block::Rule => return Vec::new(),
    };
    vec![one]
}

fn paragraph(content: Vec<Value>) -> Value {
    json!({ "type": "paragraph", "content": content })
}

/// Items begin with a paragraph or code.
fn list(items: &[Vec<Block>]) -> Vec<Value> {
    let item = |item: &Vec<Block>| {
        let mut content = blocks(item, Place::Item);
        let first = content.first().and_then(|node| node.get("type")).and_then(Value::as_str);
        if !matches!(first, Some("paragraph" | "codeBlock")) {
            content.insert(0, paragraph(Vec::new()));
        }
        json!({ "type": "listItem", "content": content })
    };
    items.iter().map(item).collect()
}

fn not_empty(content: Vec<Value>) -> Vec<Value> {
    if content.is_empty() { vec![paragraph(content)] } else { content }
}

fn line(inlines: &[Inline], marks: &[Value]) -> Vec<Value> {
    inlines.iter().flat_map(|it| inline(it, marks)).collect()
}

fn inline(inline: &Inline, marks: &[Value]) -> Vec<Value> {
    let with = |mark: Value| {
        let mut marks = marks.to_vec();
        if !marks.iter().any(|it| it.get("type") == mark.get("type")) {
            marks.push(mark);
        }
        marks
    };
    match inline {
        Inline::Text(text) => node(text, marks),
        Inline::Code(text) => {
            // Code is never strong or emphasized.
            let is_link = |mark: &&Value| mark.get("type").is_some_and(|it| it == "link");
            let mut marks: Vec<_> = marks.iter().filter(is_link).cloned().collect();
            marks.push(json!({ "type": "code" }));
            node(text, &marks)
        }
        Inline::Strong(inner) => line(inner, &with(json!({ "type": "strong" }))),
        Inline::Emphasis(inner) => line(inner, &with(json!({ "type": "em" }))),
        Inline::Link(url, inner) => {
            line(inner, &with(json!({ "type": "link", "attrs": { "href": url } })))
        }
        Inline::Break => vec![json!({ "type": "hardBreak" })],
    }
}

/// A text node, which is never empty.
fn node(text: &str, marks: &[Value]) -> Vec<Value> {
    match (text, marks) {
        ("", _) => Vec::new(),
        (text, []) => vec![json!({ "type": "text", "text": text })],
        (text, marks) => vec![json!({ "type": "text", "text": text, "marks": marks })],
    }
}
