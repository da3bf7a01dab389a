//! Writes Atlassian Document Format, a JSON document. Text in it is never read as markup, but each
//! type of node is allowed only inside certain other nodes.

use serde_json::{Value, json};

use super::document::{Block, Document, Inline};

/// The node that will contain a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ParentNode {
    Document,
    /// A quote cannot contain headings, rules or other quotes.
    Quote,
    /// A list item cannot contain headings, rules or quotes.
    Item,
}

pub(super) fn render(document: &Document) -> String {
    let content = block_nodes(&document.blocks, ParentNode::Document);
    json!({ "version": 1, "type": "doc", "content": content }).to_string()
}

fn block_nodes(blocks: &[Block], parent: ParentNode) -> Vec<Value> {
    blocks.iter().flat_map(|block| nodes_of_block(block, parent)).collect()
}

fn nodes_of_block(block: &Block, parent: ParentNode) -> Vec<Value> {
    let node = match block {
        Block::Heading(level, inlines) if parent == ParentNode::Document => json!({
            "type": "heading", "attrs": { "level": level }, "content": inline_nodes(inlines, &[]),
        }),
        Block::Heading(_, inlines) => {
            paragraph_node(inline_nodes(inlines, &[json!({ "type": "strong" })]))
        }
        Block::Paragraph(inlines) => paragraph_node(inline_nodes(inlines, &[])),
        Block::Code(text) if text.is_empty() => json!({ "type": "codeBlock", "content": [] }),
        Block::Code(text) => {
            json!({ "type": "codeBlock", "content": [{ "type": "text", "text": text }] })
        }
        Block::Quote(inner) if parent == ParentNode::Document => {
            let content = content_or_empty_paragraph(block_nodes(inner, ParentNode::Quote));
            json!({ "type": "blockquote", "content": content })
        }
        Block::Quote(inner) => return block_nodes(inner, parent),
        Block::List(None, items) => {
            json!({ "type": "bulletList", "content": list_item_nodes(items) })
        }
        Block::List(Some(first), items) => json!({
            "type": "orderedList", "attrs": { "order": first }, "content": list_item_nodes(items),
        }),
        Block::Rule if parent == ParentNode::Document => json!({ "type": "rule" }),
        Block::Rule => return Vec::new(),
    };
    vec![node]
}

fn paragraph_node(content: Vec<Value>) -> Value {
    json!({ "type": "paragraph", "content": content })
}

/// Returns the nodes of list items. ADF does not allow an empty item, or a list as its first node.
fn list_item_nodes(items: &[Vec<Block>]) -> Vec<Value> {
    let item = |item: &Vec<Block>| {
        let mut content = block_nodes(item, ParentNode::Item);
        let first_type = content.first().and_then(|node| node.get("type")).and_then(Value::as_str);
        if !matches!(first_type, Some("paragraph" | "codeBlock")) {
            content.insert(0, paragraph_node(Vec::new()));
        }
        json!({ "type": "listItem", "content": content })
    };
    items.iter().map(item).collect()
}

fn content_or_empty_paragraph(content: Vec<Value>) -> Vec<Value> {
    if content.is_empty() { vec![paragraph_node(content)] } else { content }
}

fn inline_nodes(inlines: &[Inline], marks: &[Value]) -> Vec<Value> {
    inlines.iter().flat_map(|inline| nodes_of_inline(inline, marks)).collect()
}

fn nodes_of_inline(inline: &Inline, marks: &[Value]) -> Vec<Value> {
    let with_mark = |mark: Value| {
        let mut marks = marks.to_vec();
        if !marks.iter().any(|other| other.get("type") == mark.get("type")) {
            marks.push(mark);
        }
        marks
    };
    match inline {
        Inline::Text(text) => text_nodes(text, marks),
        Inline::Code(text) => {
            // ADF does not allow strong or emphasized code.
            let is_link = |mark: &&Value| mark.get("type").is_some_and(|name| name == "link");
            let mut marks: Vec<_> = marks.iter().filter(is_link).cloned().collect();
            marks.push(json!({ "type": "code" }));
            text_nodes(text, &marks)
        }
        Inline::Strong(inner) => inline_nodes(inner, &with_mark(json!({ "type": "strong" }))),
        Inline::Emphasis(inner) => inline_nodes(inner, &with_mark(json!({ "type": "em" }))),
        Inline::Link(url, inner) => {
            inline_nodes(inner, &with_mark(json!({ "type": "link", "attrs": { "href": url } })))
        }
        Inline::Break => vec![json!({ "type": "hardBreak" })],
    }
}

/// Returns a text node, or nothing for an empty text: ADF does not allow empty text nodes.
fn text_nodes(text: &str, marks: &[Value]) -> Vec<Value> {
    match (text, marks) {
        ("", _) => Vec::new(),
        (text, []) => vec![json!({ "type": "text", "text": text })],
        (text, marks) => vec![json!({ "type": "text", "text": text, "marks": marks })],
    }
}
