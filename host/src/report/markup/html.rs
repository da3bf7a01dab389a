//! Writes HTML with few tags; all other characters of HTML's syntax are escaped.

use super::document::{Block, Document, Inline};

pub(super) fn render(document: &Document) -> String {
    blocks(&document.blocks)
}

fn blocks(all: &[Block]) -> String {
    all.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(block: &Block) -> String {
    match block {
        Block::Paragraph(inlines) => format!("<p>{}</p>", line(inlines)),
        Block::Heading(level, inlines) => format!("<h{level}>{}</h{level}>", line(inlines)),
        Block::Code(text) => format!("<pre><code>{}</code></pre>", escape(text)),
        Block::Quote(inner) => format!("<blockquote>{}</blockquote>", blocks(inner)),
        Block::List(None, items) => format!("<ul>{}</ul>", list(items)),
        Block::List(Some(first), items) => format!("<ol start=\"{first}\">{}</ol>", list(items)),
        Block::Rule => "<hr>".to_owned(),
    }
}

fn list(items: &[Vec<Block>]) -> String {
    let item = |item: &Vec<Block>| match item.as_slice() {
        [Block::Paragraph(inlines), rest @ ..] => {
            format!("<li>{}{}</li>", line(inlines), blocks(rest))
        }
        all => format!("<li>{}</li>", blocks(all)),
    };
    items.iter().map(item).collect()
}

fn line(inlines: &[Inline]) -> String {
    inlines.iter().map(inline).collect()
}

fn inline(inline: &Inline) -> String {
    match inline {
        Inline::Text(text) => escape(text),
        Inline::Code(text) => format!("<code>{}</code>", escape(text)),
        Inline::Strong(inner) => format!("<strong>{}</strong>", line(inner)),
        Inline::Emphasis(inner) => format!("<em>{}</em>", line(inner)),
        Inline::Link(url, inner) => format!(
            "<a href=\"{}\" rel=\"nofollow noopener noreferrer\">{}</a>",
            escape(url),
            line(inner)
        ),
        Inline::Break => "<br>".to_owned(),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
