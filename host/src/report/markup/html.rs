//! Writes HTML with few tags. All characters of values that HTML would read as markup are escaped.

use super::document::{Block, Document, Inline};

pub(super) fn render(document: &Document) -> String {
    render_blocks(&document.blocks)
}

fn render_blocks(blocks: &[Block]) -> String {
    blocks.iter().map(render_block).collect::<Vec<_>>().join("\n")
}

fn render_block(block: &Block) -> String {
    match block {
        Block::Paragraph(inlines) => format!("<p>{}</p>", render_inlines(inlines)),
        Block::Heading(level, inlines) => {
            format!("<h{level}>{}</h{level}>", render_inlines(inlines))
        }
        Block::Code(text) => format!("<pre><code>{}</code></pre>", escape(text)),
        Block::Quote(inner) => format!("<blockquote>{}</blockquote>", render_blocks(inner)),
        Block::List(None, items) => format!("<ul>{}</ul>", render_list_items(items)),
        Block::List(Some(first), items) => {
            format!("<ol start=\"{first}\">{}</ol>", render_list_items(items))
        }
        Block::Rule => "<hr>".to_owned(),
    }
}

fn render_list_items(items: &[Vec<Block>]) -> String {
    let item = |item: &Vec<Block>| match item.as_slice() {
        [Block::Paragraph(inlines), rest @ ..] => {
            format!("<li>{}{}</li>", render_inlines(inlines), render_blocks(rest))
        }
        blocks => format!("<li>{}</li>", render_blocks(blocks)),
    };
    items.iter().map(item).collect()
}

fn render_inlines(inlines: &[Inline]) -> String {
    inlines.iter().map(render_inline).collect()
}

fn render_inline(inline: &Inline) -> String {
    match inline {
        Inline::Text(text) => escape(text),
        Inline::Code(text) => format!("<code>{}</code>", escape(text)),
        Inline::Strong(inner) => format!("<strong>{}</strong>", render_inlines(inner)),
        Inline::Emphasis(inner) => format!("<em>{}</em>", render_inlines(inner)),
        Inline::Link(url, inner) => format!(
            "<a href=\"{}\" rel=\"nofollow noopener noreferrer\">{}</a>",
            escape(url),
            render_inlines(inner)
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
